"""What a wide or long-lived dashboard shows more: the whole run beside the window, latencies, the chunk in question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import HOSTILE, add_samples, ledger, read, screen_text, settled
from textual.pilot import Pilot

from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.progress.snapshot import Sample
from tui_runner.engine.protocol import InFlight
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.store.database import Database
from tui_runner.store.ledger.reports import RunCurves
from tui_runner.text.numbers import clock, rate
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run import chunk_detail
from tui_runner.tui.run.chart import Picture, Series, drawn, memory, throughput
from tui_runner.tui.run.chunk_detail import ChunkPane
from tui_runner.tui.run.header import Figures, summary
from tui_runner.tui.widgets.braille import resampled
from tui_runner.tui.widgets.paint import Line, cells

WIDE = (170, 40)


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def steady(value: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(at), value) for at in range(300))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A run of twelve minutes with its samples."""
    with ledger(tmp_path / "x.duckdb") as database:
        add_samples(database)
        yield database


@pytest.fixture
def control(database: Database) -> FakeRunControl:
    control = FakeRunControl(busy())
    control.database = database
    return control


def test_the_whole_run_stands_left_of_the_window_on_the_same_scale() -> None:
    picture = Picture(
        "speed", "5", (Series("speed", "chart-1", steady(5.0)),), 299.0, whole=((10.0,) * 30 + (5.0,) * 30,)
    )
    lines = [text(line) for line in drawn(picture, 80, 8, rate)]
    assert "whole run ▏ last 5 min  max 10" in lines[0]
    whole, window = lines[1][9:].split("▏")
    assert whole.count("⣿") == len(whole) // 2 and not window.strip("│ ")
    assert "⣿" in lines[4][9:].split("▏")[1]
    assert {len(line) for line in lines} == {80}


def test_the_whole_run_is_divided_among_the_same_areas_as_the_window() -> None:
    series = (Series("workers", "chart-1", steady(1.0)), Series("app", "chart-2", steady(9.0)))
    whole = ((6.0,) * 60, (2.0,) * 60)
    lines = drawn(Picture("memory", "10", series, 299.0, whole=whole), 80, 10, rate)
    shown = ["".join(role[:7] for text, role in line[2:3] if text.strip()) for line in lines[1:-1]]
    # Of the scale up to 10, six parts are the workers', and two are the app's.
    assert shown == ["", *["chart-2"] * 2, *["chart-1"] * 5]


def test_curves_of_a_run_become_areas() -> None:
    curves = RunCurves((50.0, 40.0), (8.0, 0.0), (300.0, 400.0), (100.0, 150.0), most=50.0)
    assert throughput(busy(), curves).whole == ((42.0, 40.0), (8.0, 0.0))
    assert [series.name for series in throughput(busy(), curves).series] == ["done", "failed"]
    calm = replace(busy(), history=(Sample(500.0, 50.0, 0.0, 1, 1),))
    assert throughput(calm, replace(curves, failed=(0.0, 0.0))).whole == ((50.0, 40.0),)
    assert memory(busy(), curves).whole == ((200.0, 250.0), (100.0, 150.0))


@pytest.mark.parametrize(("width", "shown"), [(49, False), (52, True)])
def test_a_narrow_graph_has_the_window_alone(width: int, shown: bool) -> None:
    picture = Picture("speed", "5", (Series("speed", "chart-1", steady(5.0)),), 299.0, whole=((10.0, 5.0),))
    lines = drawn(picture, width, 8, rate)
    assert ("▏" in text(lines[3])) is shown
    assert [cells(line) for line in lines] == [width] * 8


@pytest.mark.parametrize(
    ("values", "columns", "shown"),
    [
        ((1.0, 3.0, 5.0, 7.0), 2, [2.0, 6.0]),
        ((1.0, 2.0), 4, [1.0, 1.0, 2.0, 2.0]),
        ((1.0, 2.0, 3.0), 2, [1.0, 2.5]),
        ((), 2, [None, None]),
        ((1.0,), 0, []),
    ],
)
def test_parts_of_a_run_become_columns(values: tuple[float, ...], columns: int, shown: list[float | None]) -> None:
    assert resampled(values, columns) == shown


