"""Pictures of every screen, at three sizes, dark and light. Look at the report before accepting a new one.

`pytest tests/tui/test_pictures.py --snapshot-update` takes them anew.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.books_run import NOW, START, books_ledger, books_run, text
from support.fake_run import FakeRunControl, busy, chunk
from textual.pilot import Pilot
from textual.widgets import Input

from tui_runner.engine.control import ON_REQUEST
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.progress.snapshot import HostView, Snapshot
from tui_runner.engine.protocol import LogLine
from tui_runner.engine.states import HOSTS_PAUSED, ChunkState, RunState
from tui_runner.jobs.loading import SampleJob
from tui_runner.text.numbers import size
from tui_runner.tui import launcher
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.launcher import Launcher, details, discovery, fields, rows
from tui_runner.tui.preferences import Preferences, State
from tui_runner.tui.run.chunk_detail import ChunkPane
from tui_runner.tui.themes import find_themes

pytestmark = pytest.mark.slow

SIZES = [(40, 12), (80, 24), (120, 40)]
THEMES = ["night", "day"]

LOG = tuple(
    LogLine(START.timestamp() + 756 + n, level, f"GET {text(38_000 + n)}: 200", 76, 38_000 + n, 1)
    for n, level in enumerate(["INFO", "INFO", "WARNING", "INFO", "ERROR", "DEBUG"] * 6)
)


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show times of day in the same zone in all pictures."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def no_blinking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor of a field is there or not, as time goes: in pictures it is there."""
    monkeypatch.setattr(Input, "_toggle_cursor", lambda line: None)


every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
every_theme = pytest.mark.parametrize("theme", THEMES)


def app(theme: str, tmp_path: Path, snapshot: Snapshot | None = None) -> RunnerApp:
    return RunnerApp(FakeRunControl(snapshot or books_run().snapshot), theme=theme, themes=find_themes(tmp_path))


async def show(pilot: Pilot[None]) -> None:
    assert isinstance(pilot.app, RunnerApp)
    pilot.app.look()
    await pilot.pause()


