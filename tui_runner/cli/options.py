"""The options and arguments that several commands have, each with its one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="file.py, file.py:function, package.module:function, or a sample's name.")
]
DatabaseArgument = Annotated[Path, typer.Argument(metavar="DB", help="A DuckDB file that tui-runner has written.")]
RunArgument = Annotated[int | None, typer.Argument(metavar="[RUN]", help="Number of the run; the newest by default.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter of the job; may be repeated. A Secret may be KEY=@FILE.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="SOURCE", help="Where items come from: a file, a glob, -, range:0:100, sql:SELECT …"
    ),
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A secret parameter, not kept in the database; KEY=@FILE reads it."
    ),
]
ThreadsOption = Annotated[str | None, typer.Option(metavar="N", help="Items at once, over all workers.")]
RetriesOption = Annotated[str | None, typer.Option(metavar="N", help="Attempts after the first one.")]
TimeoutOption = Annotated[str | None, typer.Option(metavar="SECONDS", help="Longest time of an attempt, or none.")]
RateOption = Annotated[str | None, typer.Option(metavar="N", help="Items started per second, at most, or none.")]
WorkersOption = Annotated[str | None, typer.Option(metavar="N", help="Worker processes.")]
PerHostOption = Annotated[str | None, typer.Option(metavar="N", help="Requests at once to one host, at most, or none.")]
DelayOption = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="From one request to a host to the next, at least.")
]
AdaptiveOption = Annotated[
    bool | None,
    typer.Option("--adaptive/--no-adaptive", help="Let that delay follow how long each host takes to answer."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory of the run with its workers: 4GB, 50% of the machine's, or none."),
]
FailuresOption = Annotated[
    str | None, typer.Option(metavar="N|P%", help="Stop in order when more items than this failed, or none.")
]
GraceOption = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="How long items in flight may take when the run is stopped.")
]
OutageOption = Annotated[
    str | None,
    typer.Option(metavar="WHAT", help="When nearly everything fails: pause (and try now and then), stop or continue."),
]
HeadlessOption = Annotated[
    bool | None,
    typer.Option("--headless/--tui", help="Without the dashboard, or with it; by default as the terminal is."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Without the dashboard: one JSON event a line on standard output.")
]
ValueOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="The value of $NAME in the statement; 1=VALUE of the first ?."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over FILE.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Without the dashboard, and without a word unless something is wrong.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Run the job that the database names without asking, wherever its file is.")
]
ThemeOption = Annotated[str | None, typer.Option("--theme", metavar="NAME", help="Colours of the dashboard.")]
