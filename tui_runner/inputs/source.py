"""The interface of an input, readers for its items, and the inputs that need only Python.

A `Source` stands for all items; an `ItemReader` reads them once, in order, in one thread. If the kind of input allows
it, a reader skips items without creating Python objects, and knows at which byte the next item begins.
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
"""A function that is called repeatedly with a text about the current work while an input is opened, which may take
long."""


def silent(doing: str) -> None:
    """Ignore progress; a `Progress` function."""


class Source(ABC):
    """The items of a run, in order. All inputs except standard input and generators can be iterated more than once.

    An iterator must be used by one thread. It raises `UserError` if the input is broken.

    Attributes:
        text: `SOURCE` as the user gave it; None for items that a job or a program creates.
        columns: names of a table's columns; a single name if the items are bare values; None for items of any shape.
        may_wait: True if items may arrive slowly. A chunk is then sent with the items that have arrived.
        tell: called with a level and a message for the log while items are read; the caller may set it.
        lost: why the items cannot be read again; empty if they can.
        remarks: messages for the user about opening the input.
    """

    text: str | None = None
    columns: tuple[str, ...] | None = None
    may_wait: bool = False
    lost: str = ""
    remarks: tuple[str, ...] = ()
    tell: Callable[[str, str], None] = staticmethod(lambda level, text: None)

    @property
    def total(self) -> int | None:
        """Number of items; None if it is unknown until they are read. Counting may take a few seconds."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[object]:
        """Iterate over all items."""

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the items, beginning with the first one, or at byte `offset` (see `ItemReader.offset`)."""
        return BackgroundReader(iter(self)) if self.may_wait else IteratorReader(iter(self))

    def fingerprint(self) -> str | None:
        """Return a text that changes when the input changes; None if changes cannot be detected."""
        return None

    def as_written(self, columns: Collection[str]) -> Source:
        """Return the same input, but with the values of `columns` as the text that the file has for them.

        An input of another format than CSV is returned unchanged.
        """
        return self


class ItemReader(ABC):
    """A reader of items, in order. Only one thread uses it."""

    @property
    def offset(self) -> int | None:
        """Byte at which the next item begins, as used by `Source.open`; None if the input has no byte offsets."""
        return None

    @abstractmethod
    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next items to `values`: `count`, or fewer if they are large or arrive slowly.

        Unless `count` is 0, at least one item is appended before the end of the input.

        Args:
            values: receives the items.
            count: items to append at most.
            patience: seconds for which an item waits for later items that arrive slowly; None for `PATIENCE`.

        Raises:
            UserError: the input is broken. Items that were read before the error are in `values`.
        """

    @abstractmethod
    def skip(self, count: int) -> None:
        """Skip the next `count` items."""

    def comes_within(self, seconds: float) -> bool:
        """Return True if the next item or the end of the input arrives within `seconds`.

        Inputs that never wait return True.
        """
        return True

    def close(self) -> None:  # noqa: B027 - most readers have nothing to close
        """Close open files."""


TAKEN_BYTES = 16 << 20
"""Approximate bytes of items that a reader returns at once at most, if it knows their sizes. A chunk of large items
therefore has fewer items."""
PATIENCE = 1.0
"""Seconds for which an item waits for other items of its chunk. With a larger value, a run would seem to do nothing."""


class IteratorReader(ItemReader):
    """A reader of an iterator that never takes more items from it than were requested."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`, or fewer at the end."""
        values.extend(islice(self._items, count))

    def skip(self, count: int) -> None:
        """Skip `count` items, which the iterator generates nevertheless."""
        deque(islice(self._items, count), maxlen=0)


class BackgroundReader(ItemReader):
    """A reader of an iterator in a separate thread, so that items are delivered although the next one is slow.

    The thread reads as many items as `take` requests. If an item takes too long, `take` returns without it, while the
    thread waits for it; that thread cannot be interrupted.
    """

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items
        self._changed = threading.Condition()
        """Protects the fields below. Notified when the thread may read, has read items, or must end."""
        self._thread: threading.Thread | None = None
        self._read: deque[object] = deque()
        self._first_at = 0.0
        """Time at which the oldest waiting item arrived, by `time.monotonic()`."""
        self._wanted = 0
        """Number of items that the thread may still read. Negative while the thread waits for an item that `take` no
        longer needs."""
        self._ended = False
        self._error: BaseException | None = None

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`, or fewer at the end or if they arrive slowly.

        Wait for the first item without a limit, and until `patience` seconds after its arrival for the others.
        """
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
        """Skip `count` items, which the iterator generates nevertheless."""
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
        """Make the thread end as soon as the iterator returns."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _ask_for(self, count: int) -> None:
        if self._thread is None:
            # daemon: it executes the job's iterator, which may block for any time
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
        except BaseException as error:  # `take` raises it in the thread that takes the items
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
            # `take` waits for the first item, at which its patience begins, and for the last one that it wants.
            if is_first or self._wanted <= 0:
                self._changed.notify_all()


class RangeReader(ItemReader):
    """A reader of the integers of a range. Skipping takes no time."""

    def __init__(self, values: range) -> None:
        self._left = values

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` numbers to `values`, or fewer at the end."""
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
    """A reader of slices of a table. Rows that are skipped are not converted to Python objects."""

    def __init__(self, slices: Iterator[Slice]) -> None:
        self._slices = slices
        self._slice: Slice | None = None
        self._next = 0

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` rows to `values`, or fewer if they are large or at the end."""
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
                self._slice = None  # release its memory before the next one is created
                self._slice, self._next = next(self._slices, None), 0
                if self._slice is None:
                    return
            start = self._next
            self._next = min(len(self._slice), start + count)
            count -= self._next - start
            yield self._slice, start, self._next


