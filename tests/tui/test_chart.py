from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.text.numbers import rate, size
from tui_runner.tui.run.chart import Chart, Picture, Series, drawn, span_of
from tui_runner.tui.widgets.braille import FULL_MARK, SPARSE_MARK, bins, nice_top, stacked
from tui_runner.tui.widgets.paint import Line, cells


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def rows(series: list[list[float | None]], top: float, height: int) -> list[str]:
    return ["".join(character for character, _ in row) for row in stacked(series, top, height)]


def test_the_full_scale_fills_every_dot() -> None:
    assert rows([[8.0, 8.0]], 8.0, 2) == ["⣿", "⣿"]


def test_areas_stand_on_zero() -> None:
    assert rows([[4.0, 4.0]], 8.0, 2) == [" ", "⣿"]
    assert rows([[2.0, 1.0]], 4.0, 1) == ["⣄"]


def test_little_is_still_seen_and_nothing_is_not() -> None:
    assert rows([[0.001, 0.0]], 100.0, 2) == [" ", "⡀"]


def test_a_gap_is_empty() -> None:
    assert rows([[4.0, 4.0, None, None, 4.0, 4.0]], 4.0, 1) == ["⣿ ⣿"]


def test_series_are_stacked_and_a_cell_belongs_to_the_one_that_fills_most_of_it() -> None:
    picture = stacked([[4.0, 4.0], [4.0, 4.0]], 8.0, 2)
    assert picture == [[(SPARSE_MARK, 1)], [(FULL_MARK, 0)]]


def test_upper_series_differ_from_the_first_without_colours_and_small_ones_show() -> None:
    (cell,) = stacked([[2.0, 2.0], [2.0, 2.0]], 4.0, 1)[0]
    assert cell[0] not in (FULL_MARK, SPARSE_MARK, "⣤")
    assert rows([[0.0, 0.0], [0.001, 0.0]], 100.0, 1) == ["⡀"]
    assert rows([[0.0, 0.0], [0.0, 0.001]], 100.0, 1) == ["⢀"], "a lone dot stays, whatever its place"


def test_an_area_is_fainter_towards_its_foot() -> None:
    lines = drawn(picture([9.0] * 60), 60, 11, rate)
    roles = [next(role for text, role in line if FULL_MARK in text) for line in lines[2:-1]]
    assert roles == ["chart-1"] * 2 + ["chart-1-mid"] * 3 + ["chart-1-low"] * 3


def test_the_legend_names_the_areas_and_the_marks() -> None:
    series = tuple(Series(name, "chart-1", ((59.0, 1.0),)) for name in ("workers", "app"))
    shown = text(drawn(Picture("memory", "7", series, 59.0, marks=(30.0,), marked="replaced"), 100, 6, rate)[0])
    assert f"{FULL_MARK} workers {SPARSE_MARK} app ┊ replaced" in shown


def test_samples_fall_into_the_column_of_their_time() -> None:
    points = [(float(at), float(at)) for at in range(10)]
    assert bins(points, end=9.0, span=10.0, columns=5) == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_a_pause_leaves_a_gap_and_a_late_sample_does_not() -> None:
    points: list[tuple[float, float | None]] = [(0.0, 1.0), (1.0, None), (2.0, None), (3.0, 1.0), (5.0, 1.0)]
    assert bins(points, end=5.0, span=6.0, columns=6) == [1.0, None, None, 1.0, 1.0, 1.0]


def test_time_moves_the_picture_by_whole_columns() -> None:
    points = [(at / 2, math.sin(at)) for at in range(200)]
    before = bins(points, end=99.0, span=60.0, columns=30)
    after = bins(points, end=101.0, span=60.0, columns=30)
    # The column that was newest may have been half full, so it alone may differ.
    assert before[1:-1] == after[:-2]


@given(st.floats(1e-6, 1e15))
def test_the_top_of_the_scale_holds_the_highest_value_with_little_room(highest: float) -> None:
    assert highest * 0.999 <= nice_top(highest) <= highest * 2.01


@pytest.mark.parametrize("highest", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_for_nothing(highest: float) -> None:
    assert nice_top(highest) == 1.0


def picture(values: list[float | None], *, limit: float | None = None) -> Picture:
    points = tuple((float(at), value) for at, value in enumerate(values))
    return Picture("speed", "7", (Series("speed", "chart-1", points),), end=float(len(values) - 1), limit=limit)


def test_the_frame_says_what_is_drawn() -> None:
    lines = [text(line) for line in drawn(picture([5.0] * 60), 60, 6, rate)]
    assert "speed ── last 1 min  max 5.0" in lines[0]
    assert lines[0].endswith("now 7 ┐")
    assert lines[1].startswith("│      5 "), "as many decimals as the other label"
    assert lines[4].startswith("│      0 ") and "⣿" in lines[4]


def test_a_graph_without_values_has_neither_a_maximum_nor_a_scale() -> None:
    lines = [text(line) for line in drawn(picture([0.0] * 3), 60, 6, size)]
    assert "max" not in lines[0] and not lines[1].strip("│ ") and lines[4].startswith("│      0 ")


def test_the_maximum_of_failures_never_falls() -> None:
    chart = Chart(rate)
    shown = []
    for most, now in ((0.0, 31.4), (31.2, 5.0), (28.0, 0.0), (40.0, 0.0)):
        under = Series("failed/s", "bad", ((0.0, now),))
        drawing = replace(picture([50.0] * 60), under=under, under_whole=(most,), under_most=max(most, now))
        chart.show(drawing)
        shown.append(text(chart.paint(80, 10)[-1]).split("─")[0])
    assert shown == [f"└ failed/s, max {most} " for most in (31.4, 31.4, 31.4, 40.0)]


def test_a_limit_near_the_values_is_a_line() -> None:
    lines = drawn(picture([5.0] * 60, limit=8.0), 60, 6, rate)
    assert ("╌" in text(lines[1])) and any(role == "limit" for _, role in lines[1])


def test_a_limit_far_above_does_not_flatten_the_values() -> None:
    lines = [text(line) for line in drawn(picture([5.0] * 60, limit=100.0), 60, 6, rate)]
    assert "╌" not in "".join(lines)
    assert "⣿" in lines[1]


def test_the_span_grows_with_the_history() -> None:
    def span(seconds: int) -> float:
        return span_of([Series("", "text", tuple((float(at), 1.0) for at in range(seconds)))], seconds - 1.0)

    assert [span(1), span(61), span(62), span(300)] == [60.0, 60.0, 120.0, 300.0]


@given(
    st.lists(st.none() | st.floats(0, 1e12) | st.sampled_from([math.nan, math.inf]), max_size=40),
    st.integers(12, 200),
    st.integers(3, 20),
    st.none() | st.floats(0, 1e12),
)
@settings(max_examples=33)
def test_any_values_give_a_picture_of_exactly_its_size(
    values: list[float | None], width: int, height: int, limit: float | None
) -> None:
    lines = drawn(picture(values, limit=limit), width, height, rate)
    assert [cells(line) for line in lines] == [width] * height
