"""Jobs in the files of a package, which are named by their module if they import from their package."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from support.pilots import driven
from support.pseudo_terminal import PseudoTerminal
from support.screens import ready, screen_text

from tui_runner.engine.planning.request import RunRequest
from tui_runner.jobs.loading import load_job
from tui_runner.tui.launcher import Launcher, discovery
from tui_runner.tui.launcher.command_lines import command_of
from tui_runner.tui.launcher.discovery import HERE, PACKAGES, find_jobs, functions_in
from tui_runner.tui.launcher.fields import Draft

TIDY = """
from tui_runner import job
from .rates import RATE

@job
def tidy(n: int):
    return {"n": n * RATE}

@tidy.items
def numbers():
    return range(5)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "above" / "fruit_stall"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "rates.py").write_text("RATE = 2\n")
    (package / "jobs.py").write_text(TIDY)
    return package


def test_job_that_imports_from_its_package_is_listed_as_its_module_in_both_folders(package: Path) -> None:
    for folder, group in ((package, HERE), (package.parent, PACKAGES)):
        (found,) = (each for each in find_jobs(folder, []) if each.group == group)
        assert (found.job, found.folder) == ("fruit_stall.jobs:tidy", package.parent)
        assert found.place == "fruit_stall/jobs.py:6" and found.is_here
        assert load_job(found.job, folder=found.folder).name == "tidy"
        command = command_of(found, Draft(), folder=folder, shell=package)
        assert command == f"cd {package.parent} && tui-runner run fruit_stall.jobs:tidy"


def test_job_that_needs_no_package_is_listed_as_its_file(package: Path) -> None:
    (package / "jobs.py").write_text(TIDY.replace("from .rates", "from rates"))
    for folder, group, place in ((package, HERE, "jobs.py:6"), (package.parent, PACKAGES, "fruit_stall/jobs.py:6")):
        (found,) = (each for each in find_jobs(folder, []) if each.group == group)
        assert (found.job, found.folder, found.place) == (f"{package}/jobs.py:tidy", None, place)


def test_plain_function_that_imports_from_its_package_is_listed_as_its_module(package: Path) -> None:
    path = package / "plain.py"
    path.write_text("import fruit_stall.rates\ndef double(n): return 2 * n\n")
    (found,) = functions_in(path, HERE)
    assert (found.job, found.folder) == ("fruit_stall.plain:double", package.parent)


def test_search_does_not_look_below_packages_nor_into_folders_that_are_none(package: Path) -> None:
    for folder in (package / "inner", package.parent / "no_package"):
        folder.mkdir()
        (folder / "more.py").write_text(TIDY)
    (package / "inner" / "__init__.py").touch()
    assert [each.name for each in find_jobs(package.parent, []) if each.is_here] == ["tidy"]


def test_search_ends_after_so_many_files_of_packages(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("another_stall", "third_stall"):
        other = package.parent / name
        other.mkdir()
        (other / "__init__.py").touch()
        (other / "jobs.py").write_text(TIDY.replace("tidy", f"of_{name}"))
    monkeypatch.setattr(discovery, "_FILES", 5)
    found = [each.name for each in find_jobs(package.parent, []) if each.group == PACKAGES]
    assert found == ["of_another_stall", "tidy"]


async def test_form_shows_the_folder_in_which_the_job_of_a_package_runs(package: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(package, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        assert "fruit_stall/jobs.py:6" in screen_text(app) and app._pane.form.job is not None
        await pilot.press("ctrl+s")
        await ready(pilot)
    request = app.return_value
    assert isinstance(request, RunRequest)
    assert (request.job, request.folder, request.database) == ("fruit_stall.jobs:tidy", package.parent, None)


@pytest.mark.slow
def test_job_of_a_package_runs_from_the_launcher_in_its_folder(package: Path) -> None:
    screen = PseudoTerminal([], package)
    try:
        screen.shows("own items")
        place = screen.press("\x13")  # Ctrl-S starts the run
        screen.shows("FINISHED", place)
        screen.press("q")
        assert screen.exit_code() == 0
    finally:
        screen.close()
    with duckdb.connect(str(package.parent / "tidy.duckdb"), read_only=True) as database:
        assert database.execute("SELECT sum(n) FROM tidy").fetchall() == [(20,)]
