from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_run import FakeRunControl, busy, busy_chunks, chunk, ended_chunks
from support.pilots import driven
from support.screens import settled

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.states import ChunkState
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run.chunk_rows import ChunkOrder, heading, layout, row, time_taken
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.run.event_line import EventLine
from tui_runner.tui.widgets.paint import LOOKS, MOVED, cells, look, state_span

R, P, W, D, F, C = (
    ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.WAITING, ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED
)  # fmt: skip


def numbers(order: ChunkOrder) -> list[int]:
    return [order.at(place).number for place in range(len(order))]


def of(*states: ChunkState) -> ChunkViews:
    return ChunkViews.of(chunk(number, state, started_at=float(number)) for number, state in enumerate(states))


def test_running_comes_first_then_paused_waiting_and_the_newest_ended() -> None:
    order = ChunkOrder(hold=0.0)
    order.update(of(D, F, R, P, R, W, C, W))
    assert numbers(order) == [2, 4, 3, 5, 7, 6, 1, 0]


def test_only_what_changed_is_reported() -> None:
    order = ChunkOrder(hold=0.0)
    chunks = list(of(D, R, R, W))
    order.update(ChunkViews.of(chunks))
    assert order.update(ChunkViews.of(chunks)) == (set(), False)
    chunks[2] = replace(chunks[2], done=3)
    assert order.update(ChunkViews.of(chunks)) == ({2}, False)
    chunks[1] = replace(chunks[1], state=D)
    assert order.update(ChunkViews.of(chunks)) == ({1}, True)
    assert numbers(order) == [2, 3, 1, 0]


def test_a_chunk_that_is_retried_comes_back_up_and_ends_as_the_newest() -> None:
    order = ChunkOrder(hold=0.0)
    order.update(of(F, D, D))
    order.update(of(R, D, D))
    assert numbers(order) == [0, 2, 1]
    order.update(of(D, D, D))
    assert numbers(order) == [0, 2, 1]


def test_moved_rows_stay_for_a_second_while_their_content_changes() -> None:
    now = 100.0
    order = ChunkOrder(clock=lambda: now)
    order.update(of(R, R, W))
    now += 0.9
    assert order.update(of(D, R, W, W)) == ({0, 1, 2, 3}, False)
    assert numbers(order) == [0, 1, 2] and order.at(0).state is D and order.row_of(3) is None
    now += 0.2
    assert order.update(of(D, R, W, W, W))[1]
    assert numbers(order) == [1, 2, 3, 4, 0]


@given(st.lists(st.lists(st.sampled_from(list(ChunkState)), min_size=1, max_size=12), min_size=1, max_size=8))
@settings(max_examples=50)
def test_rows_and_numbers_agree_however_states_change(steps: list[list[ChunkState]]) -> None:
    order = ChunkOrder(hold=0.0)
    for states in steps:
        order.update(of(*states))
        listed = [order.at(place) for place in range(len(order))]
        assert sorted(view.number for view in listed) == list(range(len(states)))
        assert [order.row_of(view.number) for view in listed] == list(range(len(states)))
        groups = [{R: 0, P: 1, W: 2}.get(view.state, 3) for view in listed]
        assert groups == sorted(groups)
    with pytest.raises(IndexError):
        order.at(len(order))
    assert order.row_of(len(order)) is None


def test_an_update_costs_what_changed_and_not_a_sort_of_everything() -> None:
    store = ended_chunks(20_000)
    running = chunk(20_000, R)

    def picture(view: ChunkView) -> ChunkViews:
        return ChunkViews(20_001, {20_000: view}, store.share(), store.ended)

    order = ChunkOrder(hold=0.0)
    begun = time.perf_counter()
    order.update(picture(running))
    first = time.perf_counter() - begun
    best = first
    for done in range(5):
        now = picture(replace(running, done=done + 1))
        begun = time.perf_counter()
        assert order.update(now) == ({20_000}, False)
        best = min(best, time.perf_counter() - begun)
    assert best < first / 100


@pytest.mark.parametrize("width", range(30, 401, 7))
def test_rows_and_heading_fit_every_width(width: int) -> None:
    columns = layout(width)
    assert cells(heading(columns)) <= width
    for view in (*busy_chunks(), chunk(100_000, R, done=500, failed=10**6, rows=10**12, started_at=0.0, elapsed=10**6)):
        assert cells(row(view, columns, cursor=False)) == cells(heading(columns))


def test_narrow_tables_keep_number_state_share_and_failures() -> None:
    assert [column.title for column in layout(40)] == ["chunk", "state", "progress", "failed"]
    assert len(layout(200)) > len(layout(80)) > len(layout(40))


