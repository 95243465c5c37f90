"""Catches what is written to descriptors 1 and 2 of this process, and gives tui-runner streams past that.

Jobs run in workers, but they are loaded, make their items and are tried in this process, and with `--backend inline`
they run here. What their native code and child processes write would steer the terminal, show secrets and break the
lines of JSON. So both descriptors lead into a pipe, and what comes out of it becomes log lines, redacted, as it is for
a worker. tui-runner itself writes to `out` and `err`, which lead to where the descriptors led.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TextIO

from tui_runner.engine.protocol import LogLine, LogLines
from tui_runner.engine.scheduling.events import Tick
from tui_runner.engine.worker.job_output import MAX_LINE_LENGTH, JobLog, JobStream
from tui_runner.system import terminal
from tui_runner.system.process import flush_files
from tui_runner.system.terminal import discard_output
from tui_runner.text.redaction import LONGEST_SECRET, Redaction
from tui_runner.text.safe_text import safe_text
from tui_runner.text.streams import SafeStream, last_drawn

_SETTLED_WITHIN = 2.0
"""Seconds in which what was written has come through the pipe, however busy the machine is."""
_PIPE_BYTES = 1 << 20
"""Bytes that native code can write at once while it holds the interpreter and so keeps the reader from reading: beyond
that both would wait for each other. 64 KiB is the system's default, and this the most that it grants to everybody."""
_KEPT = MAX_LINE_LENGTH + LONGEST_SECRET
"""Bytes of a line that has no end yet; the log keeps no more."""


