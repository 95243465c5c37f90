"""The event line below the table, of one or more lines: problems, unconfirmed commands, and the newest event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from textwrap import wrap

from tui_runner.engine.control import ON_REQUEST
from tui_runner.engine.progress.snapshot import KEPT_EVENTS, ErrorGroup, RunEvent, Snapshot
from tui_runner.engine.protocol import InFlight
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import ZONE, clock, count, duration, more_kinds, short_plural
from tui_runner.tui.run.header import Failures, SnapshotWidget
from tui_runner.tui.widgets.paint import RUN_GLYPHS, WARNING, Line, Span, cells, fitted, message_spans, own

_AT_ONCE = 0.5
"""Most seconds between two events of one command. The run reads its commands every 0.25 s, and may be late once."""
_NUMBER = re.compile(r"\d+")
_CHUNK = re.compile(r"^chunk \d+")
_OTHER = re.compile(r"^(worker|item) \d+")
_ITEMS = re.compile(r"\d+(?= items)")
"""Matches numbers in which similar events may differ. Such events become one: about chunks, with the sum of their
items; about workers and items, with their count."""
_SEVERITY = ("debug", "info", "warning", "error", "critical")
"""Log levels, the mildest first: events of one moment are shown with the worst level."""


def newest_moment(events: Sequence[RunEvent]) -> RunEvent | None:
    """Merge the newest event with those at most `_AT_ONCE` seconds older; return None without events.

    Events that differ only in numbers become one text with their count. The result has the time of the newest event and
    the most severe level.
    """
    together = [event for event in events if events[-1].at - event.at <= _AT_ONCE]
    if not together:
        return None
    # The snapshot keeps `KEPT_EVENTS` events; dropped ones may belong to the same moment.
    more = len(together) == len(events) >= KEPT_EVENTS
    alike: dict[str, list[str]] = {}
    for event in together:
        alike.setdefault(_NUMBER.sub("#", event.text), []).append(event.text)
    text = " · ".join(_counted(texts, more=more) for texts in alike.values())
    return RunEvent(events[-1].at, max((event.level.lower() for event in together), key=_gravity), text)


def _gravity(level: str) -> int:
    return _SEVERITY.index(level) if level in _SEVERITY else 0


def _counted(texts: Sequence[str], *, more: bool) -> str:
    """Merge texts of events that differ only in numbers into one text with their count.

    Texts about a setting are not counted: the newest replaces the others.
    """
    newest, number, plus = texts[-1], len(texts), "+" if more else ""
    if number == 1:
        return newest
    if _CHUNK.match(newest):
        items = sum(int(found.group()) for text in texts if (found := _ITEMS.search(text)))
        return _ITEMS.sub(f"{items}{plus}", _CHUNK.sub(f"{number}{plus} chunks", newest))
    return f"{newest} (and {number - 1}{plus} like it)" if _OTHER.match(newest) else newest


_FRESH = 10.0
"""Seconds for which a new event is shown in place of the filter and, on a single line, in place of the errors."""
_RECENT = 60.0
"""Seconds for which an unimportant event is not muted."""
_TEXT = 60
"""Most characters of an error if several errors share a line: two such errors fit on a line of 120 cells."""
_ITEM_TEXTS = (60, 30)
"""Characters of the text of an item at most. The second number is used if otherwise not all items fit, and they have
more than one line. One item with a text of 60 fits into 80 columns, three items with texts of 30 into 120."""
_ITEM_LINES = 3
"""Lines at most for the items that a run waits for."""
_NEWS_LINES = 3
"""Lines at most for the newest event."""
_WORTH_BEGINNING = 24
"""Fewest cells that errors need beside another text. With less room, they are omitted."""
_NARROW = 80
"""On a line with fewer cells, the time since the last finished item is left out, because the items need the room."""
_MARGIN = 4
"""Free cells of a line: its indent, and a blank at the right end."""

_LEVEL_ROLES = {"warning": "warn", "error": "bad"}


class EventLine(SnapshotWidget):
    """The event line: problems first (a stall, errors), then the newest command or event.

    Args:
        resume_host: text of the keys that resume a host.
        id: id of the widget.
    """

    def __init__(self, resume_host: str = "h, then p,", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._resume_host = resume_host
        self._asked: tuple[str, ...] = ()
        self._listing = ""
        self._recorded: tuple[ErrorGroup, ...] | None = None

    def show_asked(self, asked: tuple[str, ...]) -> None:
        """Show commands that no snapshot has confirmed yet."""
        self._asked = asked
        self.repaint()

    def show_failures(self, failures: Sequence[Failures]) -> None:
        """Show the errors of an ended run as the ledger counts them.

        A snapshot counts an item that ran again and failed again twice; the ledger counts it once.
        """
        self._recorded = tuple(ErrorGroup(each.attempts, each.type, each.text, each.items or 0) for each in failures)
        self.repaint()

    def _with_recorded(self, snapshot: Snapshot) -> Snapshot:
        groups = self._recorded
        if groups is None or not snapshot.state.ended:
            return snapshot
        final = snapshot.items_failed  # each failed item once
        failed = sum(1 for group in groups if group.final)
        return replace(snapshot, errors=groups, error_groups=len(groups), failed_groups=failed, errors_final=final)

    def show_listing(self, text: str) -> None:
        """Show `text`, which says which chunks are listed and marked; empty if all are listed and none is marked."""
        self._listing = text
        self.repaint()

    def wanted(self, snapshot: Snapshot, width: int, least: int) -> int:
        """Return the number of lines that the texts need, at least `least`.

        Warnings and the reason why the run waits are counted in full. If `least` is more than one line, so are up to
        `_ITEM_LINES` lines of the items that the run waits for.
        """
        told = len(_told(snapshot, width, self._resume_host))
        news = len(self._news(snapshot, width))
        if least > 1 and (items := _awaited(snapshot, width, _ITEM_LINES)):
            return max(least, told + len(items) + bool(snapshot.errors) + news)
        if told:
            return max(least, told + (max(news, 1) if least > 1 or self._asked or self._listing else 0))
        return max(least, bool(snapshot.errors) + news) if least > 1 else least

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return the most important lines that fit."""
        snapshot = self._with_recorded(snapshot)
        news = self._news(snapshot, width)
        if _trouble(snapshot, width, 1, self._resume_host):
            news = news[: max(height - 1, 1)]
        trouble = _trouble(snapshot, width, height - len(news), self._resume_host)
        if height == 1:
            calm = not (snapshot.reason or snapshot.warnings) and (self._listing or (news and _is_fresh(snapshot)))
            lines = news if self._asked or calm or not trouble else trouble[:1]
        else:
            if height <= len(trouble) and not (self._asked or self._listing):
                news = []  # the reason for which the run waits is more important
            room = max(height - len(news), 1)
            if len(trouble) > room:
                trouble = [*trouble[: room - 1], (*trouble[room - 1], (" …", "muted"))]
            lines = [*trouble, *news]
        return [fitted(line, width) for line in lines if line]

    def _news(self, snapshot: Snapshot, width: int) -> list[Line]:
        """Return the unconfirmed commands, or the newest event: in full if it is new or a warning."""
        if self._asked:
            return [((" … asked: " + " · ".join(self._asked), "accent"),)]
        listing: Line = ((f" {self._listing}  ", "accent"), ("(Esc clears)", "muted")) if self._listing else ()
        event = newest_moment(snapshot.events)
        # The reason for the pause is shown above, and its number of items that run again is newer than the event.
        known = event is not None and snapshot.reason and event.text.startswith(f"paused: {_begin(snapshot.reason)}")
        if event is None or known or (listing and not _is_fresh(snapshot)):
            return [listing] if listing else []
        # An old event must not look like a new one.
        role = _LEVEL_ROLES.get(event.level, "text" if snapshot.at - event.at <= _RECENT else "muted")
        moment = f" {clock(snapshot.began_at + event.at)} {ZONE}  "
        told: Line = ((moment, "muted"), (own(event.text), role))
        if listing:
            return [(*told, ("  ", "text"), *listing)]
        warned = event.level in _LEVEL_ROLES and snapshot.at - event.at <= _RECENT
        if not (_is_fresh(snapshot) or warned) or snapshot.state.ended:
            return [told]
        parts = wrap(own(event.text), max(width - len(moment) - 1, _WORTH_BEGINNING)) or [""]
        if len(parts) > _NEWS_LINES:
            parts[_NEWS_LINES - 1] += " …"
        return [
            ((" " * len(moment) if number else moment, "muted"), (part, role))
            for number, part in enumerate(parts[:_NEWS_LINES])
        ]


