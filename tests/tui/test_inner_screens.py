"""The screens beside the dashboard: a chunk, errors, the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.errors import add_errors
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.query_world import Desk
from support.screens import HOSTILE, commands, read, screen_text, settled
from textual.widgets import Static

from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.progress.snapshot import WorkerView
from tui_runner.engine.protocol import InFlight, LogLine
from tui_runner.engine.states import RunState
from tui_runner.store.access import LocalAccess
from tui_runner.store.database import Database
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.ledger.reports import EPOCH, FailureGroup
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.reader import Reader, wrapped
from tui_runner.tui.query.screen import QueryScreen
from tui_runner.tui.run.chunk_detail import ChunkDetail
from tui_runner.tui.run.dashboard import Dashboard
from tui_runner.tui.run.errors import Errors
from tui_runner.tui.run.log import KEPT, Log


@pytest.fixture
def control(tmp_path: Path) -> Iterator[FakeRunControl]:
    control = FakeRunControl(
        replace(
            busy(),
            worker_views=(WorkerView(1, 4321, 32, 32, 214_000_000),),
            log=tuple(LogLine(1000.0 + n, "INFO", f"page {n}", 76, 38_000 + n, 1) for n in range(50)),
            log_lines=50,
            log_file="/data/scrape/books.duckdb.log",
        )
    )
    database = Database.open(tmp_path / "x.duckdb")
    cursor = database.cursor()
    ensure_ledger(cursor, create=True)
    cursor.execute(
        """INSERT INTO runner.items (run_id, item, chunk, key, state, attempts, rows, seconds, finished_at)
            VALUES (3, 38001, 76, 'a', 'ok', 2, 900, 12.5, now()),
            (3, 38002, 76, 'b', 'failed', 3, 0, 4.5, now()), (3, 20001, 40, 'c', 'failed', 1, 0, 4.5, now())"""
    )
    add_errors(
        cursor,
        """SELECT 3, 38002, 76, n, 'ReadTimeout', 'page ' || n || ' timed out',
                'Traceback (most recent call last):' || chr(10) || '  File "books.py", line 9' || chr(10)
                || 'ReadTimeout: page ' || n, now() + to_seconds(n), n = 3, 'page N timed out', 'https://books.example/38002'
                FROM range(1, 4) t(n)
            UNION ALL SELECT 3, 20001, 40, 1, 'ValueError', 'no table', 'Traceback', now(), true, 'no table', NULL""",
    )
    database.close_cursor(cursor)
    control.database = database
    yield control
    database.close()


async def test_enter_opens_the_chunk_with_its_items_and_worker(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        app = await read(pilot)
        assert isinstance(app.screen, ChunkDetail)
        shown = screen_text(app)
        for part in (
            "chunk 76 of books",
            "worker 1  pid 4321  214 MB",
            "items 38,000–38,499",
            "in flight: 40  the 2 oldest: position, age, value",
            "https://books.example/page-38017.html",
            "and 38 that began later",
            "ReadTimeout: page 3 timed out",
            "12 s",
        ):
            assert part in shown, part
        assert shown.index("38017") < shown.index("38050")
        await pilot.press("p", "j", "G", "c", "escape")
        assert isinstance(app.screen, Dashboard)
    assert commands(control) == [("pause_chunks", 76)]


async def test_the_failures_of_a_chunk_have_the_number_of_its_figures_whatever_the_ledger_has(
    control: FakeRunControl,
) -> None:
    chunks = control.current.chunks
    for failed, cancelled, title in (
        (2, 1, "failed: 3, 1 written so far "),
        (1, 0, "failed: 1 "),
        (0, 0, "failed: 0, and 1 that run again "),
    ):
        chunk = replace(chunks[76], failed=failed, cancelled=cancelled)
        control.change(chunks=ChunkViews.of([*chunks[:76], chunk, *chunks[77:]]))
        async with driven(RunnerApp(control), size=(120, 40)) as pilot:
            await settled(pilot)
            await pilot.press("enter")
            shown = screen_text(await read(pilot))
            assert title in shown and ("written so far" in shown) is (failed > 1)


async def test_errors_are_grouped_and_an_example_can_be_read_and_copied(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        app = await read(pilot)
        assert isinstance(app.screen, Errors)
        shown = screen_text(app)
        assert (
            "2 items failed  4 failed attempts of 2 kinds" in shown
            and "https://books.example/38002" in shown
            and "50 %" in shown
            and "ReadTimeout: page 3 timed out" in shown
        )
        assert 'File "books.py", line 9' in shown and "1 of 3" in shown
        await pilot.press("right")
        assert "2 of 3" in screen_text(app)
        await pilot.press("left", "c")
        await pilot.pause()
        assert "ReadTimeout: page" in app.clipboard
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Reader)
        # A run of some days has more than one 14:03.
        assert re.search(r"\(item \d+\) · chunk \d+ · .* · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", screen_text(app))
        await pilot.press("j", "c", "escape", "down")
        await read(pilot)
        assert "item 20001" in screen_text(app)


async def test_the_summary_counts_the_items_that_have_failed_in_the_whole_run(control: FakeRunControl) -> None:
    control.change(state=RunState.FINISHED, items_failed=2)
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        shown = screen_text(await read(pilot))
    assert "1 item failed: ReadTimeout: page 3 timed out" in shown
    assert "1 item failed: ValueError: no table" in shown


async def test_failures_that_are_not_in_the_database_yet_are_not_denied(control: FakeRunControl) -> None:
    assert control.database is not None
    control.database.cursor().execute("DELETE FROM runner.failed_attempts")
    for failed, said in ((1, "being written"), (0, "no attempt has failed so far")):
        control.change(items_failed=failed, errors=control.current.errors if failed else ())
        async with driven(RunnerApp(control), size=(80, 24)) as pilot:
            await settled(pilot)
            await pilot.press("e")
            app = await read(pilot)
            assert said in screen_text(app) and f"{failed} item{'' if failed == 1 else 's'} failed" in screen_text(app)


async def test_where_it_is_narrow_the_room_is_for_what_the_errors_are(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(40, 12)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        app = await read(pilot)
        assert "ReadTimeout: page 3 tim" in screen_text(app) and "share" not in screen_text(app)


@pytest.mark.parametrize(
    ("width", "url", "slow"),
    [
        (60, "ConnectionError: host shop-3596.exam…  (+848 att.)", "TimeoutError: slow 27  (+2,531 att. later ok)"),
        (
            80,
            "ConnectionError: host shop-3596.examp…  (+848 att. later ok)",
            "TimeoutError: slow 27  (+2,531 attempts later succeeded)",
        ),
        (100, "ConnectionError: host shop-359…  (+848 att.)", "TimeoutError: slow 27  (+2,531 att.)"),
        (
            120,
            "ConnectionError: host shop-3596.example n…  (+848 att. later ok)",
            "TimeoutError: slow 27  (+2,531 attempts later succeeded)",
        ),
    ],
)
async def test_what_became_of_other_attempts_is_shortened_and_never_cut(
    control: FakeRunControl, width: int, url: str, slow: str
) -> None:
    group = FailureGroup(
        "ConnectionError", "", items_failed=122, attempts=1_214, recovered=848, chunks=8, first_seen=EPOCH,
        last_seen=EPOCH, newest_item=7, newest_item_text="", newest_traceback="",
        newest_message="host shop-3596.example not ready for page 3596, try again some minutes later",
    )  # fmt: skip
    other = replace(group, type="TimeoutError", recovered=2_531, newest_message="slow 27")
    async with driven(RunnerApp(control), size=(width, 24)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        app = await read(pilot)
        screen = app.screen
        assert isinstance(screen, Errors)
        screen._items = 244
        shown = ["".join(text for text, _ in screen._group_line(each, width - 2)) for each in (group, other)]
        assert (shown[0].endswith(url), shown[1].endswith(slow)) == (True, True), shown
        assert all(len(line) <= width - 2 for line in shown)


async def test_a_group_can_be_run_again(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        app = await read(pilot)
        await pilot.press("down")
        await read(pilot)
        await pilot.press("r")
        await read(pilot)
        assert "Run again every failed item of chunk 40?" in screen_text(app)
        what = app.screen.query_one("#consequence", Static).visual.plain  # type: ignore[union-attr]
        assert what.startswith("Not of this group alone, whatever the error: 6 failed items of chunk 40 run again")
        await pilot.press("y")
        await pilot.pause()
    assert commands(control) == [("retry_chunks", 40)]


async def test_the_errors_of_a_group_are_shown_in_the_query_screen(control: FakeRunControl) -> None:
    database = control.database
    assert database is not None
    cursor = database.cursor()
    cursor.execute(
        "UPDATE runner.failed_attempts SET type = 'It''s \x1b[31m', shape = 'no [/b] \u202e' WHERE chunk = 40"
    )
    database.close_cursor(cursor)
    app = RunnerApp(control, access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        await read(pilot)
        await pilot.press("o")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: "✔ 3 rows" in at.shown())
        await at.press("escape")
        assert isinstance(app.screen, Errors)
        await at.press("down", "o")
        await at.until(lambda: "✔ 1 row" in at.shown())
        shown = at.shown()
        assert "20,001" in shown and "chr(27)" in shown
        assert not set(shown) & set("\x1b\u202e")
    app.close()


async def test_keys_that_have_nothing_to_act_on_are_not_named(control: FakeRunControl) -> None:
    assert control.database is not None
    control.database.cursor().execute("DELETE FROM runner.failed_attempts")
    control.change(log=(), log_lines=0, items_failed=0, errors=())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("e")
        keys = screen_text(await read(pilot)).rstrip().rpartition("\n")[2]
        assert "r retry" not in keys and "c copy" not in keys and "q back" in keys
        await pilot.press("q", "l")
        keys = screen_text(await settled(pilot)).rstrip().rpartition("\n")[2]
        assert "search" not in keys and "f newest" not in keys and "q back" in keys


async def test_the_log_names_its_keys_as_soon_as_it_has_lines(control: FakeRunControl) -> None:
    control.change(state=RunState.FINISHED)  # no more snapshots follow
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l")
        keys = screen_text(await settled(pilot)).rstrip().rpartition("\n")[2]
        assert "/ search" in keys and "c copy" in keys


async def test_the_log_follows_scrolls_back_and_searches(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l")
        app = await settled(pilot)
        assert isinstance(app.screen, Log)
        shown = screen_text(app)
        assert "page 49" in shown and "page 0 " not in shown and "following" in shown and "76 38049" in shown
        assert "books.duckdb.log" in shown
        lines = control.current.log
        control.change(log=(*lines[1:], LogLine(2000.0, "ERROR", "the newest")), log_lines=51)
        await settled(pilot)
        assert "the newest" in screen_text(app)
        await pilot.press("pageup", "pageup")
        await pilot.pause()
        assert "scrolled back" in screen_text(app) and "the newest" not in screen_text(app)
        control.change(log=(*control.current.log[1:], LogLine(2001.0, "INFO", "even newer")), log_lines=52)
        await settled(pilot)
        assert "even newer" not in screen_text(app)
        await pilot.press("G")
        await pilot.pause()
        assert "even newer" in screen_text(app) and "following" in screen_text(app)
        await pilot.press("slash", *"page 3", "enter")
        await pilot.pause()
        assert "▸" in next(line for line in screen_text(app).split("\n") if "page 39" in line)
        await pilot.press("N")
        assert "▸" in next(line for line in screen_text(app).split("\n") if "page 38" in line)
        await pilot.press("n", "c")
        assert app.clipboard == "page 39"


async def test_the_search_goes_round_and_says_so(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("l", "slash", *"PAGE 1", "enter")
        app = await settled(pilot)

        def at() -> str:
            return next(line for line in screen_text(app).split("\n") if "▸" in line)

        assert "page 19" in at() and "from" not in screen_text(app)
        await pilot.press("n")
        await read(pilot)
        assert "page 1 " in at() and "from the top" in screen_text(app)
        await pilot.press("N")
        await read(pilot)
        assert "page 19" in at() and "from the end" in screen_text(app)
        await pilot.press("slash", "end", *"23", "enter")
        await read(pilot)
        assert "page 19" in at() and "no line has that text in the log" in screen_text(app)
        await pilot.press("slash", "home", "ctrl+k", *"page 7", "enter", "n")
        await pilot.pause()
        assert "page 7" in at()


async def test_the_log_counts_matches_and_lists_them_alone(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l", "slash", *"page 1", "enter")
        app = await settled(pilot)
        # page 1 and 10 to 19; the cursor is on the newest.
        assert "“page 1” 11 of 11" in screen_text(app) and "page 20" in screen_text(app)
        await pilot.press("N", "N")
        assert "“page 1” 9 of 11" in screen_text(app)
        await pilot.press("ampersand")
        app = await settled(pilot)
        shown = screen_text(app)
        assert "only “page 1” 9 of 11" in shown
        assert "page 20" not in shown and "page 19" in shown and "page 1 " in shown
        control.change(
            log=(*control.current.log, LogLine(2000.0, "INFO", "another page 1"), LogLine(2000.0, "INFO", "page 2")),
            log_lines=52,
        )
        app = await settled(pilot)
        shown = screen_text(app)
        assert "only “page 1” 9 of 12" in shown and "another page 1" in shown and "page 2 " not in shown
        await pilot.press("ampersand")
        shown = screen_text(await settled(pilot))
        assert "“page 1” 9 of 12" in shown and "only" not in shown and "page 18" in shown and "page 20" in shown


async def test_escape_lists_all_lines_of_the_log_again_before_it_leaves(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l", "slash", *"page 1", "enter", "ampersand")
        app = await settled(pilot)
        assert "page 20" not in screen_text(app)
        await pilot.press("escape")
        app = await settled(pilot)
        assert isinstance(app.screen, Log) and "page 20" in screen_text(app)
        await pilot.press("escape")
        assert not isinstance((await settled(pilot)).screen, Log)


async def test_the_text_of_a_log_line_without_a_chunk_begins_below_its_heading(control: FakeRunControl) -> None:
    control.change(log=(*control.current.log, LogLine(2000.0, "INFO", "of no chunk")), log_lines=51)
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l")
        lines = screen_text(await settled(pilot)).split("\n")
        heading = next(line for line in lines if " level " in line)
        assert next(line for line in lines if "of no chunk" in line).index("of no") == heading.index("text")


async def test_a_path_that_is_too_long_for_the_log_loses_its_beginning(control: FakeRunControl) -> None:
    line = LogLine(2000.0, "INFO", "read", 3, 7, value="/data/in/2026/november/file-29.txt")
    control.change(log=(line,), log_lines=1)
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l")
        shown = screen_text(await settled(pilot))
        assert "/file-29.txt  read" in shown and "/data/in" not in shown
        assert "1 line " in shown and "1 lines" not in shown


async def test_the_log_lists_matches_alone_only_after_a_search(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l", "ampersand")
        shown = screen_text(await settled(pilot))
        assert "search for a text first" in shown and "page 49" in shown


async def test_the_log_lists_a_level_and_above(control: FakeRunControl) -> None:
    control.change(
        log=(*control.current.log, LogLine(1.0, "ERROR", "bad"), LogLine(1.0, "WARNING", "hm")), log_lines=52
    )
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l", "v", "down", "down", "enter")
        app = await settled(pilot)
        shown = screen_text(app)
        assert "WARNING and above (Esc clears)" in shown and "bad" in shown and "hm" in shown
        assert "page 49" not in shown
        await pilot.press("escape")
        shown = screen_text(await settled(pilot))
        assert isinstance(app.screen, Log) and "and above" not in shown and "page 49" in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, Log)


async def test_the_log_in_memory_is_bounded(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l")
        app = await settled(pilot)
        for start in range(0, 3 * KEPT, KEPT):
            lines = tuple(LogLine(0.0, "INFO", f"n{number}") for number in range(start, start + KEPT))
            control.change(log=lines, log_lines=50 + start + KEPT)
            app.look()
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, Log)
        assert len(screen._recent) == KEPT and f"n{3 * KEPT - 1}" in screen_text(app)


async def test_screens_take_each_others_place_and_q_goes_back(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("enter", "e", "l", "e")
        await pilot.pause()
        assert isinstance(app.screen, Errors) and len(app.screen_stack) == 2
        await pilot.press("q")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("l", "ctrl+c", "ctrl+c")
        await pilot.pause()
    assert commands(control) == [("stop",)]


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 12), (200, 60)])
async def test_any_size_is_survived(control: FakeRunControl, size: tuple[int, int]) -> None:
    async with driven(RunnerApp(control), size=size) as pilot:
        await settled(pilot)
        for keys in (["enter"], ["e"], ["l"], ["escape", "m"], ["s"]):
            await pilot.press(*keys)
            app = await read(pilot)
            assert app.screen.size == size


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_text_is_shown_and_not_obeyed(control: FakeRunControl, text: str) -> None:
    assert control.database is not None
    storable = text.encode("utf-8", "backslashreplace").decode()
    cursor = control.database.cursor()
    cursor.execute("UPDATE runner.failed_attempts SET type = ?, message = ?, shape = ?, item_text = ?", [storable] * 4)
    cursor.execute("UPDATE runner.tracebacks SET text = ?", [storable])
    control.database.close_cursor(cursor)
    control.change(
        job=text,
        log=(LogLine(0.0, text, text, 1, 2),),
        log_file=text,
        log_lines=1,
        oldest=(InFlight(76, 1, text, 1, 1.0),),
    )
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        for keys in (["enter"], ["e"], ["enter"], ["escape", "l"]):
            await pilot.press(*keys)
            await read(pilot)
            frame = screen_text(app)
            assert not set(frame) & set("\x1b\x9b\x07\x00\x7f\r\u202e\u2066\u200f\u2028\ud800\udfff")
            assert all(len(line) <= 90 for line in frame.split("\n"))


def test_wrapping_keeps_blanks_at_the_beginning_of_lines() -> None:
    assert wrapped("a\n  b\n\ncc dd", 4) == ["a", "  b", "", "cc ", "dd"]


def test_carets_under_code_that_had_to_be_wrapped_are_left_out() -> None:
    traceback = "    return page['price']\n           ~~~~^^^^^^^^^\nKeyError: 'price'"
    assert wrapped(traceback, 30)[1].endswith("^^")
    assert wrapped(traceback, 14) == ["    return ", "page['price']", "KeyError: ", "'price'"]
