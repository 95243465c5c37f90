"""Events of one moment in one line: a command for many chunks, or several settings at once, are many events."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tui_runner.engine.progress.snapshot import KEPT_EVENTS, RunEvent

_AT_ONCE = 0.5
"""Seconds that events of one command are apart at most: two looks at the inbox of a run."""
_NUMBER = re.compile(r"\d+")
_CHUNK = re.compile(r"^chunk \d+")
_OTHER = re.compile(r"^(worker|item) \d+")
_ITEMS = re.compile(r"\d+(?= items)")
_GRAVITY = ("debug", "info", "warning", "error", "critical")


def newest_moment(events: Sequence[RunEvent]) -> RunEvent | None:
    """The newest event with those that came with it, alike ones counted; None without any.

    Its time is that of the newest, its level that of the worst.
    """
    together = [event for event in events if events[-1].at - event.at <= _AT_ONCE]
    if not together:
        return None
    # Before the oldest event that is kept there were others of that moment, as far as anybody knows.
    more = len(together) == len(events) >= KEPT_EVENTS
    alike: dict[str, list[str]] = {}
    for event in together:
        alike.setdefault(_NUMBER.sub("#", event.text), []).append(event.text)
    text = " · ".join(_counted(texts, more=more) for texts in alike.values())
    return RunEvent(events[-1].at, max((event.level.lower() for event in together), key=_gravity), text)


def _gravity(level: str) -> int:
    return _GRAVITY.index(level) if level in _GRAVITY else 0


def _counted(texts: Sequence[str], *, more: bool) -> str:
    """Events that differ in numbers only: how many they are; of a setting, which has one number, the newest."""
    newest, number, plus = texts[-1], len(texts), "+" if more else ""
    if number == 1:
        return newest
    if _CHUNK.match(newest):
        items = sum(int(found.group()) for text in texts if (found := _ITEMS.search(text)))
        return _ITEMS.sub(f"{items}{plus}", _CHUNK.sub(f"{number}{plus} chunks", newest))
    return f"{newest} (and {number - 1}{plus} like it)" if _OTHER.match(newest) else newest
