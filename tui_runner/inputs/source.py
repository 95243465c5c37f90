"""What an input is to the rest of the program, how its items are read, and the inputs that are plain Python.

A `Source` names the items; an `ItemReader` reads them in order, for one thread. A reader skips items without making
Python objects of them where the input allows that, and says at which byte the next item begins where there is one.
"""

from __future__ import annotations

import math
import time
import traceback
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Protocol

from tui_runner.errors import UserError
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
        may_wait: whether its items may be slow to come, so that their chunk does not wait for them.
        lost: why its items cannot be had again; empty where they can.
    """

    text: str | None = None
    columns: tuple[str, ...] | None = None
    may_wait: bool = False
    lost: str = ""

    @property
    def total(self) -> int | None:
        """How many items there are, None where counting them would take long. May take a second."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[object]:
        """Read the items from the first on."""

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the items from the first on, or from the one at byte `offset` that a reader has told."""
        return IteratorReader(iter(self))

    def fingerprint(self) -> str | None:
        """Return a text that stays the same exactly as long as the items do; None where that is not certain."""
        return None

    def comes_within(self, seconds: float) -> bool:
        """Whether the next item, or the end, is there within so many seconds; for whoever iterates, in its thread.

        Where nobody can look ahead the answer is yes as long as there are any.
        """
        return not self.may_wait or seconds > 0

    def as_written(self, columns: Collection[str]) -> Source:
        """The same input with the values of these columns as the text that stands in the file.

        Inputs whose values have types of their own stay as they are.
        """
        return self


class ItemReader(ABC):
    """Reads items in order. Belongs to one thread."""

    @property
    def offset(self) -> int | None:
        """Byte at which the next item begins, for `Source.open`; None where the input has no such place."""
        return None

    @abstractmethod
    def take(self, values: list[object], count: int) -> None:
        """Append the next `count` items to `values`, fewer at the end of the input.

        Raises:
            UserError: the input is broken. What was read before that is in `values`.
        """

    @abstractmethod
    def skip(self, count: int) -> None:
        """Pass over `count` items."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of what is open."""


class IteratorReader(ItemReader):
    """Reads an iterator, never further than it is asked to."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items

    def take(self, values: list[object], count: int) -> None:
        """Append the next `count` items to `values`, fewer at the end."""
        values.extend(islice(self._items, count))

    def skip(self, count: int) -> None:
        """Pass over `count` items; they are made all the same."""
        deque(islice(self._items, count), maxlen=0)


class RangeReader(ItemReader):
    """Reads a range, from anywhere at once."""

    def __init__(self, values: range) -> None:
        self._left = values

    def take(self, values: list[object], count: int) -> None:
        """Append the next `count` numbers to `values`, fewer at the end."""
        values.extend(self._left[:count])
        self._left = self._left[count:]

    def skip(self, count: int) -> None:
        """Pass over `count` numbers."""
        self._left = self._left[count:]


class Slice(Protocol):
    """Consecutive rows of a table that are no Python objects yet."""

    def __len__(self) -> int: ...

    def values(self, start: int, stop: int) -> list[object]:
        """Return those rows as items."""


class SliceReader(ItemReader):
    """Reads slices of a table; of rows that are skipped no Python objects are made."""

    def __init__(self, slices: Iterator[Slice]) -> None:
        self._slices = slices
        self._slice: Slice | None = None
        self._next = 0

    def take(self, values: list[object], count: int) -> None:
        """Append the next `count` rows to `values`, fewer at the end."""
        for part, start, stop in self._parts(count):
            values.extend(part.values(start, stop))

    def skip(self, count: int) -> None:
        """Pass over `count` rows."""
        for _ in self._parts(count):
            pass

    def _parts(self, count: int) -> Iterator[tuple[Slice, int, int]]:
        while count > 0:
            if self._slice is None or self._next == len(self._slice):
                self._slice = None  # not to be there beside the next one
                self._slice, self._next = next(self._slices, None), 0
                if self._slice is None:
                    return
            start = self._next
            self._next = min(len(self._slice), start + count)
            count -= self._next - start
            yield self._slice, start, self._next


_READ_AT_ONCE = 256


def iterate(reader: ItemReader) -> Generator[object]:
    """Yield what is left to a reader, item by item."""
    with closing(reader):
        while True:
            values: list[object] = []
            try:
                reader.take(values, _READ_AT_ONCE)
            except Exception:
                yield from values
                raise
            if not values:
                return
            yield from values


class RangeSource(Source):
    """The integers of a range."""

    columns = ("value",)

    def __init__(self, values: range, text: str | None = None) -> None:
        self._values = values
        self.text = text

    @property
    def total(self) -> int:
        """Length of the range."""
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the numbers."""
        return RangeReader(self._values)

    def fingerprint(self) -> str:
        """Return the range."""
        return _range_fingerprint(self._values)


