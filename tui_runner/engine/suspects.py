"""Which items may have killed their worker, and which of them did.

When a worker is lost, any item it was executing may be the one that killed it. All of them are suspects from then on
and run in a worker that executes one item at a time, so the next death has one item to blame. One that was in flight in
three deaths, the last two of them alone, is given up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

DEATHS = 3
"""Deaths of workers after which an item is given up: one in company, one alone that proves it, and one more because a
worker may also be killed from outside, by whoever ran out of memory elsewhere on the machine."""


class Suspects:
    """Items that were in flight when a worker died and that have not ended since, by position in the input."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}
        self._reasons: dict[int, str] = {}
        self._given_up: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._deaths)

    def __contains__(self, item: int) -> bool:
        return item in self._deaths

    def died(self, items: Iterable[int], reason: str) -> None:
        """A worker died, of `reason`, while it executed these items."""
        for item in items:
            self._deaths[item] = self._deaths.get(item, 0) + 1
            self._reasons[item] = reason

    def deaths(self, item: int) -> int:
        """Deaths of workers in which the item was in flight."""
        return self._deaths.get(item, 0)

    def innocent(self, items: Collection[int]) -> Collection[int]:
        """Those of `items` that may run beside others."""
        if not self._deaths:
            return items
        return [item for item in items if item not in self._deaths]

    def in_order(self, items: Iterable[int]) -> list[int]:
        """The suspects of `items`, those first that were in the fewest deaths: they are likely to be innocent."""
        return sorted((item for item in items if item in self._deaths), key=lambda item: (self._deaths[item], item))

    def verdicts(self, items: Iterable[int]) -> dict[int, str]:
        """Those of `items` that are not to run any more, and what is to be recorded of each."""
        guilty = [item for item in items if self.deaths(item) >= DEATHS]
        self._given_up.update(guilty)
        return {
            item: f"killed its worker {self.deaths(item)} times, the last time {self._reasons[item]}" for item in guilty
        }

    def ended(self, items: Iterable[int]) -> None:
        """These items have a final state."""
        for item in items if self._deaths else ():
            self._deaths.pop(item, None)
            self._reasons.pop(item, None)

    def again(self, items: Iterable[int]) -> None:
        """These items are to run again though they had ended: those that were given up run alone from the start."""
        for item in items if self._given_up else ():
            if item in self._given_up:
                self._given_up.discard(item)
                self._deaths[item] = 1
                self._reasons[item] = ""
