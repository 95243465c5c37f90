"""Commands that were given and that no snapshot has confirmed yet.

A command returns at once and takes effect later, so the screen says "asked" until it sees the effect, and forgets
a command that had none (pausing a run that just ended) after a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui_runner.engine.progress.snapshot import Snapshot

PATIENCE = 10.0
"""Seconds after which an unconfirmed command is no longer shown."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command: what to call it, how its effect shows, and when it was given (`Snapshot.at`)."""

    text: str
    confirmed: Callable[[Snapshot], bool]
    at: float


class AskedCommands:
    """The commands that wait for their effect, in the order given."""

    def __init__(self) -> None:
        self._waiting: list[Asked] = []

    @property
    def texts(self) -> tuple[str, ...]:
        """What to show."""
        return tuple(asked.text for asked in self._waiting)

    def add(self, text: str, confirmed: Callable[[Snapshot], bool], at: float) -> None:
        """Remember a command; one of the same kind (the same first word and object) is replaced."""
        kind = text.split(":")[0]
        self._waiting = [asked for asked in self._waiting if asked.text.split(":")[0] != kind]
        self._waiting.append(Asked(text, confirmed, at))

    def update(self, snapshot: Snapshot) -> None:
        """Forget what this snapshot confirms, and what has waited for too long."""
        self._waiting = [
            asked
            for asked in self._waiting
            if not asked.confirmed(snapshot) and snapshot.at - asked.at < PATIENCE and not snapshot.state.ended
        ]