@every_theme
@every_size
def test_dashboard(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    control = FakeRunControl(books_run().snapshot)
    with books_ledger(tmp_path / "x.duckdb", books_run()) as control.database:
        shown = RunnerApp(control, theme=theme, themes=find_themes(tmp_path))
        assert snap_compare(shown, terminal_size=size, run_before=show_and_read)


@every_theme
@every_size
@pytest.mark.parametrize("key", ["q", "question_mark"], ids=["quit", "help"])
def test_modal_screens(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str, key: str) -> None:
    async def press(pilot: Pilot[None]) -> None:
        await show(pilot)
        await pilot.press(key)
        await pilot.pause()
        await pilot.pause()

    assert snap_compare(app(theme, tmp_path), terminal_size=size, run_before=press)


@every_theme
@every_size
@pytest.mark.parametrize(
    "keys",
    [
        ["m"],
        ["s"],
        ["v", "v", "slash"],
        ["comma"],
        ["enter"],
        ["e"],
        ["l"],
        ["T"],
        ["e", "enter"],
        ["l", "slash"],
        ["x"],
        ["R"],
        ["ctrl+p"],
    ],
    ids=[
        "map",
        "sort",
        "filter",
        "settings",
        "chunk",
        "errors",
        "log",
        "theme",
        "reader",
        "search",
        "cancel",
        "retry",
        "palette",
    ],
)
def test_other_screens(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str, keys: list[str]) -> None:
    snapshot = replace(books_run().snapshot, log=LOG, log_lines=len(LOG), log_file="/data/scrape/books.duckdb.log")
    control = FakeRunControl(snapshot)
    with books_ledger(tmp_path / "x.duckdb", books_run()) as control.database:
        shown = RunnerApp(control, theme=theme, themes=find_themes(tmp_path))

        async def press(pilot: Pilot[None]) -> None:
            await show(pilot)
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
                for _ in range(2):
                    for worker in [worker for worker in shown.workers if worker.name != "run"]:
                        await worker.wait()
                    await pilot.pause()

        assert snap_compare(shown, terminal_size=size, run_before=press)


_PAUSED_AT = START.timestamp() + NOW


def _in_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the launcher show the same folder, times and version wherever and whenever its picture is taken."""
    for module in (launcher, fields, details):
        monkeypatch.setattr(module, "with_short_home", lambda path: path.replace(str(folder), "/data/scrape"))
    monkeypatch.setattr(fields, "memory_bound", lambda setting: 19_200_000_000)
    for module in (rows, details):  # DuckDB's files differ by a block now and then
        monkeypatch.setattr(module, "size", lambda nbytes: size(books_run().snapshot.db_bytes))
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: _PAUSED_AT + 30))
    monkeypatch.setattr(launcher, "__version__", "0.1.0")


def _write_paused_run(folder: Path, job: str) -> None:
    """Write the database of a run of a job, with its results."""
    file = folder / "books.duckdb"
    with books_ledger(file, books_run(), job) as database:
        books_run().write_results(database)
    os.utime(file, (_PAUSED_AT, _PAUSED_AT))


@every_theme
@every_size
@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("down", "down"),
        ("down", "down", "enter", "tab"),
        ("down", "down", "enter", "tab", "x", "ctrl+s"),
        ("down", "down", "down"),
    ],
    ids=["run", "list", "form", "mistake", "database"],
)
def test_launcher(
    snap_compare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
    keys: tuple[str, ...],
) -> None:
    _in_a_place_of_its_own(monkeypatch, tmp_path)
    # Not those that are bundled: their descriptions may change without the launcher.
    monkeypatch.setattr(
        discovery, "sample_jobs", lambda: [SampleJob("flaky", "Fail in many ways.", tmp_path / "flaky")]
    )
    (tmp_path / "scrape.py").write_text(
        "from tui_runner import job\n@job(threads=64)\ndef books(page: int, *, base: str, depth: int = 2):\n"
        '    """Fetch the pages of a book shop."""\n@books.items\ndef pages():\n    return range(100_000)\n'
    )
    (tmp_path / "broken.py").write_text("from tui_runner import job\ndef oops(:\n")
    _write_paused_run(tmp_path, f"{tmp_path}/scrape.py:books")
    preferences = Preferences(State(tmp_path / "state.json"))
    shown = Launcher(tmp_path, {}, preferences=preferences, theme=theme)

    async def press(pilot: Pilot[None]) -> None:
        for key in keys:
            await shown.workers.wait_for_complete()
            await pilot.pause()
            await pilot.press(key)
        await shown.workers.wait_for_complete()
        await pilot.pause()

    assert snap_compare(shown, terminal_size=size, run_before=press)


@every_size
def test_launcher_asks_before_a_job_from_elsewhere(
    snap_compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    _in_a_place_of_its_own(monkeypatch, tmp_path)
    monkeypatch.setattr(discovery, "sample_jobs", list)
    # A module that is not there has the same name wherever the test runs.
    _write_paused_run(tmp_path, "shop.books:books")
    shown = Launcher(tmp_path, {}, preferences=Preferences(State(tmp_path / "state.json")), theme="night")

    async def press(pilot: Pilot[None]) -> None:
        await shown.workers.wait_for_complete()
        await pilot.press("home", "enter")
        async with asyncio.timeout(30):
            while not isinstance(shown.screen, Confirm):
                await pilot.pause()
        await pilot.pause()

    assert snap_compare(shown, terminal_size=size, run_before=press)


@pytest.mark.parametrize("theme", ["high-contrast", "colour-blind"])
def test_other_themes(snap_compare, tmp_path: Path, theme: str) -> None:
    assert snap_compare(app(theme, tmp_path), terminal_size=(120, 40), run_before=show)


def waiting(chunks: ChunkViews, cause: WaitCause) -> tuple[ChunkView, ...]:
    """Return the same chunks with nothing in flight, and why."""
    return tuple(
        replace(each, state=ChunkState.WAITING, in_flight=0, wait=Wait(cause))
        if each.state is ChunkState.RUNNING
        else each
        for each in chunks
    )


def held(chunks: ChunkViews) -> tuple[ChunkView, ...]:
    """Return the same chunks, the first one that runs held by its host, the next one waiting for a retry."""
    waits = {
        76: Wait(WaitCause.HOST, "books.example", 41, 1_790_000_802),
        77: Wait(WaitCause.RETRY, "", 5, 1_790_000_766),
        79: Wait(WaitCause.QUEUED),
    }
    return tuple(
        replace(each, state=ChunkState.WAITING, in_flight=0, wait=waits[each.number]) if each.number in waits else each
        for each in chunks
    )


LEFT = busy().chunks[:76]
TINY = (chunk(0, ChunkState.RUNNING, done=1, rows=3, in_flight=2, worker=0, started_at=0.2, elapsed=0.9),)
AT_THE_END: dict[str, Any] = {"in_flight": 0, "oldest": (), "latency_window": None}
STATES: dict[str, dict[str, Any]] = {
    "paused": {"state": RunState.PAUSED, "items_per_second": 0.0, "rows_per_second": 0.0, "eta_seconds": None},
    "rests": {
        "state": RunState.PAUSED,
        "reason": "only paused chunks are left: resume or cancel them",
        "items_total": 38_214 + 480,
        "in_flight": 0,
        "eta_seconds": None,
        "chunks": (*LEFT, chunk(76, ChunkState.PAUSED, done=20, rows=90_000, started_at=758.0, elapsed=2.0)),
        "oldest": (),
    },
    "outage": {
        "state": RunState.PAUSED,
        "reason": "98 % of the last 200 items failed with ConnectError: one is tried now and then",
        "eta_seconds": None,
        "in_flight": 0,
        "in_outage": True,
        "trial_seconds": 41.0,
        "chunks": waiting(busy().chunks, WaitCause.OUTAGE),
        "oldest": (),
    },
    "hosts-held": {"in_flight": 16, "threads": 16, "items_held": 32, "chunks": held(busy().chunks)},
    "host-paused": {
        "state": RunState.PAUSED,
        "reason": HOSTS_PAUSED[1],
        "hosts": (HostView("books.example", done=38_202, failed=12, waiting=412, paused=True),),
        "in_flight": 0,
        "paused": 41.0,
        "items_held": 16,
        "items_per_second": 0.0,
        "rows_per_second": 0.0,
        "eta_seconds": None,
        "chunks": waiting(busy().chunks, WaitCause.HOST_PAUSED),
    },
    "resumed": {"active_before": 3_600.0, "wall_before": 3_700.0, "paused": 39.0, "items_skipped": 20_000},
    "disk-full": {
        "state": RunState.PAUSED,
        "reason": "no room for books.duckdb: 12 MB left where 64 MB are needed; the run goes on when there is",
        "warnings": ("disk: 12 MB left",),
        "eta_seconds": None,
        "buffered_bytes": 64_000_000,
        "throttled": True,
    },
    "stalled": {"stalled_seconds": 34.0, "eta_seconds": None},
    "stalled-stream": {"items_total": None, "eta_seconds": None, "stalled_seconds": 34.0},
    "near-end": {
        "items_total": 38_216,
        "eta_seconds": (3.0, 9.0),
        "in_flight": 2,
        "chunks": (*LEFT, chunk(76, ChunkState.RUNNING, done=498, in_flight=2, started_at=746.0, elapsed=16.0)),
    },
    "tiny": {
        "items_total": 3,
        "items_done": 1,
        "items_failed": 0,
        "rows": 3,
        "retries": 0,
        "in_flight": 2,
        "elapsed": 0.9,
        "at": 0.9,
        "eta_seconds": None,
        "chunks": TINY,
        "history": (),
        "errors": (),
        "events": (),
    },
    "draining": {"state": RunState.DRAINING, "reason": ON_REQUEST, "eta_seconds": None, "in_flight": 12},
    "at-its-limits": {"memory_limit": 500_000_000, "throttled": True, "buffered_bytes": 64_000_000},
    "limit-reached": {
        "state": RunState.FAILED,
        "reason": "5,012 items failed, more than --max-failures allows",
        "items_failed": 5_012,
        **AT_THE_END,
    },
    "stopped": {"state": RunState.STOPPED, "reason": "stopped on request", **AT_THE_END},
}
"""Fields that differ from a run at full speed."""


LOOKS = [*((size, "night") for size in SIZES), ((80, 24), "day")]
"""A state changes words and their colours, and no part of the screen: one picture shows what that is on paper white."""


@pytest.mark.parametrize(
    ("size", "theme"), LOOKS, ids=lambda each: each if isinstance(each, str) else f"{each[0]}x{each[1]}"
)
@pytest.mark.parametrize("state", STATES)
def test_states_of_a_run(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str, state: str) -> None:
    changes = dict(STATES[state])
    if "chunks" in changes:
        changes["chunks"] = ChunkViews.of(changes["chunks"])
    assert snap_compare(app(theme, tmp_path, replace(busy(), **changes)), terminal_size=size, run_before=show)


async def show_and_read(pilot: Pilot[None]) -> None:
    """Show the newest snapshot, and what is read from the ledger for it."""
    shown = pilot.app
    await show(pilot)
    for pane in shown.screen.query(ChunkPane):
        pane._look()  # as when the cursor has stood still
    for _ in range(2):
        for worker in [worker for worker in shown.workers if worker.name != "run"]:
            await worker.wait()
        await pilot.pause()


@pytest.mark.parametrize(
    ("size", "theme"), LOOKS, ids=lambda each: each if isinstance(each, str) else f"{each[0]}x{each[1]}"
)
def test_summary(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    ended = books_run(math.inf)
    control = FakeRunControl(ended.snapshot)
    with books_ledger(tmp_path / "x.duckdb", ended) as control.database:
        shown = RunnerApp(control, theme=theme, themes=find_themes(tmp_path))
        assert snap_compare(shown, terminal_size=size, run_before=show_and_read)


@every_theme
def test_wide_dashboard(snap_compare, tmp_path: Path, theme: str) -> None:
    control = FakeRunControl(books_run().snapshot)
    with books_ledger(tmp_path / "x.duckdb", books_run()) as control.database:
        shown = RunnerApp(control, theme=theme, themes=find_themes(tmp_path))
        assert snap_compare(shown, terminal_size=(170, 45), run_before=show_and_read)
