"""Reading a log back finds every line that was written, wherever the files were cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.engine.logs import log_reader
from tui_runner.engine.logs.log_file import LogFile, log_path, written
from tui_runner.engine.logs.log_reader import LogReader, parsed
from tui_runner.engine.protocol import LogLine, LogLines


def line(number: int, level: str = "INFO") -> LogLine:
    return LogLine(1_790_000_000.0 + number / 8, level, f"page {number}", 3, number, 1)


def write(path: Path, lines: list[LogLine], run_id: int = 3, limit: int = 1 << 20) -> LogReader:
    file = LogFile(path, run_id, lambda reason: pytest.fail(reason), limit=limit)
    for each in lines:
        file.add(LogLines(1, (each,)))
    file.close()
    return LogReader(path, run_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return log_path(tmp_path / "x.duckdb")


@given(
    st.floats(0, 4e9),
    st.sampled_from(["INFO", "WARNING", "Level 15", "NOTIFICATION"]),
    st.text(max_size=40).filter(lambda text: "\n" not in text),
    st.one_of(st.none(), st.integers(0, 10**9)),
)
@settings(max_examples=66)
def test_a_line_that_was_written_is_read_as_it_was(at: float, level: str, text: str, item: int | None) -> None:
    told = LogLine(at, level, text, item, item)
    read = parsed(written(told))
    assert (read.level, read.chunk, read.item) == (level, item, item) and abs(read.at - at) < 0.001
    assert written(read) == written(told)


def test_lines_of_no_known_form_are_read_as_their_text() -> None:
    digits = f"2026-09-21T12:00:00.000Z INFO     chunk {'9' * 5_000} item 5: x"  # more than Python converts
    for text in ("--- run 3", "(5 lines were dropped)", "", "99Z INFO chunk - item -: x", digits):
        assert parsed(text) == LogLine(0.0, "", text)


@pytest.mark.parametrize("block", [7, 100, 1 << 18])
def test_pages_back_and_forth_have_every_line_once(path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(log_reader, "_BLOCK", block)
    reader = write(path, [line(number) for number in range(50)])
    items = []
    place = None
    while True:
        page = reader.before(place, 7)
        items[:0] = [each.line.item for each in page.lines]
        if page.whole:
            break
        place = page.lines[0].start
    assert items == [None, *range(50)]  # the heading of the run, and its lines
    start = reader.beginning()
    assert start is not None
    first = reader.after(start.place, 20)
    rest = reader.after(first.lines[-1].end, 100)
    assert [each.line.item for each in (*first.lines, *rest.lines)] == items
    assert not first.whole and rest.whole


def test_only_the_lines_of_its_run_are_read(path: Path) -> None:
    write(path, [line(number) for number in range(5)], run_id=2)
    write(path, [line(number) for number in range(5, 7)], run_id=3)
    reader = write(path, [line(number) for number in range(7, 9)], run_id=3)  # it was resumed
    assert [each.line.item for each in reader.before(None, 100).lines] == [None, 5, 6, None, 7, 8]
    nothing_yet = LogReader(path, 4)
    assert nothing_yet.before(None, 100).lines == () and nothing_yet.beginning() is None


def test_a_file_that_has_become_the_older_one_is_read_on(path: Path) -> None:
    reader = write(path, [line(number) for number in range(90)], limit=2_500)
    older = path.with_name(path.name + ".1")
    page = reader.before(None, 10_000)
    items = [each.line.item for each in page.lines]
    assert items == list(range(items[0], 90)) and older.exists()
    assert len({each.start.file for each in page.lines}) == 2
    middle = next(each for each in page.lines if each.start.file != page.lines[0].start.file)
    path.rename(older)
    write(path, [line(number) for number in range(90, 92)])
    # What was before it is gone now; its own place is still right.
    assert reader.before(middle.start, 5).lines == ()
    assert [each.line.item for each in reader.after(middle.start, 2).lines] == [middle.line.item, middle.line.item + 1]
    older.unlink()
    assert reader.after(middle.start, 2) == reader.before(middle.start, 2) == log_reader.Page()


def test_wanted_lines_alone_are_found_however_far_they_are(path: Path) -> None:
    lines = [line(number, "ERROR" if number % 100 == 5 else "INFO") for number in range(1_000)]
    reader = write(path, lines)
    found = reader.before(None, 2, lambda each: each.level == "ERROR")
    assert [each.line.item for each in found.lines] == [805, 905] and not found.whole
    assert reader.before(found.lines[0].start, 99, lambda each: each.level == "ERROR").whole


@pytest.mark.parametrize("text", ["PAGE 123", "é 7", "nowhere"])
def test_a_text_is_found_in_whatever_case(path: Path, text: str) -> None:
    lines = [line(number) for number in range(500)]
    lines[7] = LogLine(1.0, "INFO", "É 7")
    reader = write(path, lines)
    start = reader.beginning()
    assert start is not None

    def has(line: LogLine) -> bool:
        return text.lower() in line.text.lower()

    plain = [each.line for each in reader.before(None, 9_999).lines if has(each.line)]
    assert [each.line for each in reader.before(None, 99, has, text=text).lines] == plain
    assert [each.line for each in reader.after(start.place, 99, has, text=text).lines] == plain


def test_the_place_of_lines_is_found_among_repeated_ones(path: Path) -> None:
    same = LogLine(1_790_000_000.0, "INFO", "again", 3, 1, 1)
    reader = write(path, [line(0), same, same, line(1), same])
    place = reader.place_of(same, line(1))
    assert place is not None
    assert [each.line.text for each in reader.before(place, 2).lines] == ["page 0", "again"]
    assert reader.place_of(line(7), None) is None


def test_a_line_that_is_being_written_is_left_out(path: Path) -> None:
    reader = write(path, [line(0)])
    with path.open("a") as file:
        file.write(written(line(1)))
    assert [each.line.item for each in reader.before(None, 9).lines] == [None, 0]
    start = reader.beginning()
    assert start is not None and [each.line.item for each in reader.after(start.place, 9).lines] == [None, 0]


def test_a_heading_with_no_number_of_a_run_is_a_line(path: Path) -> None:
    reader = write(path, [line(0)])
    with path.open("a") as file:
        file.write(f"--- run {'9' * 5_000}\n")
    assert [each.line.item for each in reader.before(None, 9).lines] == [None, 0, None]


def test_where_there_is_no_file_there_are_no_lines(path: Path) -> None:
    reader = LogReader(path, 3)
    assert reader.before(None, 5) == log_reader.Page() and reader.beginning() is None


def test_a_hostile_level_is_written_in_one_harmless_line() -> None:
    assert not set(written(LogLine(0.0, "A\nB\x1b[2J", "text"))) & set("\n\x1b")


def test_a_lost_beginning_is_distinguished_from_the_beginning_of_the_run(path: Path) -> None:
    reader = write(path, [line(0), line(1)])
    first = reader.beginning()
    assert first is not None and not first.cut
    text = path.read_text(encoding="utf-8")
    path.write_text(text.partition("\n")[2], encoding="utf-8")
    cut = reader.beginning()
    assert cut is not None and cut.cut and [each.line.item for each in reader.after(cut.place, 9).lines] == [0, 1]