class CapturedOutput:
    """Keeps the lines that this process and its children have written; bounded, as those of a worker are.

    Attributes:
        out: standard output for tui-runner's own text, also while descriptor 1 is caught.
        err: standard error likewise.
        redaction: takes secrets out of lines; set by `use_redaction`.
    """

    takes = frozenset({Tick})
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        self.redaction = Redaction()
        self._log = JobLog(None, self.redact)
        self._printed = JobStream(self._log, "INFO", None)
        self._complained = JobStream(self._log, "WARNING", None)
        self._safe_streams: list[tuple[SafeStream, TextIO, JobStream]] = []
        """Streams that Python code prints to, where they lead, and where to under a screen. A log handler may keep
        streams."""
        self._into: int | None = None
        """The end of the pipe that takes what is caught; None before the first time."""
        self._mark = os.urandom(16).hex().encode()
        self._mark_seen = threading.Event()
        self._to_flush: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Requests to flush: True for all open files, False for the streams of Python and C alone."""

    def use_redaction(self, redaction: Redaction) -> None:
        """Redact lines with `redaction` from now on."""
        self.redaction = redaction

    def redact(self, text: str) -> str:
        """Return `text` without the secrets that are known so far."""
        return self.redaction(text)

    def write(self, text: str, *, complaint: bool) -> None:
        """Take what Python code prints, on standard error if it is a complaint."""
        (self._complained if complaint else self._printed).write(text)

    def discard(self) -> None:
        """Forget the lines of this moment."""
        self.settle()
        self.take_all()

    def handle(self, message: Tick, now: float) -> Iterable[LogLines]:
        """Pass the lines since the last tick on to the log of the run."""
        lines, dropped = self.take_all()
        if lines or dropped:
            yield LogLines(None, lines, dropped)

    def take_all(self) -> tuple[tuple[LogLine, ...], int]:
        """Return the lines since the last call, and the number of lines that were too many to be kept."""
        return self._log.take_all()

    @contextlib.contextmanager
    def caught(self, *, reserve_stdout: bool) -> Iterator[None]:
        """Catch both descriptors; at the end, write the lines that were not taken to standard error.

        What Python code prints is not caught but made safe and redacted on its way, so that it shows at once.
        The streams `out` and `err` can be used until the program ends.

        Args:
            reserve_stdout: keep standard output for tui-runner; what Python code prints goes to standard error.

        Raises:
            OSError: standard output did not take all that was written to `out`.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self._release)
            self._catch()
            shown = self.err if reserve_stdout else self.out
            printed = SafeStream(shown, self.redact, 1)
            complained = SafeStream(self.err, self.redact, 2)
            self._safe_streams = [(printed, shown, self._printed), (complained, self.err, self._complained)]
            undo.enter_context(contextlib.redirect_stdout(printed))
            undo.enter_context(contextlib.redirect_stderr(complained))
            try:
                yield
            finally:
                self.flush()

    def flush(self) -> None:
        """Write what was printed, the lines of this moment, and what was written to `out`.

        Raises:
            OSError: standard output did not take all of it.
        """
        self._flush_safe_streams()
        self.show()
        try:
            self.out.flush()
        except OSError:
            discard_output(self.out)
            raise

    def release_stdout(self) -> None:
        """Send what Python code prints from now on to standard error: the command has written its output."""
        for stream, _, _ in self._safe_streams:
            stream.target = self.err

    def flush_at_exit(self) -> None:
        """Write what was printed and the lines of this moment, and what the user's code left in buffers of files."""
        self._flush_safe_streams()
        self.show(files=True)

    def cover(self) -> None:
        """Make lines of what Python code prints, too, because a screen is shown from now on."""
        for stream, _, lines in self._safe_streams:
            stream.target = lines

    def uncover(self) -> None:
        """Show what Python code prints again."""
        for stream, shown, _ in self._safe_streams:
            stream.target = shown

    def show(self, *, files: bool = False) -> None:
        """Write the lines of this moment to standard error; for lines that no run has a log for.

        Args:
            files: see `settle`.
        """
        self.settle(files=files)
        lines, dropped = self.take_all()
        texts = [safe_text(line.text) for line in lines]
        if dropped:
            texts.append(f"({dropped} lines were too many to be kept)")
        with contextlib.suppress(OSError, ValueError):  # there is no reader any more
            self.err.writelines(f"{text}\n" for text in texts)
            self.err.flush()

    def settle(self, *, files: bool = False) -> None:
        """Wait until what was written before has become lines.

        The wait is bounded: C code that waits for input may hold the lock that flushing needs.

        Args:
            files: flush all open files before.
        """
        if self._into is None:
            return
        self._mark_seen.clear()
        self._to_flush.put(files)
        self._mark_seen.wait(_SETTLED_WITHIN)

    def let_go(self) -> None:
        """Lead descriptors and streams whose terminal is gone to nowhere."""
        terminal.let_go(*(() if self._into is None else (self.out.fileno(), self.err.fileno())))

    def _catch(self) -> None:
        _flush()
        if self._into is None:
            self.out, self.err = _stream_beside(1, sys.stdout), _stream_beside(2, sys.stderr)
            pipe, self._into = os.pipe()
            with contextlib.suppress(OSError, AttributeError):  # refused, or not Linux
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            # It reads until the program ends: a child process may write after the descriptors were given back.
            threading.Thread(target=self._read, args=(pipe,), name="own-output", daemon=True).start()
            # From the start: when Python ends it starts no more threads.
            threading.Thread(target=self._flush, args=(self._into,), name="own-output-flush", daemon=True).start()
        for descriptor in (1, 2):
            os.dup2(self._into, descriptor)

    def _release(self) -> None:
        if self._into is not None:
            os.dup2(self.out.fileno(), 1)
            os.dup2(self.err.fileno(), 2)

    def _flush_safe_streams(self) -> None:
        for stream, _, _ in self._safe_streams:
            with contextlib.suppress(OSError, ValueError):  # `flush` tells it of standard output
                stream.flush()

    def _flush(self, into: int) -> None:
        while True:
            if self._to_flush.get():
                flush_files()
            _flush()
            os.write(into, self._mark + b"\n")

    def _read(self, pipe: int) -> None:
        begun = bytearray()
        while data := os.read(pipe, 65536):
            begun += data
            *lines, rest = begun.split(b"\n")
            for line in lines:
                marked = line.endswith(self._mark)
                text = line.removesuffix(self._mark)
                if text or not marked:
                    self._log.add("WARNING", last_drawn(text.decode(errors="backslashreplace")))
                if marked:
                    self._mark_seen.set()
            # What a carriage return draws over is gone; one at the end may be half of a line end.
            begun = bytearray(rest[rest.rfind(b"\r", 0, -1) + 1 :])
            # Of a line that is too long its end stays, which may be half of a mark.
            del begun[_KEPT : -len(self._mark)]


def _stream_beside(descriptor: int, like: TextIO) -> TextIO:
    """Return a stream to where `descriptor` leads now; it is buffered as Python's own."""
    beside = os.dup(descriptor)
    return open(
        beside,
        "w",
        encoding=like.encoding or "utf-8",
        errors="backslashreplace",
        buffering=1 if descriptor == 2 or os.isatty(beside) else -1,
        closefd=False,
    )


def _flush() -> None:
    """Have what is in buffers, Python's and those of C, written to where the descriptors lead now."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # None where it was closed from the start
    ctypes.CDLL(None).fflush(None)
