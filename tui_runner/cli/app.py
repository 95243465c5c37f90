"""Defines the commands: each parses arguments, calls functions, prints results.

The work of a command is in the module that it calls. A command imports heavy libraries only when it needs them:
`tui-runner --version` loads none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from tui_runner._version import __version__
from tui_runner.cli.command_help import GroupedCommand, RunCommand, StatementCommand, examples
from tui_runner.cli.fetch import crawl, fetch
from tui_runner.cli.options import (
    BEGINNING,
    CHUNKS,
    DISPLAY,
    INPUT,
    SETTINGS,
    WHERE,
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
from tui_runner.errors import EXIT_OK, ExitCode, UserError
from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.terminal import is_terminal, needs_screen
from tui_runner.text.messages import quoted

DEBUG = "--debug"
_SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = "_TUI_RUNNER_COMPLETE"
"""Environment variable with which a shell calls the program for completions. The script of `completion` sets it.
"""

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


def _standard_output() -> TextIO:
    """Return standard output, for a command whose only result is what it writes there.

    Raises:
        UserError: standard output is closed.
    """
    if sys.__stdout__ is None:  # `>&-`; `prepare_streams` replaced it by /dev/null
        raise UserError("standard output is closed, so nothing can be printed", do="leave out >&-")
    return sys.stdout


def at_terminal() -> bool:
    """Return True if a screen can be shown: both standard input and output are a terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tui-runner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Tracebacks of errors, and much more in the log file.")] = False,
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
@with_groups(chunks=CHUNKS, settings=SETTINGS, where=WHERE, beginning=BEGINNING, display=DISPLAY)
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
    chunks: Given,
    settings: Given,
    where: Given,
    beginning: Given,
    display: Given,
) -> ExitCode:
    """Run JOB over its items; resume the unfinished run of the same job, input and parameters, if there is one."""
    given = {"table": table, **chunks, **where, **settings}
    prepare_arrow()
    from tui_runner.cli.run import Display, run_in_foreground
    from tui_runner.engine.planning.request import RunRequest, assignments

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
) -> ExitCode:
    """Run items of a run that is in the ledger: `resume` runs the unfinished ones, `retry` the failed ones."""
    prepare_arrow()
    from tui_runner.cli.run import Display, resume_in_foreground
    from tui_runner.engine.planning.request import assignments
    from tui_runner.engine.planning.resume import resume_request, retry_request

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
) -> ExitCode:
    """Call JOB with its first items in this process; show the rows and their columns, write nothing."""
    prepare_arrow()
    from tui_runner.engine.planning.request import RunRequest, assignments
    from tui_runner.engine.trial import run_trial

    _standard_output()
    request = RunRequest(job=job, params=assignments(set_ or []), input=input, limit=count)
    output = context.obj.catch_output(reserve_stdout=False)
    return run_trial(request, output.out, output)


@app.command(cls=GroupedCommand, epilog=examples("runs books.duckdb"))
def runs(db: DatabaseArgument, json: RecordsOption = False) -> ExitCode:
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
) -> ExitCode:
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
) -> ExitCode:
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
) -> ExitCode:
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
def open_(context: typer.Context, db: DatabaseArgument, theme: ThemeOption = None) -> ExitCode:
    """Open the query screen for a database, also while a run writes to it."""
    if not at_terminal():
        raise UserError(needs_screen("the query screen"), "open", "use: tui-runner query DB SQL")
    from tui_runner.tui.query.app import open_database
    from tui_runner.tui.themes import chosen_theme

    theme = chosen_theme(theme or None, os.environ)
    open_database(db, theme=theme, output=context.obj.catch_output(reserve_stdout=True))
    return EXIT_OK


@app.command(
    cls=GroupedCommand,
    short_help="Choose a job, a run or a database; the default command.",
    epilog=examples("launch --theme day"),
)
def launch(context: typer.Context, theme: ThemeOption = None) -> ExitCode:
    """Choose a job and fill in its form, resume a run, or open a database; the same as `tui-runner` alone."""
    if not at_terminal():
        raise UserError(needs_screen("the launcher"), "launch", "use: tui-runner run JOB")
    prepare_arrow()
    from tui_runner.cli.run import launch as show

    return show(theme, context.obj)


@app.command(cls=GroupedCommand, epilog=examples("samples --copy jobs"))
def samples(
    copy: Annotated[str | None, typer.Option(metavar="DIR", help="Copy the sample jobs into DIR.")] = None,
    json: RecordsOption = False,
) -> ExitCode:
    """List the sample jobs, or copy them to start from."""
    from tui_runner.cli.scaffold import copy_samples, list_samples

    if copy == "":  # as a path, the empty text would mean the current folder
        raise UserError("it names no folder", "--copy", "write --copy DIR")
    return list_samples(_standard_output(), as_json=json) if copy is None else copy_samples(Path(copy), sys.stdout)


@app.command(cls=GroupedCommand, epilog=examples("init scrape.py"))
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python file that does not exist yet.")],
) -> ExitCode:
    """Write a small job to start from."""
    from tui_runner.cli.scaffold import write_job

    return write_job(file, sys.stdout)


@app.command(cls=GroupedCommand, epilog=examples("doctor --json"))
def doctor(
    backend: Annotated[
        str | None, typer.Option(metavar="dask:ADDRESS", help="Check the workers of this cluster, too.")
    ] = None,
    json: RecordsOption = False,
) -> ExitCode:
    """Check that this machine has what tui-runner needs."""
    from tui_runner.cli.doctor import examine

    # If standard output is closed (`>&-`), write the findings to standard error instead.
    return examine(sys.stderr if sys.__stdout__ is None else sys.stdout, backend, as_json=json)


@app.command(
    cls=GroupedCommand,
    short_help="Show the settings of a run and their origins.",
    epilog=examples("config scrape.py"),
)
def config(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job whose own settings count, too.")] = None,
    json: RecordsOption = False,
) -> ExitCode:
    """Show every setting of a run started in this folder, its unit, and the place that sets it."""
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
) -> ExitCode:
    """Print a script for the shell's start-up file that completes commands and options."""
    from typer._completion_shared import get_completion_script

    if shell not in _SHELLS:
        raise UserError(f"no completion for {quoted(shell)}", "completion", f"the shells are {', '.join(_SHELLS)}")
    script = get_completion_script(prog_name="tui-runner", complete_var=COMPLETE_VARIABLE, shell=shell)
    _standard_output().write(f"{script}\n")
    return EXIT_OK
