"""Which items of an input are to run, by what the ledger has of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet


class Selection:
    """Items that are not done; or, for a retry, those that failed and nothing else.

    Args:
        done: how many rows each item has that ended well, by key.
        only: run these alone, None for all that are not done.

    Attributes:
        left_out: items that were passed over although the ledger has nothing of them: the input has grown since.
    """

    def __init__(self, done: Mapping[str, int], only: AbstractSet[str] | None = None) -> None:
        self._done = done
        self._only = only
        self.left_out = 0

    def pending(self, first_item: int, keys: Sequence[str]) -> Collection[int]:
        """Positions of the items to run among consecutive ones with these keys, the first at `first_item`."""
        only = self._only
        if only is not None:
            self.left_out += sum(key not in only and key not in self._done for key in keys)
            return [first_item + index for index, key in enumerate(keys) if key in only]
        if not self._done:
            return range(first_item, first_item + len(keys))
        return [first_item + index for index, key in enumerate(keys) if key not in self._done]

    def recorded_rows(self, keys: Sequence[str]) -> int:
        """How many rows the items with these keys have in the database already."""
        done = self._done
        return sum(done.get(key, 0) for key in keys) if done else 0
