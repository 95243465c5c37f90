"""The commands `fetch` and `crawl`: built-in jobs, with options in the place of `--set`."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from tui_runner.cli.options import (
    AdaptiveOption,
    DelayOption,
    FailuresOption,
    GraceOption,
    HeadlessOption,
    JsonOption,
    MemoryOption,
    OutageOption,
    PerHostOption,
    QuietOption,
    RateOption,
    RetriesOption,
    ThemeOption,
    ThreadsOption,
    TimeoutOption,
    WorkersOption,
)
from tui_runner.errors import UserError
from tui_runner.system.arrow import prepare_arrow

FETCH = "tui_runner.jobs.fetch:fetch"
"""The job of `tui-runner fetch`, as ledgers name it."""
CRAWL = "tui_runner.jobs.crawl:crawl"
"""The job of `tui-runner crawl`, likewise."""

DatabaseOption = Annotated[
    Path | None, typer.Option("--db", metavar="PATH", help="DuckDB file; fetch.duckdb by default.")
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="A header of each request; may be repeated."),
]
UserAgentOption = Annotated[str | None, typer.Option(metavar="TEXT", help="The name that requests are sent by.")]
MaxBytesOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Bytes of an answer, decoded, at most: 64MB by default, or none.")
]
KeepOption = Annotated[
    str | None,
    typer.Option(metavar="WHAT", help="What of an answer is stored: none, text (by default), body, or file with -d."),
]
FolderOption = Annotated[
    Path | None, typer.Option("-d", "--dir", metavar="DIR", help="Save each answer as a file in DIR.")
]


def fetch(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="URLs: a file, one a line or a column; a glob, - or sql:SELECT …"),
    ],
    db: DatabaseOption = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Results table; pages by default.")] = None,
    url_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that has the URLs; url by default, or the only one.")
    ] = None,
    keep: KeepOption = None,
    folder: FolderOption = None,
    max_bytes: MaxBytesOption = None,
    user_agent: UserAgentOption = None,
    header: HeaderOption = None,
    robots: Annotated[bool, typer.Option("--robots", help="Leave out what robots.txt does not allow.")] = False,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Ask for pages that are known only if they have changed.")
    ] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N URLs.")] = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    retries: RetriesOption = None,
    timeout: TimeoutOption = None,
    rate: RateOption = None,
    per_host: PerHostOption = None,
    delay: DelayOption = None,
    adaptive: AdaptiveOption = None,
    max_memory: MemoryOption = None,
    max_failures: FailuresOption = None,
    on_outage: OutageOption = None,
    grace: GraceOption = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run, whatever is unfinished.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run, or fail.")] = False,
    headless: HeadlessOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    theme: ThemeOption = None,
) -> int:
    """Fetch the URLs of SOURCE into table `pages`: a row an answer, no code needed."""
    params: dict[str, Any] = {
        "keep": keep if folder is None or keep is not None else "file",
        "folder": None if folder is None else str(folder.absolute()),
        "max_bytes": max_bytes,
        "user_agent": user_agent,
        "header": list(header) if header else None,
        "robots": True if robots else None,
        "if_changed": True if if_changed else None,
    }
    if params["keep"] == "file" and folder is None:
        raise UserError("files need a folder", "--keep file", "give one with -d DIR")
    if folder is not None and params["keep"] != "file":
        raise UserError("only --keep file saves files", f"--keep {keep} and -d", "leave one of them out")
    settings = {
        "table": table,
        "threads": threads,
        "workers": workers,
        "retries": retries,
        "timeout": timeout,
        "rate": rate,
        "per_host": per_host,
        "delay": delay,
        "adaptive": adaptive,
        "max_memory": max_memory,
        "max_failures": max_failures,
        "on_outage": on_outage,
        "grace": grace,
    }
    return _run(
        context,
        FETCH,
        params,
        settings,
        (headless, json, quiet, theme),
        database=db,
        input=source if url_column is None else _of_column(source, url_column),
        limit=limit,
        new=new,
        resume=resume,
    )


def crawl(
    context: typer.Context,
    start: Annotated[list[str], typer.Argument(metavar="URL…", help="Pages to begin with.")],
    db: Annotated[
        Path | None, typer.Option("--db", metavar="PATH", help="DuckDB file; crawl.duckdb by default.")
    ] = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Results table; pages by default.")] = None,
    depth: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Links from a start page, at most; 20 by default.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Pages, at most.")] = 100_000,
    per_site: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pages of one host, at most; 50,000 by default.")
    ] = None,
    per_prefix: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Pages below one first part of the path, at most; 20,000 by default."),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="REGEX", help="Follow only addresses that have this; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="REGEX", help="Follow no address that has this; may be repeated.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="WHAT", help="What of an answer is stored: none, text (by default) or body.")
    ] = None,
    max_bytes: MaxBytesOption = None,
    user_agent: UserAgentOption = None,
    header: HeaderOption = None,
    robots: Annotated[
        bool, typer.Option("--robots/--no-robots", help="Leave out what robots.txt does not allow, or take it.")
    ] = True,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    retries: RetriesOption = None,
    timeout: TimeoutOption = None,
    rate: RateOption = None,
    per_host: PerHostOption = None,
    delay: DelayOption = None,
    adaptive: AdaptiveOption = None,
    max_memory: MemoryOption = None,
    max_failures: FailuresOption = None,
    on_outage: OutageOption = None,
    grace: GraceOption = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new run, whatever is unfinished.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run, or fail.")] = False,
    headless: HeadlessOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    theme: ThemeOption = None,
) -> int:
    """Fetch pages and follow their links on the same hosts, each page once, into table `pages`."""
    params: dict[str, Any] = {
        "start": list(start),
        "depth": depth,
        "per_site": per_site,
        "per_prefix": per_prefix,
        "include": list(include) if include else None,
        "exclude": list(exclude) if exclude else None,
        "keep": keep,
        "max_bytes": max_bytes,
        "user_agent": user_agent,
        "header": list(header) if header else None,
        "robots": None if robots else False,
    }
    settings = {
        "table": table,
        "threads": threads,
        "workers": workers,
        "retries": retries,
        "timeout": timeout,
        "rate": rate,
        "per_host": per_host,
        "delay": delay,
        "adaptive": adaptive,
        "max_memory": max_memory,
        "max_failures": max_failures,
        "on_outage": on_outage,
        "grace": grace,
    }
    return _run(
        context,
        CRAWL,
        params,
        settings,
        (headless, json, quiet, theme),
        database=db,
        limit=limit,
        new=new,
        resume=resume,
    )


def _run(
    context: typer.Context,
    job: str,
    params: dict[str, Any],
    settings: dict[str, Any],
    shown: tuple[bool | None, bool, bool, str | None],
    **request: Any,
) -> int:
    """Run a built-in job with the parameters and settings that were given, shown as `Display` says; the exit code."""
    prepare_arrow()
    from tui_runner.cli.run import Display, run_in_foreground
    from tui_runner.engine.planning.request import RunRequest

    gc.enable()
    asked = RunRequest(
        job=job,
        params={name: value for name, value in params.items() if value is not None},
        settings={name: value for name, value in settings.items() if value is not None},
        **request,
    )
    return run_in_foreground(asked, Display(*shown), context.obj)


def _of_column(source: str, column: str) -> str:
    """Return the input that has a column of another one as its column `url`."""
    from tui_runner.store.sql import literal, quote

    if source == "-" or source.startswith("range:"):
        raise UserError(f"{source} has no columns", "--url-column", "leave it out")
    table = f"({source[4:].rstrip().rstrip(';')})" if source.startswith("sql:") else literal(source)
    return f"sql:SELECT {quote(column)} AS url FROM {table}"  # noqa: S608 - both are quoted, or the user's own SQL
