"""Every key of every action outside the query screen is pressed, and its effect seen.

A new action without a line in `CASES` fails the first test here; the query screen's have theirs in `test_query_*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import commands, ledger, screen_text
from textual.app import App
from textual.pilot import Pilot

from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.progress.snapshot import HostView
from tui_runner.engine.protocol import LogLine
from tui_runner.engine.states import RunState
from tui_runner.store.access import LocalAccess
from tui_runner.store.database import Database
from tui_runner.tui.actions import ACTIONS
from tui_runner.tui.actions.model import QUERY_PLACES, Action, Place
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.launcher import Launcher, Starters
from tui_runner.tui.launcher.job_form import JobForm

pytestmark = pytest.mark.slow

LINE = " ".join(f"word{number}" for number in range(900))
JOB = """
from tui_runner import job
@job
def pages(page: int): return {"page": page}
@pages.items
def items(*, last: int = 3): return range(last)
"""

CASES: dict[str, tuple[tuple[str, ...], str]] = {
    # action: keys that lead to where it applies, and a pattern that the state matches after its key and not before
    "pause_run": ((), r"\('pause',\)"),
    "pause_chunk": (("down",), r"\('pause_chunks', 77\)"),
    "retry_chunk": (("s", "down", "down", "down", "down", "enter"), r"\('retry_chunks', 40\)"),
    "retry_all": ((), "Run again everything that failed"),
    "cancel_chunk": ((), "Cancel chunk 76"),
    "settings": ((), "Change while it runs"),
    "more_threads": ((), r"\('set_threads', 70\)"),
    "fewer_threads": ((), r"\('set_threads', 58\)"),
    "summary": ((), "SCREEN Reader"),
    "copy_summary": ((), "CLIPBOARD ## books · run 3 · running"),
    "query": ((), "SCREEN QueryScreen"),
    "open_chunk": ((), "SCREEN ChunkDetail"),
    "sort": ((), "Sort the chunks by"),
    "filter": ((), "List which chunks"),
    "map": ((), "waiting 121"),
    "mark": ((), "1 marked"),
    "mark_all": ((), "200 marked"),
    "clear": (("s", "down", "enter", "v"), r"\A(?!.*1 marked)"),
    "cursor_down": ((), "▸     77"),
    "cursor_up": (("down",), "▸     76"),
    "cursor_left": (("m", "right"), "chunk 76 running"),
    "cursor_right": (("m",), "chunk 77 running"),
    "page_down": ((), r"\A(?!.*▸     76)"),
    "page_up": (("pagedown",), "▸     76"),
    "first_row": (("down", "down"), "▸     76"),
    "last_row": ((), "▸      0"),
    "open_example": (("e",), "SCREEN Reader"),
    "retry_group": (("e",), "SCREEN Confirm"),
    "query_group": (("e",), "SCREEN QueryScreen"),
    "next_example": (("e",), "2 of 9"),
    "previous_example": (("e", "right"), "1 of 9"),
    "open_line": (("l",), "SCREEN Reader"),
    "follow": (("l",), "scrolled back"),
    "search": (("l",), "Find in the log"),
    "next_match": (("l", "slash", *"page 5", "enter"), "▸.*page 5 "),
    "previous_match": (("l", "slash", *"page 5", "enter"), "▸.*page 58 "),
    "only": (("l", "slash", *"page 5", "enter"), r"\A(?!.*page 40 )"),
    "level": (("l",), "List lines of which level"),
    "copy": (("l",), "CLIPBOARD page 59 word0"),
    "back": (("l",), "SCREEN Dashboard"),
    "errors": ((), "SCREEN Errors"),
    "log": ((), "SCREEN Log"),
    "hosts": ((), "SCREEN Hosts"),
    "pause_host": (("h",), r"\('pause_hosts', 'books.example', True\)"),
    "host_limits": (("h",), "Limits of books.example"),
    "theme": ((), "colour-blind"),
    "command_palette": ((), "SCREEN Palette"),
    "help": ((), "SCREEN Help"),
    "quit_run": ((), "Stop run 3 of books"),
    "reader.close": (("l", "enter"), "SCREEN Log"),
    "reader.copy": (("l", "enter"), "CLIPBOARD page 59 word0"),
    "reader.page_down": (("l", "enter"), r"\A(?!.*word0 )"),
    "choice.choose": (("s", "down"), "▲chunk"),
    "choice.cancel": (("s",), "SCREEN Dashboard"),
    "question.yes": (("x",), r"\('cancel_chunks', 76\)"),
    "question.no": (("x",), "SCREEN Dashboard"),
    "question.other": (("x",), "FOCUS yes"),
    "field.cancel": (("comma",), "SCREEN Dashboard"),
    "field.next": (("comma",), "FOCUS open_chunks"),
    "field.previous": (("comma", "down"), "FOCUS threads"),
    "manual.close": (("question_mark",), "SCREEN Dashboard"),
    "launcher.choose": (
        (
            "home",
            "down",
        ),
        "FORM pages",
    ),
    "launcher.next_field": (("home", "down", "enter"), "FIELD 1"),
    "launcher.try_job": (
        (
            "home",
            "down",
        ),
        "SCREEN Reader",
    ),
    "launcher.resume": (("home",), "EXIT RunRequest"),
    "launcher.open_database": (("home",), "EXIT PosixPath"),
    "launcher.retry": (("slash", *"b.duckdb", "enter", "home"), "EXIT RunRequest"),
    "launcher.start": (("home", "down"), "EXIT RunRequest"),
    "launcher.try_sample": ((), "▸ fetch_site"),
    "launcher.filter": ((), "List only what shows this text"),
    "launcher.choose_theme": ((), "SCREEN Choose"),
    "launcher.write_job": ((), r"wrote [^\n]*/first.py"),
    "launcher.copy_samples": ((), "copied to "),
    "launcher.other_folder": ((), "Look for jobs in which folder"),
    "launcher.copy_command": (("home", "down"), "CLIPBOARD tui-runner run [^\n]*scrape.py:pages"),
    "launcher.to_list": (("home", "down", "enter"), "FORM none"),
    "launcher.help": ((), "SCREEN Help"),
    "launcher.quit": ((), "EXIT NoneType"),
}

# What `redraw` does can be seen in a real terminal only: test_terminal.py.
HERE = [action for action in ACTIONS if action.place not in (*QUERY_PLACES, Place.CELL, Place.ALWAYS)]


def test_every_action_has_a_case() -> None:
    assert {action.id for action in HERE} == set(CASES)


def state(app: App[Any], control: FakeRunControl | None) -> str:
    """Return everything that a key can change, as text."""
    focused = app.focused
    name = "" if focused is None else focused.id or " ".join(sorted(focused.classes))
    parts = [
        screen_text(app),  # type: ignore[arg-type]  # either application
        f"SCREEN {type(app.screen).__name__}",
        f"FOCUS {name}",
        f"CLIPBOARD {app.clipboard}",
        f"EXIT {type(app.return_value).__name__}" if app._exit else "",
    ]
    if control is not None:
        parts.append(repr(commands(control)))
    for form in app.query(JobForm):
        parts.append(f"FORM {form.job.name if form.job else 'none'}")
        parts += [f"FIELD {n}" for n, line in enumerate(form._lines) if line.input.has_focus]
    return "\n".join(parts)


async def settled(pilot: Pilot[Any]) -> None:
    """Wait for what is read in threads, and look at the run."""
    for _ in range(2):
        await pilot.pause()
        if isinstance(pilot.app, RunnerApp):
            pilot.app.look()
        for worker in list(pilot.app.workers):
            if worker.name != "run" and worker.node is not None and "Query" not in type(worker.node).__name__:
                await worker.wait()
    await pilot.pause()


async def assert_effect(
    app: App[Any], control: FakeRunControl | None, keys: tuple[str, ...], key: str, pattern: str
) -> None:
    """Press `keys`, then `key`. Assert that the state matches the pattern afterwards, and not before `key`."""
    async with driven(app, size=(120, 40)) as pilot:
        await settled(pilot)
        for each in keys:
            await pilot.press(each)
            if each in ("enter", "e", "l"):
                await settled(pilot)
        await settled(pilot)
        assert not re.search(pattern, state(app, control), re.DOTALL)
        await pilot.press(key)
        if app._exit:
            assert re.search(pattern, state(app, control), re.DOTALL)
            return
        await settled(pilot)
        assert re.search(pattern, state(app, control), re.DOTALL), state(app, control)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with ledger(tmp_path_factory.mktemp("run") / "x.duckdb") as database:
        cursor = database.cursor()
        cursor.execute("UPDATE runner.failed_attempts SET chunk = 40")  # one that has ended with failed items
        database.close_cursor(cursor)
        yield database


@pytest.fixture
def control(database: Database) -> FakeRunControl:
    log = tuple(LogLine(1000.0 + n, "INFO", f"page {n} {LINE}", 76, n, 1) for n in range(60))
    control = FakeRunControl(
        replace(busy(), log=log, log_lines=60, log_file="x.log", hosts=(HostView("books.example"),))
    )
    control.database = database
    return control


def each_key(*, launcher: bool) -> list[Any]:
    return [
        pytest.param(action.id, key, id=f"{action.id}-{key}")
        for action in HERE
        for key in action.keys
        if (action.place is Place.LAUNCHER) is launcher
    ]


@pytest.mark.parametrize(("action", "key"), each_key(launcher=False))
async def test_each_key_of_a_run_has_its_effect(
    control: FakeRunControl, database: Database, action: str, key: str
) -> None:
    app = RunnerApp(control, access=lambda: LocalAccess(database))
    await assert_effect(app, control, *CASES[action][:1], key, CASES[action][1])
    app.close()


def finished_with_failures(new_run: Any, folder: Path) -> None:
    """Leave a run in b.duckdb that has finished, with an item that failed."""
    new_run(f"{folder}/scrape.py", database=folder / "b.duckdb").runner.close()
    with Database.open(folder / "b.duckdb") as database:
        cursor = database.cursor()
        cursor.execute("UPDATE runner.runs SET state = 'finished', items_total = 3, ended_at = now()")
        cursor.execute("INSERT INTO runner.items (run_id, item, chunk, state, attempts) VALUES (1, 0, 0, 'failed', 1)")
        database.close_cursor(cursor)


@pytest.mark.parametrize(("action", "key"), each_key(launcher=True))
async def test_each_key_of_the_launcher_has_its_effect(tmp_path: Path, new_run: Any, action: str, key: str) -> None:
    (tmp_path / "scrape.py").write_text(JOB)
    new_run(f"{tmp_path}/scrape.py", database=tmp_path / "a.duckdb").runner.close()
    finished_with_failures(new_run, tmp_path)
    starters = Starters(lambda folder: f"wrote {folder.name}/first.py", lambda folder: f"copied to {folder.name}")
    app = Launcher(tmp_path, {}, starters=starters)
    await assert_effect(app, None, *CASES[action][:1], key, CASES[action][1])


OPENING = {Place.ERRORS: "e", Place.HOSTS: "h", Place.LOG: "l"}
"""Keys that open the screens of these places."""
MOVES = {"next_example", "previous_example", "next_match", "previous_match", "cursor_left", "cursor_right", "follow"}
"""Actions whose key may be pressed once too often, as those that move a cursor to an end."""


@pytest.mark.parametrize("empty", [False, True], ids=["failures", "nothing"])
@pytest.mark.parametrize(
    "action",
    [
        action
        for action in HERE
        if action.place in (Place.RUN, Place.CHUNK, Place.TABLE, *OPENING) and action.id not in MOVES
    ],
    ids=lambda action: action.id,
)
async def test_no_key_of_an_ended_run_does_nothing_without_a_word(
    control: FakeRunControl, database: Database, action: Action, empty: bool
) -> None:
    control.change(state=RunState.FINISHED)
    if empty:
        control.change(
            chunks=ChunkViews.of([]), hosts=(), log=(), log_lines=0, errors=(), error_groups=0, items_failed=0,
            items_cancelled=0,
        )  # fmt: skip
        control.database = None
    app = RunnerApp(control, access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await settled(pilot)
        if action.place in OPENING:
            await pilot.press(OPENING[action.place])
            await settled(pilot)
        app.clear_notifications()
        await settled(pilot)
        before = state(app, control)
        await pilot.press(action.keys[0])
        await settled(pilot)
        assert state(app, control) != before or app._notifications
    app.close()
