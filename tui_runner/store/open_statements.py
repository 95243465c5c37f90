"""The statements that people have open in a database. Whoever needs the memory that they take can end them."""

from __future__ import annotations

import threading
from typing import Protocol


class Endable(Protocol):
    """Whatever has a statement open: a console."""

    def end(self, reason: str) -> bool:
        """End the statement; returns at once, whether it was not yet being ended."""


class OpenStatements:
    """Who has a statement open, from its begin until nothing of it is held any more. From any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: set[Endable] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, owner: Endable) -> None:
        """Its statement begins."""
        with self._guard:
            self._open.add(owner)

    def remove(self, owner: Endable) -> None:
        """Its statement holds nothing any more."""
        with self._guard:
            self._open.discard(owner)

    def end(self, reason: str) -> int:
        """End all of them; returns at once, how many were not yet being ended.

        Args:
            reason: what whoever asked is told, such as "the run needs the memory".
        """
        with self._guard:
            owners = list(self._open)
        return sum([owner.end(reason) for owner in owners])
