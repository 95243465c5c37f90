"""Charts of a result: x by value, gaps, panels, histograms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from rich.cells import cell_len

from tui_runner.tui.query.result_chart import (
    ChartKind,
    Plot,
    ResultChart,
    _is_histogram,
    bars,
    distribution,
    histogram,
    line_chart,
    plot_of,
    shortened_labels,
    suitable_kinds,
    with_empty_bins,
)
from tui_runner.tui.widgets.paint import Line


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def plot(**columns: object) -> Plot:
    made = plot_of(pa.table(columns), complete=True)
    assert isinstance(made, Plot)
    return made


def remarks(plot: Plot) -> list[str]:
    return [each.text for each in plot.remarks]


def blank_columns(line: str) -> int:
    return len(line.rstrip()) - len(line.rstrip().replace(" ", ""))


def test_x_is_placed_by_its_value_and_a_missing_one_is_a_gap() -> None:
    even = plot(x=list(range(20)), y=[1.0] * 20)
    holes = plot(x=[*range(5), *range(100, 105)], y=[1.0] * 10)
    top_even, top_holes = text(line_chart(even, 60, 6))[0], text(line_chart(holes, 60, 6))[0]
    assert top_even.count("⠉") > 40 and 0 < top_holes.count("⠉") < 10
    times = [datetime(2026, 1, 1, 10, minute) for minute in (0, 1, 2, 3, 40, 41)]
    last = text(line_chart(plot(minute=times, n=[1, 2, 3, 4, 5, 6]), 70, 8))[-1]
    assert last.split() == ["10:00", "10:10", "10:20", "10:30", "10:40"]


def test_rows_in_any_order_are_drawn_in_that_of_x() -> None:
    rising = plot(x=[1, 2, 3, 4], y=[1.0, 2.0, 3.0, 4.0])
    mixed = plot(x=[3, 1, 4, 2], y=[3.0, 1.0, 4.0, 2.0])
    assert text(line_chart(rising, 40, 8))[:-1] == text(line_chart(mixed, 40, 8))[:-1]


def test_series_of_very_different_size_have_panels_of_their_own() -> None:
    lines = text(line_chart(plot(x=[1, 2, 3], small=[0.1, 0.2, 0.3], large=[1e6, 2e6, 3e6]), 60, 14))
    assert any("0.3" in line.partition("│")[0] for line in lines)
    assert any("3,000,000" in line.partition("│")[0] for line in lines)
    alike = text(line_chart(plot(x=[1, 2, 3], a=[1.0, 2.0, 3.0], b=[2.0, 3.0, 9.0]), 60, 14))
    assert len([line for line in alike if "│" in line]) == 13


def test_panels_share_their_margin_and_the_ticks_below_them() -> None:
    hours = [datetime(2026, 1, 1) + timedelta(hours=hour) for hour in range(100)]
    for x in (hours, list(range(100))):
        apart = plot(x=x, price=[100 + hour % 7 for hour in range(100)], big=[hour * 120_000 for hour in range(100)])
        for width, height in ((50, 12), (80, 20), (91, 25)):
            lines = text(line_chart(apart, width, height))
            axes = {re.search("[│╎]", line).start() for line in lines if re.search("[│╎]", line)}  # type: ignore[union-attr]
            ticks = [line.rstrip() for line in lines if not re.search("[│╎]", line)]
            assert len(axes) == 1 and len(ticks) == 2 and ticks[0] == ticks[1] and len(ticks[0].split()) > 2


@pytest.mark.parametrize("count", [8, 10, 13, 20, 37, 100, 365])
@pytest.mark.parametrize(("first", "width"), [(100, 10), (0, 1), (3, 5), (0.0, 0.25), (-1.5, 0.1), (1e6, 2500)])
@pytest.mark.parametrize("cells", [34, 51, 91])
def test_ticks_below_a_histogram_have_even_steps(count: int, first: float, width: float, cells: int) -> None:
    xs = [round(first + width * place, 9) for place in range(count)]
    *lines, below = text(histogram(plot(x=xs, n=[1 + place % 3 for place in range(count)]), cells, 8))
    ticks = [(found.start(), float(found[0].replace(",", ""))) for found in re.finditer(r"\S+", below)]
    values, starts = [value for _, value in ticks], [start for start, _ in ticks]
    steps = [b - a for a, b in pairwise(values)]
    assert len(values) > 1 and steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)
    assert len({b - a for a, b in pairwise(starts)}) == 1
    # Each tick stands below the left edge of a column.
    axis = lines[0].index("│") + 1
    across = (starts[1] - starts[0]) / ((values[1] - values[0]) / width)
    assert starts[0] - axis == pytest.approx((values[0] - first) / width * across, abs=0.01)


@pytest.mark.parametrize(
    ("xs", "ticks"),
    [
        (range(1990, 2025), ["1990", "2000", "2010", "2020"]),
        (range(800, 2501, 100), ["1,000", "1,500", "2,000", "2,500"]),
        (range(1_000_020, 1_000_056), [f"1,000,0{number}" for number in (20, 30, 40, 50)]),
        ([0.001 * n for n in range(5)], ["0", "0.001", "0.002", "0.003", "0.004"]),
        ([7.5], ["7.5"]),
        ([1e300, -1e300, 1.5e300], []),
        ([1e18 + 1e3 * n for n in range(5)], []),
    ],
)
def test_ticks_below_lines_are_exact(xs: Sequence[float], ticks: list[str]) -> None:
    below = text(line_chart(plot(x=pa.array(xs, pa.float64()), y=[1.0] * len(xs)), 80, 8))[-1]
    assert not ticks or below.split() == ticks


def test_bars_of_very_different_size_have_scales_of_their_own_and_differ_without_colours() -> None:
    table = plot(kind=["a", "b"], size=[214_337, 100_000], n=[284, 142])
    lines = text(bars(table, 60, 8))
    assert lines[0].count("█") == lines[1].count("▒") > 20
    assert lines[1].count("▒") == pytest.approx(2 * lines[3].count("▒"), abs=1)
    alike = text(bars(plot(kind=["a", "b"], size=[40, 30], n=[20, 10]), 60, 8))
    assert alike[1].count("▒") == pytest.approx(alike[0].count("█") / 2, abs=1)
    chart = ResultChart()
    chart.show(pa.table({"kind": ["a"], "size": [214_337], "n": [284]}), ChartKind.BARS, complete=True)
    assert text(chart.paint(100, 8))[0].rstrip() == " ▪ size ▒ n by kind   each series has a scale of its own"
    chart.show(pa.table({"kind": ["a"], "size": [300], "n": [284]}), ChartKind.BARS, complete=True)
    assert text(chart.paint(100, 8))[0].rstrip() == " ▪ size ▒ n by kind"


def test_an_axis_has_round_ticks_and_no_label_is_cut() -> None:
    lines = text(line_chart(plot(x=list(range(0, 2_701, 27)), y=[62.5] * 101), 80, 10))
    assert lines[-1].split() == ["0", "1,000", "2,000"]
    assert [line.partition("│")[0].strip() for line in lines if line[:3].strip()] == ["80", "40", "0"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 1_174], ["2,000", "1,000", "0"]),
        ([0, 165], ["200", "100", "0"]),
        ([10, 99], ["100", "50", "0"]),
        ([7, 2_203_000], ["3,000,000", "1,500,000", "0"]),
        ([-165, -20], ["0", "-100", "-200"]),
        ([-0.99, 1.0], ["1", "0", "-1"]),
        ([91, 99], ["100", "95", "90"]),
        ([1_234.6, 1_235.2], ["1,235.4", "1,235", "1,234.6"]),
        ([-3, 2_203_000], ["3,000,000", "1,000,000", "-1,000,000"]),
    ],
)
def test_the_ends_and_the_middle_of_a_scale_are_round_and_include_all_values(
    values: list[float], labels: list[str]
) -> None:
    lines = text(line_chart(plot(x=[1, 2], y=pa.array(values, pa.float64())), 60, 12))
    assert [label for line in lines[:-1] if (label := re.split("[│╎]", line)[0].strip())] == labels


def test_lines_have_panels_of_their_own_from_a_smaller_factor_than_bars() -> None:
    apart = plot(x=[1, 2, 3], rows=[1_174, 0, 1_000], items=[180, 0, 160])
    scales = [label for line in text(line_chart(apart, 60, 16)) if (label := re.split("[│╎]", line)[0].strip())]
    assert [each for each in scales if "  " not in each] == ["2,000", "1,000", "0", "200", "100", "0"]
    assert text(bars(apart, 60, 8))[1].count("▒") < text(bars(apart, 60, 8))[0].count("█") / 4
    near = plot(x=[1, 2, 3], a=[400, 100, 300], b=[110, 40, 60])
    assert len([line for line in text(line_chart(near, 60, 14)) if "│" in line]) == 13


def test_a_chart_that_is_too_low_for_panels_leaves_series_out_and_says_so() -> None:
    numbers = range(20)
    table = pa.table({
        "x": numbers, "at": [1_800_000_000 + number for number in numbers], "none": [0] * 20,
        "price": [number * 0.7 for number in numbers], "stock": numbers,
    })  # fmt: skip
    chart = ResultChart()
    chart.show(table, ChartKind.LINE, complete=True, keys="F8 table", zoom="z")
    low, middle, high = (text(chart.paint(80, height)) for height in (10, 11, 21))
    assert "▪ at ▒ none by x   2 of 4 series" in low[0] and low[0].endswith("z more  F8 table ")
    assert " 2,000,000,000│" in low[1] and len([line for line in low if "│" in line]) == 8
    # Price and stock are of similar size, and share a panel where there is room for two.
    assert "▪ at ▒ none ▓ price ░ stock by x" in middle[0] and " of 4 series" not in middle[0]
    tops = [re.split("[│╎]", line)[0].strip() for line in middle + high]
    assert [top for top in tops if top.endswith("0") and top != "0"] == [
        "2,000,000,000", "20", "1,800,000,020", "1,800,000,000", "20", "20"
    ]  # fmt: skip


def test_lines_in_one_panel_have_patterns_where_there_are_no_colours() -> None:
    level = plot(x=[*range(20)], a=[30.0] * 20, b=[20.0] * 20, c=[10.0] * 20)
    coloured, plain = (text(line_chart(level, 60, 9, has_colours=each)) for each in (True, False))

    def dots(lines: list[str], row: int) -> int:
        return sum((ord(cell) - 0x2800).bit_count() for cell in lines[row].partition("│")[2] if cell > "⠀")

    rows = [row for row, line in enumerate(coloured) if dots(coloured, row)]
    whole = dots(coloured, rows[0])
    assert len(rows) == 3 and [dots(coloured, row) for row in rows] == [whole] * 3
    assert [whole / dots(plain, row) for row in rows] == [1, pytest.approx(2, rel=0.1), pytest.approx(4, rel=0.1)]


def test_rows_with_the_same_x_are_points_and_not_a_curve() -> None:
    def dots(lines: list[str]) -> int:
        return sum((ord(cell) - 0x2800).bit_count() for line in lines for cell in line if "⠀" < cell <= "⣿")

    ys = [float(n * 37 % 60) for n in range(60)]
    repeated = plot(stock=[n // 4 for n in range(60)], price=ys)
    assert 40 < dots(text(line_chart(repeated, 80, 20))) <= 60
    few = plot(x=[*range(59), 58], price=ys)
    assert dots(text(line_chart(few, 80, 20))) > 600
    # Points have no pattern. Without colours, each series has a panel, if there is room.
    two = plot(stock=[n // 4 for n in range(60)], price=ys, other=ys)
    assert [sum("│" in line for line in text(line_chart(two, 80, 20, has_colours=each))) for each in (True, False)] == [
        19, 18
    ]  # fmt: skip


def test_the_keys_of_a_chart_stay_where_its_remarks_have_no_room() -> None:
    chart = ResultChart()
    table = pa.table({"number": range(3_000), "a long name": [n % 7 for n in range(3_000)]})
    chart.show(table, ChartKind.LINE, complete=False, keys="F8 bars  Esc table")
    for width in (40, 48, 58, 59, 63, 64, 120):
        line = text(chart.paint(width, 10))[0]
        assert cell_len(line) == width and line.endswith("F8 bars  Esc table ")
        assert ("…" in line) == (width < 59) and ("2,000 rows" in line) == (width >= 64)
    assert "F8" not in text(chart.paint(24, 10))[0]


def test_a_scale_that_does_not_begin_at_zero_has_a_broken_axis() -> None:
    assert "╎" in text(line_chart(plot(x=[1, 2, 3], y=[90, 95, 100]), 60, 8))[-2]
    assert "╎" not in "".join(text(line_chart(plot(x=[1, 2, 3], y=[9, 95, 100]), 60, 8)))


def test_rising_bins_are_a_histogram_whose_columns_stand_side_by_side() -> None:
    bins = plot(upto=[2.0**n for n in range(10)], items=[0, 1, 4, 20, 90, 200, 80, 10, 2, 1])
    assert _is_histogram(bins) and not _is_histogram(plot(x=list("abcdefghij"), n=list(range(10))))
    lines = text(histogram(bins, 60, 10))
    assert len(lines) == 10 and all(len(line) <= 60 for line in lines)
    assert "200 │" in lines[0] and "0 │" in lines[8]
    assert "█" in lines[0] and "▁" in lines[8]  # the highest, and what is not zero
    many = plot(x=list(range(500)), n=[1] * 500)
    assert all(len(line) <= 60 for line in text(histogram(many, 60, 10)))


def test_bins_in_descending_order_are_the_same_histogram() -> None:
    days = [datetime(2026, 1, 1) + timedelta(days=day) for day in range(40) if day % 9]
    rising, falling = plot(day=days, n=list(range(len(days)))), plot(day=days[::-1], n=list(range(len(days)))[::-1])
    assert _is_histogram(falling) and text(histogram(rising, 70, 9)) == text(histogram(falling, 70, 9))
    charts = [pa.table({"day": order, "n": [1] * len(order)}) for order in (days, days[::-1])]
    assert suitable_kinds(charts[0], 12) == suitable_kinds(charts[1], 12)


def test_more_bins_than_cells_are_drawn_as_means_and_the_chart_says_so() -> None:
    table = pa.table({"year": list(range(1900, 2021)), "n": [8.0] * 121})
    chart = ResultChart()
    chart.show(table, ChartKind.BARS, complete=True)
    first, *lines = text(chart.paint(50, 12))
    assert "a column is the mean of 3 values" in first
    # The last column, with one row, is as high as the others.
    assert lines[0].split()[0] == "8" and len(lines[0].split("│")[1].strip()) == 41 and "▇" not in "".join(lines)
    assert "mean" not in text(chart.paint(150, 12))[0]


def test_labels_of_a_scale_and_of_the_ends_of_an_axis_differ() -> None:
    large = text(line_chart(plot(x=[1, 2, 3], y=[1e15, 1e15 + 10, 1e15 + 20]), 60, 12))
    labels = [label for line in large[:-1] if (label := re.split("[│╎]", line)[0].strip())]
    assert len(labels) == len(set(labels)) == 3
    urls = [f"https://books.example/catalogue/page-{number}.html" for number in range(5)]
    first, last = text(line_chart(plot(url=urls, y=[1, 2, 3, 4, 5]), 50, 8))[-1].split()
    assert "0" in first and "4" in last


def test_bins_that_are_empty_are_drawn_where_the_others_tell_their_width() -> None:
    even = with_empty_bins(plot(x=[0, 5, 10, 15, 40, 45, 50, 55], n=[1, 2, 3, 4, 5, 6, 7, 8]))
    assert even.xs == tuple(range(0, 60, 5))
    assert even.series == ((1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8),)
    means = with_empty_bins(plot(x=[0, 5, 10, 15, 40, 45, 50, 55], n=[7.7, 7.5, 7.7, 7.7, 7.7, 7.7, 7.7, 7.7]))
    assert means.series[0][4:8] == (None, None, None, None)  # a mean of no rows is not 0
    doubled = with_empty_bins(plot(x=[0.5, 1.0, 2.0, 16.0], n=[1, 1, 1, 1]))
    assert doubled.xs is not None and [round(x, 9) for x in doubled.xs] == [0.5, 1, 2, 4, 8, 16]
    assert doubled.series == ((1, 1, 1, 0, 0, 1),)
    months = [datetime(2026, month, 1) for month in (1, 2, 3, 6, 7)]
    assert with_empty_bins(plot(month=months, n=[1, 1, 1, 1, 1])).series == ((1, 1, 1, 0, 0, 1, 1),)
    uneven = plot(x=[0.0, 1.0, 2.7, 3.1], n=[1, 1, 1, 1])
    assert with_empty_bins(uneven) is uneven


def test_a_column_for_several_bins_is_the_mean_of_those_that_have_a_value() -> None:
    xs = [x for x in range(1, 41) if x % 4]
    drawn = text(histogram(plot(x=xs, mean=[7.7] * len(xs)), 27, 8))[:-1]
    columns = [line.partition("│")[2].rstrip() for line in drawn]
    assert len(columns[-1]) == 20  # two bins each, and half of them have one value
    assert all(len(set(row)) <= 1 for row in columns)


def test_ticks_below_a_histogram_are_values_of_its_bins() -> None:
    lines = text(histogram(plot(upto=[2.0**n for n in range(11)], items=[1] * 11), 70, 8))
    ticks = [int(each.replace(",", "")) for each in lines[-1].split()]
    assert ticks[0] == 1 and ticks[-1] == 1024 and set(ticks) <= {2**n for n in range(11)}


def test_labels_below_lines_tell_no_more_than_the_rows() -> None:
    assert text(line_chart(plot(x=["only"], y=[1.0]), 40, 6))[-1].split() == ["only"]
    ends = text(line_chart(plot(x=["日本語一", "b", "日本語二"], y=[1.0, 2.0, 3.0]), 40, 6))[-1]
    assert ends.split() == ["日本語一", "日本語二"] and cell_len(ends) <= 40
    long = text(line_chart(plot(x=["a" * 90, "b", "z" * 90], y=[1.0, 2.0, 3.0]), 40, 6))[-1].split()
    assert [each[0] for each in long] == ["a", "z"] and all(each.endswith("…") for each in long)
    # Nothing is between two whole numbers.
    assert text(line_chart(plot(x=[0, 1], y=[1.0, 2.0]), 60, 6))[-1].split() == ["0", "1"]
    assert text(line_chart(plot(x=list(range(12)), y=[1.0] * 12), 60, 6))[-1].split() == ["0", "5", "10"]


def test_an_infinite_time_has_no_place_on_an_axis() -> None:
    days = pa.array([19_000, 19_001, 2**31 - 1], pa.date32())
    made = plot(day=days, n=[1, 2, 3])
    assert made.xs is None and made.labels[-1] == "infinity"
    assert text(line_chart(made, 60, 6))[-1].split() == [made.labels[0], "infinity"]


def test_a_distribution_says_how_many_rows_it_leaves_out() -> None:
    values = [None if number % 5 == 0 else float(number) for number in range(100)]
    assert remarks(distribution(plot(x=list(range(100)), y=values))) == ["20 rows without a number left out"]
    assert not remarks(distribution(plot(x=list(range(100)), y=[float(number) for number in range(100)])))


def test_a_chart_says_once_in_which_zone_its_times_are() -> None:
    moments = pa.array([datetime(2026, 1, 1, hour) for hour in range(3)], pa.timestamp("us", tz="UTC"))
    assert remarks(plot(at=moments, n=[1, 2, 3])) == ["times are UTC"]
    assert not remarks(plot(at=[datetime(2026, 1, 1, hour) for hour in range(3)], n=[1, 2, 3]))


def test_labels_that_are_too_long_show_where_they_differ() -> None:
    base = "https://books.example/catalogue/category/books"
    urls = [f"{base}/travel_{number}/index.html" for number in (2, 17, 18)]
    lines = text(bars(plot(url=urls, n=[1, 2, 3]), 52, 8))
    assert [line.split()[0] for line in lines] == ["…travel_2…", "…travel_17…", "…travel_18…"]
    assert shortened_labels(urls, 200) == urls and shortened_labels(urls[:1], 9) == urls[:1]
    assert shortened_labels(["x" * 30, "y" * 30], 20) == ["x" * 30, "y" * 30]
    assert len(set(shortened_labels([f"{base}/{number}" for number in range(100)], 20))) == 100


def test_labels_of_bars_have_room_while_bars_keep_some() -> None:
    label = "HTTPStatusError: 503 Service Unavailable for /catalogue"
    table = pa.table({"message": [label, "x"], "items": [3, 1]})
    plot = plot_of(table, complete=True)
    assert isinstance(plot, Plot) and plot.x_name == "message"
    wide, narrow = (["".join(text for text, _ in line) for line in bars(plot, width, 4)] for width in (100, 60))
    assert label in wide[0] and "█" * 20 in wide[0]
    assert "…" in narrow[0] and "█" * 18 in narrow[0]


def test_the_number_of_the_run_is_no_x_if_it_is_the_same_in_all_rows() -> None:
    made = plot(_run=[3, 3], _item=[7, 8], price=[1.5, 2.5])
    assert made.x_name == "_item" and made.names == ("price",)
    several = plot(_run=[3, 4], _item=[7, 8], price=[1.5, 2.5])
    assert several.x_name == "_run" and several.names == ("price",)
    counted = plot(_run=[3, 3], rows=[7, 8])
    assert counted.x_name == "" and counted.labels == ("1", "2")


def items(count: int) -> dict[str, object]:
    """Columns as `runner.items` has them, of items that ended in another order than they began."""
    start = datetime(2026, 1, 1, 15, 50, 42)
    return {
        "run_id": [1] * count,
        "item": list(range(count)),
        "chunk": [n // 10 for n in range(count)],
        "state": ["ok", "failed"] * (count // 2),
        "attempts": [1] * count,
        "seconds": [0.2 + n % 7 / 10 for n in range(count)],
        "finished_at": [start + timedelta(milliseconds=20 * (n * 37 % count)) for n in range(count)],
    }


def test_x_is_a_time_rather_than_a_constant_or_an_id() -> None:
    table = items(700)
    made = plot(**table)
    assert made.x_name == "finished_at" and made.is_time and made.names == ("seconds",)
    del table["finished_at"]
    assert plot(**table).x_name == "item"
    del table["item"]
    assert plot(**table).x_name == "state"
    # By what a statement counts, it is asked to draw, even by the id of a run or chunk.
    assert plot(chunk=[1, 2, 3], n=[5, 6, 7]).x_name == "chunk"
    assert plot(n=[5, 6, 7], name=["a", "b", "c"]).x_name == "name"
    # Where all numbers are ids, one of them is y.
    assert plot(name=["a", "b"], run_id=[5, 6]).names == ("run_id",)


def test_a_number_that_measures_something_is_no_x() -> None:
    times = [datetime(2026, 1, 1) + timedelta(seconds=n) for n in range(6)]
    speed, total, level = [5.5, 7.5, 5.5, 6.5, 7.5, 5.5], [1, 3, 4, 6, 8, 9], [2, 2, 3, 3, 5, 5]
    assert plot(speed=speed, failed=level, sampled_at=times).x_name == "sampled_at"
    assert plot(total=total, failed=speed, sampled_at=times).x_name == "sampled_at"
    assert plot(total=total, speed=speed, sampled_at=times[::-1]).x_name == "sampled_at"
    mixed = [times[place] for place in (3, 1, 5, 0, 2, 4)]
    assert plot(stars=total, n=speed, newest=mixed).x_name == "stars", "the times of groups are in no order"
    assert plot(speed=speed, level=level, total=total).x_name == "total"
    by_row = plot(speed=speed, other=speed[::-1])
    assert by_row.x_name == "" and by_row.names == ("speed", "other")
    assert plot(level=level, speed=speed).x_name == "level", "the rows are sorted by it"
    assert plot(stars=[3, 1, 5, 2], n=[10, 8, 7, 1]).x_name == "stars", "each group has its own"
    assert plot(n=[5, None, 7, 5], other=[1, 9, 3, 3]).x_name == ""
    assert plot(n=[1, None, 7, 5, 6, 8], at=mixed).x_name == "at"
    infinite = pa.array([2**31 - 1, 0, 1], pa.int32()).cast(pa.date32())
    assert plot(n=[1, 2, 3], m=[4, 5, 5], day=infinite).x_name == "n"


def test_of_many_numeric_columns_those_that_vary_are_drawn() -> None:
    columns = {name: [1, 1, 1] for name in "abc"} | {name: [1, 2, 2] for name in "defg"}
    made = plot(x=[3, 4, 5], **columns)
    assert made.names == ("d", "e", "f", "g") and remarks(made) == ["3 constants left out"]
    more = plot(x=[3, 4, 5], h=[2, 1, 1], **columns)
    # What is not drawn of the others comes first.
    assert remarks(more) == ["4 of 5 numeric columns", "3 constants left out"]
    assert plot(x=[3, 4, 5], a=[1, 1, 1], b=[1, 2, 3]).names == ("a", "b")
    by_time = plot(a=[7, 7, 7], b=[1, 2, 3], at=[datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)])
    assert by_time.names == ("b",) and remarks(by_time)[0] == "a is always 7"


def test_the_first_chart_is_bars_only_for_few_rows_categories_and_bins() -> None:
    def first(**columns: object) -> ChartKind:
        return suitable_kinds(pa.table(columns), 20)[0]

    many = list(range(292))
    times = [datetime(2026, 1, 1) + timedelta(seconds=n * n) for n in many]
    assert first(**items(292)) is ChartKind.LINE and first(at=times, n=many) is ChartKind.LINE
    assert first(x=many, y=many) is ChartKind.LINE and first(x=many[:10], y=many[:10]) is ChartKind.BARS
    assert first(x=many[:60], y=many[:60]) is ChartKind.BARS  # bins
    assert first(kind=[str(n) for n in many[:60]], n=many[:60], m=many[:60]) is ChartKind.BARS
    assert first(n=many) is ChartKind.BARS and first(name=[str(n) for n in many], n=many) is ChartKind.BARS
    assert first(name=["a"] * 292, n=many, m=many) is ChartKind.LINE
    # Bars of the first rows of many would tell nothing about the others.
    assert suitable_kinds(pa.table({"x": many, "y": many, "z": many}), 20) == (ChartKind.LINE,)
    assert suitable_kinds(pa.table({"x": many, "y": many}), 20) == (ChartKind.LINE, ChartKind.BARS)


def test_more_rows_than_bars_have_room_for_are_drawn_as_the_distribution_of_their_values() -> None:
    chart = ResultChart()
    seconds = [0.2 + n % 10 / 20 for n in range(292)]
    for table in (pa.table({"seconds": seconds}), pa.table({"name": list(map(str, range(292))), "seconds": seconds})):
        chart.show(table, ChartKind.BARS, complete=True)
        lines = text(chart.paint(80, 20))
        assert lines[0].rstrip() == " ▪ rows by seconds" and "more" not in "".join(lines) and "█" in lines[-3]
    spread = distribution(plot(seconds=seconds))
    assert sum(count for count in spread.series[0] if count) == 292 and spread.xs is not None
    moments = pa.array([datetime(2026, 1, 1, 10, 0, n // 60) for n in range(292)], pa.timestamp("us", "UTC"))
    assert not remarks(distribution(plot(at=moments, seconds=seconds)))
    assert spread.xs[0] == 0.2 and spread.xs[-1] >= 0.6
    chart.show(pa.table({"seconds": seconds[:10]}), ChartKind.BARS, complete=True)
    assert "seconds" in text(chart.paint(80, 20))[0] and "rows" not in text(chart.paint(80, 20))[0]


@pytest.mark.parametrize(
    "values", [[7.0] * 300, [1e308, -1e308] * 200, [float("nan"), 1.0] * 200, [1e18, 1e18 + 1e3] * 99]
)
def test_values_without_a_distribution_have_bars(values: list[float]) -> None:
    made = plot(x=values)
    assert distribution(made) is made


@pytest.mark.parametrize(
    ("first", "seconds", "labels"),
    [
        ("2026-01-01 15:50:42.2", 1.4, ["15:50:42.500", "15:50:43.000"]),
        ("2026-01-01 15:50:42.2", 4, ["15:50:43", "15:50:44", "15:50:45", "15:50:46"]),
        ("2026-01-01 15:50:42", 14, ["15:50:45", "15:50:50"]),
        ("2026-01-01 15:50:42", 65, ["15:50:50", "15:51:00"]),
        ("2026-01-01 23:30:00", 3_600, ["23:30", "23:40"]),
        ("2026-01-01 09:00:00", 3 * 86_400, ["2026-01-02", "2026-01-03"]),
        ("2026-01-01 09:00:00", 12 * 86_400, ["2026-01-05", "2026-01-12"]),
        ("2026-01-03 00:00:00", 300 * 86_400, ["2026-03", "2026-05"]),
        ("1999-05-03 00:00:00", 20 * 365 * 86_400, ["2000", "2002"]),
    ],
)
def test_labels_of_times_are_different_round_moments(first: str, seconds: float, labels: list[str]) -> None:
    start = datetime.fromisoformat(first)
    times = [start + timedelta(seconds=seconds * part / 100) for part in (0, 3, 9, 50, 100)]
    for width in (40, 60, 75, 120):
        shown = text(line_chart(plot(at=times, n=[1, 2, 3, 4, 5]), width, 8))[-1].split("  ")
        shown = [label.strip() for label in shown if label.strip()]
        assert len(shown) == len(set(shown)) >= 2
        if width == 75:
            assert shown[:2] == labels[:2]


def test_times_below_a_histogram_are_different_round_moments() -> None:
    times = [datetime(2026, 1, 1, 15, 50, 42) + timedelta(milliseconds=100 * n) for n in range(40)]
    last = text(histogram(plot(at=times, n=[1] * 40), 79, 8))[-1].split()
    assert last == ["15:50:42", "15:50:43", "15:50:44", "15:50:45"]


def test_a_short_remark_about_scales_takes_the_place_of_the_name_of_x() -> None:
    table = pa.table({"country": ["France", "Peru", "Spain"], "stock": [3, 2, 1], "avg(price)": [1e5, 2e5, 3e5]})
    chart = ResultChart()
    chart.show(table, ChartKind.BARS, complete=True, keys="F8 lines   F10 rows")
    wide, narrow = (text(chart.paint(width, 12)[:1])[0] for width in (120, 57))
    assert "avg(price) by country   each series has a scale of its own" in wide
    assert narrow.startswith(" ▪ stock ▒ avg(price) own scales … ") and "F8 lines" in narrow


@pytest.mark.parametrize("kind", ChartKind)
def test_a_legend_without_room_leaves_out_whole_remarks(kind: ChartKind) -> None:
    columns = {f"n{number}": [row % 7 * 100**number for row in range(3_000)] for number in range(5)}
    chart = ResultChart()
    chart.show(pa.table({"x": range(3_000), **columns}), kind, complete=False, keys="F8 bars", zoom="z")
    whole = {"first 2,000 rows", "first 2,000", "4 of 5 numeric columns", "4 of 5 columns", "own scales"}
    whole |= {"each series has a scale of its own", "2 of 4 series", "2 of 4", ""}
    seen = set()
    for width in range(34, 160):
        legend = text(chart.paint(width, 12))[0].partition("z more")[0].partition("F8")[0].rstrip()
        said = re.sub(r"^( \S n\d)+( by x)?", "", legend)
        seen |= (texts := set(said.removesuffix("…").strip().split(", ")))
        assert texts <= whole, legend
        assert said.endswith("…") or "first 2,000" in said, legend
    assert "" in seen and {"first 2,000 rows", "first 2,000", "4 of 5 columns"} < seen


def test_the_legend_names_the_row_as_x() -> None:
    chart = ResultChart()
    chart.show(pa.table({"price": [3.5, 1.5, 2.5, 1.5], "page": [4, 9, 2, 7]}), ChartKind.LINE, complete=True)
    assert " by row" in text(chart.paint(80, 12)[:1])[0]
