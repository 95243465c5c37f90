"""Finds the items that kill their worker.

When a worker is lost, any item that it was executing may have killed it. All of them become suspects and run in a
worker that executes one item at a time, so that only one item can be the cause of the next death. An item is recorded
as failed if it was in flight in three deaths, and was the only item in flight in the last two of them. If earlier
processes of the run recorded two of the deaths, the third one alone is enough.

An item may also damage its worker and return, for example by closing the worker's files. Then nothing is in flight when
the worker dies. When two workers die with the same unreported items, these items become suspects as a group. Half of a
group runs at a time. If all items of the half end, they are no longer suspects; if its worker dies, the half is the new
group. So the item that kills workers is found by bisection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

DEATHS = 3
"""Deaths after which an item is recorded as failed. In the first one, other items may have been in flight as well. The
second one, with the item alone, makes it the likely cause. A third one is needed, because the system may also kill a
worker when the machine's memory runs out."""

_UNEXPLAINED = 2
"""Deaths with nothing in flight after which the unreported items become suspects. The cause of a single death may lie
outside the worker, for example a kill by the system."""


class PoisonItems:
    """Items that may have killed a worker and have not ended since, by position in the input."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}
        self._reasons: dict[int, str] = {}
        self._unexplained: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        """Size of the group of each suspect that was not in flight in a death; one item of each group is to blame."""
        self._given_up: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._deaths)

    @property
    def has_any(self) -> bool:
        """True if there are suspects, or items that become suspects with the next death."""
        return bool(self._deaths or self._unexplained)

    @property
    def items(self) -> Collection[int]:
        """The positions of all suspects."""
        return self._deaths.keys()

    def remember(self, deaths: Mapping[int, int]) -> None:
        """Add deaths that earlier processes recorded: the number of deaths in which an item was in flight, by item."""
        for item, number in deaths.items():
            # Allow the item at least one more attempt, alone in its worker. In the recorded deaths, other items may
            # have been in flight as well.
            self._deaths[item] = min(number, DEATHS - 1)
            self._reasons[item] = "before the run was resumed"

    def __contains__(self, item: int) -> bool:
        return item in self._deaths

    def record_death(self, items: Iterable[int], reason: str) -> None:
        """Record that a worker died, for `reason`, while it executed `items`."""
        for item in items:
            self._groups.pop(item, None)
            self._deaths[item] = self._deaths.get(item, 0) + 1
            self._reasons[item] = reason

    def record_idle_death(self, items: Collection[int]) -> None:
        """Record that a worker died with nothing in flight; `items` are the items that it had not reported."""
        for item in items:
            deaths = self._unexplained[item] = self._unexplained.get(item, 0) + 1
            if deaths >= _UNEXPLAINED:
                self._deaths.setdefault(item, 0)
                self._groups.setdefault(item, len(items))

    def record_suspect_death(self, items: Collection[int], reason: str) -> None:
        """Record that the worker for suspects died with nothing in flight. One of `items` is the cause."""
        if len(items) == 1:
            self.record_death(items, reason)
        else:
            self._groups.update(dict.fromkeys(items, len(items)))

    def deaths(self, item: int) -> int:
        """Return the number of deaths that the item may have caused, because it was in flight or alone."""
        return self._deaths.get(item, 0)

    def without_suspects(self, items: Collection[int]) -> Collection[int]:
        """Return the `items` that are not suspects and may run beside others."""
        if not self._deaths:
            return items
        return [item for item in items if item not in self._deaths]

    def next_suspects(self, items: Iterable[int]) -> list[int]:
        """Return the suspects among `items` to send next; they run one after the other, the least suspected first.

        Items that were in flight in a death come before groups. If there are only groups, half of the largest group is
        returned. An item that would be recorded as failed after its next death is returned alone, because an item that
        runs before it could damage the worker.
        """
        suspects = sorted((item for item in items if item in self._deaths), key=lambda item: (self._deaths[item], item))
        if seen := [item for item in suspects if item not in self._groups]:
            return [item for item in seen if self._deaths[item] < DEATHS - 1] or seen[:1]
        largest = max(self._groups[item] for item in suspects)
        return [item for item in suspects if self._groups[item] == largest][: -(-largest // 2)]

    def refused(self, items: Iterable[int]) -> dict[int, str]:
        """Return {item: error message} of the `items` that have caused too many deaths and must not run again."""
        guilty = [item for item in items if self.deaths(item) >= DEATHS]
        self._given_up.update(guilty)
        return {
            item: f"killed its worker {self.deaths(item)} times (the last time: {self._reasons[item]})"
            for item in guilty
        }

    def ended(self, items: Iterable[int]) -> None:
        """Forget items that have reached a final state."""
        for item in items:
            for known in (self._deaths, self._reasons, self._unexplained, self._groups):
                known.pop(item, None)

    def again(self, items: Iterable[int]) -> None:
        """Prepare items to run again by the user's command.

        Items that were recorded as failed here are suspects from the start.
        """
        for item in items if self._given_up else ():
            if item in self._given_up:
                self._given_up.discard(item)
                self._deaths[item] = 1
                self._reasons[item] = ""
