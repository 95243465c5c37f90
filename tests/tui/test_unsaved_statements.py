"""Statements that were typed and never run are there again after a terminal, or the program, was lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.pseudo_terminal import PseudoTerminal
from support.query_world import Desk, make_database, query_app
from support.screens import settled

from tui_runner.store.access import LocalAccess
from tui_runner.store.database import Database
from tui_runner.system.files import replaced
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.query import unsaved
from tui_runner.tui.query.app import QueryApp
from tui_runner.tui.query.tab import Shown
from tui_runner.tui.query.unsaved import UnsavedStatements, unsaved_texts

TYPED = "SELECT 'typed and never run'"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path / "books.duckdb")
    yield made
    made.close()


def gone_process() -> int:
    """Return the number of a process that does not exist."""
    return next(number for number in range(4_000_000, 4_100_000) if not psutil.pid_exists(number))


def test_kept_text_goes_to_the_next_screen_once(tmp_path: Path) -> None:
    one, other = UnsavedStatements(tmp_path / "unsaved"), UnsavedStatements(tmp_path / "unsaved")
    one.keep([TYPED, "SELECT 'ä \ud800'"])
    assert other.take() == []  # its process runs
    assert (tmp_path / "unsaved").stat().st_mode & 0o077 == 0
    one.give_up()
    assert other.take() == [TYPED, "SELECT 'ä \ud800'"]
    assert other.take() == []
    one = UnsavedStatements(tmp_path / "unsaved")
    one.keep([TYPED])
    one.keep([])
    one.give_up()
    assert other.take() == [] and not list((tmp_path / "unsaved").iterdir())


def test_an_earlier_text_never_replaces_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, goes_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def slow(path: Path) -> Iterator[IO[bytes]]:
        with replaced(path) as stream:
            yield stream
            if not writing.is_set():
                writing.set()
                assert goes_on.wait(30)

    monkeypatch.setattr(unsaved, "replaced", slow)
    one, other = UnsavedStatements(tmp_path), UnsavedStatements(tmp_path)
    early = threading.Thread(target=one.keep, args=([TYPED[:9]],))
    late = threading.Thread(target=one.keep, args=([TYPED],))
    early.start()
    assert writing.wait(30)
    late.start()
    late.join(0.2)  # without the lock, it would be done now
    goes_on.set()
    early.join()
    late.join()
    one.give_up()
    one.keep([TYPED[:9]])  # a thread that was late
    assert other.take() == [TYPED] and not list(tmp_path.iterdir())


def test_what_was_typed_for_one_database_does_not_come_to_another(tmp_path: Path) -> None:
    one, other = UnsavedStatements(tmp_path), UnsavedStatements(tmp_path)
    one.database, other.database = "/data/books.duckdb", "/data/prices.duckdb"
    one.keep([TYPED])
    one.give_up()
    assert other.take() == []
    assert one.take() == [TYPED]


def test_a_file_has_no_owner_once_its_process_has_ended_or_its_number_is_reused(tmp_path: Path) -> None:
    gone = tmp_path / f"{gone_process()}.json"
    gone.write_text(json.dumps(["SELECT 1"]))
    reused = tmp_path / f"{os.getpid()}.json"
    reused.write_text(json.dumps(["SELECT 2"]))
    before = psutil.Process().create_time() - 100.0
    os.utime(reused, (before, before))
    assert UnsavedStatements(tmp_path).take() == ["SELECT 2", "SELECT 1"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[1, null]", b"[" * 100_000, b'["half'])
def test_a_broken_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lost-1.json").write_bytes(content)
    os.mkfifo(tmp_path / "lost-2.json")
    assert UnsavedStatements(tmp_path).take() == []


def test_without_a_folder_that_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = UnsavedStatements(tmp_path / "file" / "unsaved")
    nowhere.keep([TYPED])
    nowhere.give_up()
    assert nowhere.take() == []


def test_only_text_that_was_neither_run_nor_saved_is_unsaved() -> None:
    editors = [("SELECT 1", ""), ("SELECT 2", "SELECT 2"), ("SELECT 3; SELECT 4", ""), ("  -- nothing", "")]
    assert unsaved_texts(editors, ["SELECT 1", "SELECT 3"]) == ["SELECT 3; SELECT 4"]


async def open_and_type(app: QueryApp, *keys: str) -> None:
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press(*TYPED, *keys)
    app.query_screen.close()


@pytest.mark.slow
async def test_a_screen_that_ends_without_being_asked_leaves_its_statements_to_the_next_one(
    database: Database, tmp_path: Path
) -> None:
    await open_and_type(query_app(database, tmp_path, newest=True))
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: "are back, in tab 2" in at.shown())
        assert at.tab.editor.text == TYPED
        await at.press("f12")
        assert "Book no. 24999" in at.shown()
    app.query_screen.close()


@pytest.mark.slow
@pytest.mark.parametrize("keys", [("escape", "y"), ("f5",)], ids=["agreed to lose", "run"])
async def test_text_that_was_run_or_discarded_does_not_return(
    database: Database, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    await open_and_type(query_app(database, tmp_path, newest=True), *keys)
    assert UnsavedStatements.of_user().take() == []


@pytest.mark.slow
async def test_statements_typed_beside_a_run_outlive_its_dashboard(database: Database) -> None:
    app = RunnerApp(FakeRunControl(busy()), access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("d")
        assert app._query is not None
        at = Desk(pilot, app._query)  # type: ignore[arg-type]
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press(*TYPED)
    app.close()
    unsaved = UnsavedStatements.of_user()
    assert unsaved.take() == []
    unsaved.database = str(database.path.resolve())
    assert unsaved.take() == [TYPED]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["SIGHUP", "EIO", "killed"])
def test_a_lost_terminal_costs_no_statement(tmp_path: Path, loss: str) -> None:
    make_database(tmp_path / "books.duckdb").close()
    # Of a terminal that is gone the kernel tells by SIGHUP, where that is not ignored, and by EIO.
    ignores = ("/usr/bin/env", "--ignore-signal=HUP") if loss == "EIO" else ()
    program = (*ignores, sys.executable, "-m", "tui_runner")
    screen = PseudoTerminal(["open", "books.duckdb"], tmp_path, program=program)
    try:
        screen.shows("we ird")
        screen.press(TYPED)
        folder = tmp_path / "tui-runner" / "unsaved"
        screen.until(lambda: any(TYPED in path.read_text() for path in folder.glob("*.json")), "a file")
        if loss == "killed":
            os.kill(screen.process.pid, signal.SIGKILL)
        else:
            screen.hang_up(signalled=loss == "SIGHUP")
        screen.process.wait(30)
    finally:
        screen.close()
    again = PseudoTerminal(["open", "books.duckdb"], tmp_path)
    try:
        again.shows("are back")
        again.shows("typed and never run")  # `shows` fails unless the text appears within 30 s
    finally:
        again.close()
