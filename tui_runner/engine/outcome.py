"""How an attempt ended, and the buffer in which outcomes wait for the collector.

An exception becomes text at once: keeping it would keep its frames, and with them whatever the function held
(measured: 2 GB where the text takes 2 MB).
"""

from __future__ import annotations

import os
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from tui_runner.engine.work import Task
from tui_runner.redaction import LONGEST_SECRET
from tui_runner.resources import is_own_code
from tui_runner.rows import Rows

MESSAGE_LENGTH = 10_000
"""Characters of a message that are stored: more is a page of HTML that somebody put into an exception."""
_LONG_MESSAGE = 1_000_000
"""Characters from which a message is something else, and is not handled more often than it must be."""
_TRACEBACK_LENGTH = 20_000
_FRAMES = 50
"""Frames of a traceback that are kept."""
_MANY_OUTCOMES = 10_000
"""Outcomes from which the collector is called at once: at 5 collections a second, 50,000 items a second."""
_MAX_OUTCOMES = 40_000
"""Outcomes that may wait for the collector before new items do."""
MAX_ROWS = 50_000
"""Rows the collector takes in one go, but for a single larger result. Converting more would keep the interpreter from
the pool's threads for too long; and a flush beyond DuckDB's row group of 122,880 rows leaves groups half full, which a
later checkpoint unpacks in memory to merge them (measured: 330 MB; 50 MB with smaller flushes)."""
_ASYNCIO = f"{Path(os.__file__).parent / 'asyncio'}{os.sep}"
"""Coroutines of the user are entered from here."""
_LARGE = 4_096
"""Bytes from which rows are counted at once; smaller ones are counted by the collector, without a lock."""


class Ending(StrEnum):
    """How an attempt ended. All but RETRY are final states of an item, as the ledger calls them."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """Failed, and the item will be tried again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as text.

    Attributes:
        type: name of its class.
        message: what it says.
        traceback: where it came from; empty when that tells the user nothing.
        transient: whether another attempt may succeed.
        retry_after: seconds after which the server that caused it wants to be asked again, None if it did not say.
    """

    type: str
    message: str
    traceback: str = ""
    transient: bool = False
    retry_after: float | None = None


@dataclass(slots=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        task: the attempt.
        ending: how it ended.
        seconds: how long it took.
        finished_at: wall clock, seconds since the epoch.
        rows: what it returned, when it ended well.
        failure: why it failed, when it did.
        retry_after: seconds until the next attempt, when there is to be one; the collector grants it, and makes
            the ending RETRY.
    """

    task: Task
    ending: Ending
    seconds: float
    finished_at: float
    rows: Rows | None = None
    failure: Failure | None = None
    retry_after: float | None = None


def describe(error: BaseException, *, whole: bool = False) -> Failure:
    """An exception as text, whatever its own methods do; not yet redacted.

    Args:
        error: the exception.
        whole: whether its traceback begins with the frames of tui-runner that led to the user's code; they tell the
            user nothing.
    """
    try:
        message = str(error)
    except BaseException as fault:  # the user's __str__ may raise anything
        message = f"(its __str__ raised {type(fault).__name__})"
    trace = error.__traceback__ if whole else _from_user(error.__traceback__)
    is_long = len(message) > _LONG_MESSAGE
    message = message[: MESSAGE_LENGTH + LONGEST_SECRET]
    if is_long:
        return Failure(type(error).__name__, storable(message), storable(_frames(trace)))
    try:
        # The innermost frames: the line that raised is the one that is looked for.
        text = "".join(traceback.TracebackException(type(error), error, trace, limit=-_FRAMES, compact=True).format())
    except BaseException as fault:
        text = f"(no traceback: formatting it raised {type(fault).__name__})"
    if len(text) > _TRACEBACK_LENGTH:
        half = _TRACEBACK_LENGTH // 2
        # Whole lines, for a secret that is cut is not found. An endless line is a message, kept anyway.
        text = f"{text[:half].rpartition(chr(10))[0]}\n  …\n{text[-half:].partition(chr(10))[2]}"
    return Failure(type(error).__name__, storable(message), storable(text))


def _from_user(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from its first frame on that is not tui-runner's own; of one without such a frame nothing is left.

    How many lead to the user's code is not always the same: a generator is entered where its rows are gathered, a
    coroutine in the event loop.
    """
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (is_own_code(file) or file.startswith(_ASYNCIO)):
            return trace
        trace = trace.tb_next
    return None


def _frames(trace: TracebackType | None) -> str:
    """The innermost frames alone: the library would ask the exception for its message, and copy that several times."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace)).format()
    return "".join(["Traceback (most recent call last):\n", *frames[-_FRAMES:]])


def storable(text: str) -> str:
    """`text` with lone surrogates written out, which no database stores."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


class Outcomes:
    """Outcomes on their way from many threads to the collector, and the bytes that are not yet written.

    Args:
        max_bytes: unwritten bytes beyond which `set_throttled(True)` is called.
        set_throttled: opens and closes the way for new items.
    """

    def __init__(self, max_bytes: int, set_throttled: Callable[[bool], None]) -> None:
        self._max_bytes = max_bytes
        self._set_throttled = set_throttled
        self._waiting: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._uncollected = 0
        self.unwritten = 0
        """Bytes of rows that were handed over and are not yet in the database."""
        self.on_put: Callable[[], None] | None = None
        """Called by every thread that has handed over an outcome."""
        self.hurry = threading.Event()
        """Set when the collector should not wait for its next turn."""

    def put(self, outcome: Outcome) -> None:
        """Hand over an outcome; called by many threads."""
        rows = outcome.rows
        self._waiting.append(outcome)
        if rows is not None and rows.nbytes >= _LARGE:
            self._count(rows.nbytes)
        if len(self._waiting) >= _MANY_OUTCOMES:
            self._crowded()
        if self.on_put is not None:
            self.on_put()

    def _crowded(self) -> None:
        if not self.hurry.is_set():
            self.hurry.set()
        if len(self._waiting) >= _MAX_OUTCOMES:
            self._set_throttled(True)

    def take(self) -> list[Outcome]:
        """What waits, in order, up to `MAX_ROWS` rows; called by the collector, which is to hurry when more is left."""
        # Nobody else takes any away, so those that are there now can be had without a lock.
        taken: list[Outcome] = []
        rows = small = large = 0
        for _ in range(min(len(self._waiting), _MAX_OUTCOMES)):
            result = self._waiting[0].rows
            if result is not None:
                if rows + result.count > MAX_ROWS and taken:
                    self.hurry.set()
                    break
                rows += result.count
                if result.nbytes < _LARGE:
                    small += result.nbytes
                else:
                    large += result.nbytes
            taken.append(self._waiting.popleft())
        with self._lock:
            self._uncollected -= large
            self.unwritten += small
        self._judge()
        return taken

    def written(self, nbytes: int) -> None:
        """This many bytes need no longer be kept."""
        with self._lock:
            self.unwritten -= nbytes
        self._judge()

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self.unwritten += nbytes
            self._uncollected += nbytes
        if self.unwritten >= self._max_bytes:
            self._set_throttled(True)
        if self._uncollected >= self._max_bytes // 4:
            self.hurry.set()

    def _judge(self) -> None:
        self._set_throttled(self.unwritten >= self._max_bytes or len(self._waiting) >= _MAX_OUTCOMES)
