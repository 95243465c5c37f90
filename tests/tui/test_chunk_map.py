from __future__ import annotations

import time
from dataclasses import replace

from support.fake_run import FakeRunControl, busy, chunk
from support.pilots import driven
from support.screens import after, commands, screen_text, settled
from textual.widgets import Static

from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.states import ChunkState
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.questions import Choose
from tui_runner.tui.run.chunk_map import CELLS, ChunkMap, chunks_a_cell
from tui_runner.tui.run.chunk_rows import LISTING_HOLD, ChunkListing, usual
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.widgets.paint import look, state_span


def test_a_cell_stands_for_the_fewest_chunks_with_which_all_fit() -> None:
    assert [chunks_a_cell(chunks, 100) for chunks in (0, 1, 100, 101, 200, 201, 501, 20_000)] == [
        1, 1, 1, 2, 2, 5, 10, 200,
    ]  # fmt: skip


def test_a_sorted_list_holds_still_for_a_moment() -> None:
    now = 0.0
    listing = ChunkListing(lambda chunk: chunk.failed, reverse=True, clock=lambda: now)
    chunks = [chunk(number, ChunkState.RUNNING, failed=number) for number in range(4)]
    assert listing.update(ChunkViews.of(chunks)) == ({0, 1, 2, 3}, True)
    assert listing.numbers() == [3, 2, 1, 0]
    chunks[0] = replace(chunks[0], failed=9)
    now = LISTING_HOLD / 2
    assert listing.update(ChunkViews.of(chunks)) == ({0}, False)
    assert listing.numbers() == [3, 2, 1, 0] and listing.at(3).failed == 9
    chunks[1] = replace(chunks[1], failed=5)
    now = LISTING_HOLD
    assert listing.update(ChunkViews.of(chunks)) == ({1}, True)
    assert listing.numbers() == [0, 1, 3, 2] and listing.row_of(3) == 2


def test_a_filtered_list_has_the_chunks_of_one_state_in_the_usual_order() -> None:
    listing = ChunkListing(usual, state=ChunkState.DONE)
    listing.update(
        ChunkViews.of(chunk(n, ChunkState.DONE if n % 2 else ChunkState.RUNNING, started_at=float(n)) for n in range(6))
    )
    assert listing.numbers() == [5, 3, 1] and len(listing) == 3 and listing.row_of(2) is None


async def test_s_sorts_by_a_column_and_again_turns_it_round() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("s", "down", "down", "down", "down", "enter")  # chunk, progress, items/s, failed
        await pilot.pause()
        table = app.screen.query_one(ChunkTable)
        assert table.cursor_chunk is not None and table.cursor_chunk.number == 40
        assert "▼failed" in screen_text(app)
        await pilot.press("s")
        assert isinstance(app.screen, Choose)
        await pilot.press("enter")
        await pilot.pause()
        assert "▲failed" in screen_text(app) and table.cursor_chunk.failed == 0
        await pilot.press("escape")
        await pilot.pause()
        assert "▲" not in screen_text(app).split("progress")[1].split("\n")[0] and table.cursor_chunk.number == 76


async def test_the_usual_order_is_up_to_date_after_the_table_was_sorted() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        table.rearrange("failed", highest_first=True)
        shown = busy().chunks
        ended = replace(shown[76], state=ChunkState.DONE, started_at=10**9)
        table.show(ChunkViews.of((*shown[:76], ended, *shown[77:], chunk(len(shown), ChunkState.WAITING))))
        table.rearrange()
        table.move(len(shown) + 1)
        assert table.cursor_chunk is not None and table.cursor_chunk.state.ended
        table.go_to(0)
        assert table.cursor_chunk.state is ChunkState.RUNNING and table.cursor_chunk.number != 76
        table.mark_all()
        assert table.marked == {*range(len(shown) + 1)}


async def test_a_click_on_a_heading_sorts_and_a_click_at_the_edge_marks() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        await pilot.click(ChunkTable, offset=(4, 0))
        assert (table.sorted_by, table.highest_first) == ("chunk", False)
        await pilot.click(ChunkTable, offset=(4, 0))
        assert (table.sorted_by, table.highest_first) == ("chunk", True)
        await pilot.click(ChunkTable, offset=(1, 2))
        assert table.marked == {198}


async def test_slash_lists_one_state_only() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("slash", "end", "enter")
        await pilot.pause()
        shown = screen_text(app)
        assert "    12  " in shown and "    76  " not in shown and "⊘ cancelled only" in shown
        await pilot.press("escape")
        await pilot.pause()
        assert "    76  " in screen_text(app)


async def test_commands_go_to_the_marked_chunks() -> None:
    assert await after("v", "v", "p") == [("pause_chunks", 76, 77)]
    assert await after("j", "j", "v", "p") == [("resume_chunks", 78)]
    assert await after("slash", "down", "down", "enter", "V", "x", "y") == [("cancel_chunks", 76, 77)]
    assert await after("V", "V", "escape", "p") == [("pause_chunks", 76)]


async def test_marks_are_shown_and_counted() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("v", "v")
        await pilot.pause()
        shown = screen_text(app)
        assert "●76" in shown.replace(" ", "") and "2 marked" in shown and "p pause 2" in shown


