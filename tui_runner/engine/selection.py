"""Which items of an input are to run, by what the ledger has of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet


class Selection:
    """Items that are not done; or, for a retry, those that failed and nothing else.

    Args:
        done: how many rows each item has that ended well, by key.
        again: keys of the items that have another final state: they run again.
        only_again: run these alone, instead of all that are not done.
    """

    def __init__(
        self, done: Mapping[str, int], again: AbstractSet[str] = frozenset(), *, only_again: bool = False
    ) -> None:
        self._done = done
        self._again = again
        self._only = again if only_again else None
        self._missed = set(again)
        """Of these, those that the input has not had yet."""
        self._left_out = 0
        """Items that were passed over although the ledger has nothing of them: the input has grown since."""

    def pending(self, first_item: int, keys: Sequence[str]) -> Collection[int]:
        """Positions of the items to run among consecutive ones with these keys, the first at `first_item`."""
        if self._missed:
            self._missed.difference_update(keys)
        only = self._only
        if only is not None:
            self._left_out += sum(key not in only and key not in self._done for key in keys)
            return [first_item + index for index, key in enumerate(keys) if key in only]
        if not self._done:
            return range(first_item, first_item + len(keys))
        return [first_item + index for index, key in enumerate(keys) if key not in self._done]

    def known(self, first_item: int, keys: Sequence[str]) -> Collection[int]:
        """Positions of the items to run that had failed before; none for a retry, which runs nothing else."""
        again = self._again
        if self._only is not None or not again:
            return ()
        return [first_item + index for index, key in enumerate(keys) if key in again]

    def recorded_rows(self, keys: Sequence[str]) -> int:
        """How many rows the items with these keys have in the database already."""
        done = self._done
        return sum(done.get(key, 0) for key in keys) if done else 0

    def warnings(self) -> list[str]:
        """What is to be said of the input when all of it was read."""
        found = []
        if left_out := self._left_out:
            found.append(f"{left_out:,} items that are new in the input were left out: a retry runs no new ones")
        if missed := len(self._missed):
            found.append(f"items that had failed are not in the input any more, and stay as they are: {missed:,}")
        return found
