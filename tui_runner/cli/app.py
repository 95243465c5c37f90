"""The command line: parses arguments, calls functions, prints results.

The work of a command is in the module that it calls. Commands import heavy libraries only when they need them:
`tui-runner --version` loads none.
"""

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
from typing import Annotated, TextIO

import typer

from tui_runner._version import __version__
from tui_runner.cli.command_help import GroupedCommand, RunCommand, StatementCommand, examples
from tui_runner.cli.entry import end_at_once
from tui_runner.cli.fetch import crawl, fetch
from tui_runner.cli.options import (
    BEGINNING,
    DISPLAY,
    INPUT,
    SETTINGS,
    SPEED,
    DatabaseArgument,
    ForceOption,
    Given,
    InputOption,
    JobArgument,
    RecordsOption,
    RunArgument,
    SecretOption,
    SetOption,
    ThemeOption,
    ValueOption,
    YesOption,
    file_path,
    run_number,
    whole,
    with_groups,
)
from tui_runner.cli.program import Program
from tui_runner.errors import EXIT_KILLED, EXIT_OK, EXIT_USAGE, UserError
from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.terminal import discard_output, is_terminal, prepare_streams
from tui_runner.text.messages import nearest, plain, quoted

EXIT_FAULT = 70
"""Exit code for an internal error of tui-runner, as in sysexits.h; Python's 1 would mean that some items failed."""

_WITH_WORKERS = ("run", "resume", "retry", "fetch", "crawl")
_DEBUG = "--debug"
_DEBUG_VARIABLE = "TUI_RUNNER_DEBUG"
"""`settings.DEBUG_VARIABLE`, which is not imported for `--version`."""

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE_VARIABLE = "_TUI_RUNNER_COMPLETE"
"""Set by the script of `completion` when a shell requests words."""

