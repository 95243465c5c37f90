from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.cells import cell_len
from support.database_owner import run_of_another_process
from support.pilots import driven
from support.screens import JOB, field, ready, screen_text
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tui_runner.engine.planning.request import RunRequest
from tui_runner.jobs.loading import sample_jobs
from tui_runner.store.ledger import RunSummary, Totals
from tui_runner.store.records import RunRecord
from tui_runner.system.files import with_short_home
from tui_runner.tui import launcher
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.launcher import Launcher, Spot, Starters
from tui_runner.tui.launcher.details import database_details
from tui_runner.tui.launcher.discovery import (
    HERE,
    RECENT,
    SAMPLES,
    FoundDatabase,
    FoundJob,
    FoundParameter,
    FoundRun,
    find_databases,
    find_jobs,
    functions_in,
    jobs_in,
)
from tui_runner.tui.launcher.job_form import JobForm
from tui_runner.tui.launcher.rows import Detail, Row, Samples, drawn, first_choice, listed, row_name
from tui_runner.tui.themes import DEFAULT_THEME
from tui_runner.tui.widgets.list_view import Rows


def found_rows(app: Launcher) -> Rows[Any]:
    """Return the list at the left."""
    return app.query_one("#found", Rows)


def beside(app: Launcher) -> list[str]:
    """Return the text at the right, its title first."""
    return [app._pane._title, *("".join(text for text, _ in each.line) for each in app.query_one("#about", Rows).rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "scrape.py").write_text(JOB)
    (folder / "broken.py").write_text("from tui_runner import job\n@job\ndef oops(:\n")
    (folder / "other.py").write_text("raise SystemExit('never executed')\n")
    return folder


def test_jobs_are_found_without_being_executed(folder: Path) -> None:
    old = folder.parent / "elsewhere" / "old.py"
    old.parent.mkdir()
    old.write_text(JOB)
    recent = [f"{old}:pages", f"{old}:plain", "/gone/old.py:job", f"{folder}/scrape.py:pages"]
    samples = [f"{sample.path}:{sample.name}" for sample in sample_jobs()]
    found = find_jobs(folder, [*recent, *samples])
    here = [job for job in found if job.group == "in this folder"]
    assert [(job.name, job.doc) for job in here] == [("broken.py", ""), ("pages", "Fetch pages.")]
    assert here[0].error.startswith("line 3:") and here[1].job == f"{folder}/scrape.py:pages"
    assert {"flaky", "tables"} <= {job.name for job in found if job.group == "samples"}
    elsewhere = [job for job in found if job.group == RECENT]
    assert [(job.job, job.doc) for job in elsewhere] == [(f"{old}:pages", "Fetch pages."), (f"{old}:plain", "")]
    assert elsewhere[0].place.startswith(f"{old}:")


def test_cursor_begins_with_a_job_of_this_folder_not_with_one_started_elsewhere() -> None:
    mine = [FoundJob(f"/here/x.py:{name}", name, "", "in this folder") for name in ("first", "second")]
    other = FoundJob("/there/y.py:other", "other", "", RECENT)
    sample = FoundJob("flaky", "flaky", "", "samples")
    rows = ["jobs in this folder", *mine, "samples", sample, RECENT, other]
    assert rows[first_choice(rows, ["/there/y.py:other", "flaky"])] is mine[0]
    assert rows[first_choice(rows, ["/there/y.py:other", "/here/x.py:second"])] is mine[1]
    assert rows[first_choice(rows[3:], ["/there/y.py:other", "flaky"]) + 3] is other
    assert rows[first_choice(rows[3:], []) + 3] is sample


def test_a_job_without_a_docstring_is_described_by_its_file(folder: Path) -> None:
    (folder / "scrape.py").write_text('"""Look at a shop.\n\nAt all of it."""\n' + JOB + "@job\ndef plain(x): ...\n")
    assert [(job.name, job.doc) for job in jobs_in(folder / "scrape.py", "here")] == [
        ("pages", "Fetch pages."),
        ("plain", "Look at a shop."),
    ]


@pytest.mark.parametrize("source", [b"tui_runner\x00", b"# tui_runner \xff\xfe", b"tui_runner" + b"(" * 5000])
def test_files_that_are_no_python_do_no_harm(tmp_path: Path, source: bytes) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(source)
    assert all(isinstance(job, FoundJob) and job.error for job in jobs_in(path, "here"))


def test_file_that_the_parser_gives_up_on_is_named_and_has_no_functions(folder: Path) -> None:
    path = folder / "deep.py"
    deep = f"x = {'-' * 20_000}1\n"
    path.write_text(f"import tui_runner\n{deep}@tui_runner.job\ndef f(n): ...\n")
    assert [job.error for job in jobs_in(path, "here")] == ["cannot be read: MemoryError"]
    path.write_text(f"{deep}def f(n): ...\n")
    assert functions_in(path, "functions") == []


def test_file_with_a_default_too_deep_to_be_described_is_named_and_has_no_functions(folder: Path) -> None:
    path = folder / "deep.py"
    deep = f"def f(n, *, a={'-' * 950}1): ...\n"  # the parser takes it
    path.write_text(f"import tui_runner\n@tui_runner.job\n{deep}")
    assert [job.error for job in jobs_in(path, "here")] == ["cannot be read: RecursionError"]
    path.write_text(deep)
    assert functions_in(path, "functions") == []


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link to a pipe", "large file"])
@pytest.mark.parametrize("place", [".", "sample_jobs"])
def test_the_search_for_jobs_reads_files_alone(folder: Path, kind: str, place: str) -> None:
    (folder / "sample_jobs").mkdir()
    path = folder / place / "x.py"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "link to a pipe":
            os.mkfifo(folder / "pipe")
            path.symlink_to(folder / "pipe")
        case "large file":
            with path.open("wb") as file:
                file.truncate(1 << 40)
    found = [job.error for job in find_jobs(folder, []) if job.job.startswith(str(path))]
    assert found == ([] if kind == "large file" else ["cannot be read: it is a device or a pipe, not a file"])


def test_unfinished_runs_of_databases_are_found(
    new_run: Callable[..., Any], job_file: Callable[[str], str], tmp_path: Path
) -> None:
    job = job_file(JOB)
    new_run(job, params={"base": "x"}, database=tmp_path / "a.duckdb", backend="inline").start().finish()
    run = new_run(job, params={"base": "x"}, database=tmp_path / "a.duckdb", backend="inline", new=True)
    run.runner.close()
    (tmp_path / "no.duckdb").write_text("not one at all")
    found = {database.path.name: database for database in find_databases(tmp_path)}
    assert set(found) == {"a.duckdb", "no.duckdb"}
    assert [(run.summary.record.run_id, run.unfinished) for run in found["a.duckdb"].runs] == [(2, True), (1, False)]
    assert [(table.name, table.rows) for table in found["a.duckdb"].tables] == [("pages", 5)]
    assert "is not a DuckDB database" in found["no.duckdb"].error and not found["no.duckdb"].can_be_queried


async def test_a_job_is_chosen_its_form_filled_and_started(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        shown = screen_text(app)
        assert "⚠ broken.py" in shown and "pages" in shown and "flaky" in shown
        await pilot.press("up")
        await pilot.pause()
        assert "cannot be loaded: line 3" in " ".join(screen_text(app).split())
        await pilot.press("down", "enter")
        await ready(pilot)
        shown = screen_text(app)
        assert "str · where to begin" in shown and "(2)" in shown and "base *" in shown and "max_memory" in shown
        await pilot.press("ctrl+s")
        await ready(pilot)
        assert "this is needed" in screen_text(app)
        await pilot.press(*"http:x", "tab", *"two")
        await ready(pilot)
        assert "'two' is not a whole number" in screen_text(app) and "this is needed" not in screen_text(app)
        await pilot.press("ctrl+s")
        assert app.return_value is None
        await pilot.press("home", "ctrl+k", *"7", "enter")
        await ready(pilot)
        assert app.return_value is None and isinstance(app.focused, Input)  # Enter goes on to the next field
        await pilot.press("ctrl+s")
        await pilot.pause()
    result = app.return_value
    assert isinstance(result, RunRequest)
    assert result.job == f"{folder}/scrape.py:pages" and result.params == {"base": "http:x", "depth": "7"}


async def test_the_input_is_previewed_below_its_field(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(80, 60)) as pilot:

        def below() -> list[str]:
            """Return the text between the input and the next field."""
            lines = [line.strip(" ▌") for line in screen_text(app).splitlines()]
            names = [line.partition(" ")[0] for line in lines]
            return lines[names.index("input") + 1 : names.index("last")]

        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        assert below() == []
        field(app, "base").value = "x"
        await asyncio.wait_for(ready(pilot), 10)
        assert below() == ["first items", "0", "1", "2"]
        source = field(app, "input")
        source.value = "range:10:20"
        await ready(pilot)
        assert below() == ["first items", "10", "11", "12"]
        source.value = "range:0:0"
        await ready(pilot)
        assert below() == ["no items"]
        source.value = "nowhere.csv"
        await ready(pilot)
        assert " ".join(below()) == "nowhere.csv: there is no such file; check the path"
        source.value = "-"
        await ready(pilot)
        assert " ".join(below()).startswith("standard input is the keyboard here; use:")


async def test_choices_and_defaults_are_shown_as_they_would_be_typed(folder: Path, environ: dict[str, str]) -> None:
    (folder / "scrape.py").write_text(
        "import enum\nfrom typing import Literal\n"
        "class Kind(enum.Enum):\n    BOOK = 1\n    FILM = 2\n"
        + JOB.replace("base: str, depth: int = 2", "kind: Kind = Kind.FILM, unit: Literal['hours', 'days']")
    )
    async with driven(Launcher(folder, environ), size=(80, 40)) as pilot:
        app = await ready(pilot)

        def lines() -> set[str]:
            return {" ".join(line.strip(" ▁▂▃▄▅▆▇█▌").split()) for line in screen_text(app).splitlines()}

        await pilot.press("enter")
        await ready(pilot)
        assert {"unit * (needed)", "one of: hours, days", "kind (FILM)", "one of: BOOK, FILM"} <= lines()
        await pilot.press("x")
        await ready(pilot)
        assert any(line.startswith("'x' is not one of") for line in lines()) and "one of: hours, days" not in lines()


async def test_a_key_in_the_form_costs_one_layout(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        layouts: list[object] = []
        whole = app.screen._refresh_layout

        def counted(*args: Any, **options: Any) -> None:
            layouts.append(whole(*args, **options))

        monkeypatch.setattr(app.screen, "_refresh_layout", counted)
        await pilot.press(*"http")
        # Textual's field itself lays out at each key; nothing is to come on top of that.
        assert field(app, "base").value == "http" and len(layouts) <= 4


async def test_a_secret_is_hidden_while_it_is_typed_also_one_that_may_be_left_out(
    folder: Path, environ: dict[str, str]
) -> None:
    source = JOB.replace("import job", "import Secret, job").replace("depth: int = 2", "depth: Secret | None = None")
    (folder / "scrape.py").write_text(source)
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        await pilot.press("down", *"hushhush")
        await ready(pilot)
        assert field(app, "depth").value == "hushhush" and "hushhush" not in screen_text(app)


async def test_the_message_of_the_focused_field_is_visible(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(60, 12)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        for name, typed, said in (
            ("input", "no.csv", "there is no such file"),
            ("database", "/nope/x.duckdb", "its folder does not exist"),
            ("max_failures", "x", "is not"),
        ):
            while app.focused is not field(app, name):
                await pilot.press("down")
            await pilot.press(*typed)
            await ready(pilot)
            shown = " ".join(screen_text(app).split())
            assert typed in shown and said in shown
        await pilot.resize_terminal(40, 10)
        await ready(pilot)
        assert "max_failures" in screen_text(app)


async def test_the_first_items_can_be_tried(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        await pilot.press(*"b", "ctrl+t")
        await ready(pilot)
        assert isinstance(app.screen, Reader)
        shown = screen_text(app)
        assert "address" in shown and "VARCHAR" in shown and "b/2" in shown and "b/3" not in shown
        await pilot.press("escape", "escape")
        await ready(pilot)
        assert app.query_one(JobForm).job is None and app.focused is None
    assert not [entry for entry in os.scandir(folder) if entry.name.endswith(".duckdb")]


async def test_a_run_is_resumed_or_its_database_opened(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    results = []
    for key in ("r", "enter", "o"):
        app = Launcher(folder, environ)
        async with driven(app, size=(120, 40)) as pilot:
            await ready(pilot)
            await pilot.press("home")
            await ready(pilot)
            assert beside(app)[0] == "a.duckdb · run 1 of pages" and "0 of 5 items done" in screen_text(app)
            await pilot.press(key)
            await ready(pilot)
        results.append(app.return_value)
    assert [type(result) for result in results[:2]] == [RunRequest, RunRequest]
    assert results[0].run_id == 1 and results[2] == folder / "a.duckdb"


@pytest.mark.parametrize("key", ["o", "enter"])
async def test_a_database_that_is_in_use_is_opened_for_queries(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], key: str
) -> None:
    run = new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb")
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("down")
        await ready(pilot)
        shown = screen_text(app)
        assert "⚠ a.duckdb" not in shown and "It can be queried meanwhile." in shown and "Enter query" in shown
        assert "r go on" not in shown
        await pilot.press(key)
        await pilot.pause()
    assert app.return_value == folder / "a.duckdb"
    run.runner.close()


async def test_a_run_of_another_process_shows_its_state_and_share(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.duckdb"
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=path, backend="inline").start().finish()
    with tempfile.TemporaryDirectory(prefix="tr-") as short:  # for the path of the socket
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        with run_of_another_process(path, 1):
            async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
                app = await ready(pilot)
                rows = found_rows(app)
                rows.go_to(next(n for n, row in enumerate(rows.rows) if isinstance(row, FoundDatabase)))
                await ready(pilot)
                shown = screen_text(app)
                assert "a.duckdb  finished  100 %" in shown and "in use by" in shown
                assert "── run 1 of " in shown and "finished · begun " in shown and "5 of 5 items done" in shown
                assert f"pid {os.getpid()}" not in "".join(beside(app)) and "database  " in shown
                assert "go on" not in shown


async def test_unfinished_runs_are_listed_first_and_the_cursor_stays_on_its_row(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "no.duckdb").write_text("not one at all")
    for name in ("old", "stopped"):
        run = new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / f"{name}.duckdb", backend="inline")
        run.start().finish() if name == "old" else run.runner.close()
    in_use = new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "used.duckdb")
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        rows: Rows[Any] = found_rows(app)
        assert rows.current.database.stem == "stopped"  # to go on with it is what most come back for
        assert rows.rows[0] == "go on"
        assert [run.database.stem for run in rows.rows if isinstance(run, FoundRun)] == ["stopped"]
        databases = rows.rows.index("databases")
        assert rows.rows.index("jobs here") < databases < rows.rows.index(SAMPLES)
        listed_ones = {each.path.stem for each in rows.rows if isinstance(each, FoundDatabase)}
        assert listed_ones == {"old", "no", "used", "stopped"}
    in_use.runner.close()


async def test_a_job_that_does_not_load_is_said_to_be_so(folder: Path, environ: dict[str, str]) -> None:
    (folder / "scrape.py").write_text("raise ValueError('\\x1b[2Jboo')\n" + JOB)
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        assert "boo" in screen_text(app) and "\x1b" not in screen_text(app)
        await pilot.press("q")
    assert app.return_value is None


@pytest.mark.parametrize("size", [(1, 1), (40, 12), (80, 24), (300, 90)])
async def test_any_size_is_survived(folder: Path, environ: dict[str, str], size: tuple[int, int]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=size) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        if size == (40, 12):
            assert "base" in screen_text(app)


async def test_columns_are_those_of_the_size_that_the_terminal_has_now(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        for width, beside in ((120, True), (40, False), (120, True), (80, False)):
            await pilot.resize_terminal(width, 24)
            assert app.query_one("#right").display is beside
            assert found_rows(app).size.width > 30


async def test_the_text_about_a_row_is_wrapped_for_the_size_that_the_terminal_has_now(
    folder: Path, environ: dict[str, str]
) -> None:
    async def text_after(first: int, *later: int) -> str:
        async with driven(Launcher(folder, environ), size=(first, 24)) as pilot:
            app = await ready(pilot)
            for width in later:
                await pilot.resize_terminal(width, 24)
                await ready(pilot)
            return screen_text(app)

    wide = await text_after(160)
    assert await text_after(80, 160) == wide
    assert await text_after(120, 160) == wide


async def test_the_launcher_remembers_the_theme_that_was_chosen(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("T", "down")
        shown = app.theme
        await pilot.press("enter")
        await ready(pilot)
        assert app.theme == shown != DEFAULT_THEME
    assert Launcher(folder, environ).theme == shown


async def test_hostile_names_and_files_are_shown_and_not_obeyed(folder: Path, environ: dict[str, str]) -> None:
    bad = "\x1b]52;c;aGk=\x07\u202e[/a]"
    (folder / f"{bad.replace('/', '')}.py").write_text("import tui_runner\nx = (\n")
    (folder / f"{bad.replace('/', '')}.duckdb").write_text("x" * 100)
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        for row in range(len(found_rows(app).rows)):
            found_rows(app).go_to(row)
            await pilot.pause()
            assert not set(screen_text(app)) & set("\x1b\x07\u202e")


@pytest.fixture
def from_elsewhere(folder: Path, new_run: Callable[..., Any]) -> Path:
    """A job outside of the folder; an unfinished run of it is the only one there is."""
    job = folder.parent.resolve() / "far" / "job.py"
    job.parent.mkdir()
    job.write_text(JOB)
    new_run(str(job), params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    return job


@pytest.mark.parametrize("key", ["enter", "r"])
async def test_a_run_whose_job_is_from_elsewhere_is_resumed_only_after_a_yes(
    folder: Path, environ: dict[str, str], from_elsewhere: Path, key: str
) -> None:
    begun: list[RunRequest] = []

    def begin(request: RunRequest) -> RunRequest:
        begun.append(request)
        return request

    app = Launcher(folder, environ, begin=begin)
    async with driven(app, size=(300, 40)) as pilot:
        await ready(pilot)
        await pilot.press("home")
        await ready(pilot)
        assert any(line.split() == ["job", f"{from_elsewhere}:pages"] for line in beside(app))
        for no in ("n", "escape", "enter"):
            await pilot.press(key)
            await asked(pilot)
            shown = " ".join(" ".join(box(app)).split())
            assert shown.startswith("Run this job? Asked because its file is outside the database's folder and the")
            assert f"job:{from_elsewhere}:pages" in shown.replace(" ", "")
            await pilot.press(no)
            await ready(pilot)
            assert not begun and app.return_value is None
        await pilot.press(key)
        await asked(pilot)
        await pilot.press("y")
        await ready(pilot)
    assert [request.run_id for request in begun] == [1] and app.return_value is begun[0]


async def asked(pilot: Pilot[Any]) -> None:
    """Wait for the question."""
    async with asyncio.timeout(30):
        while not isinstance(pilot.app.screen, Confirm):
            await pilot.pause()
    await pilot.pause()


def box(app: Launcher) -> list[str]:
    """Return the lines of the question."""
    inner = app.screen.query_one("#box").region
    lines = screen_text(app).splitlines()[inner.y + 1 : inner.bottom - 1]
    return [line[inner.x + 1 : inner.right - 1] for line in lines]


async def test_the_answers_to_the_question_are_in_sight_however_long_the_path_is(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    job = folder.parent.resolve().joinpath(*["a-folder-with-a-long-name"] * 12, "job.py")
    job.parent.mkdir(parents=True)
    job.write_text(JOB)
    new_run(str(job), params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    app = Launcher(folder, environ)
    async with driven(app, size=(40, 12)) as pilot:
        await ready(pilot)
        await pilot.press("home", "r")
        await asked(pilot)
        shown = screen_text(app)
        assert "Run this job?" in shown and "Asked because its file" in shown
        assert "Run it (y)" in shown and "Leave it (n)" in shown


async def test_a_run_whose_job_is_gone_shows_it_as_the_ledger_names_it(
    folder: Path, environ: dict[str, str], from_elsewhere: Path
) -> None:
    (from_elsewhere.parent / "job.py").unlink()
    async with driven(Launcher(folder, environ), size=(300, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("home")
        await ready(pilot)
        assert any(line.split() == ["job", f"{from_elsewhere}:pages"] for line in beside(app))
        await pilot.press("r")
        await ready(pilot)
        assert "no longer exists" in screen_text(app) and not isinstance(app.screen, Confirm)


@pytest.mark.parametrize(
    "job", ["x" * 9_000, "x" * 9_000 + ":f", "/" + "x" * 9_000 + ".py:f", "", "\0", "~nobody/x.py"]
)
@pytest.mark.parametrize("moved", ["/", "f" * 9_000, "\0", "/proc/1/fd"])
def test_a_job_and_a_folder_that_no_path_names_are_shown_as_the_ledger_names_them(
    folder: Path, new_run: Callable[..., Any], job: str, moved: str
) -> None:
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    with duckdb.connect(str(folder / "a.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET job_path = ?", [job])
        ledger.execute(
            "UPDATE runner.runs SET settings = json_merge_patch(settings, json_object('folder', ?))", [moved]
        )
    ((found,),) = (database.runs for database in find_databases(folder))
    assert found.job.rstrip("…") in job


def test_the_search_executes_nothing(
    folder: Path, new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "file.duckdb").runner.close()
    shutil.copy(folder / "file.duckdb", folder / "module.duckdb")
    with duckdb.connect(str(folder / "module.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET job_path = 'planted_package.jobs:pages'")
    planted = f"open({str(folder / 'executed')!r}, 'w')\n{JOB}"
    (folder / "planted_package").mkdir()
    for name in ("scrape", "sitecustomize", "usercustomize", "duckdb", "queue", "planted_package/__init__"):
        (folder / f"{name}.py").write_text(planted)
    (folder / "planted_package" / "jobs.py").write_text(planted)
    (folder / "planted.pth").write_text(f"import os; {planted.splitlines()[0]}")
    (folder / "pyproject.toml").write_text("[build-system]\nbuild-backend = 'scrape'\nbackend-path = ['.']\n")
    modules = set(sys.modules)
    jobs = {job.job for job in find_jobs(folder, [f"{folder}/queue.py:pages"])}
    runs = {database.path.stem: database.runs[0].job for database in find_databases(folder)}
    assert {f"{folder}/scrape.py:pages", f"{folder}/queue.py:pages"} <= jobs
    assert runs == {
        "file": f"{folder.resolve()}/scrape.py:pages",
        "module": f"{folder.resolve()}/planted_package/jobs.py:pages",
    }
    assert not (folder / "executed").exists()
    assert not [name for name in set(sys.modules) - modules if "planted" in name]


async def test_arrows_go_from_field_to_field_in_a_form_longer_than_the_screen(
    folder: Path, environ: dict[str, str]
) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(60, 12)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        await pilot.press("down", "down", *"xyz")
        assert field(app, "input").value == "xyz" and app.focused is field(app, "input")
        await pilot.press("up", "pagedown", "pageup", *"5")
        assert field(app, "depth").value == "5"
        assert found_rows(app).current.name == "pages"


def press_at_once(app: Launcher, *keys: str) -> None:
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


async def test_keys_that_come_in_one_piece_go_to_the_form_that_the_first_of_them_opens(
    folder: Path, environ: dict[str, str]
) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        press_at_once(app, "enter", *"http:x", "tab", *"two", "tab")
        await ready(pilot)
        assert app.focused is field(app, "input")
        assert [field(app, name).value for name in ("base", "depth")] == ["http:x", "two"]
        press_at_once(app, "escape", "q")
        await ready(pilot)
        assert not app.is_running


async def test_the_fault_of_a_job_is_not_shown_after_it_is_corrected(folder: Path, environ: dict[str, str]) -> None:
    (folder / "scrape.py").write_text(JOB + "\nraise ValueError('not yet')\n")
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("t")
        await ready(pilot)
        assert "not yet" in " ".join(screen_text(app).split())  # a long path of the folder breaks the line
        (folder / "scrape.py").write_text(JOB)
        await pilot.press("t")
        await ready(pilot)
        assert app.query_one(JobForm).job is not None and "not yet" not in screen_text(app)


@pytest.mark.parametrize("key", ["enter", "t"])
async def test_why_nothing_happens_is_said_where_there_is_no_room_beside_the_list(
    folder: Path, environ: dict[str, str], key: str
) -> None:
    async with driven(Launcher(folder, environ), size=(60, 20)) as pilot:
        app = await ready(pilot)
        await pilot.press("home", key)
        await ready(pilot)
        assert str(app.query_one("#trouble", Static).render()).startswith("line 3:")


async def test_the_cursor_passes_over_titles(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        rows = found_rows(await ready(pilot))
        await pilot.press("home")
        for _ in range(len(rows.rows)):
            assert not isinstance(rows.current, str)
            await pilot.press("down")


async def test_an_empty_folder_says_where_it_is_and_offers_a_first_job(tmp_path: Path, environ: dict[str, str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    def write(folder: Path) -> str:
        (folder / "first_job.py").write_text(JOB)
        return "written: first_job.py"

    async with driven(Launcher(empty, environ, starters=Starters(write_job=write)), size=(160, 40)) as pilot:
        app = await ready(pilot)
        shown = " ".join(screen_text(app).split())
        assert "No job was found in" in shown and str(empty) in shown and "write a first job here" in shown
        await pilot.press("i")
        await ready(pilot)
        assert "written: first_job.py" in screen_text(app)
        assert found_rows(app).current.place.startswith("first_job.py:")
        assert "pages" in [row.name for row in found_rows(app).rows if isinstance(row, FoundJob)]


async def test_the_cursor_goes_to_a_job_that_was_written_just_now(folder: Path, environ: dict[str, str]) -> None:
    (folder / "scrape.py").write_text(JOB)

    def write(folder: Path) -> str:
        (folder / "zz_first_job.py").write_text(JOB.replace("pages", "leaves"))
        return "written"

    async with driven(Launcher(folder, environ, starters=Starters(write_job=write)), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert found_rows(app).current.name == "pages"
        await pilot.press("i")
        await ready(pilot)
        assert found_rows(app).current.name == "leaves"


async def test_plain_functions_are_listed_and_described_without_being_executed(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "tools.py").write_text(
        'raise SystemExit\ndef clean(row: str, *, deep: bool = False):\n    """Strip a row.\n\n    All of it."""\n'
        "def _private(x): ...\ndef main(x): ...\ndef nothing(): ...\n"
    )
    [found] = functions_in(folder / "tools.py", "functions")
    assert (found.name, found.doc, found.decorated, found.place) == ("clean", "Strip a row.", False, "tools.py:2")
    assert found.item == ("row",) and found.parameters == (FoundParameter("deep", "bool", "False"),)
    async with driven(Launcher(folder, environ), size=(160, 40)) as pilot:
        app = await ready(pilot)
        rows: Rows[Any] = found_rows(app)
        rows.go_to(rows.rows.index(found) if found in rows.rows else 0)
        await pilot.press("slash", *"clean", "enter")
        await ready(pilot)
        assert [row.name for row in rows.rows if isinstance(row, FoundJob)] == ["clean"]
        shown = [line.split() for line in beside(app)]
        assert ["deep", "False"] in shown and ["bool"] in shown


async def test_the_command_that_does_the_same_is_copied_without_secrets(folder: Path, environ: dict[str, str]) -> None:
    source = JOB.replace("import job", "import Secret, job").replace("depth: int = 2", "key: Secret")
    (folder / "scrape.py").write_text(source)
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        field(app, "base").value = "http://x y"
        field(app, "key").value = "hush"
        expected = "tui-runner run scrape.py:pages --set 'base=http://x y'"
        await pilot.press("f2")
        await ready(pilot)
        assert app.clipboard == expected
        app.copy_to_clipboard("")
        await pilot.press("escape", "c")  # what was typed is kept, so the list copies the same
        assert app.clipboard == expected


def found_run(state: str = "paused", **totals: int) -> FoundRun:
    begun = datetime(2026, 1, 2, tzinfo=UTC)
    record = RunRecord(3, "books", "shop.py", "books", None, {}, {}, state, 100, begun, None, "here", "0.1")
    return FoundRun(Path("/data/books.duckdb"), RunSummary(record, Totals(**totals)), last_seen=1_000.0)


def test_items_that_failed_are_not_among_those_that_are_left() -> None:
    run = found_run(done=30, failed=12, cancelled=8)
    rows = listed([], [FoundDatabase(run.database, (run,))], now=1_000.0)
    detail = next(row for row in rows if isinstance(row, Detail))

    def text(width: int) -> str:
        return "".join(text for text, _ in drawn(detail, width, same_name={})).rstrip()

    assert text(60) == "  50 left · 12 failed · 8 cancelled · just now"
    assert text(45) == "  50 left · 12 failed · 8 cancelled  …"  # what does not fit is left out whole


def test_unfinished_runs_of_one_job_are_told_apart_by_their_databases_at_every_width() -> None:
    run = replace(found_run("stopped", done=22), database=Path("/data/eta2.duckdb"))

    def text(width: int) -> str:
        return "".join(text for text, _ in drawn(run, width, same_name={})).rstrip()

    assert text(80) == "books   run 3   stopped   22 %  ━━━━────────────  eta2.duckdb"
    assert text(45) == "books   run 3   stopped   22 %    eta2.duckdb"
    for width in range(41, 100):
        assert "eta2.duckdb" in text(width) and ("run 3" in text(width)) is ("…" not in text(width))
    for width in range(20, 60):
        unnamed = "".join(part for part, _ in drawn(found_run("stopped", done=22), width, same_name={}))
        assert unnamed.startswith("books   run 3") and cell_len(unnamed) <= width


def test_what_does_not_fit_into_a_row_is_left_out_whole() -> None:
    def text(row: Row, width: int) -> str:
        return "".join(text for text, _ in drawn(row, width, same_name={}, now=1_000.0)).rstrip()

    detail = Detail((("  last: just now, 90 done", "muted"),), ((("  ", "text"), ("▁▃█", "chart-1")),))
    assert text(detail, 30) == "  last: just now, 90 done  ▁▃█"
    assert text(detail, 29) == "  last: just now, 90 done  …"
    assert text(detail, 27) == "  last: just now, 90 done …"
    elsewhere = FoundJob("/there/on/the/disk/shop.py:tidy", "tidy", "Sweep.", RECENT)
    assert text(elsewhere, 60) == "tidy           /there/on/the/disk/shop.py  Sweep."
    assert text(elsewhere, 30).startswith("tidy           …e/disk/shop.py  ")  # the end of a path matters more
    run = found_run("finished", done=30, failed=12)
    found = FoundDatabase(run.database, (run,), nbytes=3_900_000, last_seen=1_000.0)
    assert text(found, 53) == "books.duckdb   3.9 MB     0 rows  just now  12 failed"
    assert text(found, 52) == "books.duckdb   3.9 MB  … just now  12 failed"
    assert text(found, 44) == "books.duckdb   3.9 MB  … just now  12 failed"
    assert text(found, 43) == "books.duckdb   just now  12 failed  …"
    assert text(found, 30) == "books.duckdb   12 failed  …"
    assert text(found, 36) == "books.duckdb   12 failed  …"  # the order is the same, and something is left out


def test_database_with_many_failed_items_shows_when_it_was_written_beside_a_terminal_of_120_columns() -> None:
    run = found_run("finished", done=30, failed=1_178)
    found = FoundDatabase(Path("/data/prices.duckdb"), (run,), nbytes=393_900_000, last_seen=1_000.0)
    shown = "".join(text for text, _ in drawn(found, 46, same_name={}, now=1_000.0 + 5 * 3600))
    assert shown == "prices.duckdb  394 MB  … 5 h ago  1,178 failed"


def test_database_in_use_shows_the_share_of_the_dashboard_and_names_the_process_beside_the_list_only() -> None:
    def text(width: int) -> str:
        return "".join(text for text, _ in drawn(found, width, same_name={}, now=1_000.0))

    run = found_run("finished", done=96, failed=3, cancelled=1)
    error = "in use by tui-runner (pid 12796)"
    found = FoundDatabase(run.database, error=error, in_use=True, newest=run)
    assert text(80) == f"books.duckdb  finished  100 %  3 failed  {error}"
    assert text(47) == "books.duckdb  finished  100 %  in use  3 failed"
    assert text(46) == "books.duckdb  finished  100 %  in use  …"
    assert text(36) == "books.duckdb  finished  100 %  …"
    keys = {name: name for name in ("query", "retry")}
    beside = "\n".join(
        "".join(text for text, _ in each.line) for each in database_details(found, 67, 40, keys, 1_000.0)
    )
    for part in (error, "run 3 of books", "96 of 100 items done  3 failed", "0 left · 1 cancelled", "books.duckdb"):
        assert part in beside


def test_name_of_a_database_that_does_not_fit_beside_the_bar_of_a_run_is_left_out_whole() -> None:
    run = replace(found_run(done=30), database=Path("/data/a_long_name_of_a_database.duckdb"))
    for width in range(31, 90):
        shown = "".join(text for text, _ in drawn(run, width, same_name={}))
        assert cell_len(shown) <= width
        assert shown.endswith((" ", "…", "  a_long_name_of_a_database.duckdb"))
        assert width < 33 + len("a_long_name_of_a_database.duckdb") or "a_long_name" in shown, "rather than a bar"


async def test_key_that_has_no_effect_on_a_row_says_why(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    (folder / "no.duckdb").write_text("not one at all")
    (folder / "broken.py").unlink()
    keys = ("r", "R", "o", "t", "c", "ctrl+s", "tab")
    has_effect = {
        FoundRun: {"r", "o", "c", "ctrl+s"},
        FoundJob: {"t", "c", "ctrl+s", "tab"},
        FoundDatabase: {"o", "c"},
        Samples: set(),
    }
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        rows = found_rows(app)
        seen = set()
        for place, row in enumerate(rows.rows):
            if isinstance(row, str | Detail):
                continue
            is_broken = isinstance(row, FoundDatabase) and not row.can_be_queried
            seen.add(type(row))
            for key in keys:
                if key in has_effect[type(row)] and not is_broken:
                    continue
                rows.go_to(place)
                app._say("")
                await pilot.press(key)
                message = str(app.query_one("#trouble", Static).content)
                assert message, f"{key} on {row}"
                assert not is_broken or row.error in message or key in ("t", "ctrl+s", "tab", "c")
        assert seen == set(has_effect)


def test_jobs_of_one_name_have_the_last_runs_of_their_own_files() -> None:
    jobs = [FoundJob(f"/shop/{file}.py:order", "order", "", HERE) for file in ("a", "b", "c")]
    begun = datetime(2026, 1, 2, tzinfo=UTC)
    runs = tuple(
        FoundRun(
            Path("/shop/order.duckdb"),
            RunSummary(
                RunRecord(n, "order", job, "order", None, {}, {}, "finished", 9, begun, begun, "here", "0.1"),
                Totals(done=done),
            ),
            last_seen=1_000.0,
        )
        for n, job, done in ((2, "/shop/b.py:order", 7), (1, "/shop/a.py:order", 5))
    )
    rows = listed(jobs, [FoundDatabase(runs[0].database, runs)], now=1_000.0)
    after = {row.job: rows[place + 1] for place, row in enumerate(rows) if isinstance(row, FoundJob)}
    told = {
        job: "".join(text for text, _ in drawn(row, 80, same_name={}))
        for job, row in after.items()
        if isinstance(row, Detail)
    }
    assert list(told) == ["/shop/a.py:order", "/shop/b.py:order"]
    assert "5 done" in told["/shop/a.py:order"] and "7 done" in told["/shop/b.py:order"]


async def test_where_rows_go_is_said_before_a_job_starts(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        whole = f"{with_short_home(str(folder))}/pages.duckdb"
        [shown] = [line.split()[1] for line in beside(app) if line.split()[:1] == ["database"]]
        assert whole.endswith(shown.removeprefix("…")) and len(shown) > 30
        await pilot.press("enter")
        await ready(pilot)
        placeholder = field(app, "database").placeholder.strip("()…")
        assert whole.endswith(placeholder) and len(placeholder) > 30


async def test_a_job_of_another_folder_runs_there(
    folder: Path, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, real = tmp_path / "start", str(folder)
    start.mkdir()
    monkeypatch.chdir(start)
    async with driven(Launcher(start, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("F", "ctrl+u", *str(folder), "enter")
        await ready(pilot)
        # `plan_run` takes the current folder for rows, relative paths and configuration.
        assert Path().samefile(folder)  # noqa: ASYNC240 - a test
        await pilot.press("enter")
        await ready(pilot)
        assert "/here/pages.duckdb)" in field(app, "database").placeholder
        field(app, "base").value = "x"
        await pilot.press("f2")
        assert app.clipboard.startswith(f"cd {real} && tui-runner run scrape.py:pages ")
        await pilot.press("ctrl+s")
        await pilot.pause()
    assert isinstance(app.return_value, RunRequest)
    assert app.spot == Spot(Path(real), f"{real}/scrape.py:pages")


async def test_the_cursor_begins_on_the_row_where_the_launcher_was_left(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        new_run(f"{folder}/scrape.py", params={"base": "x"}, database=folder / f"{name}.duckdb").runner.close()
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        rows: Rows[Any] = found_rows(app := await ready(pilot))
        await pilot.press("down")
        left = rows.current
        assert [row for row in rows.rows if isinstance(row, FoundRun)].index(left) == 1
    async with driven(Launcher(folder, environ, spot=app.spot), size=(120, 40)) as pilot:
        assert row_name(found_rows(await ready(pilot)).current) == row_name(left)


async def test_an_empty_folder_says_at_80_cells_what_to_do(tmp_path: Path, environ: dict[str, str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    async with driven(Launcher(empty, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        shown = screen_text(app)
        words = " ".join(shown.split())
        assert "No job was found in" in words and "/empty, which has no Python files." in words
        for way in ("i   write a first job here", "s   try one of the samples", "F   look in another folder"):
            assert way in shown
        await pilot.press("s")
        await pilot.pause()
        assert isinstance(found_rows(app).current, FoundJob) and found_rows(app).current.group == SAMPLES


async def test_a_short_path_is_shown_whole_at_80_cells(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(launcher, "with_short_home", lambda text: "~/projects/of/a/shop")
    async with driven(Launcher(tmp_path / "x", environ), size=(80, 24)) as pilot:
        title = screen_text(await ready(pilot)).splitlines()[0]
        assert "~/projects/of/a/shop   0 jobs · 0 databases" in title and title.rstrip().endswith("? help")


async def test_jobs_with_the_same_name_are_told_apart_above_their_form(folder: Path, environ: dict[str, str]) -> None:
    (folder / "other.py").write_text(JOB)
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert beside(app)[0] == "pages (other.py)"
        await pilot.press("enter")
        await ready(pilot)
        assert beside(app)[0] == "pages (other.py)" and "pages (other.py)" in screen_text(app)


async def test_an_error_begins_below_the_text_of_its_field(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter", "down", *"two")
        await ready(pilot)
        lines = screen_text(app).splitlines()
        said = next(line for line in lines if "'two' is not" in line)
        typed = next(line for line in lines if "two" in line and line is not said)
        assert said.index("'two'") == typed.index("two")
