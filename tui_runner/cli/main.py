"""Runs one command line: executes the command, reports its error, and exits with its code."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import typer

from tui_runner.cli.app import COMPLETE_VARIABLE, DEBUG, app, at_terminal
from tui_runner.cli.entry import end_at_once
from tui_runner.cli.overwritten_line import for_stream
from tui_runner.cli.program import Program
from tui_runner.errors import EXIT_KILLED, EXIT_OK, EXIT_TERMINATED, EXIT_USAGE, ExitCode, UserError
from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.garbage import PROGRAM_THRESHOLD, collect_seldom
from tui_runner.system.terminal import discard_output, needs_screen, prepare_streams
from tui_runner.text.messages import nearest, plain

EXIT_FAULT = 70
"""Exit code for an internal error of tui-runner, as in sysexits.h. Python's 1 would mean that some items failed."""
_WITH_WORKERS = ("run", "resume", "retry", "fetch", "crawl")
"""Commands that start worker processes."""
_DEBUG_VARIABLE = "TUI_RUNNER_DEBUG"
"""Value of `settings.DEBUG_VARIABLE`, repeated here because `--version` does not import the settings."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: words of the command line. None for `sys.argv`; then the process ends with the command.
    """
    given = sys.argv[1:] if arguments is None else arguments
    words = _without_debug(given)
    if words[:1] == ["help"]:  # `help COMMAND` is accepted, as in git, and means `COMMAND --help`
        words = [*words[1:], "--help"]
    debug = len(words) < len(given) or bool(os.environ.get(_DEBUG_VARIABLE))
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"  # the settings read it when a run is planned
    prepare_streams()
    collect_seldom(PROGRAM_THRESHOLD)  # before the modules of the command are loaded
    if arguments is None:
        _start_workers_early(words)
    program = Program(debug=debug)
    code = EXIT_FAULT
    try:
        code = _outcome(words or [_by_default()], program)
    except KeyboardInterrupt:  # a Ctrl-C while another error was being reported
        code = EXIT_KILLED
    finally:
        if arguments is None:
            program.end_process(code)
        else:
            program.close()
    sys.exit(code)


