"""The commands `fetch` and `crawl`, which run built-in jobs and have options instead of `--set`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tui_runner.cli.options import (
    BEGINNING,
    DISPLAY,
    INPUT,
    REQUESTS,
    SETTINGS,
    Given,
    Group,
    file_path,
    option,
    whole,
    with_groups,
)
from tui_runner.errors import ExitCode, UserError
from tui_runner.system.arrow import prepare_arrow
from tui_runner.text.messages import listed, plain

FETCH = "tui_runner.jobs.fetch:fetch"
"""Name of the job of `tui-runner fetch`, as in ledgers."""
CRAWL = "tui_runner.jobs.crawl:crawl"
"""Name of the job of `tui-runner crawl`, as in ledgers."""

_TableOption = Annotated[
    str | None, typer.Option(metavar="NAME", rich_help_panel=INPUT, help="Results table; pages by default.")
]
_ASKED: Group = {
    "max_bytes": option("Bytes of a response, decoded, at most: 64MB by default, or none.", REQUESTS, metavar="SIZE"),
    "user_agent": option("The User-Agent of requests.", REQUESTS, metavar="TEXT"),
    "header": option(
        "A header of each request; may be repeated.", REQUESTS, kind=list[str] | None, metavar="'NAME: VALUE'"
    ),
}
"""Options of `fetch` and `crawl` about requests and the size of responses."""
_FOLLOWED: Group = {
    "depth": option(
        "Follow links up to N steps away from a start page; 20 by default.",
        INPUT,
        kind=int | None,
        metavar="N",
        parser=whole("--depth", 0),
    ),
    "limit": option("Pages, at most.", INPUT, kind=int, default=100_000, metavar="N", parser=whole("--limit", 1)),
    "per_site": option(
        "Pages of one host, at most; 50,000 by default.",
        INPUT,
        kind=int | None,
        metavar="N",
        parser=whole("--per-site", 1),
    ),
    "per_prefix": option(
        "Pages below one first path segment, at most; 20,000 by default.",
        INPUT,
        kind=int | None,
        metavar="N",
        parser=whole("--per-prefix", 1),
    ),
    "include": option("Follow only URLs that match; may be repeated.", INPUT, kind=list[str] | None, metavar="REGEX"),
    "exclude": option("Follow no URLs that match; may be repeated.", INPUT, kind=list[str] | None, metavar="REGEX"),
}
"""Options of `crawl` that limit which links it follows, and how many pages it fetches."""


@with_groups(asked=_ASKED, settings=SETTINGS, beginning=BEGINNING, display=DISPLAY)
def fetch(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="URLs: a file, one a line or a column; a glob, - or sql:SELECT …"),
    ],
    *,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db",
            metavar="PATH",
            parser=file_path,
            rich_help_panel=INPUT,
            help="DuckDB file; fetch.duckdb by default.",
        ),
    ] = None,
    table: _TableOption = None,
    url_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=INPUT,
            help="The column that has the URLs; url by default, or the only one.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole("--limit", 0), rich_help_panel=INPUT, help="Only the first N URLs."),
    ] = None,
    beginning: Given,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            rich_help_panel=REQUESTS,
            help="Part of a response to store: none, text (by default), body, or file with -d.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "-d", "--dir", metavar="DIR", rich_help_panel=REQUESTS, help="Save each response as a file in DIR."
        ),
    ] = None,
    asked: Given,
    robots: Annotated[
        bool, typer.Option("--robots", rich_help_panel=REQUESTS, help="Skip pages that robots.txt does not allow.")
    ] = False,
    if_changed: Annotated[
        bool,
        typer.Option("--if-changed", rich_help_panel=REQUESTS, help="Fetch known pages only if they have changed."),
    ] = False,
    settings: Given,
    display: Given,
) -> ExitCode:
    """Fetch the URLs of SOURCE into table `pages`: one row per response, without writing code."""
    kept = keep if folder is None or keep is not None else "file"
    if kept == "file" and folder is None:
        raise UserError("files need a folder", "--keep file", "give one with -d DIR")
    if folder is not None and kept != "file":
        raise UserError("only --keep file saves files", f"--keep {keep} and -d", "leave one of them out")
    params = {
        "keep": kept,
        "folder": None if folder is None else str(folder.absolute()),
        "robots": robots or None,
        "if_changed": if_changed or None,
        **asked,
    }
    _check(asked, folder)
    input_ = source if url_column is None else _of_column(source, url_column)
    request = {"database": db, "input": input_, "limit": limit, **beginning}

    from tui_runner.jobs.arguments import MissingColumns

    try:
        return _run(context, FETCH, params, {"table": table, **settings}, request, display)
    except MissingColumns as error:
        raise _no_column("url", error.columns, source, "name one with --url-column") from None


@with_groups(followed=_FOLLOWED, asked=_ASKED, settings=SETTINGS, beginning=BEGINNING, display=DISPLAY)
def crawl(
    context: typer.Context,
    start: Annotated[list[str], typer.Argument(metavar="URL…", help="Start pages.")],
    *,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db",
            metavar="PATH",
            parser=file_path,
            rich_help_panel=INPUT,
            help="DuckDB file; crawl.duckdb by default.",
        ),
    ] = None,
    table: _TableOption = None,
    followed: Given,
    beginning: Given,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            rich_help_panel=REQUESTS,
            help="Part of a response to store: none, text (by default) or body.",
        ),
    ] = None,
    asked: Given,
    robots: Annotated[
        bool,
        typer.Option(
            "--robots/--no-robots",
            rich_help_panel=REQUESTS,
            help="Skip pages that robots.txt does not allow, or fetch them.",
        ),
    ] = True,
    settings: Given,
    display: Given,
) -> ExitCode:
    """Fetch pages and follow their links on the same hosts, each page once, into table `pages`."""
    _check(asked)
    from tui_runner.jobs import crawl as job

    job.start_pages(start)
    job.compiled(followed["include"], "--include")
    job.compiled(followed["exclude"], "--exclude")
    request = {"database": db, "limit": followed.pop("limit"), **beginning}
    params = {
        "start": start,
        **followed,
        "keep": keep,
        "robots": None if robots else False,
        **asked,
    }
    return _run(context, CRAWL, params, {"table": table, **settings}, request, display)


def _run(context: typer.Context, job: str, params: Given, settings: Given, request: Given, display: Given) -> ExitCode:
    """Run a built-in job. Omit options that were not given (None, []), so that the job's defaults apply."""
    prepare_arrow()
    from tui_runner.cli.run import Display, run_in_foreground
    from tui_runner.engine.planning.request import RunRequest

    asked = RunRequest(
        job=job,
        params={name: value for name, value in params.items() if value not in (None, [])},
        settings={name: value for name, value in settings.items() if value is not None},
        **request,
    )
    return run_in_foreground(asked, Display(**display), context.obj)


