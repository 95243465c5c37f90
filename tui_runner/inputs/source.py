"""The interface of an input, the reading of its items, and the inputs that are plain Python.

A `Source` names the items; an `ItemReader` reads them in order, for one thread. If the input allows it, a reader skips
items without creating Python objects, and knows at which byte the next item begins.
"""

from __future__ import annotations

import threading
import time
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
from tui_runner.inputs.compressed_files import is_compressed
from tui_runner.inputs.keys import plain_key
from tui_runner.system.process import is_ctrl_c, no_exit_at_once
from tui_runner.text.describe import line_of
from tui_runner.text.items import MAX_INPUT_BYTES
from tui_runner.text.messages import raised
from tui_runner.text.numbers import plural
from tui_runner.text.redaction import redact

Progress = Callable[[str], None]
"""Called, any number of times, with a text about the current work, if opening an input takes long."""


def silent(doing: str) -> None:
    """Ignore progress; a `Progress`."""


class Source(ABC):
    """The items of a run, in order; can be iterated again, except standard input and generators.

    An iterator belongs to one thread. It raises `UserError` if the input is broken.

    Attributes:
        text: `SOURCE` as the user gave it; None for items that a job or a program makes.
        columns: names of a table's columns; one name for an input of single values; None for items of any shape.
        may_wait: True if items may arrive slowly; then their chunk does not wait for them.
        tell: called with a level and a line for the log while items are read; the caller may set it.
        lost: reason for which the items cannot be read again; empty if they can.
        remarks: notes for the user about opening the input.
    """

    text: str | None = None
    columns: tuple[str, ...] | None = None
    may_wait: bool = False
    lost: str = ""
    remarks: tuple[str, ...] = ()
    tell: Callable[[str, str], None] = staticmethod(lambda level, text: None)

    @property
    def total(self) -> int | None:
        """Number of items; None if counting would take long. May take a second."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[object]:
        """Iterate over all items."""

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the items from the first one on, or from byte `offset` on, an `ItemReader.offset`."""
        return BackgroundReader(iter(self)) if self.may_wait else IteratorReader(iter(self))

    def fingerprint(self) -> str | None:
        """Return a text that changes exactly if the items change; None if that cannot be determined."""
        return None

    def as_written(self, columns: Collection[str]) -> Source:
        """Return the same input with the values of these columns as written in the file.

        An input whose values have types is returned unchanged.
        """
        return self


class ItemReader(ABC):
    """Reads items in order. Belongs to one thread."""

    @property
    def offset(self) -> int | None:
        """Byte at which the next item begins, for `Source.open`; None if the input has no byte offsets."""
        return None

    @abstractmethod
    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`; fewer if they are large or arrive slowly.

        Nothing is appended only at the end of the input, or for a `count` of 0.

        Args:
            values: gets the items.
            count: items to append at most.
            patience: seconds that an item waits for further items that arrive slowly; None for `PATIENCE`.

        Raises:
            UserError: the input is broken. Items that were read before the error are in `values`.
        """

    @abstractmethod
    def skip(self, count: int) -> None:
        """Pass over `count` items."""

    def comes_within(self, seconds: float) -> bool:
        """Return True if the next item, or the end, arrives within `seconds`; always True unless `may_wait`."""
        return True

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close open files."""


TAKEN_BYTES = 16 << 20
"""Approximate bytes of items that a reader returns at once at most, if it knows their sizes. So a chunk of large items
has fewer of them."""
PATIENCE = 1.0
"""Seconds that an item waits for other items of its chunk. With more, the run would seem to do nothing."""


class IteratorReader(ItemReader):
    """Reads an iterator, never further than requested."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`, fewer at the end."""
        values.extend(islice(self._items, count))

    def skip(self, count: int) -> None:
        """Skip `count` items. They are generated nevertheless."""
        deque(islice(self._items, count), maxlen=0)


class BackgroundReader(ItemReader):
    """Reads an iterator in a separate thread, so that items are delivered while the next one is slow.

    The thread reads as many items as `take` requests. If an item takes too long, `take` returns without it, while the
    thread keeps waiting; it cannot be interrupted.
    """

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items
        self._changed = threading.Condition()
        """Guards the fields below; notified when the thread may read, has read items, or must end."""
        self._thread: threading.Thread | None = None
        self._read: deque[object] = deque()
        self._first_at = 0.0
        """Time at which the oldest waiting item arrived, by `time.monotonic()`."""
        self._wanted = 0
        """Number of items that the thread may still read; negative while it waits for an item that is no longer
        needed."""
        self._ended = False
        self._error: BaseException | None = None

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`; fewer if no more arrive within `patience` seconds."""
        if count < 1:
            return
        with self._changed:
            self._ask_for(count)
            self._wait_for(count, PATIENCE if patience is None else patience)
            self._wanted = min(self._wanted, 0)
            if not self._read and self._error is not None:
                raise self._error
            values.extend(self._read.popleft() for _ in range(min(count, len(self._read))))

    def skip(self, count: int) -> None:
        """Skip `count` items. They are generated nevertheless."""
        while count > 0:
            values: list[object] = []
            self.take(values, min(count, _READ_AT_ONCE))
            if not values:
                return
            count -= len(values)

    def comes_within(self, seconds: float) -> bool:
        """Return True if the next item, or the end, arrives within `seconds`."""
        with self._changed:
            self._ask_for(1)
            self._changed.wait_for(lambda: self._read or self._ended, seconds)
            self._wanted = min(self._wanted, 0)
            return bool(self._read) or self._ended

    def close(self) -> None:
        """Make the thread end as soon as it does not wait for an item."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _ask_for(self, count: int) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slow input", daemon=True)
            self._thread.start()
        self._wanted = count - len(self._read)
        self._changed.notify_all()

    def _wait_for(self, count: int, patience: float) -> None:
        while len(self._read) < count and not self._ended:
            left = None
            if self._read:
                left = self._first_at + patience - time.monotonic()
                if left <= 0:
                    return
            self._changed.wait(left)

    def _run(self) -> None:
        try:
            with no_exit_at_once():
                while self._may_read():
                    self._deliver(next(self._items))
        except StopIteration:
            pass
        except BaseException as error:  # raised again in the thread that takes the items
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _may_read(self) -> bool:
        with self._changed:
            while self._wanted <= 0 and not self._ended:
                self._changed.wait()
            return not self._ended

    def _deliver(self, value: object) -> None:
        with self._changed:
            is_first = not self._read
            if is_first:
                self._first_at = time.monotonic()
            self._read.append(value)
            self._wanted -= 1
            if is_first or self._wanted <= 0:
                self._changed.notify_all()


class RangeReader(ItemReader):
    """Reads a range; skipping takes no time."""

    def __init__(self, values: range) -> None:
        self._left = values

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` numbers to `values`, fewer at the end."""
        values.extend(self._left[:count])
        self._left = self._left[count:]

    def skip(self, count: int) -> None:
        """Skip `count` numbers."""
        self._left = self._left[count:]


class Slice(Protocol):
    """Consecutive rows of a table that are not converted to Python objects yet."""

    @property
    def nbytes(self) -> int:
        """Size of all rows of this slice, in bytes."""

    def __len__(self) -> int: ...

    def values(self, start: int, stop: int) -> list[object]:
        """Return the rows from `start` to `stop` as items."""