def test_failures_have_a_line_of_their_own_below_the_throughput() -> None:
    history = tuple(
        Sample(at=500.0 + at, items_per_second=50.0, rows_per_second=0.0, app_rss=1, workers_rss=1,
               failed_per_second=2.0 if at >= 30 else 0.0)
        for at in range(60)
    )  # fmt: skip
    snapshot = replace(busy(), history=history)
    lines = [text(line) for line in drawn(throughput(snapshot), 60, 10, rate)]
    bars = lines[-2].removeprefix("│ failed ").rstrip("│")
    assert bars.strip() == "█" * (len(bars) // 2)
    assert "failed/s, max 2.0" in lines[-1]
    # Where it is low the line is wanted for the throughput; so it is where nothing failed.
    low = [text(line) for line in drawn(throughput(snapshot), 60, 6, rate)]
    assert not any("failed/s" in line or line.startswith("│ failed") for line in low)
    calm = replace(snapshot, history=tuple(replace(each, failed_per_second=0.0) for each in history))
    assert not any("failed" in text(line) for line in drawn(throughput(calm), 60, 10, rate))


def test_failures_of_the_whole_run_are_on_the_scale_of_those_in_the_window() -> None:
    history = (Sample(760.0, 50.0, 0.0, 1, 1, failed_per_second=1.0), Sample(761.0, 50.0, 0.0, 1, 1, 1.0))
    curves = RunCurves(items=(50.0, 50.0), failed=(8.0, 0.0), memory=(1.0, 1.0), most_failed=8.0)
    snapshot = replace(busy(), history=history, at=761.0, elapsed=400.0, active_before=0.0)
    lines = [text(line) for line in drawn(throughput(snapshot, curves), 80, 10, rate)]
    assert "failed/s, max 8.0" in lines[-1]
    whole, window = lines[-2].removeprefix("│ failed ").split("▏")
    assert set(whole) == {"█", " "} and set(window.strip("│ ")) == {"▁"}


async def test_a_long_run_shows_its_whole_curve_while_it_goes_on(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await read(pilot)
        assert "items/s over 10 s ── run ▏ 5 min  max" in screen_text(app)


async def test_a_run_that_the_window_shows_whole_needs_no_curve(control: FakeRunControl) -> None:
    control.change(at=290.0, elapsed=290.0)
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await read(pilot)
        assert "items/s over 10 s ── last 5 min" in screen_text(app)


async def test_the_latency_is_drawn_as_it_went() -> None:
    control = FakeRunControl(replace(busy(), latency_window=60.0))
    async with driven(RunnerApp(control), size=WIDE) as pilot:
        app = await settled(pilot)
        for number, p95 in enumerate([1.0, 2.0, 4.0, 8.0]):
            control.change(at=1_000.0 + 30 * number, p95=p95)
            await settled(pilot)
            control.change(at=1_001.0 + 30 * number, p95=80.0)  # too early for another value
            await settled(pilot)
        line = text(app.screen.query_one(Figures).lines(control.current, 170, 1)[0])
        # The first was 2.1 s.
        assert "p95   80 s   ▂▁▂▄█   file" in line
        control.change(state=RunState.FINISHED)
        await settled(pilot)
        assert "▂▁▂▄█" not in screen_text(app)


async def pane_text(pilot: Pilot[None]) -> str:
    """Return what stands in the pane once the cursor has stood still and the ledger was read."""
    app = await settled(pilot)
    pane = app.screen.query_one(ChunkPane)
    if pane._timer is not None:
        pane._timer.stop()
        pane._look()
    await read(pilot)
    return "\n".join(text(line) for line in pane.paint(pane.size.width, pane.size.height))


async def test_a_wide_terminal_has_the_chunk_under_the_cursor_beside_the_table(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=WIDE) as pilot:
        shown = await pane_text(pilot)
        assert "chunk 76 of books" in shown
        assert "8.4 s  attempt 2  …/books.example/page-38017.html" in shown
        assert "failed: 2" in shown and re.search(r"⚠ failed  …\S*books.example/page-38002.html", shown)
        assert "chunk 76 of books" in screen_text(pilot.app)  # type: ignore[arg-type]
        await pilot.press("down")
        shown = await pane_text(pilot)
        assert "chunk 77 of books" in shown and "page-38008" in shown and "page-38002" not in shown
        await pilot.press("m", "left")
        assert "chunk 76 of books" in await pane_text(pilot)


def test_the_time_of_a_chunk_names_the_items_that_it_is_of_after_a_resume() -> None:
    again = replace(
        busy().chunks[76], number=0, state=ChunkState.DONE, items=500, done=500, failed=0, skipped=479, elapsed=0.17,
        started_at=1.0,
    )  # fmt: skip
    steering = SimpleNamespace(
        snapshot=replace(busy(), chunks=ChunkViews.of((again,))), asked=SimpleNamespace(texts=()), database=None
    )
    head = text(chunk_detail.ChunkItems(steering, 0, narrow=True).head(60)[0])  # type: ignore[arg-type]
    assert "00:00.1 for 21 items" in head


async def test_a_chunk_whose_positions_are_not_consecutive_shows_no_range(control: FakeRunControl) -> None:
    chunk = replace(control.current.chunks[76], first_item=38_000, items=500)

    async def head(first_item: int, flying: int) -> str:
        chunks = [*control.current.chunks[:76], replace(chunk, first_item=first_item)]
        snapshot = replace(
            control.current, chunks=ChunkViews.of(chunks), oldest=(InFlight(76, flying, "page", 1, 1.0),)
        )
        steering = SimpleNamespace(snapshot=snapshot, asked=SimpleNamespace(texts=()), database=control.database)
        items = chunk_detail.ChunkItems(steering, 76)  # type: ignore[arg-type]
        before = text(items.head(120)[3])
        await items.read(snapshot.run_id)
        return f"{before} / {text(items.head(120)[3])}"

    assert (await head(38_000, 38_499)).count("items 38,000–38,499") == 2
    assert (await head(38_000, 36)).count("500 items, not in a row") == 2
    assert (await head(39_000, 39_001)).count("items 39,000–39,499") == 1  # until the recorded items are read


async def test_the_pane_says_when_the_slowest_items_were_read_and_shows_no_title_alone(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=WIDE) as pilot:
        shown = await pane_text(pilot)
        now = clock(control.current.began_at + control.current.at)
        assert f"slowest at {now} UTC" in shown
        pane = pilot.app.screen.query_one(ChunkPane)
        lines = shown.splitlines()
        place = next(number for number, line in enumerate(lines) if "slowest at" in line)
        for height in range(5, len(lines) + 1):
            part = [text(line) for line in pane.paint(pane.size.width, height)]
            assert any("slowest" in line for line in part) is (height > place + 1)
        control.change(state=RunState.FINISHED)
        assert "slowest  duration" in await pane_text(pilot)


async def test_a_chunk_without_recorded_items_is_read_again_soon(
    control: FakeRunControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(chunk_detail, "time", SimpleNamespace(monotonic=lambda: now))
    steering = SimpleNamespace(snapshot=control.current, asked=SimpleNamespace(texts=()), database=control.database)
    number = next(chunk.number for chunk in control.current.chunks if chunk.number != 76 and chunk.done)
    for chunk, seconds in ((number, 1.0), (76, 5.0)):
        items = chunk_detail.ChunkItems(steering, chunk, every=5.0)  # type: ignore[arg-type]
        assert items.due(control.current)
        await items.read(control.current.run_id)
        now += seconds - 0.1
        assert not items.due(control.current)
        now += 0.1
        assert items.due(control.current)


async def test_an_address_that_fits_is_shown_whole_in_the_pane(control: FakeRunControl) -> None:
    address = "http://127.0.0.1:8932/page/207"
    control.change(oldest=(InFlight(76, 1, address, 1, 1.0),))
    async with driven(RunnerApp(control), size=(165, 40)) as pilot:
        assert f"1.0 s  {address}" in await pane_text(pilot)


async def test_a_cursor_that_is_on_its_way_reads_nothing(
    control: FakeRunControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(ChunkPane, "_look", lambda pane: looked.append(1))
    monkeypatch.setattr(chunk_detail, "_STILL", 60.0)  # however long a key takes on a busy machine
    async with driven(RunnerApp(control), size=WIDE) as pilot:
        app = await settled(pilot)
        pane = app.screen.query_one(ChunkPane)
        for _ in range(5):
            timer = pane._timer
            await pilot.press("down")
            assert pane._timer is not timer
    assert not looked


async def test_the_pane_has_a_third_of_a_wide_terminal_and_the_table_keeps_its_columns(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(160, 50)) as pilot:
        app = await settled(pilot)
        assert app.screen.query_one(ChunkPane).size.width >= 50
        line = next(line for line in screen_text(app).splitlines() if "last min   failed   retries" in line)
        assert "items/s" in line and "elapsed" in line


async def test_without_the_room_there_is_no_pane(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(159, 40)) as pilot:
        app = await settled(pilot)
        assert not app.screen.query_one(ChunkPane).display
        await pilot.resize_terminal(160, 40)
        assert "chunk 76 of books" in await pane_text(pilot)


async def test_what_is_hostile_is_text_in_the_pane(control: FakeRunControl) -> None:
    control.change(oldest=tuple(InFlight(76, number, value, 1, 1.0) for number, value in enumerate(HOSTILE.values())))
    async with driven(RunnerApp(control), size=WIDE) as pilot:
        shown = await pane_text(pilot)
        assert "y[/] a [/ b $x" in shown and "\x1b" not in shown and "\u202e" not in shown


def test_the_scale_of_a_chart_includes_the_rate_that_is_called_its_newest() -> None:
    snapshot = busy()
    points = [sample.items_per_second or 0.0 for sample in snapshot.history]
    lines = drawn(throughput(replace(snapshot, items_per_second=max(points) * 3)), 100, 8, rate)
    assert float(text(lines[1]).strip("│ ").split()[0]) >= max(points) * 3


def test_chart_names_the_highest_rate_of_the_whole_run_and_of_now() -> None:
    snapshot = replace(busy(), items_per_second=70.0)
    assert "max 70.0 " in text(drawn(throughput(snapshot), 100, 8, rate)[0])
    curves = RunCurves((1.0, 50.0), (0.0, 0.0), (1.0, 1.0), most=95.5)
    assert "max 95.5 " in text(drawn(throughput(snapshot, curves), 100, 8, rate)[0])


def shown_maximum(picture: Picture, width: int = 120) -> float:
    found = re.search(r"max ([\d.]+)", text(drawn(picture, width, 10, rate)[0]))
    assert found is not None
    return float(found[1])


def test_a_steady_rate_has_the_same_maximum_and_scale_when_the_whole_run_is_shown() -> None:
    # Between two samples, the counters of a run with 20 items/s grow by more or less than that, because workers report
    # in batches.
    history = tuple(Sample(float(at), 19.6, 0.0, 1, 1, fastest=19.7) for at in range(300))
    snapshot = replace(busy(), history=history, items_per_second=19.68)
    curves = RunCurves((19.2, 20.8) * 30, (0.0,) * 60, (1.0,) * 60, (1.0,) * 60, most=19.7)
    for shown in (None, curves):
        lines = [text(line) for line in drawn(throughput(snapshot, shown), 120, 10, rate)]
        assert ("whole run" in lines[0]) is (shown is not None)
        assert "max 19.7 " in lines[0] and lines[1].startswith("│     20 ")


def test_the_maximum_of_the_last_minutes_has_the_rates_that_snapshots_showed_between_its_points() -> None:
    history = (Sample(760.0, 19.6, 0.0, 1, 1, fastest=19.6), Sample(761.0, 19.6, 0.0, 1, 1, fastest=19.9))
    assert shown_maximum(throughput(replace(busy(), history=history, items_per_second=19.7))) == 19.9


def test_the_mean_of_the_run_is_a_lower_bound_of_the_maximum_in_graph_and_summary() -> None:
    # The newest reports are always missing, so the rates over ten seconds are a little lower than the mean.
    history = tuple(Sample(float(at), 19.6, 0.0, 1, 1, fastest=19.7) for at in range(300))
    early = replace(busy(), history=history[:200], items_per_second=19.6, highest_rate=19.8, at=199.0)
    late = replace(early, history=history, at=300.5)
    curves = RunCurves((19.8,) * 60, (0.0,) * 60, (1.0,) * 60, (1.0,) * 60, most=19.75)
    shown = [throughput(early), throughput(late), throughput(late, curves)]
    assert [shown_maximum(picture) for picture in shown] == [19.8] * 3
    ended = replace(late, state=RunState.FINISHED, active_before=0.0, wall_before=0.0, items_done=0, items_skipped=0)
    assert any(text(line).endswith("max 19.8") for _, line in summary(ended, 120, [], curves))
    # Later the last minutes are a part of the run, and their maximum is their own.
    assert shown_maximum(throughput(replace(late, at=900.0), curves), 49) == 19.7


def test_the_maximum_of_a_narrow_graph_is_that_of_the_minutes_it_shows() -> None:
    snapshot = replace(busy(), history=(Sample(760.0, 20.0, 0.0, 1, 1),), items_per_second=20.0)
    curves = RunCurves((90.0,) * 60, (0.0,) * 60, (1.0,) * 60, (1.0,) * 60, most=95.0)
    assert shown_maximum(throughput(snapshot, curves), 120) == 95.0
    assert shown_maximum(throughput(snapshot, curves), 49) == 20.0


def test_the_maximum_of_memory_is_that_of_the_whole_run_after_the_window_has_left_it() -> None:
    history = tuple(Sample(float(at), 1.0, 0.0, 100, 200) for at in range(300, 600))
    curves = RunCurves((1.0,) * 60, (0.0,) * 60, (360.0, *[300.0] * 59), (100.0,) * 60, most=1.0)
    assert shown_maximum(memory(replace(busy(), history=history), curves)) == 360.0


def test_a_scale_is_not_enlarged_for_a_value_that_is_shown_as_its_top() -> None:
    for value, top in ((20.04, "20"), (20.4, "30")):
        history = (Sample(760.0, value, 0.0, 1, 1),)
        lines = drawn(throughput(replace(busy(), history=history, items_per_second=value)), 100, 8, rate)
        assert text(lines[1]).strip("│ ").split()[0] == top