def _range_fingerprint(values: range) -> str:
    return f"range:{values.start}:{values.stop}:{values.step}"


class ItemsSource(Source):
    """The items of any iterable, read lazily; what its code raises becomes a `UserError`, redacted."""

    def __init__(self, items: Iterable[object], redact: Callable[[str], str]) -> None:
        self._items = items
        self._redact = redact
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

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the items."""
        return RangeReader(self._items) if isinstance(self._items, range) else super().open(offset)

    def fingerprint(self) -> str | None:
        """Return the range, if that is what the items are."""
        return _range_fingerprint(self._items) if isinstance(self._items, range) else None


class LostItems(Source):
    """Items that cannot be read again.

    Args:
        text: what the person gave.
        columns: those that the input had.
        reason: why they cannot be read.
    """

    def __init__(self, text: str | None, columns: tuple[str, ...] | None, reason: str) -> None:
        self.text = text
        self.columns = columns
        self.lost = reason

    def __iter__(self) -> Iterator[object]:
        raise UserError(self.lost, where=self.text or "")


def items_source(items: Iterable[object], redact: Callable[[str], str] = redact) -> Source:
    """Return a source of the items that a job makes or a program gives.

    Args:
        items: any iterable.
        redact: takes secrets out of the message of what it raises.
    """
    return ItemsSource(items, redact)


def is_range(source: Source) -> bool:
    """Return True if the items are the integers of a range."""
    return (source.fingerprint() or "").startswith("range:")


def total_items(source: Source, limit: int | None) -> int | None:
    """How many items a run over `source` has when it takes `limit` at most; None while unknown."""
    total = source.total
    return total if total is None or limit is None else min(total, limit)


def _line_of(error: BaseException) -> str:
    """Return `file:line` of the innermost frame outside tui-runner: of `os._exit` the line that calls it."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = next((frame for frame in reversed(frames) if not is_own_code(frame.filename)), None)
    return f"{theirs.filename}:{theirs.lineno}" if theirs is not None else ""


PATIENCE = 1.0
"""Seconds that an item waits for more of its chunk: longer, and a person thinks that nothing happens."""


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Items of an input that are displayed, paused and sent together.

    Attributes:
        number: of the chunk in its run, from 0.
        positions: position of each item in the run: a range for consecutive items.
        packed: the items, from `protocol.pack`.
        byte_offset: where the first of them begins in the input; None where that has no such place.
    """

    number: int
    positions: range | array[int]
    packed: bytes
    byte_offset: int | None = None


def fill(values: list[object], reader: ItemReader, source: Source, count: int, patience: float | None = None) -> None:
    """Append the next `count` items to `values`; what was read is in there also when this raises.

    Items do not wait longer than `patience` seconds, None for `PATIENCE`, for others that are slow to come.
    """
    if not source.may_wait:
        reader.take(values, count)
        return
    until, patience = math.inf, PATIENCE if patience is None else patience
    for _ in range(count):
        before = len(values)
        reader.take(values, 1)
        if len(values) == before:
            return
        until = min(until, time.monotonic() + patience)
        if not source.comes_within(until - time.monotonic()):
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


def fingerprint_of_files(paths: Sequence[Path]) -> str | None:
    """Return a digest of the names, sizes, times and inodes of files; None when one of them is gone."""
    digest = blake2b(digest_size=16)
    try:
        for path in paths:
            stat = path.stat()
            digest.update(
                f"{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\0".encode("utf-8", "surrogateescape")
            )
    except OSError:
        return None
    return f"files:{digest.hexdigest()}"
