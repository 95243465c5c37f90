"""Output and log records of a job on their way to the run's log.

A worker's `sys.stdout` and `sys.stderr` are `JobStream`s, which turn whole lines into `LogLine`s with their item.
Output of native code to the file descriptors is read by the process that started the worker.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

from tui_runner.engine.protocol import LogLine
from tui_runner.engine.worker.slot import Slot
from tui_runner.jobs.current import CONTEXT
from tui_runner.system.clock import time
from tui_runner.text.describe import describe, item_text, storable
from tui_runner.text.paths import cut_middle
from tui_runner.text.redaction import LONGEST_SECRET, redact
from tui_runner.text.streams import TextStream, last_drawn

MAX_LINES = 2_000
"""Most lines that wait to be sent. Lines are sent five times a second, so lines beyond 10,000 a second are dropped.
Without a limit, they could fill memory."""
MAX_LINE_LENGTH = 10_000
"""Most characters of a line that are kept. Without a limit, output without line ends could fill memory."""
MAX_VALUE_LENGTH = 80
"""Characters of an item's value that are shown with its lines: about the width of a terminal."""


class JobLog:
    """Log lines of one worker that wait to be sent. Lines beyond `MAX_LINES` are dropped and counted.

    Args:
        worker: number of the worker; None for the tui-runner process.
        redact: removes secrets from a line.
    """

    def __init__(self, worker: int | None, redact: Callable[[str], str] = redact) -> None:
        self._worker = worker
        self._redact = redact
        self._lines: deque[LogLine] = deque()
        self._dropped = 0
        self._lock = threading.Lock()
        """Guards the fields above: item threads add lines, and the reporter takes them."""

    def add(self, level: str, text: str, place: tuple[int, int] | None = None) -> None:
        """Add `text`, line by line, without secrets. `place` is the (chunk, position) of the item that printed it."""
        chunk, item = place if place is not None else (None, None)
        value = "" if place is None else self._value(place)
        now = time.time()
        for line in text.splitlines() or [""]:
            with self._lock:
                if len(self._lines) >= MAX_LINES:
                    self._dropped += 1
                    continue
                shown = storable(self._redact(line[: MAX_LINE_LENGTH + LONGEST_SECRET])[:MAX_LINE_LENGTH])
                self._lines.append(LogLine(now, level, shown, chunk, item, self._worker, value))

    def _value(self, place: tuple[int, int]) -> str:
        """Return a short text of the item at `place`, which this thread executes.

        Return an empty text if another thread executes it, or if the text is only the item's position.
        """
        context = CONTEXT.get()
        if not isinstance(context, Slot) or context.place != place:
            return ""
        text = storable(cut_middle(item_text(context.value, self._redact), MAX_VALUE_LENGTH))
        return "" if text == str(place[1]) else text

    def take_all(self) -> tuple[tuple[LogLine, ...], int]:
        """Return the waiting lines, and the number of lines dropped since the last call."""
        with self._lock:
            lines, dropped = tuple(self._lines), self._dropped
            self._lines.clear()
            self._dropped = 0
        return lines, dropped


class JobStream(TextStream):
    """A text stream that writes lines to a `JobLog`, each with the item that began it.

    Args:
        log: receives the lines.
        level: level of the lines.
        otherwise: stream for text that no item prints; None to log it as well.
        descriptor: file descriptor whose output is logged as well; see `TextStream`.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, log: JobLog, level: str, otherwise: TextIO | None, descriptor: int | None = None) -> None:
        super().__init__(descriptor)
        self._log = log
        self._level = level
        self._otherwise = otherwise
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Log the lines that `text` completes. Pass text that no item prints to `otherwise`, if that is a stream.

        An unfinished line is kept, separately for each thread, until it ends, until the thread prints for another item,
        or until it has more than `MAX_LINE_LENGTH` characters. Then it is logged.
        """
        place = _place()
        if place is None and self._otherwise is not None:
            return self._otherwise.write(text)
        begun: str = getattr(self._begun, "text", "")
        if begun and self._begun.place != place:
            self._log.add(self._level, begun, self._begun.place)  # the previous item did not end its line
            begun = ""
        lines, end, rest = (begun + text).rpartition("\n")
        if "\r" in rest[:-1]:  # a final "\r" may be the first half of a line end
            rest = last_drawn(rest[:-1]) + rest[-1]
        if end:
            self._log.add(self._level, "\n".join(map(last_drawn, lines.split("\n"))) + end, place)
        elif len(rest) > MAX_LINE_LENGTH:
            self._log.add(self._level, rest, place)
            rest = ""
        self._begun.text, self._begun.place = rest, place
        return len(text)

    def flush(self) -> None:
        """Flush the stream `otherwise`. An unfinished line is not logged, because only whole lines become log lines."""
        if self._otherwise is not None:
            self._otherwise.flush()


class JobLogHandler(logging.Handler):
    """A handler that sends records of the `logging` module to a `JobLog`."""

    def __init__(self, log: JobLog) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the log with its own level."""
        try:
            text = self.format(record)
        except Exception as error:  # arguments that do not match the format, or whose `__str__` raises
            text = f"{record.name}: a record that cannot be formatted: {describe(error).message}"
        self._log.add(record.levelname, text, _place())


_LOGS_OF_REQUESTS = ("aiohttp", "curl_cffi", "httpcore", "httpcore2", "httpx", "httpx2", "pyreqwest", "urllib3")
"""Loggers of HTTP libraries. Some write a line for each request, which would fill the log of a million items."""


def join_logging(log: JobLog) -> None:
    """Add a handler that sends records of `logging` to `log`. Called after the job's file has been loaded.

    Levels and handlers that the job has set up are kept. If the job has set up none, records from INFO on are logged.
    If the job has a handler for a standard stream, no handler is added, because that stream is logged already.

    `logging.warning` and similar functions set up a default handler if the job has none. The default handler is
    replaced, because it would omit INFO lines and give every line the level WARNING.
    """
    root = logging.getLogger()
    if root.level == logging.WARNING and len(root.handlers) == 1 and _is_default(root.handlers[0]):
        root.removeHandler(root.handlers[0])
    for name in _LOGS_OF_REQUESTS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:  # a level that the job has set is kept
            logger.setLevel(logging.WARNING)
    if any(getattr(handler, "stream", None) in (sys.stdout, sys.stderr) for handler in root.handlers):
        return
    if not root.handlers and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    handler = JobLogHandler(log)
    handler.setLevel(logging.INFO)
    root.addHandler(handler)


def _is_default(handler: logging.Handler) -> bool:
    """Return True if `logging.basicConfig` without arguments makes such a handler."""
    format = getattr(handler.formatter, "_fmt", None)
    return type(handler) is logging.StreamHandler and handler.stream is sys.stderr and format == logging.BASIC_FORMAT


def _place() -> tuple[int, int] | None:
    """Return (chunk, position) of the item that this thread or task executes; None if it executes none."""
    context = CONTEXT.get()
    return context.place if isinstance(context, Slot) else None
