"""Output streams and end of one call of the command line.

A command that executes user code captures what is written to file descriptors 1 and 2 (`captured_output.py`) until the
call ends. If the call is the whole program, the capture lasts until the process ends, because a thread or an exit
handler of the job may write after the command has returned.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from sysconfig import get_path
from traceback import extract_tb
from typing import TYPE_CHECKING, TextIO

from tui_runner.cli.overwritten_line import for_stream
from tui_runner.errors import EXIT_KILLED, DatabaseError, bounded
from tui_runner.system.process import end_without_teardown
from tui_runner.text.safe_text import safe_text

if TYPE_CHECKING:
    from tui_runner.engine.captured_output import CapturedOutput


class Program:
    """The output streams of one call of `main`. Commands receive this object in Typer's context."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug
        self._output: CapturedOutput | None = None
        self._until_end = contextlib.ExitStack()

    @property
    def out(self) -> TextIO:
        """Standard output for tui-runner's own text."""
        return sys.stdout if self._output is None else self._output.out

    @property
    def err(self) -> TextIO:
        """Standard error for tui-runner's own text."""
        return sys.stderr if self._output is None else self._output.err

    def catch_output(self, *, reserve_stdout: bool) -> CapturedOutput:
        """Capture what is written to descriptors 1 and 2 until the end of the call. Repeated calls do nothing.

        Args:
            reserve_stdout: True to reserve standard output for tui-runner; Python code of the job then prints to
                standard error.
        """
        if self._output is None:
            from tui_runner.engine.captured_output import CapturedOutput  # imported here because it takes 100 ms

            output = CapturedOutput()
            self._until_end.enter_context(output.caught(reserve_stdout=reserve_stdout))
            self._output = output
        return self._output

    @contextlib.contextmanager
    def flushed(self) -> Iterator[None]:
        """Flush all printed text at the end of the `with` block.

        Raises:
            OSError: standard output did not accept all text. Raised only if the block itself raised nothing.
        """
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # the error of the block is more important
                self._flush()
            raise
        self._flush()

    def complain(self, text: str, code: int, *, traceback: bool = False) -> int:
        """Print one line about the error that is being handled, divided on a terminal, and return `code`.

        Args:
            text: the line.
            code: the exit code.
            traceback: True to print the traceback as well, as for an internal error.
        """
        from tui_runner.text.redaction import Redaction, redact, safe_traceback

        error = sys.exception()
        redaction = Redaction() if self._output is None else self._output.redaction
        if error is not None and (traceback or (self._debug and _has_more_to_tell(error))):
            print(safe_traceback(error, redaction), file=self.err, end="")
        # The line may quote a wrong value that is a secret. Errors of the job were already redacted when they were
        # raised.
        text = redact(text) if redaction.guessed else redaction(text)
        print(for_stream(f"tui-runner: {bounded(safe_text(text))}", self.err), file=self.err)
        return code

    def close(self) -> None:
        """Restore the descriptors. For a call after which the process continues."""
        self._until_end.close()

    def end_process(self, code: int) -> None:
        """Wait for threads, and end the process with `code`. Output is captured until the end."""
        if self._output is not None:
            self._output.release_stdout()
        end_without_teardown(code, if_interrupted=EXIT_KILLED, last=self._flush_at_exit)

    def _flush(self) -> None:
        (sys.stdout if self._output is None else self._output).flush()

    def _flush_at_exit(self) -> None:
        if self._output is not None:
            self._output.flush_at_exit()
        else:
            sys.stdout.flush()


def _has_more_to_tell(error: BaseException) -> bool:
    """Return True if an error's traceback says more than its one line: for errors of the database or of user code.

    The traceback for a mistyped word would show only tui-runner's own code.
    """
    if isinstance(error, DatabaseError) and error.__cause__ is not None:
        return True
    not_theirs = (str(Path(__file__).parents[1]), "<frozen ", get_path("stdlib"))
    causes = [error.__cause__, error.__context__]
    return any(
        not frame.filename.startswith(not_theirs) and "site-packages" not in frame.filename
        for cause in causes
        if cause is not None
        for frame in extract_tb(cause.__traceback__)
    )