def _check(asked: Given, folder: Path | None = None) -> None:
    """Raise `UserError` before the run for options with which every item would fail."""
    from tui_runner.jobs import fetch as job

    job.headers_of(asked["header"] or ())
    if asked["max_bytes"] is not None:
        job.size_of(asked["max_bytes"])
    if folder is None:
        return
    try:
        file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    except OSError as error:
        what = f"can't be used ({(error.strerror or str(error)).lower()})"
        raise UserError(what, f"-d {plain(folder)}", "name another folder") from None
    if file is not None:
        raise UserError("is a file", f"-d {plain(file)}", "name a folder")


def _no_column(column: str, columns: Sequence[str], source: str, do: str = "") -> UserError:
    return UserError(f"no column {plain(column)}; its columns are {listed(columns)}", plain(source), do)


def _of_column(source: str, column: str) -> str:
    """Return an input whose column `url` is the column `column` of `source`.

    Raises:
        UserError: the source has no such column or cannot be read. For an `sql:` input, a missing column is found only
            when the run begins.
    """
    from tui_runner.inputs.open_source import open_source
    from tui_runner.store.sql import literal, quote

    if source == "-" or source.startswith("range:"):
        raise UserError(f"{source} has no columns", "--url-column", "leave it out")
    if not source.startswith("sql:"):
        columns = open_source(source).columns
        # Compare without case, as DuckDB does.
        if columns is not None and column.lower() not in {name.lower() for name in columns}:
            raise _no_column(column, columns, source)
    table = f"({source[4:].rstrip().rstrip(';')})" if source.startswith("sql:") else literal(source)
    return f"sql:SELECT {quote(column)} AS url FROM {table}"  # noqa: S608 - both are quoted, or the user's own SQL