def _start_workers_early(words: list[str]) -> None:
    """Start the fork server early if the command starts workers, so that it imports while this process imports."""
    if words and words[0] in _WITH_WORKERS and not {"-h", "--help", "inline"}.intersection(words):
        from tui_runner.system.fork_server import start_early

        # Load the libraries that both processes need before the fork, so that both have them.
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
            if code == EXIT_KILLED and interrupts:  # Typer converts a Ctrl-C to this code without a message
                raise KeyboardInterrupt
            return code
    except UserError as error:
        return program.complain(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        # Click takes any end of file for a Ctrl-D at one of its prompts, but tui-runner has none.
        fault = error.__cause__
        if isinstance(fault, EOFError):
            return _unexpected(fault, program)
        return program.complain("interrupted", EXIT_KILLED)
    except (BrokenPipeError, SystemExit) as error:
        # If the reader of a pipe is gone, Click ends the program with 1, which would mean that items failed.
        if isinstance(error, SystemExit) and COMPLETE_VARIABLE in os.environ:
            return EXIT_OK
        if isinstance(error, SystemExit) and error.code == EXIT_TERMINATED:
            return EXIT_TERMINATED
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        discard_output(program.out)
        return EXIT_OK
    except Exception as error:
        return _unexpected(error, program)


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` after a Ctrl-C, even if a library has converted it to another error.

    DuckDB converts it to "RuntimeError: Query interrupted", which must not be reported as an error.

    Yields:
        A list that gets an entry for each Ctrl-C that was not handled as a command.
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
    """Return True if tui-runner itself is loading one of its modules or a library.

    A library may suppress an exception raised during its import, or convert it to an `ImportError` or a printed
    traceback. At that time no work has begun that must be undone, so the process may end at once. An import by the
    user's job does not count: it is user code.
    """
    importing = False
    while frame is not None:
        if frame.f_globals.get("__name__") == "tui_runner.jobs.loading":
            return False
        importing = importing or frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        frame = frame.f_back
    return importing


def _by_default() -> str:
    """Return the command for `tui-runner` without arguments: the launcher on a terminal, otherwise the help.

    Say why, if the user is at a terminal and expects the launcher.
    """
    if at_terminal():
        return "launch"
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        reason = f"tui-runner: {needs_screen('the launcher')}; this is the help"
        print(f"{for_stream(reason, sys.stderr)}\n", file=sys.stderr)
    return "--help"


def _without_debug(arguments: list[str]) -> list[str]:
    """Return the arguments without `--debug`. Arguments after `--` are not options and stay."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [argument for argument in arguments[:end] if argument != DEBUG] + arguments[end:]


def _unexpected(error: Exception, program: Program) -> ExitCode:
    """Report an error other than `UserError`: a wrong command line, output that cannot be written, or a bug."""
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
    """Return Click's message in tui-runner's words, and advice. The advice is empty if the help should be named."""
    option = getattr(error, "option_name", None)
    if option is not None and message.startswith("No such option"):
        context = getattr(error, "ctx", None)
        if context is not None and option in _of_launch(context):
            return f"there is no option {plain(option)} here", f"write it after the command: tui-runner launch {option}"
        if (setting := option.removeprefix("--").replace("-", "_")) in SETTINGS_WITHOUT_OPTION:
            where = f"set {setting} in @job, or TUI_RUNNER_{setting.upper()} in the environment"
            return f"there is no option {plain(option)}", where
        meant = _MEANT.get(option) or _nearest_option(option, getattr(error, "possibilities", None) or ())
        return f"there is no option {plain(option)}", f"did you mean {meant}?" if meant else ""
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", message):
        is_value = re.fullmatch(r"\w+=\S*", found[1])
        return f"unexpected argument {plain(found[1])}", f"write --set {plain(found[1])}" if is_value else ""
    if found := re.match(r"Option '(.*)' requires an argument$", message):
        return f"{plain(found[1])}: its value is missing", ""
    if found := re.match(r"Missing (argument|option) (.*)$", message):
        name = plain(found[2].replace("'", "").replace(" / ", " or "))
        context = getattr(error, "ctx", None)
        return f"the {found[1]} {name} is missing", "" if context is None else f"write: {_with_required(context)}"
    if found := re.match(r"No such command (.*?)(?:\. Did you mean (.*)\?)?$", message):
        meant = (found[2] or "").replace("'", "").replace(", ", " or ")
        return f"there is no command {plain(found[1])}", f"did you mean {meant}?" if meant else ""
    return message, ""


def _with_required(context: typer.Context) -> str:
    """Return the command line of a command with the arguments and options that it needs: `tui-runner run JOB`."""
    words = [context.command_path]
    for parameter in context.command.params:
        name = getattr(parameter, "metavar", None) or str(parameter.name).upper()
        if parameter.required:
            words.append(name if parameter.param_type_name == "argument" else f"{parameter.opts[0]} {name}")
    return " ".join(words)


def _of_launch(context: typer.Context) -> set[str]:
    """Return the options of `launch` if the command line names no command, otherwise an empty set."""
    launch = getattr(context.command, "commands", {}).get("launch")
    return set() if launch is None else {name for option in launch.params for name in option.opts}


def _nearest_option(option: str, known: Iterable[str]) -> str | None:
    """Return the most similar option. The dashes are not compared, because they make all options similar."""
    names = {name.lstrip("-"): name for name in known}
    near = nearest(option.lstrip("-"), names, cutoff=0.75)
    return None if near is None else names[near]


SETTINGS_WITHOUT_OPTION = frozenset({"retry_budget", "max_input_bytes", "item_text"})
"""Settings that are a matter of the job, so that no option overrides them: `run --help` is long enough."""
_MEANT = {
    **dict.fromkeys(("--param", "--params", "--parameter", "--arg", "--args"), "--set NAME=VALUE"),
    **dict.fromkeys(("--processes", "--procs", "--jobs"), "--workers"),
    "--concurrency": "--threads",
    "--database": "--db",
    "--no-tui": "--headless",
    "--verbose": "--debug",
}
"""Options that users try because other programs have them, with tui-runner's option for the same purpose."""


def _has_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:  # the current folder is gone
        return False
    return True


def _has_temporary_folder() -> bool:
    try:
        tempfile.gettempdir()
    except FileNotFoundError:  # no folder in the usual places can be written
        return False
    return True
