"""When the list of the launcher appears, how it follows changes, and the row on which the cursor stays."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.cells import cell_len
from support.pilots import driven
from support.screens import JOB, field, ready, screen_text
from textual import events
from textual.pilot import Pilot

from tui_runner.engine.planning.request import RunRequest
from tui_runner.tui import launcher
from tui_runner.tui.launcher import Launcher, discovery, folder_search
from tui_runner.tui.launcher.discovery import FoundDatabase, FoundJob, FoundRun
from tui_runner.tui.launcher.rows import Detail, drawn, listed, row_name
from tui_runner.tui.widgets.list_view import Rows

_OTHER_PROGRAM = """
import sys
import duckdb
with duckdb.connect(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""
_READER = """
import sys
from pathlib import Path
from tui_runner.store.database import Database
with Database.open(Path(sys.argv[1]), create=False):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("scrape", "second"):
        (folder / f"{name}.py").write_text(JOB.replace("pages", name))
    return folder


@pytest.fixture
def unfinished(folder: Path, new_run: Callable[..., Any]) -> Path:
    """A database with an unfinished run of the job `scrape`."""
    path = folder / "a.duckdb"
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=path).runner.close()
    return path


@contextmanager
def read_by_another_process(path: Path, source: str = _READER) -> Iterator[Callable[[], None]]:
    """Open a database in another process, as a launcher does that reads it. Yield a function that closes it."""
    command = [sys.executable, "-c", source, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        assert reader.stdout.readline() == b"open\n"

        stdin = reader.stdin

        def close() -> None:
            stdin.close()
            reader.wait()

        try:
            yield close
        finally:
            close()


def rows_of(app: Launcher) -> Rows[Any]:
    return app.query_one("#found", Rows)


async def until(pilot: Pilot[Any], found: Callable[[], bool]) -> None:
    """Wait until `found` returns True. The application has no worker while it waits to read a database again."""
    for _ in range(200):
        await pilot.pause(0.05)
        if found():
            return
    raise AssertionError(screen_text(pilot.app))


@pytest.mark.slow
async def test_database_that_another_process_only_reads_is_read_again_and_the_cursor_stays(
    folder: Path, unfinished: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_PATIENCE", 0.0)
    with read_by_another_process(unfinished) as close:
        async with driven(Launcher(folder, environ), size=(120, 12)) as pilot:
            app = await ready(pilot)
            rows = rows_of(app)
            assert "go on" not in rows.rows and "a.duckdb  in use by" in screen_text(app)
            here = row_name(rows.current)
            close()
            await until(pilot, lambda: "go on" in rows.rows)
            assert row_name(rows.current) == here and rows.scroll_offset.y == 0
            assert [row.database for row in rows.rows if isinstance(row, FoundRun)] == [unfinished]
            assert not any(row.in_use for row in rows.rows if isinstance(row, FoundDatabase))


def test_a_short_reading_by_another_process_is_waited_for(
    folder: Path, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_PATIENCE", 30.0)
    with read_by_another_process(unfinished) as close:
        threading.Timer(0.3, close).start()
        (found,) = discovery.find_databases(folder)
    assert not found.in_use and found.runs[0].unfinished


async def test_jobs_are_listed_before_the_databases_and_an_early_key_keeps_the_cursor(
    folder: Path, unfinished: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_PATIENCE", 0.01)
    app = Launcher(folder, environ)
    app._reading.acquire()
    async with driven(app, size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(rows_of(app).rows))
        rows = rows_of(app)
        assert "jobs here" in rows.rows and "looking for databases …" in screen_text(app)
        await pilot.press("down")
        assert rows.current.name == "second"
        app._reading.release()
        await until(pilot, lambda: "go on" in rows.rows)
        assert rows.current.name == "second"


async def test_a_key_for_the_row_under_the_cursor_does_not_resume_the_run_that_took_its_place(
    folder: Path, unfinished: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_PATIENCE", 0.01)
    monkeypatch.setattr(launcher, "_REACTION_SECONDS", 60.0)
    app = Launcher(folder, environ)
    app._reading.acquire()
    async with driven(app, size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(rows_of(app).rows))
        assert isinstance(rows_of(app).current, FoundJob)
        app._reading.release()
        await until(pilot, lambda: isinstance(rows_of(app).current, FoundRun))
        await pilot.press("enter")
        assert "press the key again" in screen_text(await ready(pilot)) and app.return_value is None
        monkeypatch.setattr(launcher, "_REACTION_SECONDS", 0.0)
        await pilot.press("enter")
        await pilot.pause()
    assert isinstance(app.return_value, RunRequest)


@pytest.mark.slow
async def test_row_filter_and_databases_are_there_at_once_when_the_launcher_is_shown_again(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    other = folder / "b.duckdb"
    new_run(f"{folder}/second.py", params={"base": "x"}, database=other, backend="inline").start().finish()
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("slash", *"b.duckdb", "enter")
        await ready(pilot)
        assert isinstance(rows_of(app).current, FoundDatabase)
        await pilot.press("o")
        await pilot.pause()
    assert app.return_value == other
    again = Launcher(folder, environ, spot=app.spot)
    again._reading.acquire()  # no database can be read
    async with driven(again, size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(rows_of(again).rows))
        rows = rows_of(again)
        assert row_name(rows.current) == f"{other}\0" and "only “b.duckdb”" in screen_text(again)
        again._reading.release()
        await until(pilot, lambda: "looking" not in screen_text(again))
        assert row_name(rows.current) == f"{other}\0"


async def test_cursor_goes_to_the_database_of_a_run_that_has_finished_meanwhile(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert isinstance(rows_of(app).current, FoundRun)
    new_run(f"{folder}/scrape.py", params={"base": "x"}, database=unfinished, backend="inline").start().finish()
    async with driven(Launcher(folder, environ, spot=app.spot), size=(120, 40)) as pilot:
        assert row_name(rows_of(await ready(pilot)).current) == f"{unfinished}\0"


async def test_launcher_ends_while_a_database_cannot_be_read(
    folder: Path, unfinished: Path, environ: dict[str, str]
) -> None:
    app = Launcher(folder, environ)
    app._reading.acquire()
    async with driven(app, size=(120, 40)) as pilot:
        await pilot.pause()
        app.exit()
        await pilot.pause()
    assert not app.is_running


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an open launcher look for changes much more often."""
    monkeypatch.setattr(folder_search, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(folder_search, "_REST", 0)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the databases that the launcher has read, in this order."""
    names: list[str] = []

    def read(path: Path, folder: Path) -> FoundDatabase | None:
        names.append(path.name)
        return discovery.read_database(path, folder)

    monkeypatch.setattr(folder_search, "read_database", read)
    return names


def databases_of(app: Launcher) -> list[str]:
    return [row.path.name for row in rows_of(app).rows if isinstance(row, FoundDatabase)]


@pytest.mark.slow
@pytest.mark.usefixtures("often")
async def test_open_launcher_follows_runs_and_databases_that_other_processes_finish_make_and_remove(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    new_run(
        f"{folder}/second.py", params={"base": "x"}, database=folder / "b.duckdb", backend="inline"
    ).start().finish()
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert databases_of(app) == ["b.duckdb", "a.duckdb"] and isinstance(rows_of(app).current, FoundRun)
        new_run(f"{folder}/scrape.py", params={"base": "x"}, database=unfinished, backend="inline").start().finish()
        await until(pilot, lambda: "go on" not in rows_of(app).rows)
        assert row_name(rows_of(app).current) == f"{unfinished}\0"
        # A database that was written to keeps its place; a new one comes first.
        assert databases_of(app) == ["b.duckdb", "a.duckdb"]
        new_run(f"{folder}/second.py", params={"base": "x"}, database=folder / "c.duckdb").runner.close()
        await until(pilot, lambda: "go on" in rows_of(app).rows)
        assert databases_of(app) == ["c.duckdb", "b.duckdb", "a.duckdb"]
        assert row_name(rows_of(app).current) == f"{unfinished}\0" and "3 databases" in screen_text(app)
        (folder / "c.duckdb").unlink()
        await until(pilot, lambda: "go on" not in rows_of(app).rows)
        assert databases_of(app) == ["b.duckdb", "a.duckdb"]


@pytest.mark.slow
@pytest.mark.usefixtures("often")
async def test_only_databases_that_have_changed_are_read_again(
    folder: Path,
    unfinished: Path,
    environ: dict[str, str],
    new_run: Callable[..., Any],
    readings: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Path] = []

    def stamps(folder: Path) -> dict[Path, discovery.Stamp]:
        looks.append(folder)
        return discovery.database_stamps(folder)

    monkeypatch.setattr(folder_search, "database_stamps", stamps)
    new_run(
        f"{folder}/second.py", params={"base": "x"}, database=folder / "b.duckdb", backend="inline"
    ).start().finish()
    (folder / "no.duckdb").write_text("not one at all")
    duckdb.connect(str(folder / "other.duckdb")).close()  # without runs, so it is not listed
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: len(looks) > 3)
        assert sorted(readings) == ["a.duckdb", "b.duckdb", "no.duckdb", "other.duckdb"]
        readings.clear()
        new_run(f"{folder}/scrape.py", params={"base": "x"}, database=unfinished, backend="inline").start().finish()
        await until(pilot, lambda: bool(readings))
        before = len(looks)
        await until(pilot, lambda: len(looks) > before + 3)
        assert set(readings) == {"a.duckdb"}


@pytest.mark.usefixtures("often")
async def test_folder_is_not_looked_at_while_a_dialog_covers_the_list_or_a_run_is_being_opened(
    folder: Path, unfinished: Path, environ: dict[str, str], readings: list[str]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        readings.clear()
        await pilot.press("slash")
        await ready(pilot)
        (folder / "a.duckdb").touch()
        await pilot.pause(0.3)
        assert readings == []
        app._opening = True
        await pilot.press("escape")
        await pilot.pause(0.3)
        assert readings == []
        app._opening = False
        await until(pilot, lambda: readings == ["a.duckdb"])


@pytest.mark.usefixtures("often")
async def test_database_that_another_program_has_open_is_read_again_when_it_is_closed(
    folder: Path, unfinished: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_PATIENCE", 0.0)
    with read_by_another_process(unfinished, _OTHER_PROGRAM) as close:
        async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
            app = await ready(pilot)
            assert "go on" not in rows_of(app).rows and "in use by another program" in screen_text(app)
            close()
            await until(pilot, lambda: "go on" in rows_of(app).rows)


async def test_list_is_up_to_date_at_once_when_a_run_cannot_be_resumed(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        new_run(f"{folder}/scrape.py", params={"base": "x"}, database=unfinished, backend="inline").start().finish()
        await pilot.press("enter")
        await ready(pilot)
        assert "run 1 is finished" in screen_text(app) and "go on" not in rows_of(app).rows


def test_a_row_in_the_log_alone_changes_the_stamp_of_a_database(folder: Path, unfinished: Path) -> None:
    before = discovery.database_stamps(folder)
    assert list(before) == [unfinished] and discovery.database_stamps(folder) == before
    with duckdb.connect(str(unfinished)) as database:
        database.execute("SET checkpoint_threshold = '1GB'")
        database.execute("CREATE TABLE t AS SELECT 1")
        assert discovery.database_stamps(folder) != before


async def test_filter_without_a_match_says_so_and_escape_removes_it(
    folder: Path, unfinished: Path, environ: dict[str, str]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        whole = list(rows_of(app).rows)
        await pilot.press("slash", *"zzzz", "enter")
        shown = screen_text(await ready(pilot))
        assert "nothing here contains “zzzz”; Esc shows all" in shown and "Esc show all" in shown
        assert "looking for" not in shown and not rows_of(app).rows
        await pilot.press("escape")
        assert [row_name(row) for row in rows_of(await ready(pilot)).rows] == [row_name(row) for row in whole]
        assert "only “" not in screen_text(app) and "Esc show all" not in screen_text(app)


async def test_text_of_a_long_filter_without_a_match_leaves_room_for_the_key_that_removes_it(
    folder: Path, environ: dict[str, str]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("slash")
        pilot.app.post_message(events.Paste("z" * 60))
        await pilot.press("enter")
        assert "…”; Esc shows all" in screen_text(await ready(pilot))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("scrape (sc", ["scrape"]),  # the file behind the name, as of jobs that share their name
        ("scrape.py)  Fetch", ["scrape"]),
        ("broken.py  line", ["broken.py"]),
        ("RUN 1", ["a.duckdb"]),
        ("0 %", ["a.duckdb"]),
        ("5 left", ["a.duckdb"]),
    ],
)
def test_filter_finds_what_a_row_shows(folder: Path, unfinished: Path, wanted: str, names: list[str]) -> None:
    (folder / "again.py").write_text(JOB.replace("pages", "scrape"))
    (folder / "broken.py").write_text("from tui_runner import job\n@job\ndef oops(:\n")
    rows = listed(discovery.find_jobs(folder, []), discovery.find_databases(folder), wanted=wanted)
    found = [row.name for row in rows if isinstance(row, FoundJob)]
    assert found + [row.path.name for row in rows if isinstance(row, FoundDatabase)] == names


def test_rows_mark_what_they_leave_out_at_every_width(
    folder: Path, unfinished: Path, new_run: Callable[..., Any]
) -> None:
    (folder / "flaky.py").write_text(
        JOB.replace("pages", "flaky").replace(
            "    return {", '    if page > 2:\n        raise ValueError("odd")\n    return {'
        )
    )
    params = {"base": "x"}
    new_run(f"{folder}/flaky.py", params=params, database=folder / "b.duckdb", backend="inline").start().finish()
    jobs, databases = discovery.find_jobs(folder, []), discovery.find_databases(folder)
    rows = [row for row in listed(jobs, databases) if isinstance(row, Detail | FoundDatabase | FoundRun)]
    assert {type(row) for row in rows} == {FoundRun, Detail, FoundDatabase}
    rows.append(Detail((("  last: 3 hours ago, 5,988 done, 12 failed", ""),), ((("  ▁▂▃▄▅▆▇█▁▂▃▄", ""),),)))
    now = time.time()

    def text(row: Any, width: int) -> str:
        return "".join(part for part, _ in drawn(row, width, same_name={}, now=now))

    for row in rows:
        # The bar of a run only gets shorter.
        words = set(text(row, 200).replace("━", "").replace("─", "").split())
        for width in range(40, 120):
            shown = text(row, width)
            assert cell_len(shown) <= width
            assert "…" in shown or words <= set(shown.split()), (width, shown)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("moved", [False, True])
async def test_list_stays_at_its_top_when_a_run_arrives_above_the_cursor(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any], moved: bool
) -> None:
    async with driven(Launcher(folder, environ), size=(80, 11)) as pilot:
        app = await ready(pilot)
        rows = rows_of(app)
        assert rows.size.height < len(rows.rows)  # the list scrolls
        if moved:
            await pilot.press("down")
        here = row_name(rows.current)
        new_run(f"{folder}/second.py", params={"base": "x"}, database=folder / "b.duckdb").runner.close()
        await until(pilot, lambda: sum(isinstance(row, FoundRun) for row in rows.rows) == 2)
        assert row_name(rows.current) == here and rows.scroll_offset.y == 0
        assert rows.rows[0] == "go on" and "── go on" in screen_text(app)


@pytest.mark.usefixtures("often")
async def test_visible_rows_of_a_scrolled_list_stay_when_a_run_arrives_above_them(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    async with driven(Launcher(folder, environ), size=(80, 8)) as pilot:
        app = await ready(pilot)
        rows = rows_of(app)
        await pilot.press("end")
        top, here = rows.place - rows.scroll_offset.y, row_name(rows.current)
        assert rows.scroll_offset.y > 0
        new_run(f"{folder}/second.py", params={"base": "x"}, database=folder / "b.duckdb").runner.close()
        await until(pilot, lambda: sum(isinstance(row, FoundRun) for row in rows.rows) == 2)
        assert row_name(rows.current) == here and rows.place - rows.scroll_offset.y == top


@pytest.mark.usefixtures("often")
async def test_open_launcher_follows_changes_of_jobs_and_the_cursor_stays_near_its_row(
    folder: Path, unfinished: Path, environ: dict[str, str]
) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        rows = rows_of(app)

        def names() -> list[str]:
            return [row.name for row in rows.rows if isinstance(row, FoundJob)]

        await pilot.press("down", "down")
        assert rows.current.name == "second"
        (folder / "new.py").write_text(JOB.replace("pages", "new"))
        await until(pilot, lambda: names() == ["new", "scrape", "second"])
        assert rows.current.name == "second" and "3 jobs" in screen_text(app)
        (folder / "second.py").write_text("from tui_runner import job\n@job\ndef second(:\n")
        await until(pilot, lambda: names() == ["new", "scrape", "second.py"])
        assert rows.current.name == "second.py"
        (folder / "second.py").write_text(JOB.replace("pages", "second"))
        await until(pilot, lambda: names() == ["new", "scrape", "second"])
        assert rows.current.name == "second"
        (folder / "second.py").unlink()
        await until(pilot, lambda: names() == ["new", "scrape"])
        assert isinstance(rows.current, FoundDatabase | FoundJob) and "2 jobs" in screen_text(app)


@pytest.mark.slow
@pytest.mark.usefixtures("often")
async def test_jobs_do_not_change_while_a_form_is_filled_in(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter", *"typed")
        (folder / "scrape.py").write_text("# moved\n" + JOB.replace("pages", "scrape"))
        (folder / "new.py").write_text(JOB.replace("pages", "new"))
        await pilot.pause(0.3)
        assert "2 jobs" in screen_text(app) and field(app, "base").value == "typed"
        await pilot.press("escape")
        await until(pilot, lambda: "3 jobs" in screen_text(app))
        assert rows_of(app).current.place == "scrape.py:6"
        await pilot.press("enter")
        await ready(pilot)
        assert field(app, "base").value == "typed"


def test_files_of_jobs_have_the_same_stamps_until_one_of_them_changes(folder: Path, tmp_path: Path) -> None:
    elsewhere, package = tmp_path / "far.py", folder / "package"
    elsewhere.write_text(JOB)
    package.mkdir()
    (folder / "sample_jobs").mkdir()
    recent = [f"{elsewhere}:pages", "\0.py:none", f"{tmp_path}/gone.py:none"]
    stamps = discovery.job_stamps(folder, recent)
    for path in (folder / "sample_jobs" / "x.py", package / "__init__.py", package / "y.py", elsewhere):
        assert discovery.job_stamps(folder, recent) == stamps
        path.write_text("x = 1\n")
        before, stamps = stamps, discovery.job_stamps(folder, recent)
        assert stamps != before and path in stamps
    assert discovery.job_stamps(tmp_path / "nowhere", []) == {}


@pytest.mark.usefixtures("often")
async def test_text_about_a_row_stays_scrolled_when_it_changes_and_begins_at_its_top_for_another_row(
    folder: Path, unfinished: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    path = folder / "b.duckdb"
    new_run(f"{folder}/second.py", params={"base": "x"}, database=path, backend="inline").start().finish()
    async with driven(Launcher(folder, environ), size=(120, 8)) as pilot:
        app = await ready(pilot)
        rows, text = rows_of(app), app.query_one("#about", Rows)
        rows.go_to(next(n for n, row in enumerate(rows.rows) if row_name(row) == f"{path}\0"))
        await ready(pilot)
        text.scroll_to(y=2, animate=False)
        await pilot.pause()
        assert text.scroll_offset.y == 2
        before = list(text.rows)
        new_run(f"{folder}/second.py", params={"base": "y"}, database=path, backend="inline").start().finish()
        await until(pilot, lambda: list(text.rows) != before)
        assert row_name(rows.current) == f"{path}\0" and text.scroll_offset.y == 2
        await pilot.press("up")
        assert row_name(rows.current) != f"{path}\0" and text.scroll_offset.y == 0
