"""The application on a run that only pretends: every key, the ways out, hostile text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_run import FakeRunControl, busy, chunk
from support.pilots import driven
from support.screens import HOSTILE, after, commands, screen_text, settled
from textual.widgets import Button, Static

from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.progress.snapshot import ErrorGroup, RunEvent
from tui_runner.engine.protocol import InFlight, LogLine
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.errors import UserError
from tui_runner.tui import app as app_module
from tui_runner.tui.app import Left, RunnerApp, interval, run_app
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.run import chunk_rows
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.themes import find_themes
from tui_runner.tui.widgets.footer import KeyLine


@pytest.fixture(autouse=True)
def no_theme_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    yield


async def test_the_run_is_started_once_and_shown() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        assert control.commands == [("start",)]
        shown = screen_text(app)
    for part in (
        "books → books.duckdb · run 3",
        "▶ RUNNING",
        "38.2 %",
        "in flight 64/64",
        "▸     76",
        "9 × ReadTimeout",
    ):
        assert part in shown


async def test_space_pauses_and_resumes_the_run() -> None:
    assert await after("space") == [("pause",)]
    assert await after("space", control=FakeRunControl(replace(busy(), state=RunState.PAUSED))) == [("resume",)]
    assert await after("space", control=FakeRunControl(replace(busy(), state=RunState.FINISHED))) == []


async def test_p_pauses_and_resumes_the_chunk_under_the_cursor() -> None:
    assert await after("down", "p") == [("pause_chunks", 77)]
    assert await after("j", "j", "p") == [("resume_chunks", 78)]
    assert await after("end", "p") == []  # it has ended


async def test_x_asks_before_it_cancels() -> None:
    assert await after("x", "n", "x", "escape", "x", "enter", "x") == []
    assert await after("x", "y") == [("cancel_chunks", 76)]
    assert await after("x", "left", "enter") == [("cancel_chunks", 76)]


async def test_the_question_says_when_there_is_nothing_left_to_cancel() -> None:
    control = FakeRunControl(busy())
    chunks = list(control.current.chunks)
    chunks[76] = replace(chunks[76], done=chunks[76].items - chunks[76].failed - 2, in_flight=2)
    control.change(chunks=ChunkViews.of(chunks))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("x")
        said = str(app.screen.query_one("#consequence", Static).render())
        assert said.endswith("nothing is left to cancel, 2 in flight finish.")


async def test_the_question_is_about_the_chunk_it_names_even_if_rows_move_meanwhile() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("x")
        chunks = list(control.current.chunks)
        chunks[76] = replace(chunks[76], state=ChunkState.PAUSED)
        control.change(chunks=ChunkViews.of(chunks))
        app.look()
        await pilot.press("y")
        await pilot.pause()
    assert commands(control) == [("cancel_chunks", 76)]


async def test_a_chunk_that_ends_before_the_answer_is_not_cancelled_and_that_is_said() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("x")
        chunks = list(control.current.chunks)
        chunks[76] = replace(chunks[76], state=ChunkState.DONE, in_flight=0)
        control.change(chunks=ChunkViews.of(chunks))
        app.look()
        await pilot.press("y")
        await pilot.pause()
        assert [toast.message for toast in app._notifications] == ["chunk 76 is done: nothing to cancel"]
    assert commands(control) == []


async def test_r_runs_what_failed_again() -> None:
    chunks = (chunk(0, ChunkState.FAILED, failed=3), chunk(1, ChunkState.CANCELLED), chunk(2, ChunkState.DONE))
    control = FakeRunControl(replace(busy(), chunks=ChunkViews.of(chunks)))
    assert await after("r", "down", "r", "down", "r", control=control) == [("retry_chunks", 1), ("retry_chunks", 0)]


async def test_plus_and_minus_change_threads_from_the_number_asked_for_last() -> None:
    assert await after("plus", "plus") == [("set_threads", 70), ("set_threads", 77)]
    assert await after("minus") == [("set_threads", 58)]
    assert await after("minus", control=FakeRunControl(replace(busy(), threads=1))) == []
    assert await after("equals_sign", control=FakeRunControl(replace(busy(), threads=4))) == [("set_threads", 5)]


async def test_a_command_is_shown_as_asked_until_a_snapshot_confirms_it() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("space", "plus")
        await pilot.pause()
        assert "… asked: run: pause · threads: 70" in screen_text(app)
        control.change(state=RunState.PAUSED)
        await settled(pilot)
        assert "… asked: threads: 70" in screen_text(app)
        control.change(threads=70)
        await settled(pilot)
        assert "asked" not in screen_text(app)


async def test_a_held_run_has_taken_its_commands() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.PAUSED))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("space")
        await pilot.pause()
        assert "asked: run: resume" in screen_text(app)
        control.change(held=True)
        await settled(pilot)
        assert "asked" not in screen_text(app)


async def test_a_chunk_that_only_waits_for_a_thread_has_not_obeyed() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("p")
        for state, asked in ((ChunkState.WAITING, True), (ChunkState.PAUSED, False)):
            chunks = list(control.current.chunks)
            chunks[76] = replace(chunks[76], state=state)
            control.change(chunks=ChunkViews.of(chunks))
            await settled(pilot)
            assert ("asked: chunk 76: pause" in screen_text(app)) is asked


async def test_a_command_without_effect_is_forgotten() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("space")
        control.change(at=control.current.at + 11.0)
        await settled(pilot)
        assert "asked" not in screen_text(app)


async def test_the_cursor_moves_by_every_key() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 24)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)

        async def at(*keys: str) -> int:
            await pilot.press(*keys)
            view = table.cursor_chunk
            assert view is not None
            return view.number

        assert await at("j") == 77
        assert await at("down") == 78
        assert await at("k", "up") == 76
        assert await at("up") == 76
        assert await at("G") == 0
        assert "▸      0" in screen_text(app)
        assert await at("home") == 76
        first_page = await at("pagedown")
        assert first_page > 79 and await at("pageup") == 76
        assert await at("end") == 0
        assert await at("g") == 76


async def test_the_cursor_stays_with_its_chunk_once_it_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_rows, "HOLD", 0.0)
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        chunks = list(control.current.chunks)
        await pilot.press("down")
        chunks[76] = replace(chunks[76], state=ChunkState.DONE)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert table.cursor_chunk is not None and table.cursor_chunk.number == 77
        await pilot.press("home")
        chunks[77] = replace(chunks[77], state=ChunkState.DONE)
        control.change(chunks=ChunkViews.of(chunks))
        await settled(pilot)
        assert table.cursor_chunk.number == 78


async def test_the_mouse_selects_a_row_scrolls_and_presses_keys_of_the_footer() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        await pilot.click(ChunkTable, offset=(10, 3))
        assert table.cursor_chunk is not None and table.cursor_chunk.number == 78
        table.scroll_relative(y=50, animate=False)
        await pilot.pause()
        assert "    78  " not in screen_text(app)
        await pilot.click(KeyLine, offset=(2, 0))
        await pilot.pause()
        assert commands(control) == [("pause",)]


async def test_q_asks_and_drains_and_leaves_when_the_run_has_ended() -> None:
    for quit_key in ("q", "ctrl+c", "ctrl+q"):
        control = FakeRunControl(busy())
        async with driven(RunnerApp(control), size=(120, 40)) as pilot:
            app = await settled(pilot)
            await pilot.press(quit_key)
            await pilot.pause()
            assert isinstance(app.screen, Confirm), quit_key
            await pilot.press("y")
            await pilot.pause()
            assert commands(control) == [("stop",)]
            assert app.is_running
            control.change(state=RunState.DRAINING, in_flight=3)
            await settled(pilot)
            assert "▽ DRAINING" in screen_text(app)
            control.change(state=RunState.STOPPED)
            await app.workers.wait_for_complete()
            assert app._exit


async def test_q_and_no_keeps_running() -> None:
    assert await after("q", "n", "q", "enter", "q", "q") == []


async def test_a_second_ctrl_c_answers_the_question() -> None:
    assert await after("ctrl+c", "ctrl+c") == [("stop",)]


async def test_ctrl_c_answers_no_other_question_with_yes() -> None:
    assert await after("x", "ctrl+c") == []
    assert await after("x", "ctrl+c", "ctrl+c") == [("stop",)]


async def test_while_draining_q_offers_to_end_at_once() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.DRAINING))
    assert await after("q", "y", control=control) == [("kill",)]
    assert await after("ctrl+c", "ctrl+c", control=FakeRunControl(control.current)) == [("kill",)]


async def test_when_the_run_ended_the_dashboard_stays_and_q_leaves_at_once() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        control.change(state=RunState.FINISHED, items_done=99_988, in_flight=0)
        await app.workers.wait_for_complete()
        await pilot.pause()
        shown = screen_text(app)
        assert "✔ FINISHED" in shown and "mean items/s" in shown and "q leave" in shown and "space" not in shown
        assert not app._exit
        await pilot.press("q")
        assert app._exit
    assert commands(control) == []


async def test_a_run_that_ends_while_the_question_is_open_can_still_be_left() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("q")
        control.change(state=RunState.FINISHED)
        await app.workers.wait_for_complete()
        await pilot.press("y")
        await pilot.pause()
        assert app._exit
    assert commands(control) == []


async def test_help_names_every_key_and_closes() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        shown = screen_text(app)
        assert "Pause or resume the run; in an outage" in shown and "⊘ cancelled" in shown.replace("\xa0", " ")
        await pilot.press("G")
        await pilot.pause()
        assert "^l" in screen_text(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, Help)


async def test_the_palette_carries_out_actions() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        offered = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        assert "Choose a theme; it is shown at once, and remembered" in offered
        await offered["Pause or resume the run; in an outage, try one item first"]()
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert len(app.screen_stack) == 2
    assert commands(control) == [("pause",)]


async def test_keys_of_dialogs_can_be_changed_too_and_are_named_there() -> None:
    control = FakeRunControl(busy())
    app = RunnerApp(control, keymap={"question.yes": "o", "choice.choose": "t"})
    async with driven(app, size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("s", "t", "x")
        await pilot.pause()
        assert app.screen.query(Button) and "(o)" in screen_text(app) and "(n)" in screen_text(app)
        await pilot.press("y", "o")
        await pilot.pause()
    assert commands(control) == [("cancel_chunks", 76)]


async def test_keys_of_the_users_keymap_replace_the_defaults_everywhere() -> None:
    control = FakeRunControl(busy())
    app = RunnerApp(control, keymap={"pause_run": "z", "more_threads": "x"})
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await settled(pilot)
        shown = screen_text(app)
        assert "z pause" in shown
        assert "more_threads cannot have x" in " ".join(shown.split())
        await pilot.press("space", "z", "plus")
        await pilot.pause()
    assert commands(control) == [("pause",), ("set_threads", 70)]


async def test_themes_can_be_switched_while_it_runs(tmp_path: Path) -> None:
    app = RunnerApp(FakeRunControl(busy()), theme="day", themes=find_themes(tmp_path))
    async with driven(app, size=(80, 24)) as pilot:
        await settled(pilot)
        light = app.screen.query_one(ChunkTable).rich_style
        app.theme = "night"
        await pilot.pause()
        assert app.screen.query_one(ChunkTable).rich_style != light


def test_an_unknown_theme_is_a_users_mistake() -> None:
    control = FakeRunControl(busy())
    with pytest.raises(UserError, match="there is no theme"):
        run_app(control, theme="nope")
    assert control.commands == []


def test_slow_links_are_asked_less_of() -> None:
    assert interval({}) == 0.25
    assert interval({"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}) == 0.5


async def test_a_run_that_cannot_start_closes_the_screen_with_its_error() -> None:
    control = FakeRunControl(busy(), start_error=UserError("in use", "x.duckdb"))
    app = RunnerApp(control)
    async with driven(app) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
    assert str(app.failure) == "x.duckdb: in use"


@pytest.mark.parametrize("ended", [True, False])
def test_the_run_is_never_left_alone(monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    control = FakeRunControl(replace(busy(), state=RunState.FINISHED if ended else RunState.RUNNING))
    monkeypatch.setattr(app_module.RunnerApp, "run", lambda self: None)
    run_app(control)
    assert control.commands == ([] if ended else [("stop",), ("join",)])


@pytest.mark.parametrize(("killed", "left"), [(True, Left.KILLED), (False, Left.ENDED)])
def test_a_run_that_was_ended_at_once_is_told_from_one_that_ended_in_order(
    monkeypatch: pytest.MonkeyPatch, killed: bool, left: Left
) -> None:
    monkeypatch.setattr(app_module.RunnerApp, "run", lambda self: setattr(self, "killed", killed))
    assert run_app(FakeRunControl(replace(busy(), state=RunState.STOPPED))) is left
    assert run_app(FakeRunControl(replace(busy(), state=RunState.FINISHED))) is Left.ENDED


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(pytest.param(text, (120, 40), id=name) for name, text in HOSTILE.items()),
        pytest.param("\x1b[2J\u202e[/a]\ud800", (40, 12), id="narrow"),
    ],
)
async def test_text_of_others_is_shown_and_not_obeyed(text: str, size: tuple[int, int]) -> None:
    snapshot = replace(
        busy(),
        job=text,
        table=text,
        database="/tmp/" + text,
        reason=text,
        stalled_seconds=20.0,
        events=(RunEvent(760.0, text, text),),
        errors=(ErrorGroup(5, text, text),),
        oldest=(InFlight(1, 2, text, 1, 3.0),),
    )
    control = FakeRunControl(snapshot)
    async with driven(RunnerApp(control), size=size) as pilot:
        app = await settled(pilot)
        shown = [screen_text(app)]
        for keys in (["q"], ["n", "x"], ["n", "question_mark"]):
            await pilot.press(*keys)
            await pilot.pause()
            shown.append(screen_text(app))
        assert isinstance(app.screen, Help)
    for frame in shown:
        bad = [
            character
            for character in frame
            if character != "\n" and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        ]
        assert not bad
        assert not set(frame) & set("\u202e\u2066\u200f\u061c")
        assert all(len(line) <= size[0] + 10 for line in frame.split("\n"))
    if text.startswith("[/foo]") and size[0] > 100:
        assert "[/foo] [red]x[/]" in shown[0] and "Stop run 3 of [/foo] [red]x[/]" in shown[1]


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 12), (79, 19), (200, 50), (400, 120)])
async def test_any_size_is_survived_and_resizing_too(size: tuple[int, int]) -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(100, 30)) as pilot:
        app = await settled(pilot)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        if size >= (40, 12):
            assert "RUNNING" in screen_text(app) and "▸     76" in screen_text(app)
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert "items/s over 10 s" in screen_text(app)


async def test_only_what_changed_is_drawn() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        table = app.screen.query_one(ChunkTable)
        drawn: list[object] = []
        for widget in app.screen.query("*"):
            original = widget.refresh
            widget.refresh = lambda *regions, _id=widget.id, _original=original, **options: (  # type: ignore[method-assign]
                drawn.append((_id, *(region.y for region in regions))),
                _original(*regions, **options),
            )[1]
        control.change(at=762.0)
        app.look()
        assert drawn == []
        chunks = list(control.current.chunks)
        chunks[77] = replace(chunks[77], done=90)
        control.change(chunks=ChunkViews.of(chunks))
        app.look()
        assert drawn == [("chunks", 2)]
        assert table.id == "chunks"


async def test_space_tries_one_item_of_an_outage_first_and_then_resumes() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.PAUSED, in_outage=True, trial_seconds=41.0))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        assert "space try one item" in screen_text(app)
        await pilot.press("space")
        assert control.commands[-1] == ("try_now",)
        control.change(at=762.0, trying=True)
        app = await settled(pilot)
        assert "trying one item…" in screen_text(app) and "space continue anyway" in screen_text(app)
        await pilot.press("space")
        assert control.commands[-1] == ("resume",)


async def test_space_tries_one_item_again_in_the_next_outage() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.PAUSED, in_outage=True))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("space")
        control.change(at=762.0, state=RunState.RUNNING, in_outage=False)
        await settled(pilot)
        control.change(at=763.0, state=RunState.PAUSED, in_outage=True)
        await settled(pilot)
        await pilot.press("space")
        assert control.commands[-2:] == [("try_now",), ("try_now",)]


async def test_a_trial_that_is_over_between_two_snapshots_is_not_waited_for() -> None:
    control = FakeRunControl(replace(busy(), state=RunState.PAUSED, in_outage=True, trial_seconds=3.0))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("space")
        control.change(at=761.5, trial_seconds=2.5)
        assert "asked: run: try one item" in screen_text(await settled(pilot))
        control.change(at=762.0, trial_seconds=40.0)
        assert "asked" not in screen_text(await settled(pilot))


async def test_searching_the_log_says_on_which_match_the_cursor_is() -> None:
    lines = tuple(LogLine(2_000.0 + place, "INFO", f"page {place}") for place in range(30))
    control = FakeRunControl(replace(busy(), log=lines, log_lines=30))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("l", "slash", *"page 1", "enter")
        assert "“page 1” 11 of 11" in screen_text(await settled(pilot))
        await pilot.press("down")
        assert "“page 1” – of 11" in screen_text(await settled(pilot))
