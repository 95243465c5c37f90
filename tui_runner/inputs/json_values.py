"""JSON values as items: which columns they have, and only some of their members."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from tui_runner.inputs.source import Source

_SAMPLE = 1000
"""JSON values that are looked at to see which columns they have."""


class JsonValues(Source):
    """The values in files of JSON, whatever stands between them."""

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._total: int | None = None
        self.columns, self._pick = json_shape(islice(self._values(), _SAMPLE))

    def __iter__(self) -> Iterator[object]:
        return map(self._pick, self._values())

    def select(self, columns: Sequence[str] | None) -> Source:
        """The same objects with only these members."""
        if columns is None or self.columns is None or len(self.columns) < 2:
            return self
        return SelectedMembers(self, columns)

    @abstractmethod
    def _values(self) -> Iterator[object]:
        """Every value of every file."""


class SelectedMembers(Source):
    """JSON objects with only some of their members; a member that an object lacks stays lacking."""

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        self.text = source.text
        self.columns = tuple(columns)
        self._source = source
        self._wanted = frozenset(columns)

    @property
    def total(self) -> int | None:
        """That of the whole."""
        return self._source.total

    def __iter__(self) -> Iterator[object]:
        wanted = self._wanted
        for value in self._source:
            if isinstance(value, dict):
                yield {name: part for name, part in value.items() if name in wanted}
            else:
                yield value


def json_shape(sample: Iterable[object]) -> tuple[tuple[str, ...] | None, Callable[[object], object]]:
    """The columns of JSON values, and what makes an item of one.

    Objects are rows; their columns are all the names in `sample`. With a single name the items are its bare
    values. Anything but objects has no columns: each value is an item as it is.
    """
    names: dict[str, None] = {}
    for value in sample:
        if not isinstance(value, dict):
            return None, _as_it_is
        names.update(dict.fromkeys(value))
    if len(names) != 1:
        return tuple(names) or None, _as_it_is
    (only,) = names

    def pick(value: object) -> object:
        return value.get(only) if isinstance(value, dict) else value

    return (only,), pick


def _as_it_is(value: object) -> object:
    return value
