"""Drive the application on a run that only pretends, and read what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

from support.errors import add_errors
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from tui_runner.store.database import Database
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.launcher import Launcher
from tui_runner.tui.launcher.job_form import JobForm

HOSTILE = {
    "markup": "[/foo] [red]x[/] [@click=app.quit]y[/] a [/ b $x",
    "escape": "\x1b[2J\x1b[31mred \x9b2J",
    "clipboard": "\x1b]52;c;aGFja2Vk\x07 \x1b]0;title\x1b\\",
    "bidi": "\u202egnp.exe\u2066 \u200f\u061c",
    "surrogate": "\ud800\udfff",
    "long": "A" * 100_000 + "\x1b[2J",
    "lines": "one\r\ntwo\x00\x7f\u2028three\t\x0b",
    "wide": "漢字" * 500 + "👨\u200d👩\u200d👧",
}

JOB = '''
from tui_runner import job

@job(threads=3)
def pages(page: int, *, base: str, depth: int = 2):
    """Fetch pages.

    Args:
        base: where to begin
    """
    return {"page": page, "address": f"{base}/{page}", "depth": depth}

@pages.items
def items(*, last: int = 5):
    return range(last)
'''


async def settled(pilot: Pilot[None]) -> RunnerApp:
    app = pilot.app
    assert isinstance(app, RunnerApp)
    await pilot.pause()
    app.look()
    await pilot.pause()
    return app


def screen_text(app: RunnerApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def commands(control: FakeRunControl) -> list[tuple[object, ...]]:
    return [command for command in control.commands if command != ("start",)]


async def after(
    *keys: str, control: FakeRunControl | None = None, size: tuple[int, int] = (120, 40)
) -> list[tuple[object, ...]]:
    control = control or FakeRunControl(busy())
    async with driven(RunnerApp(control), size=size) as pilot:
        await settled(pilot)
        await pilot.press(*keys)
        await pilot.pause()
        return commands(control)


async def read(pilot: Pilot[None]) -> RunnerApp:
    """Wait for what is read from the ledger in threads."""
    app = await settled(pilot)
    for worker in list(app.workers):
        if worker.name != "run":
            await worker.wait()
    await pilot.pause()
    for worker in list(app.workers):
        if worker.name != "run":
            await worker.wait()
    await pilot.pause()
    return app


def field(app: Launcher, name: str) -> Input:
    """Return the text field of a parameter, a setting or the input in the launcher's form."""
    return app.query_one(JobForm).input_of(name)


async def ready(pilot: Pilot[Any]) -> Launcher:
    app = pilot.app
    assert isinstance(app, Launcher)
    for _ in range(3):
        while not all(worker.is_finished for worker in app.workers):
            with suppress(WorkerCancelled):  # a preview that another letter was typed for
                await app.workers.wait_for_complete()
        await pilot.pause()
    return app


@contextmanager
def ledger(path: Path) -> Iterator[Database]:
    """Yield a database with a few items and errors of the run that is shown."""
    with Database.open(path) as database:
        cursor = database.cursor()
        ensure_ledger(cursor, create=True)
        cursor.execute(
            """INSERT INTO runner.items (run_id, item, chunk, key, text, state, attempts, rows, seconds, finished_at)
                SELECT 3, 38000 + n, CASE n WHEN 8 THEN 77 WHEN 11 THEN 75 ELSE 76 END, 'k' || n,
                'https://books.example/page-' || (38000 + n) || '.html', if(n < 12 AND n % 3 = 2, 'failed', 'ok'),
                1 + n % 3, 900, n / 4.0, TIMESTAMPTZ '2026-01-01 10:00:00+00' FROM range(30) t(n)"""
        )
        add_errors(
            cursor,
            """SELECT 3, 38000 + n, CASE n WHEN 8 THEN 77 WHEN 11 THEN 75 ELSE 76 END, 1 + n % 3,
                CASE WHEN n < 9 THEN 'ReadTimeout' ELSE 'ValueError' END,
                CASE WHEN n < 9 THEN 'page ' || n || ' timed out' ELSE 'no table on page' END,
                'Traceback (most recent call last):' || chr(10) || '  File "books.py", line ' || if(n < 9, 40, 41)
                || ', in books' || chr(10) || if(n < 9, '    response = http.get(url)' || chr(10)
                || 'ReadTimeout: page ' || n || ' timed out',
                '    table = parse(response.text)' || chr(10) || 'ValueError: no table on page'),
                TIMESTAMPTZ '2026-01-01 10:00:00+00' + to_seconds(n), n % 3 = 2,
                CASE WHEN n < 9 THEN 'page N timed out' ELSE 'no table on page' END,
                'https://books.example/page-' || (38000 + n) || '.html' FROM range(12) t(n)""",
        )
        database.close_cursor(cursor)
        yield database


def add_samples(database: Database) -> None:
    """Give the run that is shown twelve minutes of samples: its throughput rose and fell, and it failed at first."""
    cursor = database.cursor()
    cursor.execute(
        """INSERT INTO runner.samples SELECT 3, TIMESTAMPTZ '2026-01-01 10:00:00+00' + to_seconds(5 * n),
            (225 * n + 1020 * (1 - cos(n / 17)))::BIGINT, least(n // 6, 12), n * 50, 8, 8, 45 + 12 * sin(n / 17),
            110000000 + 40000 * n, 250000000 + (60000000 * abs(sin(n / 25)))::BIGINT, 1000 FROM range(150) t(n)"""
    )
    database.close_cursor(cursor)
