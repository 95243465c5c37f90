"""Options and arguments that several commands have, and groups of options, each with one help text."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tui_runner.errors import DatabaseError, UserError
from tui_runner.text.messages import plain, quoted, shortened

INPUT, REQUESTS, SPEED, HOSTS, FAILURES, MEMORY, SHOWN = (
    "Run",
    "Requests and content",
    "Speed",
    "Hosts",
    "Failures",
    "Memory and time",
    "Output",
)
"""Titles of the groups of options in the help of commands with many options."""

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="file.py, file.py:function, package.module:function, or a sample's name.")
]


def file_path(text: str) -> Path:
    """Return the path of a file. Refuse `x/`, which `Path` would convert to `x`.

    Raises:
        DatabaseError: the path is written like a folder.
    """
    if text.endswith(os.sep):
        raise DatabaseError("is a folder", plain(text), "name a file in it")
    return Path(text)


def run_number(text: str) -> int:
    """Parse the number of a run.

    Raises:
        UserError: `text` is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        what = f"{quoted(text)} is not a run number"
        raise UserError(what, "RUN", "list them with: tui-runner runs DB") from None


def whole(option: str, least: int) -> Callable[[object], int]:
    """Return a parser for the value of an option that takes a whole number.

    Args:
        option: name of the option, for the message.
        least: the smallest valid number.

    Returns:
        The parser. It raises `UserError` for a text that is not such a number.
    """

    def parse(given: Any) -> int:
        try:
            number = int(given)
        except ValueError:
            number = least - 1
        if number < least:
            words = "a whole number, 0 or more" if least == 0 else f"a whole number of at least {least}"
            raise UserError(f"{quoted(given)} is not {words}", option)
        if number > sys.maxsize:
            raise UserError(f"{shortened(plain(given))} is too large; give at most {sys.maxsize:,}", option)
        return number

    return parse


DatabaseArgument = Annotated[Path, typer.Argument(metavar="DB", help="A DuckDB file that tui-runner has written.")]
RunArgument = Annotated[
    int | None,
    typer.Argument(metavar="[RUN]", parser=run_number, help="Number of the run; the newest by default."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        rich_help_panel=INPUT,
        help="A parameter of the job; may be repeated. A Secret may be NAME=@FILE.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="SOURCE",
        rich_help_panel=INPUT,
        help="Where items come from: a file, a glob, -, range:0:100, sql:SELECT …",
    ),
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        rich_help_panel=INPUT,
        help="A secret parameter, not kept in the database; NAME=@FILE reads it.",
    ),
]
RecordsOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object per line.")]
ValueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Value of parameter $NAME in the statement; 1=VALUE for the first ?."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite FILE.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask before running the job file that the database names, wherever it is.")
]
ThemeOption = Annotated[
    str | None, typer.Option("--theme", metavar="NAME", rich_help_panel=SHOWN, help="Colours of the dashboard.")
]

Given = dict[str, Any]
"""The values of all options of a group, by name. An option that was not given has its default, mostly None."""
Group = Mapping[str, tuple[Any, Any]]
"""Options by name, each with its annotation and its default."""


def option(
    help: str, panel: str | None, *names: str, kind: Any = str | None, default: object = None, **more: Any
) -> Any:
    """Return an option for a `Group`.

    Args:
        help: the option's line in the help.
        panel: title of its group in the help; None for no group.
        names: how the option is written; if empty, Typer derives it from the name of the parameter.
        kind: type of the option's value.
        default: value of an option that is not given.
        more: further arguments of `typer.Option`.
    """
    return Annotated[kind, typer.Option(*names, rich_help_panel=panel, help=help, **more)], default


def flag(help: str, panel: str | None, *names: str, default: bool | None = None) -> Any:
    """Return an option without a value for a `Group`. See `option` for the parameters."""
    return option(help, panel, *names, kind=bool if default is not None else bool | None, default=default)


SETTINGS: Group = {
    "threads": option("Items at once, over all workers.", SPEED, metavar="N"),
    "workers": option("Worker processes.", SPEED, metavar="N"),
    "retries": option("Attempts after the first one.", FAILURES, metavar="N"),
    "timeout": option("Longest time of an attempt.", MEMORY, metavar="SECONDS"),
    "rate": option("Items started per second, at most.", SPEED, metavar="N"),
    "per_host": option("Requests at once to one host, at most.", HOSTS, metavar="N"),
    "delay": option("Time between two requests to a host, at least.", HOSTS, metavar="SECONDS"),
    "adaptive": flag("Let that delay follow the latency of each host.", HOSTS, "--adaptive/--no-adaptive"),
    "max_memory": option(
        "Memory of the run with its workers: 4GB, 50% of the machine's, or none.", MEMORY, metavar="SIZE"
    ),
    "max_failures": option("Stop in order after more failed items than this.", FAILURES, metavar="N|P%"),
    "on_outage": option(
        "When nearly everything fails: pause (and try periodically), stop or continue.", FAILURES, metavar="WHAT"
    ),
    "grace": option("Time for items in flight to finish when the run is stopped.", MEMORY, metavar="SECONDS"),
}
"""Settings that every command that runs items may change."""
CHUNKS: Group = {
    "chunk_size": option("Items per chunk; by default as many as take 2 to 10 s.", SPEED, metavar="N"),
    "open_chunks": option("Chunks with workers at once; by default a second of work.", SPEED, metavar="N"),
}
"""Settings of a new run about the division of its items."""
WHERE: Group = {
    "backend": option("process; inline for debugging; dask:ADDRESS for a cluster.", SPEED, metavar="NAME"),
    "ship": option("Folder of code to send to a cluster, besides the job's own.", None, metavar="DIR"),
    "insecure": flag("Let secrets go to a cluster unencrypted.", None, "--insecure"),
}
"""Settings for where the workers of a new run execute."""
DISPLAY: Group = {
    "headless": flag(
        "Without the dashboard, or with it; by default, with it on a terminal.", SHOWN, "--headless/--tui"
    ),
    "json": flag("Without the dashboard: one JSON event per line on standard output.", SHOWN, "--json", default=False),
    "quiet": flag(
        "Without the dashboard, and without output except errors; --json still writes its events.",
        SHOWN,
        "--quiet",
        default=False,
    ),
    "theme": (ThemeOption, None),
}
"""Options for how a run is shown: the fields of `cli.run.Display`."""
BEGINNING: Group = {
    "new": flag("Start a new run, even if one is unfinished.", INPUT, "--new", default=False),
    "resume": flag("Resume an unfinished run, or fail.", INPUT, "--resume", default=False),
}
"""Options that decide between a new run and an unfinished one."""


def with_groups(**groups: Group) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that adds the options of each group to a command, in place of the parameter with its name.

    The decorated function receives the options of a group as one `Given`.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name not in groups:
                parameters.append(parameter)
                continue
            parameters += [
                parameter.replace(name=name, annotation=annotation, default=default)
                for name, (annotation, default) in groups[parameter.name].items()
            ]

        @functools.wraps(function)
        def command(**given: Any) -> int:
            found = {group: {name: given.pop(name) for name in options} for group, options in groups.items()}
            return function(**given, **found)

        # Typer reads both attributes. Without them it would find the attributes of the wrapped function.
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate
