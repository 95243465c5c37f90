"""The options and arguments that several commands have, each with its one help text, and groups of them."""

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
    "What runs",
    "What is asked and kept",
    "How fast",
    "Hosts",
    "What fails",
    "Memory and time",
    "What is shown",
)
"""Groups of options, in the help of a command that has many."""

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="file.py, file.py:function, package.module:function, or a sample's name.")
]


def file_path(text: str) -> Path:
    """Return the path of a file: parses an option. Of the folder `x/` a `Path` makes the file `x`.

    Raises:
        DatabaseError: it is written like a folder.
    """
    if text.endswith(os.sep):
        raise DatabaseError("is a folder", plain(text), "name a file in it")
    return Path(text)


def run_number(text: str) -> int:
    """Return the number of a run: parses an argument.

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
        least: the smallest number that it takes.
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
    typer.Option(metavar="SECONDS", rich_help_panel=HOSTS, help="From one request to a host to the next, at least."),
]
AdaptiveOption = Annotated[
    bool | None,
    typer.Option(
        "--adaptive/--no-adaptive",
        rich_help_panel=HOSTS,
        help="Let that delay follow how long each host takes to answer.",
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
        help="Stop in order when more items than this failed.",
    ),
]
GraceOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=MEMORY,
        help="How long items in flight may take when the run is stopped.",
    ),
]
OutageOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        rich_help_panel=FAILURES,
        help="When nearly everything fails: pause (and try now and then), stop or continue.",
    ),
]
HeadlessOption = Annotated[
    bool | None,
    typer.Option(
        "--headless/--tui",
        rich_help_panel=SHOWN,
        help="Without the dashboard, or with it; by default as the terminal is.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=SHOWN, help="Without the dashboard: one JSON event a line on standard output."
    ),
]
RecordsOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line.")]
ValueOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="The value of $NAME in the statement; 1=VALUE of the first ?."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over FILE.")]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        rich_help_panel=SHOWN,
        help="Without the dashboard, and without a word unless something is wrong; --json still writes its events.",
    ),
]
NewOption = Annotated[
    bool, typer.Option("--new", rich_help_panel=INPUT, help="Start a new run, whatever is unfinished.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", rich_help_panel=INPUT, help="Go on with an unfinished run, or fail.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Don't ask before running the job file that the database names, wherever it is.")
]
ThemeOption = Annotated[
    str | None, typer.Option("--theme", metavar="NAME", rich_help_panel=SHOWN, help="Colours of the dashboard.")
]

Given = dict[str, Any]
"""The options of a group as they were given, by name."""
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
"""Settings of a run that every command which executes one may change."""
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
    """Give a command the options of groups, each in the place of the parameter of its name.

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

        # Typer asks for both, and would else find those of the function that is wrapped.
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate
