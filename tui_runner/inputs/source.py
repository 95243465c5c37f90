"""What an input is to the rest of the program, the inputs that are plain Python, and cutting an input into chunks."""

from __future__ import annotations

import math
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.inputs.keys import KeyMaker
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.describe import is_own_code
from tui_runner.text.messages import raised
from tui_runner.text.redaction import redact


class Source(ABC):
    """The items of a run, in order; can be iterated again unless it is standard input or a generator.

    An iterator belongs to the thread that iterates. It raises `UserError` where the input is broken.

    Attributes:
        text: what the person gave, None for items that a job or a program makes.
        columns: of a table; one name for an input of single values; None for items of any shape.
        unique: whether it is certain that no item comes twice.
        may_wait: whether its items may be slow to come, so that their chunk does not wait for them.
    """

    text: str | None = None
    columns: tuple[str, ...] | None = None
    unique: bool = False
    may_wait: bool = False

    @property
    def total(self) -> int | None:
        """How many items there are, None where counting them would take long. May take a second."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[object]:
        """Read the items from the first on."""

    def comes_within(self, seconds: float) -> bool:
        """Whether the next item, or the end, is there within so many seconds; for whoever iterates, in its thread.

        Where nobody can look ahead the answer is yes as long as there are any.
        """
        return not self.may_wait or seconds > 0

    def select(self, columns: Sequence[str] | None) -> Source:
        """The same input with only these columns in its rows, which stay dicts; None for all.

        Inputs that are no tables stay as they are.
        """
        return self

    def as_written(self, columns: Collection[str]) -> Source:
        """The same input with the values of these columns as the text that stands in the file.

        Inputs whose values have types of their own stay as they are.
        """
        return self


class RangeSource(Source):
    """The integers of a range."""

    columns = ("value",)
    unique = True

    def __init__(self, values: range, text: str | None = None) -> None:
        self._values = values
        self.text = text

    @property
    def total(self) -> int:
        """Length of the range."""
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)


class ItemsSource(Source):
    """The items of any iterable, read lazily; what its code raises becomes a `UserError`, redacted."""

    def __init__(self, items: Iterable[object], redact: Callable[[str], str]) -> None:
        self._items = items
        self._redact = redact
        self.unique = isinstance(items, range)
        self.may_wait = not isinstance(items, Sized)

    @property
    def total(self) -> int | None:
        """What `len` says, None for an iterable without a length."""
        if not isinstance(self._items, Sized):
            return None
        try:
            with no_exit_at_once():
                return len(self._items)
        except (Exception, SystemExit):  # a class of the user's, or a range longer than sys.maxsize
            return None

    def __iter__(self) -> Iterator[object]:
        try:
            yield from self._items
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"making the items failed: {raised(error, self._redact)}", where=_line_of(error)) from error


def items_source(items: Iterable[object], redact: Callable[[str], str] = redact) -> Source:
    """Return a source of the items that a job makes or a program gives.

    Args:
        items: any iterable.
        redact: takes secrets out of the message of what it raises.
    """
    return ItemsSource(items, redact)


def total_items(source: Source, limit: int | None) -> int | None:
    """How many items a run over `source` has when it takes `limit` at most; None while unknown."""
    total = source.total
    return total if total is None or limit is None else min(total, limit)


def _line_of(error: BaseException) -> str:
    """Return `file:line` of the innermost frame outside tui-runner: of `os._exit` the line that calls it."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = next((frame for frame in reversed(frames) if not is_own_code(frame.filename)), None)
    return f"{theirs.filename}:{theirs.lineno}" if theirs is not None else ""


_PATIENCE = 1.0
"""Seconds that an item waits for more of its chunk: longer, and a person thinks that nothing happens."""


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Consecutive items of an input.

    Attributes:
        number: position among the chunks, from 0.
        first_item: position in the input of its first item, from 0.
        values: the items.
        keys: the key of each, from `KeyMaker`.
    """

    number: int
    first_item: int
    values: list[object]
    keys: list[str]


def cut(source: Source, chunk_size: int | Callable[[], int], *, limit: int | None = None) -> Iterator[InputChunk]:
    """The chunks of an input, read as they are asked for.

    When the input breaks off with an error, the items before it come first, in a shorter chunk. Nor do items wait long
    for others that are slow to come: what there is is a chunk then. So chunks are no others when the same input is cut
    again, unless it `may_wait`.

    Args:
        source: the input.
        chunk_size: items a chunk, or what gives those of the next one; the last one may have fewer.
        limit: take only the first so many items.

    Raises:
        UserError: the input is broken.
    """
    key = KeyMaker(unique=source.unique).key
    items = islice(source, limit)
    first_item = number = 0
    failure: BaseException | None = None
    while failure is None:
        values: list[object] = []
        size = chunk_size if isinstance(chunk_size, int) else chunk_size()
        if size < 1:
            raise ValueError(f"a chunk of {size} items")
        try:
            _fill(values, items, source, size)
        except Exception as error:
            failure = error
        if not values:
            break
        yield InputChunk(number, first_item, values, [key(value) for value in values])
        number += 1
        first_item += len(values)
    if failure is not None:
        raise failure


def _fill(values: list[object], items: Iterator[object], source: Source, size: int) -> None:
    """Add items to `values` until there are `size`; what was taken is in there also when the iterator raises."""
    if not source.may_wait:
        values.extend(islice(items, size))
        return
    until = math.inf
    for value in islice(items, size):
        values.append(value)
        until = min(until, time.monotonic() + _PATIENCE)
        if len(values) == size or not source.comes_within(until - time.monotonic()):
            return


def is_small(paths: Sequence[Path]) -> bool:
    """Whether files are so small, and so few, that reading them once more only for counting is not felt."""
    if len(paths) > _FEW_FILES:
        return False
    try:
        sizes = [path.stat().st_size * (8 if path.name.lower().endswith(".gz") else 1) for path in paths]
    except OSError:
        return False
    return sum(sizes) <= _SMALL_BYTES


_SMALL_BYTES = 64 << 20
"""Files that are together below this size are read once more for what is better known beforehand: half a second."""


_FEW_FILES = 500
"""Opening a file and finding out how it is written takes DuckDB some milliseconds."""
