"""Find the items that kill their worker among those that may have.

When a worker is lost, any item it was executing may be the one that killed it. All of them are suspects from then on
and run in a worker that executes one item at a time, so the next death has one item to blame. One that was in flight in
three deaths, the last two of them alone, is given up.

An item may also ruin its worker and return, by closing the worker's files say: then nothing is in flight when it dies.
When that happens twice to items that have not been heard of, these are suspects as a group. Half of a
group runs at a time; that it ends well lets it off, that it dies makes it a group. So the culprit is alone in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

DEATHS = 3
"""Deaths of workers after which an item is given up: one in company, one alone that proves it, and one more because a
worker may also be killed from outside, when memory runs out elsewhere on the machine."""


_UNEXPLAINED = 2
"""Deaths with nothing in flight after which items are suspects: a worker may also be killed from outside."""


class PoisonItems:
    """Items that may have killed a worker and that have not ended since, by position in the input."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}
        self._reasons: dict[int, str] = {}
        self._unexplained: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        """Size of the group of each suspect that was not in flight; one of the group is to blame."""
        self._given_up: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._deaths)

    @property
    def has_any(self) -> bool:
        """Return True if there are suspects, or items that may become some."""
        return bool(self._deaths or self._unexplained)

    @property
    def items(self) -> Collection[int]:
        """The suspects."""
        return self._deaths.keys()

    def remember(self, deaths: Mapping[int, int]) -> None:
        """Take over deaths that earlier processes of the run recorded, by item: each had the item in flight."""
        for item, number in deaths.items():
            self._deaths[item] = min(number, DEATHS - 1)
            self._reasons[item] = "before the run was resumed"

    def __contains__(self, item: int) -> bool:
        return item in self._deaths

    def died(self, items: Iterable[int], reason: str) -> None:
        """A worker died, of `reason`, while it executed these items."""
        for item in items:
            self._groups.pop(item, None)
            self._deaths[item] = self._deaths.get(item, 0) + 1
            self._reasons[item] = reason

    def unexplained(self, items: Collection[int]) -> None:
        """Count a death of a worker that executed nothing; it had these items, which have not been heard of."""
        for item in items:
            deaths = self._unexplained[item] = self._unexplained.get(item, 0) + 1
            if deaths >= _UNEXPLAINED:
                self._deaths.setdefault(item, 0)
                self._groups.setdefault(item, len(items))

    def narrowed(self, items: Collection[int], reason: str) -> None:
        """Blame these suspects: the worker that had them and no others died."""
        if len(items) == 1:
            self.died(items, reason)
        else:
            self._groups.update(dict.fromkeys(items, len(items)))

    def deaths(self, item: int) -> int:
        """Deaths of workers that the item may have caused: it was in flight, or alone."""
        return self._deaths.get(item, 0)

    def innocent(self, items: Collection[int]) -> Collection[int]:
        """Those of `items` that may run beside others."""
        if not self._deaths:
            return items
        return [item for item in items if item not in self._deaths]

    def next_ones(self, items: Iterable[int]) -> list[int]:
        """Those suspects of `items` that are to run next, one after the other; first who is likely to be innocent.

        Those of groups come last, half of the largest at a time. One that is given up at its next death has a
        worker to itself: who ran there before it may have ruined that.
        """
        suspects = sorted((item for item in items if item in self._deaths), key=lambda item: (self._deaths[item], item))
        if seen := [item for item in suspects if item not in self._groups]:
            return [item for item in seen if self._deaths[item] < DEATHS - 1] or seen[:1]
        largest = max(self._groups[item] for item in suspects)
        return [item for item in suspects if self._groups[item] == largest][: -(-largest // 2)]

    def verdicts(self, items: Iterable[int]) -> dict[int, str]:
        """Return those of `items` that must not run any more, with the message to record for each."""
        guilty = [item for item in items if self.deaths(item) >= DEATHS]
        self._given_up.update(guilty)
        return {
            item: f"killed its worker {self.deaths(item)} times (the last time: {self._reasons[item]})"
            for item in guilty
        }

    def ended(self, items: Iterable[int]) -> None:
        """These items have a final state."""
        for item in items:
            for known in (self._deaths, self._reasons, self._unexplained, self._groups):
                known.pop(item, None)

    def again(self, items: Iterable[int]) -> None:
        """These items are to run again though they had ended: those that were given up run alone from the start."""
        for item in items if self._given_up else ():
            if item in self._given_up:
                self._given_up.discard(item)
                self._deaths[item] = 1
                self._reasons[item] = ""