_READ_AT_ONCE = 256
"""Items requested per call: so many that the cost of a call is negligible, and so few that they take little memory."""


def iterate(reader: ItemReader) -> Generator[object]:
    """Yield the remaining items of a reader, then close it."""
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
        """Number of integers in the range."""
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the integers. `offset` is ignored."""
        return RangeReader(self._values)

    def fingerprint(self) -> str:
        """Return the range as text, which identifies its items."""
        return _range_fingerprint(self._values)


def _range_fingerprint(values: range) -> str:
    return f"range:{values.start}:{values.stop}:{values.step}"


Delay = Callable[[BaseException, int], float | None]
"""A function that returns the seconds until items are created again, or None to give up. It takes the last error and
the number of consecutive failures."""


def never(error: BaseException, failures: int) -> None:
    """Return None, so that items are never created again; a `Delay` function."""


class ItemsSource(Source):
    """The items of any iterable, read lazily. Errors raised by its code become a redacted `UserError`.

    A generator that has raised cannot continue. If `again` can create the items once more and `delay` allows it, the
    items that were delivered already are skipped, and reading continues with the next. A `UserError` is raised if they
    are not the same.

    Args:
        items: the items.
        redact: replaces secrets in errors.
        again: creates the items again; None if that is impossible.
        delay: decides after each error when `again` is called.
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
        """Number of items; None for an iterable without a usable length."""
        if not isinstance(self._items, Sized):
            return None
        try:
            with no_exit_at_once():
                return len(self._items)
        except (Exception, SystemExit):  # `__len__` is the user's, or a range is longer than sys.maxsize
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
                if passed.number < known:  # a part of what was delivered has not come again
                    raise _different(known)
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
        """Return a reader of the items. `offset` is ignored."""
        return RangeReader(self._items) if isinstance(self._items, range) else super().open(offset)

    def fingerprint(self) -> str | None:
        """Return the range as text if the items are a range, otherwise None."""
        return _range_fingerprint(self._items) if isinstance(self._items, range) else None


class _Given:
    """The number and a digest of the first items."""

    def __init__(self) -> None:
        self.number = 0
        self.digest = 0

    def add(self, value: object) -> None:
        self.digest = hash((self.digest, plain_key(value, self.number)))
        self.number += 1


def _compare(passed: _Given, given: _Given) -> None:
    if passed.number == given.number and passed.digest != given.digest:
        raise _different(given.number)


def _different(number: int) -> UserError:
    what = f"making the items failed, and the second time the first {plural(number, 'item')} were different"
    return UserError(what, do="resume the run, which compares every item with the ledger")


class LostItems(Source):
    """Items that cannot be read again; iterating over them raises an error.

    Args:
        text: `SOURCE` as the user gave it.
        columns: the input's columns.
        reason: why they cannot be read.
        error: the error to raise; None for a `UserError` with the reason.
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
    """Return a source of the items that a Python program passes to `run`."""
    return ItemsSource(items, redact)


def made_items(
    make: Callable[[], Iterable[object]],
    redact: Callable[[str], str],
    delay: Delay = never,
    *,
    fails_later: bool = False,
) -> Source:
    """Return a source of the items that a job creates.

    Args:
        make: calls the job's function that creates the items.
        redact: replaces secrets in its errors.
        delay: decides when the function is called again after an error, in the call itself or while the items are read.
        fails_later: True to return a source that raises the function's error when it is read, instead of raising it
            here.

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
    """Return the number of items of a run over `source` that is limited to `limit` items; None while it is unknown."""
    total = source.total
    return total if total is None or limit is None else min(total, limit)


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Items of an input that are displayed, paused and sent together.

    Attributes:
        number: number of the chunk within its run, from 0.
        positions: position of each item in the run: a range for consecutive items.
        packed: the items, as `engine.packed_items.pack` returns them.
        byte_offset: byte of the input at which the first item begins; None if unknown.
    """

    number: int
    positions: range | array[int]
    packed: bytes
    byte_offset: int | None = None


def is_small(paths: Sequence[Path]) -> bool:
    """Return True if the files are so small that they can be read once more only to count their items."""
    if len(paths) > _FEW_FILES:
        return False
    try:
        # A compressed file may decompress to any size; text often has about eight times the bytes.
        sizes = [path.stat().st_size * (8 if is_compressed(path) else 1) for path in paths]
    except OSError:  # opening the file reports it
        return False
    return sum(sizes) <= _SMALL_BYTES


_SMALL_BYTES = 64 << 20
"""Bytes of all files together up to which they are read once more to count their items, which takes half a second. The
bytes of a compressed file count eightfold."""


_FEW_FILES = 500
"""Number of files up to which they are read once more. DuckDB takes some milliseconds to open each file."""


class FileSource(Source):
    """Items in files. A subclass reads one format."""

    def __init__(self, paths: Sequence[Path], text: str, max_bytes: int = MAX_INPUT_BYTES) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._max_bytes = max_bytes
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Number of items; None if counting would take long."""
        if self._total is None:
            self._total = self._count()
        return self._total

    @abstractmethod
    def _count(self) -> int | None:
        """Return the number of items; None if counting would take long."""

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
