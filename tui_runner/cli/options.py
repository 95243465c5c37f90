"""Options and arguments of several commands, each with one help text, and groups of them."""

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
"""Groups of options, in the help of a command that has many."""

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="file.py, file.py:function, package.module:function, or a sample's name.")
]


def file_path(text: str) -> Path:
    """Return the path of a file in an option. Refuse `x/`, which a `Path` would convert to `x`.

    Raises:
        DatabaseError: it is written like a folder.
    """
    if text.endswith(os.sep):
        raise DatabaseError("is a folder", plain(text), "name a file in it")
    return Path(text)


def run_number(text: str) -> int:
    """Return the number of a run in an argument.

    Raises:
        UserError: it is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        what = f"{quoted(text)} is not a run number"
        raise UserError(what, "RUN", "list them with: tui-runner runs DB") from None


def whole(option: str, least: int) -> Callable[[object], int]:
    """Return the parser of an option that takes a whole number.

    Args:
        option: its name, for the message.
        least: the smallest valid number.
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
        metavar="KEY=VALUE",
        rich_help_panel=INPUT,
        help="A parameter of the job; may be repeated. A Secret may be KEY=@FILE.",
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
        metavar="KEY=VALUE",
        rich_help_panel=INPUT,
        help="A secret parameter, not kept in the database; KEY=@FILE reads it.",
    ),
]
ThreadsOption = Annotated[
    str | None, typer.Option(metavar="N", rich_help_panel=SPEED, help="Items at once, over all workers.")
]
RetriesOption = Annotated[
    str | None, typer.Option(metavar="N", rich_help_panel=FAILURES, help="Attempts after the first one.")
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", rich_help_panel=MEMORY, help="Longest time of an attempt."),
]
RateOption = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=SPEED, help="Items started per second, at most."),
]
WorkersOption = Annotated[str | None, typer.Option(metavar="N", rich_help_panel=SPEED, help="Worker processes.")]
PerHostOption = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=HOSTS, help="Requests at once to one host, at most."),
]
DelayOption = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", rich_help_panel=HOSTS, help="Time between two requests to a host, at least."),
]
AdaptiveOption = Annotated[
    bool | None,
    typer.Option(
        "--adaptive/--no-adaptive",
        rich_help_panel=HOSTS,
        help="Let that delay follow the latency of each host.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        rich_help_panel=MEMORY,
        help="Memory of the run with its workers: 4GB, 50% of the machine's, or none.",
    ),
]
FailuresOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|P%",
        rich_help_panel=FAILURES,
        help="Stop in order after more failed items than this.",
    ),
]
GraceOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=MEMORY,
        help="Time for items in flight to finish when the run is stopped.",
    ),
]
OutageOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        rich_help_panel=FAILURES,
        help="When nearly everything fails: pause (and try periodically), stop or continue.",
    ),
]
HeadlessOption = Annotated[
    bool | None,
    typer.Option(
        "--headless/--tui",
        rich_help_panel=SHOWN,
        help="Without the dashboard, or with it; by default, with it on a terminal.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=SHOWN, help="Without the dashboard: one JSON event per line on standard output."
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
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        rich_help_panel=SHOWN,
        help="Without the dashboard, and without output except errors; --json still writes its events.",
    ),
]
NewOption = Annotated[
    bool, typer.Option("--new", rich_help_panel=INPUT, help="Start a new run, even if one is unfinished.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", rich_help_panel=INPUT, help="Resume an unfinished run, or fail.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask before running the job file that the database names, wherever it is.")
]
ThemeOption = Annotated[
    str | None, typer.Option("--theme", metavar="NAME", rich_help_panel=SHOWN, help="Colours of the dashboard.")
]

Given = dict[str, Any]
"""The given options of a group, by name."""
Group = Mapping[str, tuple[Any, Any]]
"""Options by name, each with its annotation and its default."""

SETTINGS: Group = {
    "threads": (ThreadsOption, None),
    "workers": (WorkersOption, None),
    "retries": (RetriesOption, None),
    "timeout": (TimeoutOption, None),
    "rate": (RateOption, None),
    "per_host": (PerHostOption, None),
    "delay": (DelayOption, None),
    "adaptive": (AdaptiveOption, None),
    "max_memory": (MemoryOption, None),
    "max_failures": (FailuresOption, None),
    "on_outage": (OutageOption, None),
    "grace": (GraceOption, None),
}
"""Settings that every command that executes a run may change."""
DISPLAY: Group = {
    "headless": (HeadlessOption, None),
    "json": (JsonOption, False),
    "quiet": (QuietOption, False),
    "theme": (ThemeOption, None),
}
"""Options of the display: the fields of `cli.run.Display`."""
BEGINNING: Group = {"new": (NewOption, False), "resume": (ResumeOption, False)}
"""Options that start a new run or resume one."""


def with_groups(**groups: Group) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the options of groups to a command, each in place of the parameter with its name.

    The function gets the options of a group as one `Given`.
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

        # Typer reads both, and would otherwise find those of the wrapped function.
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate
