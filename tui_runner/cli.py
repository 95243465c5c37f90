"""The command line: parses, calls, prints. What a command does is in the module it calls.

Heavy libraries are imported by the commands that need them: `tui-runner --version` loads none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_runner import __version__
from tui_runner.errors import EXIT_KILLED, EXIT_OK, EXIT_USAGE, UserError
from tui_runner.safe_text import safe_text

if TYPE_CHECKING:
    from tui_runner.engine.runner import Runner
    from tui_runner.request import RunRequest

app = typer.Typer(
    name="tui-runner",
    help=(
        "Run a function over a very long list of inputs: flat memory, live dashboard, results in DuckDB.\n\n"
        "Execution at least once, recording exactly once: kill it at any instant, start it again, and every item's "
        "rows are in the table once."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_debug = "--debug"

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="file.py, file.py:function, package.module:function, or a sample's name.")
]
DatabaseArgument = Annotated[Path, typer.Argument(metavar="DB", help="A DuckDB file that tui-runner has written.")]
RunArgument = Annotated[int | None, typer.Argument(metavar="[RUN]", help="Number of the run; the newest by default.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the job; may be repeated.")
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="SOURCE", help="Where items come from: a file, a glob, -, range:0:100, sql:SELECT …"
    ),
]
HeadlessOption = Annotated[
    bool | None,
    typer.Option("--headless/--tui", help="Without the dashboard, or with it; by default as the terminal is."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Without the dashboard: one JSON event a line on standard output.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Without the dashboard: no progress line.")]
ThemeOption = Annotated[str | None, typer.Option("--theme", metavar="NAME", help="Colours of the dashboard.")]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = _debug in arguments
    if debug:
        arguments = [argument for argument in arguments if argument != _debug]
    try:
        code = app(args=arguments, prog_name="tui-runner", standalone_mode=False)
    except UserError as error:
        if debug:
            raise
        code = _complain(str(error), error.exit_code)
    except typer.Abort:
        code = EXIT_KILLED
    except KeyboardInterrupt:
        code = EXIT_KILLED
    except BrokenPipeError:
        # Whoever read our output has had enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_OK
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        usage = getattr(getattr(error, "ctx", None), "command_path", "tui-runner")
        code = _complain(f"{format_message()} See: {usage} --help", EXIT_USAGE)
    sys.exit(code)


def _complain(text: str, code: int) -> int:
    print(f"tui-runner: {safe_text(text)}", file=sys.stderr)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tui-runner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of tui-runner itself."""


@app.command()
def run(
    job: JobArgument,
    db: Annotated[Path | None, typer.Option(metavar="PATH", help="DuckDB file; <job>.duckdb by default.")] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="Results table; the function's name by default.")
    ] = None,
    input: InputOption = None,
    set_: SetOption = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=0, help="Only the first N items.")] = None,
    chunk_size: Annotated[int | None, typer.Option(metavar="N", help="Items a chunk.")] = None,
    open_chunks: Annotated[int | None, typer.Option(metavar="N", help="Chunks that are worked on at once.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Items at once, over all workers.")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Worker processes.")] = None,
    backend: Annotated[str | None, typer.Option(metavar="NAME", help="process, or inline for debugging.")] = None,
    retries: Annotated[int | None, typer.Option(metavar="N", help="Attempts after the first one.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Longest time of an attempt.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Items started per second, at most.")] = None,
    per_host: Annotated[int | None, typer.Option(metavar="N", help="Requests at once to one host, at most.")] = None,
    max_failures: Annotated[
        str | None, typer.Option(metavar="N|P%", help="Stop in order when more items than this failed.")
    ] = None,
    grace: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long items in flight may take when the run is stopped.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run, whatever is unfinished.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run, or fail.")] = False,
    headless: HeadlessOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    theme: ThemeOption = None,
) -> int:
    """Run JOB over its items; go on with the unfinished run of the same job, input and parameters, if there is one."""
    given = {
        "table": table,
        "chunk_size": chunk_size,
        "open_chunks": open_chunks,
        "threads": threads,
        "workers": workers,
        "backend": backend,
        "retries": retries,
        "timeout": timeout,
        "rate": rate,
        "per_host": per_host,
        "max_failures": max_failures,
        "grace": grace,
    }
    show = _Show(headless, json, quiet, theme)
    from tui_runner.request import RunRequest

    request = RunRequest(
        job=job,
        params=_parameters(set_),
        settings={name: value for name, value in given.items() if value is not None},
        database=db,
        input=input,
        limit=limit,
        new=new,
        resume=resume,
    )
    return show.run(request)


@app.command()
def resume(
    db: DatabaseArgument,
    run: RunArgument = None,
    headless: HeadlessOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    theme: ThemeOption = None,
) -> int:
    """Go on with an unfinished run; its job, input and settings are in the database."""
    from tui_runner.request import resume_request

    return _Show(headless, json, quiet, theme).run(resume_request(db, run))


@app.command("try")
def try_(
    job: JobArgument,
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many items.")] = 3,
    input: InputOption = None,
    set_: SetOption = None,
) -> int:
    """Call JOB with its first items, here and now; show the rows and their columns, write nothing."""
    from tui_runner.request import RunRequest
    from tui_runner.trial import run_trial

    request = RunRequest(job=job, params=_parameters(set_), input=input, limit=count)
    return run_trial(request, folder=Path.cwd(), environ=os.environ, out=sys.stdout)


@app.command()
def runs(db: DatabaseArgument) -> int:
    """List the runs of a database."""
    from tui_runner.reports import print_runs

    return print_runs(db, sys.stdout)


@app.command()
def errors(
    db: DatabaseArgument,
    run: RunArgument = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Groups to list, the most frequent first.")] = 20,
) -> int:
    """List what failed in a run, grouped by what is alike."""
    from tui_runner.reports import print_errors

    return print_errors(db, run, limit, sys.stdout)


@app.command()
def query(
    db: DatabaseArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement that only reads.")],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="table, csv, json, jsonl, parquet or markdown; table on a terminal, else csv."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE.")] = None,
) -> int:
    """Query the results and the ledger of a database."""
    from tui_runner.reports import run_query

    return run_query(db, sql, format, output, sys.stdout)


@app.command()
def samples(
    copy: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the sample jobs into DIR.")] = None,
) -> int:
    """List the sample jobs, or copy them to start from."""
    from tui_runner.scaffold import copy_samples, list_samples

    return list_samples(sys.stdout) if copy is None else copy_samples(copy, sys.stdout)


@app.command()
def init(file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python file that does not exist yet.")]) -> int:
    """Write a small job to start from."""
    from tui_runner.scaffold import write_job

    return write_job(file, sys.stdout)


@app.command()
def doctor() -> int:
    """Check that this machine has what tui-runner needs."""
    from tui_runner.doctor import examine

    return examine(sys.stdout)


def _parameters(assignments: list[str] | None) -> dict[str, object]:
    """`KEY=VALUE`s as a mapping."""
    params: dict[str, object] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{assignment!r} is no KEY=VALUE", "--set", "write --set name=value")
        params[key.strip()] = value
    return params


class _Show:
    """How a run is shown: on the dashboard, or without a screen."""

    def __init__(self, headless: bool | None, json: bool, quiet: bool, theme: str | None) -> None:
        if json and headless is False:
            raise UserError("--json and --tui exclude each other", do="leave one of them out")
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if headless is False and not terminal:
            raise UserError("the dashboard needs a terminal", "--tui", "run it with --headless here")
        self._headless = json or quiet or not terminal if headless is None else headless or json
        self._json = json
        self._quiet = quiet
        self._theme = theme
        self._events = sys.stdout
        if self._headless:
            # A job that prints while it is loaded or makes its items must not get between the JSON events.
            sys.stdout = sys.stderr

    def run(self, request: RunRequest) -> int:
        """Run what was asked for and return the exit code."""
        from dataclasses import replace

        from tui_runner.engine.runner import Runner
        from tui_runner.request import plan_run

        request = replace(request, stay_paused=not self._headless)
        runner = Runner(plan_run(request, folder=Path.cwd(), environ=os.environ))
        runner.open()
        try:
            return self._watch(runner) if self._headless else self._dashboard(runner)
        finally:
            runner.close()

    def _watch(self, runner: Runner) -> int:
        from tui_runner.headless import Headless

        live = sys.stderr.isatty()
        people: Any = None if self._quiet or (self._json and not live) else sys.stderr
        return Headless(runner, events=self._events if self._json else None, people=people, live=live).run()

    def _dashboard(self, runner: Runner) -> int:
        from tui_runner.headless import exit_code, summary
        from tui_runner.tui.app import run_app

        run_app(runner, theme=self._theme)
        runner.join()
        snapshot = runner.snapshot()
        print(summary(snapshot))
        if snapshot.reason:
            print(safe_text(snapshot.reason))
        return exit_code(snapshot)