class SliceReader(ItemReader):
    """Reads slices of a table; rows that are skipped are not converted to Python objects."""

    def __init__(self, slices: Iterator[Slice]) -> None:
        self._slices = slices
        self._slice: Slice | None = None
        self._next = 0

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` rows to `values`; fewer if they are large."""
        nbytes = 0
        for part, start, stop in self._parts(count):
            values.extend(part.values(start, stop))
            nbytes += part.nbytes * (stop - start) // len(part)
            if nbytes >= TAKEN_BYTES:
                return

    def skip(self, count: int) -> None:
        """Skip `count` rows."""
        for _ in self._parts(count):
            pass

    def _parts(self, count: int) -> Iterator[tuple[Slice, int, int]]:
        while count > 0:
            if self._slice is None or self._next == len(self._slice):
                self._slice = None  # release it before the next one is made
                self._slice, self._next = next(self._slices, None), 0
                if self._slice is None:
                    return
            start = self._next
            self._next = min(len(self._slice), start + count)
            count -= self._next - start
            yield self._slice, start, self._next


_READ_AT_ONCE = 256
"""Items requested in one call: enough to make its cost negligible, few enough to need little memory."""


def iterate(reader: ItemReader) -> Generator[object]:
    """Yield the remaining items of a reader."""
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
        """Return a reader of the numbers; `offset` is not used."""
        return RangeReader(self._values)

    def fingerprint(self) -> str:
        """Return the range as text."""
        return _range_fingerprint(self._values)


def _range_fingerprint(values: range) -> str:
    return f"range:{values.start}:{values.stop}:{values.step}"


Delay = Callable[[BaseException, int], float | None]
"""Returns the seconds until the next try, or None for no more tries. Takes the last error and the number of consecutive
failures."""


def never(error: BaseException, failures: int) -> None:
    """Return None: never try again. A `Delay`."""


class ItemsSource(Source):
    """The items of any iterable, read lazily; errors of its code become a redacted `UserError`.

    A generator that has raised cannot continue. If `again` can make the items once more and `delay` allows it, reading
    continues after the items that were delivered already, provided that these are the same.
    """

    def __init__(
        self,
        items: Iterable[object],
        redact: Callable[[str], str],
        again: Callable[[], Iterable[object]] | None = None,
        delay: Delay = never,
    ) -> None:
        self._items = items
        self._redact = redact
        self._again = again
        self._delay = delay
        self.may_wait = not isinstance(items, Sized)

    @property
    def total(self) -> int | None:
        """Number of items; None for an iterable without a length."""
        if not isinstance(self._items, Sized):
            return None
        try:
            with no_exit_at_once():
                return len(self._items)
        except (Exception, SystemExit):  # a class of the user's, or a range longer than sys.maxsize
            return None

    def __iter__(self) -> Iterator[object]:
        given, failures = _Given(), 0
        items: Iterable[object] | None = self._items
        while True:
            passed, known = _Given(), given.number
            try:
                for value in self._made_again() if items is None else items:
                    if passed.number < known:
                        passed.add(value)
                        _compare(passed, given)
                        continue
                    if self._again is not None:
                        given.add(value)
                    failures = 0
                    yield value
                return
            except UserError as error:
                if error.__cause__ is None:
                    raise
                cause: BaseException = error.__cause__
            except GeneratorExit:  # this generator is closed
                raise
            except BaseException as error:  # the user's code may raise anything
                if is_ctrl_c(error):
                    raise
                cause = error
            failures += 1
            seconds = None if self._again is None else self._delay(cause, failures)
            if seconds is None:
                what = f"making the items failed: {raised(cause, self._redact)}"
                raise UserError(what, where=line_of(cause)) from cause
            what = f"making the items failed ({raised(cause, self._redact)})"
            self.tell("WARNING", f"{what}: they are made again from the first one on in {seconds:.1f} s")
            time.sleep(seconds)
            items = None

    def _made_again(self) -> Iterable[object]:
        assert self._again is not None  # noqa: S101 - else nothing is tried again
        return self._again()

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the items."""
        return RangeReader(self._items) if isinstance(self._items, range) else super().open(offset)

    def fingerprint(self) -> str | None:
        """Return the range as text if the items are a range, else None."""
        return _range_fingerprint(self._items) if isinstance(self._items, range) else None


class _Given:
    """Number of the items delivered so far, and a digest of them."""

    def __init__(self) -> None:
        self.number = 0
        self.digest = 0

    def add(self, value: object) -> None:
        self.digest = hash((self.digest, plain_key(value, self.number)))
        self.number += 1


def _compare(passed: _Given, given: _Given) -> None:
    if passed.number == given.number and passed.digest != given.digest:
        what = f"making the items failed, and the first {plural(given.number, 'item')} are others when made again"
        raise UserError(what, do="resume the run, which compares every item with the ledger")


class LostItems(Source):
    """Items that cannot be read again.

    Args:
        text: `SOURCE` as the user gave it.
        columns: the input's columns.
        reason: why they cannot be read.
        error: error that reading raises; None for a `UserError` with the reason.
    """

    def __init__(
        self, text: str | None, columns: tuple[str, ...] | None, reason: str, error: UserError | None = None
    ) -> None:
        self.text = text
        self.columns = columns
        self.lost = reason
        self._error = error

    def __iter__(self) -> Iterator[object]:
        raise self._error or UserError(self.lost, where=self.text or "")


def items_source(items: Iterable[object]) -> Source:
    """Return a source of the items that a Python program passes."""
    return ItemsSource(items, redact)


def made_items(
    make: Callable[[], Iterable[object]],
    redact: Callable[[str], str],
    delay: Delay = never,
    *,
    fails_later: bool = False,
) -> Source:
    """Return a source of the items that a job makes.

    Args:
        make: calls the job's function.
        redact: takes secrets out of the messages of its errors.
        delay: decides when the function is called again after an error, in the call itself or while the items are read.
        fails_later: if the function raises, return a source that cannot be read instead of raising the error.

    Raises:
        UserError: from `make`. Its cause is the function's error; it has no cause if the items are of a wrong type.
    """
    failures = 0
    while True:
        try:
            return ItemsSource(make(), redact, make, delay)
        except UserError as error:
            failures += 1
            seconds = None if error.__cause__ is None else delay(error.__cause__, failures)
            if seconds is None:
                if fails_later and error.__cause__ is not None:
                    return LostItems(None, None, str(error), error)
                raise
            time.sleep(seconds)


def is_range(source: Source) -> bool:
    """Return True if the items are the integers of a range."""
    return (source.fingerprint() or "").startswith("range:")


def total_items(source: Source, limit: int | None) -> int | None:
    """Return the number of items of a run over `source` that takes at most `limit` items; None while unknown."""
    total = source.total
    return total if total is None or limit is None else min(total, limit)


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Items of an input that are displayed, paused and sent together.

    Attributes:
        number: number of the chunk in its run, from 0.
        positions: position of each item in the run: a range for consecutive items.
        packed: the items, from `engine.packed_items.pack`.
        byte_offset: byte of the input at which the first item begins; None if unknown.
    """

    number: int
    positions: range | array[int]
    packed: bytes
    byte_offset: int | None = None


def is_small(paths: Sequence[Path]) -> bool:
    """Return True if reading the files once more, only to count, takes no noticeable time."""
    if len(paths) > _FEW_FILES:
        return False
    try:
        sizes = [path.stat().st_size * (8 if is_compressed(path) else 1) for path in paths]
    except OSError:  # opening the file reports it
        return False
    return sum(sizes) <= _SMALL_BYTES


_SMALL_BYTES = 64 << 20
"""If all files together have at most this many bytes, they are read once more to count their items, which takes half a
second."""


_FEW_FILES = 500
"""At most this many files are read once more: opening a file and finding its layout takes DuckDB some milliseconds."""


class FileSource(Source):
    """Items in files.

    Args:
        paths: the files.
        text: `SOURCE` as the user gave it.
        max_bytes: bytes that an item may have.
    """

    def __init__(self, paths: Sequence[Path], text: str, max_bytes: int = MAX_INPUT_BYTES) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._max_bytes = max_bytes
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """The number of items; None if counting them would take long."""
        if self._total is None:
            self._total = self._count()
        return self._total

    @abstractmethod
    def _count(self) -> int | None:
        """Count the items, unless that would take long."""

    def fingerprint(self) -> str | None:
        """Return a digest of the names, sizes, times and inodes of the files; None if one of them is gone."""
        digest = blake2b(digest_size=16)
        try:
            for path in self._paths:
                stat = path.stat()
                digest.update(
                    f"{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\0".encode("utf-8", "surrogateescape")
                )
        except OSError:
            return None
        return f"files:{digest.hexdigest()}"