def _begin(reason: str) -> str:
    """Return a reason without its end, which says what will happen.

    The event about the same pause has another end, so only the beginnings can be compared.
    """
    return reason.rpartition("): ")[0] or reason


def _is_fresh(snapshot: Snapshot) -> bool:
    """Return True if the newest event has just happened; False for an ended run."""
    return bool(snapshot.events) and not snapshot.state.ended and snapshot.at - snapshot.events[-1].at <= _FRESH


def _told(snapshot: Snapshot, width: int, resume_host: str) -> list[Line]:
    """Return lines with the reason for the run's state, the paused hosts and the warnings, wrapped to `width` cells."""
    glyph, role = RUN_GLYPHS[snapshot.state]
    reason = snapshot.reason
    if snapshot.state is RunState.DRAINING and reason == ON_REQUEST:
        reason = "items in flight finish, then it ends"  # the text of the reason is worded for a stopped run
    told = [(glyph, reason, role)] if reason else []
    if (hosts := snapshot.paused_hosts) and not snapshot.state.ended:
        more = f" and {short_plural(len(hosts) - 1, 'other host')}" if len(hosts) > 1 else ""
        paused, paused_role = RUN_GLYPHS[RunState.PAUSED]
        told.append((paused, f"you have paused {hosts[0]}{more}: {resume_host} resumes", paused_role))
    told += [(WARNING, warning, "bad") for warning in snapshot.warnings]
    return [
        ((f" {' ' if number else glyph} {line}", role),)
        for glyph, text, role in told
        for number, line in enumerate(wrap(own(text), max(width - _MARGIN, 10)))
    ]