app = typer.Typer(
    name="tui-runner",
    help=(
        "Run a function over a very long list of inputs: flat memory, live dashboard, results in DuckDB.\n\n"
        "\b\n"
        "The promise: execution at least once, recording exactly once.\n"
        "Kill it at any instant, start it again, and every item's rows\n"
        "are in the table once: none lost, none twice."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: None for those of the process, which this call then ends; with others, it returns.
    """
    given = sys.argv[1:] if arguments is None else arguments
    words = _without_debug(given)
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

        # Loaded objects stay: a garbage collection before the end of loading finds nothing, and takes an eighth of the
        # time.
        gc.disable()
        # Libraries that both need are loaded before the fork.
        prepare_arrow()
        import pyarrow.compute  # noqa: F401

        start_early()


def _outcome(words: list[str], program: Program) -> int:
    """Run the command, report its error, and return the exit code."""
    try:
        if _COMPLETE_VARIABLE in os.environ:
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
        # Click takes any end of file for Ctrl-D at one of its own questions, but there are none.
        fault = error.__cause__
        if isinstance(fault, EOFError):
            return _unexpected(fault, program)
        return program.complain("interrupted", EXIT_KILLED)
    except (BrokenPipeError, SystemExit) as error:
        # For a pipe whose reader is gone, Click ends the program with 1, which would mean that items failed.
        if isinstance(error, SystemExit) and _COMPLETE_VARIABLE in os.environ:
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
    At that time nothing has begun that must be undone. Imports of the user's job are user code.
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
    return "launch" if _at_terminal() else "--help"


def _standard_output() -> TextIO:
    """Return standard output, for a command that only writes an answer.

    Raises:
        UserError: it is closed.
    """
    if sys.__stdout__ is None:  # `>&-`; it was replaced by /dev/null
        raise UserError("standard output is closed, so the answer has nowhere to go", do="leave out >&-")
    return sys.stdout


def _at_terminal() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _without_debug(arguments: list[str]) -> list[str]:
    """Return the arguments without `--debug`, which may be before or after the command, but not after `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [argument for argument in arguments[:end] if argument != _DEBUG] + arguments[end:]


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


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tui-runner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Tracebacks of errors, and much more in the log file.")] = False,
) -> None:
    """Options of tui-runner itself."""


@app.command(
    cls=RunCommand,
    short_help="Run JOB over its items, or resume its unfinished run.",
    epilog=examples(
        "run scrape.py --set last=5000",
        "run scrape.py:page --input urls.csv --threads 64 --per-host 8",
        "run scrape.py --limit 100 --headless --json",
    ),
)
@with_groups(settings=SETTINGS, beginning=BEGINNING, display=DISPLAY)
def run(
    context: typer.Context,
    job: JobArgument,
    *,
    db: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", parser=file_path, rich_help_panel=INPUT, help="DuckDB file; <job>.duckdb by default."
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=INPUT, help="Results table; the function's name by default."),
    ] = None,
    input: InputOption = None,
    set_: SetOption = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole("--limit", 0), rich_help_panel=INPUT, help="Only the first N items."),
    ] = None,
    chunk_size: Annotated[
        str | None,
        typer.Option(metavar="N", rich_help_panel=SPEED, help="Items per chunk; by default as many as take 2 to 10 s."),
    ] = None,
    open_chunks: Annotated[
        str | None,
        typer.Option(
            metavar="N", rich_help_panel=SPEED, help="Chunks with workers at once; by default a second of work."
        ),
    ] = None,
    settings: Given,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=SPEED, help="process; inline for debugging; dask:ADDRESS for a cluster."
        ),
    ] = None,
    ship: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of code to send to a cluster, besides the job's own.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let secrets go to a cluster unencrypted.")] = False,
    beginning: Given,
    display: Given,
) -> int:
    """Run JOB over its items; resume the unfinished run of the same job, input and parameters, if there is one."""
    given = {
        "table": table,
        "chunk_size": chunk_size,
        "open_chunks": open_chunks,
        "backend": backend,
        "ship": ship,
        "insecure": insecure or None,
        **settings,
    }
    prepare_arrow()
    from tui_runner.cli.run import Display, run_in_foreground
    from tui_runner.engine.planning.request import RunRequest, assignments

    gc.enable()
    request = RunRequest(
        job=job,
        params=assignments(set_ or []),
        settings={name: value for name, value in given.items() if value is not None},
        database=db,
        input=input,
        limit=limit,
        **beginning,
    )
    return run_in_foreground(request, Display(**display), context.obj)


@app.command(
    "retry",
    cls=GroupedCommand,
    short_help="Run only the failed items of a finished run again.",
    help="Run only the items again that failed, timed out or were cancelled in a finished run.\n\n"
    "Settings that are left out stay as the run had them.",
    epilog=examples("retry books.duckdb", "retry books.duckdb 3 --retries 5 --timeout 60"),
)
@app.command(
    "resume",
    cls=GroupedCommand,
    short_help="Resume an unfinished run.",
    help="Resume an unfinished run; its job, input and settings are in the database.\n\n"
    "Settings that are left out stay as the run had them.",
    epilog=examples("resume books.duckdb", "resume books.duckdb 3 --threads 8"),
)
@with_groups(settings=SETTINGS, display=DISPLAY)
def run_from_ledger(
    context: typer.Context,
    db: DatabaseArgument,
    run: Annotated[
        int | None,
        typer.Argument(
            metavar="[RUN]", parser=run_number, help="Number of the run; by default the newest possible one."
        ),
    ] = None,
    *,
    set_: SecretOption = None,
    settings: Given,
    display: Given,
    yes: YesOption = False,
) -> int:
    """Run items of a run in the ledger: `resume` the rest, `retry` the failed ones."""
    prepare_arrow()
    from tui_runner.cli.run import Display, resume_in_foreground
    from tui_runner.engine.planning.request import assignments
    from tui_runner.engine.planning.resume import resume_request, retry_request

    gc.enable()
    request_from = retry_request if context.info_name == "retry" else resume_request
    request = request_from(db, run, assignments(set_ or []), settings)
    return resume_in_foreground(request, Display(**display), context.obj, yes=yes)


app.command(
    cls=GroupedCommand,
    short_help="Fetch the URLs of SOURCE into table `pages`.",
    epilog=examples("fetch urls.txt", "fetch urls.csv --url-column link -d pages"),
)(fetch)
app.command(
    cls=GroupedCommand,
    short_help="Fetch pages and the pages they link to on the same hosts.",
    epilog=examples("crawl https://books.example/"),
)(crawl)


@app.command(
    "try",
    cls=GroupedCommand,
    short_help="Call JOB with its first items; show the rows.",
    epilog=examples("try scrape.py -n 5"),
)
def try_(
    context: typer.Context,
    job: JobArgument,
    count: Annotated[int, typer.Option("-n", metavar="N", parser=whole("-n", 1), help="Number of items.")] = 3,
    input: InputOption = None,
    set_: SetOption = None,
) -> int:
    """Call JOB with its first items in this process; show the rows and their columns, write nothing."""
    prepare_arrow()
    from tui_runner.engine.planning.request import RunRequest, assignments
    from tui_runner.engine.trial import run_trial

    _standard_output()
    request = RunRequest(job=job, params=assignments(set_ or []), input=input, limit=count)
    output = context.obj.catch_output(reserve_stdout=False)
    return run_trial(request, output.out, output)


@app.command(cls=GroupedCommand, epilog=examples("runs books.duckdb"))
def runs(db: DatabaseArgument, json: RecordsOption = False) -> int:
    """List the runs of a database."""
    from tui_runner.cli.reports import print_runs

    return print_runs(db, _standard_output(), as_json=json)


@app.command(cls=GroupedCommand, epilog=examples("errors books.duckdb --traceback"))
def errors(
    db: DatabaseArgument,
    run: RunArgument = None,
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", parser=whole("--limit", 1), help="Groups to list, those with most failed items first."
        ),
    ] = 20,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="With the traceback of the newest of each group.")
    ] = False,
    json: RecordsOption = False,
) -> int:
    """List the errors of a run in groups of similar ones."""
    from tui_runner.cli.reports import print_errors

    return print_errors(db, run, limit, _standard_output(), tracebacks=traceback, as_json=json)


@app.command(
    cls=StatementCommand,
    short_help="Query the results and the ledger of a database.",
    epilog=examples(
        "query books.duckdb 'SELECT count(*) FROM books'", "query books.duckdb -f report.sql -o report.parquet"
    ),
)
def query(
    db: DatabaseArgument,
    sql: Annotated[
        str | None, typer.Argument(metavar="[SQL]", help="Statements that only read; - for standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", metavar="FILE", help="Statements from FILE.")] = None,
    set_: ValueOption = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="table, csv, json, jsonl, parquet or markdown; table on a terminal, else csv."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write to FILE, in the format of its ending; - is standard output."
        ),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Query the results and the ledger of a database, also while a run writes to it."""
    from tui_runner.cli.query import run_query
    from tui_runner.store.export.files import is_standard_output

    return run_query(
        db,
        sql,
        _standard_output() if output is None or is_standard_output(output) else sys.stdout,
        script=file,
        parameters=set_ or (),
        format=format,
        output=output,
        force=force,
        err=sys.stderr,
    )


@app.command(cls=StatementCommand, epilog=examples("export books.duckdb books -o books.csv"))
def export(
    db: DatabaseArgument,
    what: Annotated[str, typer.Argument(metavar="TABLE|SQL", help="A table, or a statement that only reads.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The file: .csv, .json, .jsonl, .md or .parquet; or -."),
    ],
    set_: ValueOption = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="csv, json, jsonl, parquet or markdown; by default from FILE's ending."),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Write a table, or the result of a statement, into a file."""
    from tui_runner.cli.query import run_export
    from tui_runner.store.export.files import is_standard_output

    out = _standard_output() if is_standard_output(output) else sys.stdout
    return run_export(db, what, output, out, parameters=set_ or (), format=format, force=force, err=sys.stderr)


@app.command(
    "open",
    cls=GroupedCommand,
    short_help="Open the query screen for a database.",
    epilog=examples("open books.duckdb"),
)
def open_(context: typer.Context, db: DatabaseArgument, theme: ThemeOption = None) -> int:
    """Open the query screen for a database, also while a run writes to it."""
    if not _at_terminal():
        raise UserError("the query screen needs a terminal", "open", "use: tui-runner query DB SQL")
    from tui_runner.tui.query.app import open_database

    theme = theme if theme is not None else os.environ.get("TUI_RUNNER_THEME")
    open_database(db, theme=theme or None, output=context.obj.catch_output(reserve_stdout=True))
    return EXIT_OK


@app.command(
    cls=GroupedCommand,
    short_help="Choose a job, a run or a database; the default command.",
    epilog=examples("launch --theme light"),
)
def launch(context: typer.Context, theme: ThemeOption = None) -> int:
    """Choose a job and fill in its form, resume a run, or open a database; the same as `tui-runner` alone."""
    if not _at_terminal():
        raise UserError("the launcher needs a terminal", "launch", "use: tui-runner run JOB")
    prepare_arrow()
    from tui_runner.cli.run import launch as show

    return show(theme, context.obj)


@app.command(cls=GroupedCommand, epilog=examples("samples --copy jobs"))
def samples(
    copy: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the sample jobs into DIR.")] = None,
    json: RecordsOption = False,
) -> int:
    """List the sample jobs, or copy them to start from."""
    from tui_runner.cli.scaffold import copy_samples, list_samples

    return list_samples(_standard_output(), as_json=json) if copy is None else copy_samples(copy, sys.stdout)


@app.command(cls=GroupedCommand, epilog=examples("init scrape.py"))
def init(file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python file that does not exist yet.")]) -> int:
    """Write a small job to start from."""
    from tui_runner.cli.scaffold import write_job

    return write_job(file, sys.stdout)


@app.command(cls=GroupedCommand, epilog=examples("doctor --json"))
def doctor(
    backend: Annotated[
        str | None, typer.Option(metavar="dask:ADDRESS", help="Check the workers of this cluster, too.")
    ] = None,
    json: RecordsOption = False,
) -> int:
    """Check that this machine has what tui-runner needs."""
    from tui_runner.cli.doctor import examine

    # If standard output is closed (`>&-`), report to standard error: the findings must not be lost.
    return examine(sys.stderr if sys.__stdout__ is None else sys.stdout, backend, as_json=json)


@app.command(
    cls=GroupedCommand,
    short_help="Show the settings of a run and their origins.",
    epilog=examples("config scrape.py"),
)
def config(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job whose own settings count, too.")] = None,
    json: RecordsOption = False,
) -> int:
    """Show every setting of a run started in this folder, and the place that sets its value."""
    prepare_arrow()
    from tui_runner.cli.effective_settings import print_settings

    return print_settings(job, Path.cwd(), os.environ, _standard_output(), as_json=json)


@app.command(
    cls=GroupedCommand,
    short_help="Print a script that completes commands in a shell.",
    epilog=examples("completion bash >> ~/.bashrc"),
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> int:
    """Print a script for the shell's start-up file that completes commands and options."""
    from typer._completion_shared import get_completion_script

    if shell not in _SHELLS:
        raise UserError(f"no completion for {quoted(shell)}", "completion", f"the shells are {', '.join(_SHELLS)}")
    script = get_completion_script(prog_name="tui-runner", complete_var=_COMPLETE_VARIABLE, shell=shell)
    _standard_output().write(f"{script}\n")
    return EXIT_OK
