"""One call of the command line: runs the command, reports its error, and ends with its exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import typer

from tui_runner.cli.app import COMPLETE_VARIABLE, DEBUG, app, at_terminal
from tui_runner.cli.entry import end_at_once
from tui_runner.cli.program import Program
from tui_runner.errors import EXIT_KILLED, EXIT_OK, EXIT_USAGE, UserError
from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.terminal import discard_output, prepare_streams
from tui_runner.text.messages import nearest, plain

EXIT_FAULT = 70
"""Exit code for an internal error of tui-runner, as in sysexits.h; Python's 1 would mean that some items failed."""
_WITH_WORKERS = ("run", "resume", "retry", "fetch", "crawl")
_DEBUG_VARIABLE = "TUI_RUNNER_DEBUG"
"""`settings.DEBUG_VARIABLE`, which is not imported for `--version`."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: words of the command line; None for the arguments of the process, which this call then ends.
    """
    given = sys.argv[1:] if arguments is None else arguments
    words = _without_debug(given)
    if words[:1] == ["help"]:  # as in git; each command has help as an option
        words = [*words[1:], "--help"]
    debug = len(words) < len(given) or bool(os.environ.get(_DEBUG_VARIABLE))
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"  # read by `settings` when a run is planned
    prepare_streams()
    if arguments is None:
        _start_workers_early(words)
    program = Program(debug=debug)
    code = EXIT_FAULT
    try:
        code = _outcome(words or [_by_default()], program)
    except KeyboardInterrupt:  # while another error was reported
        code = EXIT_KILLED
    finally:
        if arguments is None:
            program.end_process(code)
        else:
            program.close()
    sys.exit(code)


def _start_workers_early(words: list[str]) -> None:
    """Start the fork server early if the command starts workers, so that it imports while this process does."""
    if words and words[0] in _WITH_WORKERS and not {"-h", "--help", "inline"}.intersection(words):
        from tui_runner.system.fork_server import start_early

        # Loaded objects stay in memory, so a garbage collection while loading would find nothing, and take an eighth of
        # the time.
        gc.disable()
        # Load libraries that both processes need before the fork.
        prepare_arrow()
        import pyarrow.compute  # noqa: F401

        start_early()


def _outcome(words: list[str], program: Program) -> int:
    """Run the command, report its error, and return the exit code."""
    try:
        if COMPLETE_VARIABLE in os.environ:
            from typer._completion_classes import completion_init

            completion_init()
        with _interrupts_kept() as interrupts, program.flushed():
            code: int = app(args=words, prog_name="tui-runner", standalone_mode=False, obj=program)
            if code == EXIT_KILLED and interrupts:  # Typer converts an interrupt to this code without a message
                raise KeyboardInterrupt
            return code
    except UserError as error:
        return program.complain(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        # Click takes any end of file for a Ctrl-D at one of its questions, but tui-runner has no such questions.
        fault = error.__cause__
        if isinstance(fault, EOFError):
            return _unexpected(fault, program)
        return program.complain("interrupted", EXIT_KILLED)
    except (BrokenPipeError, SystemExit) as error:
        # For a pipe whose reader is gone, Click ends the program with 1, which would mean that items failed.
        if isinstance(error, SystemExit) and COMPLETE_VARIABLE in os.environ:
            return EXIT_OK
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        discard_output(program.out)
        return EXIT_OK
    except Exception as error:
        return _unexpected(error, program)


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` after a Ctrl-C, even if a library has converted it to another error.

    DuckDB converts it to "RuntimeError: Query interrupted", which is not an error to report.

    Yields:
        A list with an entry for each interrupt that was not handled as a command.
    """
    noted: list[int] = []

    def interrupted(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            end_at_once(number, frame)
        noted.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    ours = before in (signal.default_int_handler, end_at_once)
    if ours:
        signal.signal(signal.SIGINT, interrupted)
    try:
        yield noted
    except Exception as error:
        if noted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _is_importing(frame: FrameType | None) -> bool:
    """Return True while tui-runner loads one of its modules or a library.

    A library may convert an exception raised there to an `ImportError` or to a traceback of a callback, or suppress it.
    At that time, no work has begun that must be undone. Imports of the user's job are user code.
    """
    importing = False
    while frame is not None:
        if frame.f_globals.get("__name__") == "tui_runner.jobs.loading":
            return False
        importing = importing or frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        frame = frame.f_back
    return importing


def _by_default() -> str:
    """Run `tui-runner` without arguments: the launcher on a terminal, else the help."""
    return "launch" if at_terminal() else "--help"


def _without_debug(arguments: list[str]) -> list[str]:
    """Return the arguments without `--debug`, which may be before or after the command, but not after `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [argument for argument in arguments[:end] if argument != DEBUG] + arguments[end:]


def _unexpected(error: Exception, program: Program) -> int:
    """Handle any error but a `UserError`: a wrong command line, output that cannot be written, or a bug."""
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        usage = getattr(getattr(error, "ctx", None), "command_path", "tui-runner")
        message, do = _of_click(error, " ".join(format_message().split()).rstrip("."))
        return program.complain(f"{message}; {do or f'see: {usage} --help'}", EXIT_USAGE)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        discard_output(program.out)
        return program.complain(f"the output cannot be written: {error.strerror}", EXIT_USAGE)
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return program.complain("the current folder is gone; change to another one", EXIT_USAGE)
    if isinstance(error, FileNotFoundError) and not _has_temporary_folder():
        what = "there is no folder for temporary files; set TMPDIR to one that you may write to"
        return program.complain(what, EXIT_USAGE)
    what = f"a fault of tui-runner's own, please report it: {type(error).__name__}"
    return program.complain(what, EXIT_FAULT, traceback=True)


def _of_click(error: Exception, message: str) -> tuple[str, str]:
    """Return Click's message about a command line in our words, and advice; empty advice to refer to the help."""
    option = getattr(error, "option_name", None)
    if option is not None and message.startswith("No such option"):
        context = getattr(error, "ctx", None)
        if context is not None and option in _of_launch(context):
            return f"there is no option {plain(option)} here", f"write it after the command: tui-runner launch {option}"
        meant = _MEANT.get(option) or nearest(option, getattr(error, "possibilities", None) or ())
        return f"there is no option {plain(option)}", f"did you mean {meant}?" if meant else ""
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", message):
        is_value = re.fullmatch(r"\w+=\S*", found[1])
        return f"unexpected argument {plain(found[1])}", f"write --set {plain(found[1])}" if is_value else ""
    if found := re.match(r"Option '(.*)' requires an argument$", message):
        return f"{plain(found[1])}: its value is missing", ""
    if found := re.match(r"No such command (.*?)(?:\. Did you mean (.*)\?)?$", message):
        meant = (found[2] or "").replace("'", "").replace(", ", " or ")
        return f"there is no command {plain(found[1])}", f"did you mean {meant}?" if meant else ""
    return message, ""


def _of_launch(context: typer.Context) -> set[str]:
    """Return the options of `launch`, if the command line has no command, which runs it."""
    launch = getattr(context.command, "commands", {}).get("launch")
    return set() if launch is None else {name for option in launch.params for name in option.opts}


_MEANT = {
    **dict.fromkeys(("--param", "--params", "--parameter", "--arg", "--args"), "--set NAME=VALUE"),
    "--database": "--db",
}
"""Options of other programs, with our options of the same meaning."""


def _has_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:  # the current folder is gone
        return False
    return True


def _has_temporary_folder() -> bool:
    try:
        tempfile.gettempdir()
    except FileNotFoundError:  # the current folder is gone
        return False
    return True