def _trouble(snapshot: Snapshot, width: int, height: int, resume_host: str) -> list[Line]:
    """Return lines about problems, at most `height`."""
    told = _told(snapshot, width, resume_host)
    errors = _failures(snapshot, width)
    room = height - len(told) - bool(errors)
    told += _awaited(snapshot, width, max(min(room, _ITEM_LINES), 1))
    if told and errors and height <= len(told):
        if cells(told[-1]) + _WORTH_BEGINNING <= width:
            told[-1] = (*told[-1], (" ", "text"), *errors)
    elif errors:
        told.append(tuple(errors))
    return told


def _awaited(snapshot: Snapshot, width: int, most: int) -> list[Line]:
    """Return the items for which a stalled or nearly finished run waits, the oldest first, in at most `most` lines."""
    left = None if snapshot.items_total is None else snapshot.items_total - snapshot.items_finished
    if snapshot.stalled_seconds is not None and snapshot.state is RunState.RUNNING:
        since = duration(snapshot.stalled_seconds, short=True)
        # The header shows the duration as well, so on narrow terminals the items get the room.
        head: Span = (f" {WARNING} {'' if width < _NARROW else f'nothing finished for {since}; '}oldest:", "bad")
    elif snapshot.in_outage and snapshot.oldest and snapshot.state is RunState.PAUSED:
        head = (" trying:", "accent")
    elif left and left < snapshot.threads and not snapshot.state.ended:
        head = (f" {left} left:", "accent")
    else:
        return []
    lines: list[Line] = []
    for limit in _ITEM_TEXTS if most > 1 else _ITEM_TEXTS[:1]:
        lines = _packed(head, [_item(item, limit) for item in snapshot.oldest], width)
        if len(lines) <= most:
            return lines
    return [*lines[: most - 1], (*lines[most - 1], ("  …", "muted"))]


def _packed(head: Span, items: Sequence[Span], width: int) -> list[Line]:
    """Return the items side by side in as many lines as needed, the first one always beside the head."""
    lines: list[Line] = [(head, *items[:1])]
    for item in items[1:]:
        if cells((*lines[-1], item)) + _MARGIN <= width:
            lines[-1] = (*lines[-1], item)
        else:
            lines.append(((" ", "text"), item))
    return lines


def _item(item: InFlight, limit: int) -> Span:
    """Return the duration and the value of an item in flight."""
    text = item.text if item.text != str(item.item) else ""
    name = own(text, limit) or f"item {item.item}"
    by = f" (held by {own(item.held_by, limit)})" if item.held_by else ""
    return f"  {duration(item.seconds, short=True)} {name}{by}", "text"


def _failures(snapshot: Snapshot, width: int) -> list[Span]:
    """Return the groups of failures with the number of their failed items, the most first.

    If no item has failed for good, the numbers are those of failed attempts. A line never has both kinds of numbers.
    """
    groups = snapshot.errors
    if not groups:
        return []
    failed = [group for group in groups if group.final]
    failed = failed if snapshot.items_failed else []
    number: list[int] | None
    if failed and snapshot.finals_are_items:
        head, number = "failed:", [group.final for group in failed]
    elif failed and len(failed) == 1:
        head, number = "failed:", [snapshot.items_failed]
    elif failed:
        # If items ran again, it is unknown here which of them ended well: only the number of failed items is right.
        head, number = f"{short_plural(snapshot.items_failed, 'item')} failed:", None
    else:
        head, number = "tried again:", [group.count for group in groups]
    shown = failed or list(groups)
    # Count as the errors screen does: kinds with failed items, or all kinds if no item failed.
    others = max((snapshot.failed_groups if failed else snapshot.error_groups) - len(shown), 0)
    spans: list[Span] = [(f" {WARNING} {head}", "bad" if failed else "warn")]
    for place, group in enumerate(shown):
        kinds = len(shown) - place - 1 + others
        more = f"  {more_kinds(kinds)}" if kinds else ""
        # Cut the message of the first error, so that the number of the others stays visible.
        room = None if place else width - cells(tuple(spans)) - len(more)
        error = _error(group, None if number is None else number[place], room)
        if place and cells((*spans, *error)) + len(more) + 2 > width:
            spans.append((f"  {more_kinds(kinds + 1)}", "muted"))
            break
        spans += error
    else:
        if others > 0:
            spans.append((f"  {more_kinds(others)}", "muted"))
    return spans


def _error(group: ErrorGroup, number: int | None, room: int | None) -> list[Span]:
    head = f"  {'' if number is None else f'{count(number)} × '}{own(group.type, _TEXT)}"
    limit = _TEXT if room is None else max(min(room - len(head) - len(": "), _TEXT), 0)
    text = message_spans(group.shown, "warn", limit)
    return [(f"{head}{': ' if text else ''}", "warn"), *text]