def test_a_row_shows_its_chunk() -> None:
    columns = layout(120)
    shown = "".join(text for text, _ in row(busy_chunks()[77], columns, cursor=True))
    assert shown.startswith("▸     77  ▶ running")
    assert " 18 %" in shown and "19.2" in shown and "300 k" in shown and shown.endswith("00:05")


@pytest.mark.parametrize(
    ("failed", "shown", "legend"),
    [(1, "△ 1 failed", "few failed"), (2, "△ 2 failed", "few failed"), (3, "▲ 3 failed", "many failed"),
     (20, "▲ all failed", "many failed")],
)  # fmt: skip
def test_failed_items_look_alike_in_table_map_and_detail(failed: int, shown: str, legend: str) -> None:
    view = ChunkView(7, F, 140, 20, done=20 - failed, failed=failed, started_at=1.0)
    line = "".join(text for text, _ in row(view, layout(40), cursor=False))
    assert shown in line
    assert state_span(view)[0] == shown and look(view) == legend and LOOKS[legend][0] == shown[0]


def test_very_many_failed_items_do_not_hide_the_state() -> None:
    view = ChunkView(7, F, 0, 500_000, failed=123_456, started_at=1.0)
    assert "▲ failed  " in "".join(text for text, _ in row(view, layout(80), cursor=False))


def test_every_state_has_its_own_glyph_and_word() -> None:
    columns = layout(80)
    shown = ["".join(text for text, _ in row(view, columns, cursor=False))[10:22] for view in of(W, R, P, D, F, C)]
    assert [part.split()[0] for part in shown] == ["○", "▶", "⏸", "✔", "▲", "⊘"]
    assert [part.split()[1] for part in shown] == ["waiting", "running", "paused", "done", "failed", "cancelled"]


def test_chunks_of_an_earlier_process_stay_below_those_that_have_ended_now() -> None:
    order = ChunkOrder(hold=0.0)
    earlier = [replace(chunk(number, D), items=4, done=4, skipped=4, elapsed=60.0) for number in (0, 2, 3)]
    now = replace(chunk(1, D), items=4, done=4, skipped=3, started_at=1.0, elapsed=2.0)
    order.update(ChunkViews.of([earlier[0], replace(now, state=R)]))
    order.update(ChunkViews.of([earlier[0], now]))
    order.update(ChunkViews.of([earlier[0], now, *earlier[1:]]))
    assert numbers(order) == [1, 3, 2, 0]
    assert [order.row_of(number) for number in range(4)] == [3, 0, 2, 1]
    order.update(ChunkViews.of([replace(earlier[0], state=R), now, *earlier[1:]]))
    order.update(ChunkViews.of([replace(earlier[0], skipped=3, started_at=4.0), now, *earlier[1:]]))
    assert numbers(order) == [0, 1, 3, 2], "an item of it has ended now"


def test_a_chunk_whose_items_went_on_in_others_is_not_done() -> None:
    moved = ChunkView(3, D, 0, 0)
    line = "".join(text for text, _ in row(moved, layout(120), cursor=False))
    assert line.split() == ["3", "↓", "moved"]
    assert look(moved) == MOVED


def test_a_chunk_of_an_earlier_process_says_that_it_was_done_before() -> None:
    earlier = replace(chunk(0, D), items=85, done=85, skipped=85)
    assert state_span(earlier) == ("✔ done before", "done")
    assert state_span(replace(earlier, skipped=84)) == ("✔ done", "done")


def test_a_chunk_that_took_less_than_a_second_says_how_long() -> None:
    assert time_taken(replace(chunk(0, D), started_at=1.0, elapsed=0.34)) == "00:00.3"
    assert time_taken(replace(chunk(0, R), started_at=1.0, elapsed=0.34)) == "00:00"
    assert time_taken(replace(chunk(0, D), started_at=1.0, elapsed=1.2)) == "00:01"
    earlier = replace(chunk(0, D), items=4, done=4, skipped=4)
    assert time_taken(replace(earlier, elapsed=75.2)) == "01:15" and time_taken(earlier) == ""


async def test_a_mark_and_the_number_of_marks_are_in_the_same_frame() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(100, 24)) as pilot:
        app = await settled(pilot)
        app.screen.query_one(ChunkTable).toggle_mark()
        # Nothing else has run since: the event line was painted with the table.
        assert "1 marked" in "".join(text for line in app.screen.query_one(EventLine)._lines for text, _ in line)
