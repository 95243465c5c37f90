"""Errors of a run that is being started are shown in the launcher, where they can be corrected."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.pilots import driven
from support.screens import JOB, field, ready, screen_text
from textual.pilot import Pilot

from tui_runner.engine.assembly import open_runner
from tui_runner.engine.planning.request import RunRequest, plan_run
from tui_runner.engine.runner import Runner
from tui_runner.tui.dialogs.questions import Ask
from tui_runner.tui.launcher import Launcher
from tui_runner.tui.launcher.job_form import JobForm

RAISES = JOB.replace(
    "    return range", "    if last < 0:\n        raise ValueError('no, minus one')\n    return range"
)
BREAKS_OFF = RAISES.replace("return range(last)", "yield from map(int, 'x')")


def told(app: Launcher) -> str:
    """Return the text beside the list, unwrapped."""
    return " ".join(" ".join(line.rpartition("││")[2].rstrip(" │") for line in screen_text(app).splitlines()).split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "scrape.py").write_text(RAISES)
    (folder / "broken.csv").write_text('a,b\n1,2\n"3,4\n')
    (folder / "two.csv").write_text("these,those\n1,2\n")
    (folder / "no.duckdb").write_text("not one at all")
    return folder


def launcher(folder: Path, environ: dict[str, str]) -> Launcher:
    def begin(request: RunRequest) -> Runner:
        return open_runner(plan_run(replace(request, attended=True), folder=folder, environ={}))

    return Launcher(folder, environ, begin=begin)


async def fill(pilot: Pilot[Any], **values: str) -> None:
    """Put these values into the fields of the form."""
    app = await ready(pilot)
    for name, value in values.items():
        field(app, name).value = value
    await ready(pilot)


async def form(pilot: Pilot[Any], **values: str) -> None:
    """The form of the job in the folder."""
    await ready(pilot)
    await pilot.press("enter")
    await fill(pilot, **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"input": "nowhere.csv"}, "there is no such file"),
        ({"input": "broken.csv"}, "a quoted value has no closing quote"),
        ({"input": "sql:SELEC 1"}, "syntax error"),
        ({"input": "-"}, "standard input is the keyboard here"),
        ({"last": "-1"}, "no, minus one"),
        ({"database": "no.duckdb"}, "it was not changed"),
        ({"database": "nope/x.duckdb"}, "its folder does not exist"),
        ({"input": "two.csv"}, "those"),
        ({"input": "range:0:9", "last": "3"}, "leave one of the two empty"),
    ],
    ids=["missing", "broken", "sql", "keyboard", "items", "database", "folder", "columns", "both"],
)
async def test_a_fault_is_shown_in_the_form_which_stays(
    folder: Path,
    environ: dict[str, str],
    values: dict[str, str],
    said: str,
) -> None:
    app = launcher(folder, environ)
    async with driven(app, size=(120, 60)) as pilot:
        await form(pilot, base="x")
        before = told(app)
        await fill(pilot, **values)
        await pilot.press("ctrl+s")
        await ready(pilot)
        shown = told(app)
        assert said in shown and said not in before
        assert not app._exit and app.query_one(JobForm).job is not None
        # Mended, it begins.
        await fill(pilot, **dict.fromkeys(values, ""))
        assert said not in told(app)
        await pilot.press("ctrl+s")
        await ready(pilot)
    assert isinstance(app.return_value, Runner)
    app.return_value.close()


async def test_an_input_needs_nothing_of_the_items_whose_place_it_takes(
    folder: Path,
    environ: dict[str, str],
) -> None:
    (folder / "scrape.py").write_text(JOB.replace("last: int = 5", "last: int"))
    app = launcher(folder, environ)
    async with driven(app, size=(120, 60)) as pilot:
        await form(pilot, base="x")
        await pilot.press("ctrl+s")
        assert "this is needed" in told(app)
        await fill(pilot, input="range:0:9")
        await pilot.press("ctrl+s")
        await ready(pilot)
    assert isinstance(app.return_value, Runner)
    app.return_value.close()


async def test_items_that_fail_at_once_are_reported(folder: Path, environ: dict[str, str]) -> None:
    (folder / "scrape.py").write_text(BREAKS_OFF)
    app = launcher(folder, environ)
    async with driven(app, size=(60, 14)) as pilot:
        await form(pilot, base="x")
        await pilot.press("ctrl+s")
        await ready(pilot)
        assert "making the items failed: ValueError" in told(app)
        assert not app._exit
    assert not [entry for entry in os.scandir(folder) if entry.name.startswith("pages.duckdb")]


async def test_a_run_that_cannot_be_resumed_is_explained_beside_the_list(
    folder: Path,
    environ: dict[str, str],
    new_run: Callable[..., Any],
) -> None:
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    (folder / "scrape.py").rename(folder / "gone.py")
    app = launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("home", "r", "r")
        await ready(pilot)
        assert "scrape.py" in screen_text(app) and app.query_one("#trouble").display and not app._exit
        await pilot.press("down")
        await ready(pilot)
        assert not app.query_one("#trouble").display


async def test_a_secret_that_the_database_does_not_keep_is_asked_for_unseen(
    folder: Path,
    environ: dict[str, str],
    new_run: Callable[..., Any],
) -> None:
    secret = JOB.replace("import job", "import Secret, job").replace("base: str", "base: Secret")
    (folder / "scrape.py").write_text(secret)
    (folder / "no.duckdb").unlink()
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    app = launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("home", "r")
        while not isinstance(app.screen, Ask):
            await pilot.pause(0.01)
        assert "base: a secret" in screen_text(app)
        assert not app.query_one("#trouble").display  # nothing is being started while the user is asked
        await pilot.press(*"hush")
        assert "hush" not in screen_text(app)
        await pilot.press("enter")
        await ready(pilot)
    assert isinstance(app.return_value, Runner) and app.return_value.run_id == 1
    assert str(app.return_value.plan.params["base"]) != "x"
    app.return_value.close()


@pytest.mark.parametrize(
    ("values", "name", "said"),
    [({"database": "no.duckdb"}, "database", "it was not changed"), ({"last": "-1"}, "input", "no, minus one")],
    ids=["database", "items"],
)
async def test_a_fault_of_a_job_that_was_started_from_the_list_leads_into_its_form(
    folder: Path, environ: dict[str, str], values: dict[str, str], name: str, said: str
) -> None:
    app = launcher(folder, environ)
    async with driven(app, size=(120, 60)) as pilot:
        await form(pilot, base="x", **values)
        await pilot.press("escape")
        await ready(pilot)
        assert app.focused is None
        await pilot.press("ctrl+s")
        await ready(pilot)
        assert app.focused is field(app, name) and said in told(app)


async def test_a_start_that_the_user_gives_up_leaves_the_list_as_it_was(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    secret = JOB.replace("import job", "import Secret, job").replace("base: str", "base: Secret")
    (folder / "scrape.py").write_text(secret)
    (folder / "no.duckdb").unlink()
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    app = launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("home", "r")
        while not isinstance(app.screen, Ask):
            await pilot.pause(0.01)
        await pilot.press("escape")
        await ready(pilot)
        assert app.focused is None and app.query_one(JobForm).job is None and "starting" not in screen_text(app)
        await pilot.press("down")
        await ready(pilot)
        assert "Fetch pages." in told(app)