async def test_the_footer_says_what_p_does_to_the_chunks_it_is_for() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        assert "p pause chunk" in screen_text(app)
        await pilot.press("j", "j", "v")
        await pilot.pause()
        assert "p resume 1" in screen_text(app)
        await pilot.press("k", "k", "v")
        await pilot.pause()
        assert "p pause 2" in screen_text(app)


async def test_capital_r_asks_and_runs_everything_that_failed_again() -> None:
    assert await after("R", "n") == []
    assert await after("R", "y") == [("retry_chunks", 40, 75)]


async def test_question_before_a_retry_counts_items_of_cancelled_chunks_too() -> None:
    chunks = list(busy().chunks)
    chunks[12] = replace(chunks[12], failed=1, done=199)
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks)))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("R")
        await pilot.pause()
        shown = app.screen.query_one("#consequence", Static).visual.plain  # type: ignore[union-attr]
        assert "10 failed items of 3 chunks, and 300 cancelled items of the same chunks, run again" in shown
        assert "3 others failed in chunks that have not ended and can run again when these have." in shown
        await pilot.press("y")
        await pilot.pause()
    assert ("retry_chunks", 12, 40, 75) in control.commands


async def test_the_map_shows_every_chunk_and_takes_commands() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("down", "m")
        await pilot.pause()
        shown = screen_text(app)
        assert "waiting 121" in shown and "done 73" in shown and "chunk 77 running" in shown
        assert "✔" * 12 + "⊘" + "✔" * 27 + "△" in shown and "few failed 2" in shown
        await pilot.press("right", "p", "left", "left", "p")
        view = app.screen.query_one(ChunkMap)
        assert view.cursor_chunk is not None and view.cursor_chunk.number == 76
        await pilot.press("G")
        assert view.cursor_chunk.number == 199
        await pilot.press("home", "pagedown", "up", "down")
        await pilot.click(ChunkMap, offset=(12, 1))
        assert view.cursor_chunk.number == 12
        await pilot.press("m")
        await pilot.pause()
        assert "▸     12" in screen_text(app)
    assert commands(control) == [("resume_chunks", 78), ("pause_chunks", 76)]


async def test_where_chunks_are_more_than_cells_the_most_urgent_state_is_shown() -> None:
    chunks = [chunk(number, ChunkState.DONE, done=500) for number in range(20_000)]
    chunks[7777] = chunk(7777, ChunkState.FAILED, done=449, failed=51)
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks)))
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("m")
        await pilot.pause()
        shown = screen_text(app)
        assert "1 cell = 20 chunks" in shown or "1 cell = 50 chunks" in shown
        assert shown.count("▵") == 2  # the cell and the legend
        chunks[100] = replace(chunks[100], state=ChunkState.RUNNING)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert "▶" in screen_text(app).split("\n", 3)[3]


async def test_a_cell_of_many_chunks_shows_how_much_of_them_failed() -> None:
    done = [chunk(number, ChunkState.DONE, done=500) for number in range(20_000)]
    failed = {0: 500, 20: 500, 21: 500, 22: 500, 40: 10}  # 5 %, 15 % and 0.1 % of the first three cells
    for number, items in failed.items():
        done[number] = chunk(number, ChunkState.FAILED, done=500 - items, failed=items)
    done[61] = chunk(61, ChunkState.PAUSED, failed=400)
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(done)))
    async with driven(RunnerApp(control), size=(104, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("m", "left", "left", "left")
        await pilot.pause()
        shown = screen_text(app)
        assert "△▲▵⏸✔" in shown
        assert "cell: 5.0 % failed (500 of 10 k items)  1 cell = 20 chunks   failed 5: ▲ > 10 %" in shown
        await pilot.press("right", "right", "right", "right")
        await pilot.pause()
        shown = screen_text(app)
        assert "chunk 80 done  1 cell = 20 chunks   failed 5: ▲ > 10 % △ > 1 % ▵ less of its items" in shown
        done[40] = replace(done[40], done=0, failed=500)  # more of them, and still the same look
        control.change(chunks=ChunkViews.of(done))
        await settled(pilot)
        assert "△▲△⏸✔" in screen_text(app)


async def test_twenty_thousand_chunks_are_sorted_and_mapped_without_a_visible_delay() -> None:
    chunks = [chunk(number, ChunkState.DONE, elapsed=float(number % 97)) for number in range(20_000)]
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks)))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table, view = app.screen.query_one(ChunkTable), app.screen.query_one(ChunkMap)

        def best(work: object) -> float:
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                work()  # type: ignore[operator]
                times.append(time.perf_counter() - begun)
            return min(times)

        whole = best(lambda: table.rearrange("elapsed", highest_first=True))
        view.show(control.current.chunks)
        chunks[5] = replace(chunks[5], state=ChunkState.FAILED)
        other = ChunkViews.of(chunks)
        update = best(lambda: (view.show(other), view.show(control.current.chunks)))
        # Ratios hold on a slow machine too: both are to cost no more than sorting the chunks plainly a few times.
        plain = best(lambda: sorted(chunks, key=lambda each: (each.state, -each.elapsed, each.number)))
        assert whole < 8 * plain and update < 8 * plain


def test_a_state_has_the_same_glyph_in_map_and_table() -> None:
    for state in ChunkState:
        for failed in (1, 400):
            ended = chunk(0, state, done=500 - failed, failed=failed if state is ChunkState.FAILED else 0)
            glyph, role = CELLS[look(ended)]
            text, same = state_span(ended)
            assert (text[0], same) == (glyph, role)
