"""Keys are for what is seen: the cursor is always in sight, and a command that does nothing says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_run import FakeRunControl, busy, chunk
from support.pilots import driven
from support.screens import commands, screen_text, settled
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown
from textual.pilot import Pilot
from textual.screen import Screen

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.tui.actions.list_keys import in_sight, scrolled_to
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.base_app import STYLES
from tui_runner.tui.run import chunk_rows
from tui_runner.tui.run.chunk_map import ChunkMap
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.run.commands import Verb, disabled_reason, named
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 60))
@settings(max_examples=33)
def test_cursor_and_view_meet_whichever_of_them_goes_to_the_other(place: int, top: int, height: int) -> None:
    assert top <= in_sight(place, top, height) < top + height
    assert scrolled_to(place, top, height) <= place < scrolled_to(place, top, height) + height
    if top <= place < top + height:
        assert (in_sight(place, top, height), scrolled_to(place, top, height)) == (place, top)


@pytest.fixture
def rows_move_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_rows, "HOLD", 0.0)
    monkeypatch.setattr(chunk_rows, "LISTING_HOLD", 0.0)


def ends(control: FakeRunControl, *numbers: int) -> None:
    chunks = list(control.current.chunks)
    for number in numbers:
        chunks[number] = replace(chunks[number], state=ChunkState.DONE, done=500, started_at=1.0, elapsed=2000.0)
    control.change(chunks=ChunkViews.of(chunks))


def under_cursor(app: RunnerApp) -> int:
    """Return the chunk under the cursor; its row is on the screen."""
    table = app.screen.query_one(ChunkTable)
    view = table.cursor_chunk
    assert view is not None and f"▸ {view.number:>6}" in screen_text(app), screen_text(app)
    return view.number


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


@pytest.mark.usefixtures("rows_move_at_once")
@pytest.mark.parametrize("keys", [("down", "p"), ("down", "down"), ("v",)])
async def test_a_chunk_that_ends_and_sinks_takes_the_view_along(keys: tuple[str, ...]) -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        await press(pilot, *keys)
        held = under_cursor(app)
        ends(control, held)
        await settled(pilot)
        assert under_cursor(app) == held


@pytest.mark.usefixtures("rows_move_at_once")
async def test_after_a_command_the_cursor_stays_until_its_chunk_has_ended_and_follows_the_run_then() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        await press(pilot, "p")
        chunks = list(control.current.chunks)
        chunks[76] = replace(chunks[76], state=ChunkState.PAUSED)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert under_cursor(app) == 76 and "g follow" in screen_text(app)
        await press(pilot, "p")
        assert commands(control) == [("pause_chunks", 76), ("resume_chunks", 76)]
        ends(control, 76)
        await settled(pilot)
        assert under_cursor(app) == 77 and "g follow" not in screen_text(app)
        ends(control, 77)
        await settled(pilot)
        assert under_cursor(app) > 77


@pytest.mark.usefixtures("rows_move_at_once")
async def test_a_command_that_does_nothing_keeps_the_cursor_nowhere() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        await press(pilot, "r")
        assert "g follow" not in screen_text(app)
        ends(control, 76)
        await settled(pilot)
        assert under_cursor(app) == 77


@pytest.mark.usefixtures("rows_move_at_once")
async def test_the_cursor_goes_along_with_a_view_that_is_scrolled() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        for _ in range(9):
            table._on_mouse_scroll_down(_wheel(table))
        await pilot.pause()
        seen = under_cursor(app)
        assert seen > 90
        await press(pilot, "p")
        assert commands(control) == [("pause_chunks", seen)]
        ends(control, 76, 77)
        await settled(pilot)
        assert under_cursor(app) == seen
        table.scroll_to(y=0, animate=False)
        await pilot.pause()
        assert under_cursor(app) < 100
        await press(pilot, "home")
        ends(control, 76, 77, 79)
        await settled(pilot)
        assert under_cursor(app) == 78  # at the very top it follows the run again


@pytest.mark.usefixtures("rows_move_at_once")
async def test_a_chunk_that_is_not_listed_any_more_leaves_the_cursor_where_it_was() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        app.screen.query_one(ChunkTable).rearrange(only=ChunkState.WAITING)
        await press(pilot, "pagedown", "pagedown", "down")
        held = under_cursor(app)
        ends(control, held)
        await settled(pilot)
        assert under_cursor(app) == held + 1


async def test_keys_that_follow_the_one_for_the_map_are_for_the_same_chunk() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await settled(pilot)
        app.screen.query_one(ChunkTable).go_to_chunk(150)
        for action in (app.screen.action_map, app.screen.action_pause_chunk):  # type: ignore[attr-defined]
            action()  # in one go, as keys come over a slow line
        assert commands(control) == [("pause_chunks", 150)]
        await pilot.pause()
        assert "chunk 150 not started" in screen_text(app)
        app.screen.query_one(ChunkMap).go_to_chunk(5)
        for action in (app.screen.action_map, app.screen.action_mark):  # type: ignore[attr-defined]
            action()
        assert app.screen.query_one(ChunkTable).marked == {5}
        await pilot.pause()
        under_cursor(app)


async def test_in_a_cell_of_several_the_cursor_stays_on_the_chunk_that_is_named() -> None:
    chunks = [chunk(number, ChunkState.DONE) for number in range(20_000)]
    chunks[7779] = chunk(7779, ChunkState.RUNNING)
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks)))
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        await press(pilot, "m")
        view = app.screen.query_one(ChunkMap)
        view.go_to_chunk(7700)
        while view.cursor_chunk is not None and view.cursor_chunk.number < 7750:
            view.move(1)
        assert view.cursor_chunk is not None and view.cursor_chunk.number == 7779
        chunks[7779] = replace(chunks[7779], state=ChunkState.DONE)
        chunks[7778] = chunk(7778, ChunkState.RUNNING)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert "chunk 7779 done" in screen_text(app)


async def test_the_map_shows_which_chunks_are_marked() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(100, 24)) as pilot:
        app = await settled(pilot)
        await press(pilot, "v", "v", "m", "home")
        await settled(pilot)
        shown = screen_text(app)
        assert "● 2 marked" in shown and "✔●●⏸○" in shown.replace("△●●", "✔●●")
        await press(pilot, "escape")
        assert "●" not in screen_text(app)


def of(state: ChunkState, **fields: object) -> ChunkView:
    return chunk(75, state, **fields)


@pytest.mark.parametrize(
    ("verb", "chunks", "said"),
    [
        (Verb.CANCEL, [of(ChunkState.DONE)], "chunk 75 is done: nothing to cancel"),
        (Verb.PAUSE, [of(ChunkState.CANCELLED)], "chunk 75 is cancelled: nothing to pause"),
        (Verb.CANCEL, [of(ChunkState.FAILED, failed=3)], "chunk 75 has ended, 3 failed: nothing to cancel"),
        (Verb.RETRY, [of(ChunkState.DONE)], "chunk 75 is done: nothing to retry"),
        (
            Verb.RETRY,
            [of(ChunkState.RUNNING, failed=3)],
            "chunk 75 is running: nothing to retry; what failed in it can run again when it has ended",
        ),
        (Verb.RETRY, [of(ChunkState.DONE)] * 3, "nothing to retry: none of the 3 chunks has ended with failed items"),
        (Verb.PAUSE, [of(ChunkState.DONE)] * 3, "nothing to pause: none of the 3 chunks is still to be done"),
        (Verb.PAUSE, [], "there is no chunk to pause"),
        (Verb.PAUSE, [of(ChunkState.PAUSED)], ""),
        (Verb.CANCEL, [of(ChunkState.DONE), of(ChunkState.WAITING)], ""),
        (Verb.RETRY, [of(ChunkState.FAILED, failed=1)], ""),
    ],
)
def test_a_command_that_does_nothing_says_why(verb: Verb, chunks: list[ChunkView], said: str) -> None:
    assert disabled_reason(verb, chunks, busy(), "R") == said


def test_when_the_run_is_over_it_says_what_to_do_instead() -> None:
    over = replace(busy(), state=RunState.FINISHED)
    failed = [of(ChunkState.FAILED, failed=3)]
    assert disabled_reason(Verb.RETRY, failed, over, "R") == "the run is over; press R to retry its failed items"
    assert disabled_reason(Verb.CANCEL, failed, over, "R") == "the run is over; there is nothing to cancel"
    assert "resume" in disabled_reason(Verb.RETRY, failed, replace(over, state=RunState.STOPPED), "R")


def test_of_several_chunks_it_says_how_many_the_command_is_for() -> None:
    assert named([of(ChunkState.DONE)], 3) == "1 of 3 chunks" and named([of(ChunkState.DONE)], 1) == "chunk 75"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("end", "x"), "chunk 0 is done: nothing to cancel"),
        (("end", "p"), "chunk 0 is done: nothing to pause"),
        (("r",), "chunk 76 is running: nothing to retry"),
        (("end", "enter", "x"), "chunk 0 is done: nothing to cancel"),
        (("v", "end", "v", "x"), "Cancel 1 of 2 chunks?"),
        (("v", "end", "v", "p"), "asked: 1 of 2 chunks: pause"),
    ],
)
async def test_screen_says_what_a_key_is_about_or_why_it_does_nothing(keys: tuple[str, ...], said: str) -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40), notifications=True) as pilot:
        app = await settled(pilot)
        await press(pilot, *keys)
        await settled(pilot)
        assert said in " ".join(screen_text(app).split())


@pytest.mark.parametrize(
    ("key", "state", "said"),
    [
        ("space", RunState.DRAINING, "the run is draining: nothing to pause"),
        ("R", RunState.STOPPED, "nothing to run again: the run has stopped, `tui-runner resume` goes on with it"),
        ("R", RunState.FAILED, "nothing to run again: the run has failed, `tui-runner resume` goes on with it"),
    ],
)
async def test_a_key_for_the_whole_run_says_it_too(key: str, state: RunState, said: str) -> None:
    control = FakeRunControl(replace(busy(), state=state))
    async with driven(RunnerApp(control), size=(120, 40), notifications=True) as pilot:
        app = await settled(pilot)
        await press(pilot, key)
        await settled(pilot)
        assert said in " ".join(screen_text(app).split())


async def test_of_a_run_in_which_all_went_well_nothing_runs_again() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.FINISHED, items_failed=0))
    async with driven(RunnerApp(control), size=(120, 40), notifications=True) as pilot:
        app = await settled(pilot)
        await press(pilot, "R")
        await settled(pilot)
        assert "nothing to run again: nothing failed, nothing was cancelled" in " ".join(screen_text(app).split())


class Listed(App[None]):
    """A list of numbers in which those that end with 0 are titles."""

    CSS_PATH = STYLES / "runner.tcss"

    def __init__(self, rows: int, nothing: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._rows = range(rows)
        self._nothing = nothing

    def compose(self) -> ComposeResult:
        yield Rows[int](_number, title=lambda number: number % 10 == 0, nothing=self._nothing)

    def on_mount(self) -> None:
        self.query_one(Rows).show(self._rows)


def _number(number: int, width: int) -> Line:
    return ((f"row {number}.", "text"),)


async def test_the_cursor_of_a_list_passes_titles_and_goes_along_with_the_view() -> None:
    async with driven(Listed(100), size=(40, 12)) as pilot:
        rows = pilot.app.query_one(Rows)
        assert rows.current == 1
        rows.move(-5)
        assert rows.current == 1 and rows.scroll_offset.y == 0
        rows.go_to(9)
        rows.move(1)
        assert rows.current == 11
        rows.move(-1)
        assert rows.current == 9
        rows._on_mouse_scroll_down(_wheel(rows))
        rows.scroll_to(y=30, animate=False)
        assert rows.current == 31
        rows.scroll_to(y=9, animate=False)
        assert rows.current == 19
        rows.go_to_end()
        assert rows.current == 99


async def test_a_list_without_rows_says_so_in_its_middle() -> None:
    async with driven(Listed(0, lambda: "nothing yet"), size=(40, 12)) as pilot:
        await pilot.pause()
        assert "nothing yet" in screen_text(pilot.app).split("\n")[6]  # type: ignore[arg-type]


def _wheel(widget: ChunkTable | Rows[int]) -> MouseScrollDown:
    return MouseScrollDown(
        widget, 5, 5, 0, 1, button=0, shift=False, meta=False, ctrl=False, screen_x=5, screen_y=5, style=None
    )


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40)])
@pytest.mark.parametrize("key", ["p", "v", "down", "end"])
async def test_a_cursor_that_keeps_to_its_chunk_says_so_and_how_to_follow_the_run_again(
    size: tuple[int, int], key: str
) -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=size) as pilot:
        app = await settled(pilot)
        assert "follow" not in screen_text(app)
        await pilot.press(key)
        await pilot.pause()
        assert "g follow" in screen_text(app)
        await pilot.press("m")
        await pilot.pause()
        assert "follow" not in screen_text(app)
        await pilot.press("m", "g")
        await pilot.pause()
        assert "follow" not in screen_text(app)
        await pilot.press(key)
        control.change(state=RunState.FINISHED)
        await settled(pilot)
        assert "follow" not in screen_text(app)


@pytest.mark.usefixtures("rows_move_at_once")
async def test_new_rows_below_the_screen_lengthen_the_scroll_bar_without_a_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chunks = [chunk(number, ChunkState.WAITING) for number in range(80)]
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks[:60])))
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        await settled(pilot)
        table = pilot.app.screen.query_one(ChunkTable)
        before, laid_out = table.max_scroll_y, []
        layout = Screen._refresh_layout

        def counted(screen: Screen[None], **options: bool) -> None:
            laid_out.append(options)
            layout(screen, **options)

        monkeypatch.setattr(Screen, "_refresh_layout", counted)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert not laid_out
        assert table.max_scroll_y == before + 20
        assert table.vertical_scrollbar.window_virtual_size == 81
        await press(pilot, "end")
        assert "▸     79" in screen_text(pilot.app)
        control.change(chunks=ChunkViews.of(chunks[:5]))
        await settled(pilot)
        assert not table.show_vertical_scrollbar
