"""Captures what is written to descriptors 1 and 2 of this process, and gives tui-runner its own output streams.

Jobs run in workers, but they are loaded, make their items and are tried in this process; with `--backend inline` they
run in it. Output of their native code and child processes could control the terminal, reveal secrets or break JSON
lines. So both descriptors lead into a pipe, and its text becomes redacted log lines, like the output of a worker.
tui-runner itself writes to `out` and `err`, which lead where the descriptors led before.
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
from tui_runner.text.plain_characters import PLAIN
from tui_runner.text.redaction import LONGEST_SECRET, Redaction
from tui_runner.text.safe_text import safe_text
from tui_runner.text.streams import SafeStream, last_drawn

_SETTLED_WITHIN = 2.0
"""Seconds that `settle` waits at most for written text to arrive through the pipe. It is enough on a busy machine."""
_PIPE_BYTES = 1 << 20
"""Bytes of the pipe's buffer. While native code holds the interpreter lock, the reading thread cannot run. If that code
fills the buffer, it waits for the reader, and the reader for the lock, forever. Linux defaults to 64 KiB and grants at
most 1 MiB to every user."""
_KEPT = MAX_LINE_LENGTH + LONGEST_SECRET
"""Bytes kept of a line whose end has not been read. The log keeps `MAX_LINE_LENGTH` of them. The further bytes are
needed to recognise a secret that would be cut in two at that length."""


class CapturedOutput:
    """Lines that this process and its child processes have written. Their number is bounded as for a worker.

    Attributes:
        out: standard output for tui-runner's own text, also while descriptor 1 is captured.
        err: standard error for tui-runner's own text, also while descriptor 2 is captured.
        redaction: removes secrets from lines; set by `use_redaction`.
        screen_is_kept: True while no application is shown, but the terminal still shows the last one, because another
            one follows.
    """

    takes = frozenset({Tick})
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        self.redaction = Redaction()
        self.screen_is_kept = False
        self._log = JobLog(None, self.redact)
        self._printed = JobStream(self._log, "INFO", None)
        self._complained = JobStream(self._log, "WARNING", None)
        self._safe_streams: list[tuple[SafeStream, TextIO, JobStream]] = []
        """Streams that Python code prints to, each with its normal target and its target while a screen is shown. A
        stream is never closed, because a log handler of the job may still write to it."""
        self._into: int | None = None
        """Write end of the pipe that receives captured output; None before the first capture."""
        self._mark = os.urandom(16).hex().encode()
        """Random text that `settle` sends through the pipe; when it arrives, everything before it has arrived."""
        self._mark_seen = threading.Event()
        """Set by the reading thread when it has read `_mark`."""
        self._to_flush: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Requests to flush: True to flush all open files, False for the streams of Python and C only."""

    def use_redaction(self, redaction: Redaction) -> None:
        """Use `redaction` from now on. Call this when the secret parameters are known."""
        self.redaction = redaction

    def redact(self, text: str) -> str:
        """Return `text` without the secrets known so far."""
        return self.redaction(text)

    def write(self, text: str, *, complaint: bool) -> None:
        """Log text that Python code prints. `complaint` is True for standard error."""
        (self._complained if complaint else self._printed).write(text)

    def discard(self) -> None:
        """Drop everything written so far."""
        self.settle()
        self.take_all()

    def handle(self, message: Tick, now: float) -> Iterable[LogLines]:
        """Yield the lines since the last tick, for the run's log."""
        lines, dropped = self.take_all()
        if lines or dropped:
            yield LogLines(None, lines, dropped)

    def take_all(self) -> tuple[tuple[LogLine, ...], int]:
        """Return the lines since the last call, and the number of lines that were dropped since then."""
        return self._log.take_all()

    @contextlib.contextmanager
    def caught(self, *, reserve_stdout: bool) -> Iterator[None]:
        """Capture both descriptors during a `with` block. At its end, write the lines not taken yet to standard error.

        Output of Python code does not pass through the pipe. It is made safe and redacted as it is written, so that it
        appears at once. The streams `out` and `err` stay usable until the program ends.

        Args:
            reserve_stdout: True to keep standard output for tui-runner; Python code then prints to standard error.

        Raises:
            OSError: standard output did not accept everything that was written to `out`.
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
        """Write all printed text, the captured lines, and text written to `out`.

        Raises:
            OSError: standard output did not accept all of it.
        """
        self._flush_safe_streams()
        self.show()
        try:
            self.out.flush()
        except OSError:  # the reader of standard output is gone: later flushes must not fail as well
            discard_output(self.out)
            raise

    def release_stdout(self) -> None:
        """Send further output of Python code to standard error, because the command has written its own output."""
        for stream, _, _ in self._safe_streams:
            stream.target = self.err

    def flush_at_exit(self) -> None:
        """Write all printed text, the captured lines, and the buffers of files that user code left open."""
        self._flush_safe_streams()
        self.show(files=True)

    def cover(self) -> None:
        """Turn output of Python code into log lines, because a screen is shown from now on."""
        for stream, _, lines in self._safe_streams:
            stream.target = lines

    def uncover(self) -> None:
        """Undo `cover`: show output of Python code directly."""
        for stream, shown, _ in self._safe_streams:
            stream.target = shown

    def show(self, *, files: bool = False) -> None:
        """Write the captured lines to standard error. Commands without a run need this, because they have no log.

        Args:
            files: see `settle`.
        """
        self.settle(files=files)
        lines, dropped = self.take_all()
        texts = [safe_text(line.text) for line in lines]
        if dropped:
            texts.append(f"({dropped} lines were dropped)")
        with contextlib.suppress(OSError, ValueError):  # the reader of standard error is gone
            self.err.writelines(f"{text}\n" for text in texts)
            self.err.flush()

    def settle(self, *, files: bool = False) -> None:
        """Wait until all text written before this call has become lines, at most `_SETTLED_WITHIN` seconds.

        The wait is bounded, because C code that waits for input may hold the lock that flushing needs.

        Args:
            files: True to flush all open files first.
        """
        if self._into is None:
            return
        self._mark_seen.clear()  # before the request, because the mark may arrive at once
        self._to_flush.put(files)
        self._mark_seen.wait(_SETTLED_WITHIN)

    def detach(self) -> None:
        """Redirect descriptors and streams whose terminal is gone to /dev/null."""
        terminal.detach(*(() if self._into is None else (self.out.fileno(), self.err.fileno())))

    def _catch(self) -> None:
        """Redirect descriptors 1 and 2 into the pipe."""
        _flush()
        if self._into is None:
            self.out, self.err = _stream_beside(1, sys.stdout), _stream_beside(2, sys.stderr)
            pipe, self._into = os.pipe()
            with contextlib.suppress(OSError, AttributeError):  # the system refuses that size, or is not Linux
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            # The thread reads until the program ends, because a child process may write after `_release`. Nothing ends
            # the two threads, so they are daemons.
            threading.Thread(target=self._read, args=(pipe,), name="own-output", daemon=True).start()
            # Start the thread now, because `flush_at_exit` needs it, and Python starts no threads while it exits.
            threading.Thread(target=self._flush, args=(self._into,), name="own-output-flush", daemon=True).start()
        for descriptor in (1, 2):
            os.dup2(self._into, descriptor)

    def _release(self) -> None:
        if self._into is not None:
            os.dup2(self.out.fileno(), 1)
            os.dup2(self.err.fileno(), 2)

    def _flush_safe_streams(self) -> None:
        for stream, _, _ in self._safe_streams:
            with contextlib.suppress(OSError, ValueError):  # `flush` reports an error of standard output
                stream.flush()

    def _flush(self, into: int) -> None:
        while True:
            if self._to_flush.get():
                flush_files()
            _flush()
            os.write(into, self._mark + b"\n")

    def _read(self, pipe: int) -> None:
        """Turn captured output into log lines; the main function of the reading thread."""
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
            # Text before a carriage return was overwritten. A carriage return at the end may be the first half of a
            # line end.
            begun = bytearray(rest[rest.rfind(b"\r", 0, -1) + 1 :])
            # Cut a long line, but keep its end, which may be the first half of the mark.
            del begun[_KEPT : -len(self._mark)]


def _stream_beside(descriptor: int, like: TextIO) -> TextIO:
    """Return a stream to the present target of `descriptor`, buffered like Python's standard streams."""
    beside = os.dup(descriptor)
    return open(
        beside,
        "w",
        encoding=like.encoding or "utf-8",
        errors=PLAIN if descriptor == 2 else "backslashreplace",
        buffering=1 if descriptor == 2 or os.isatty(beside) else -1,
        closefd=False,
    )


def _flush() -> None:
    """Flush the buffers of Python's and C's standard streams to the current targets of the descriptors."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a closed stream has nothing to flush
            stream.flush()  # type: ignore[union-attr]  # None if the descriptor was closed when Python started
    ctypes.CDLL(None).fflush(None)
