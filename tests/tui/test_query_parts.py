"""Parts of the query screen without a terminal: tokens, completion, charts, differences, history."""

from __future__ import annotations

import math
import os
import stat
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import UserError
from tui_runner.system.files import state_folder
from tui_runner.tui.query.cell_viewer import SHOWN, changed_cells, shown_cells, whole_text
from tui_runner.tui.query.completion import KnownTable, Vocabulary, offer
from tui_runner.tui.query.result_chart import Plot, bars, line_chart, plot_of
from tui_runner.tui.query.script_files import KEPT, History, PastStatement, read_statements, write_statements
from tui_runner.tui.query.sql_tokens import aliases, by_line

WORDS = Vocabulary(
    tables=(
        KnownTable("main", "books", (("title", "VARCHAR"), ("price", "DOUBLE"), ("Select", "DATE"))),
        KnownTable("main", "order", (("paid", "DOUBLE"), ("at", "TIMESTAMP"))),
        KnownTable("main", "left", ()),
        KnownTable("runner", "items", (("item", "BIGINT"), ("state", "VARCHAR"))),
    ),
    functions=("sum", "strftime", "starts_with"),
    keywords=("freeze", "from", "order", "select", "struct", "where"),
    quoted_words=frozenset({"at", "from", "left", "order", "select", "where"}),
)


def offered(text: str, *, asked: bool = False) -> list[str]:
    """Return the offered words for a cursor at `|`."""
    position = text.index("|")
    return [word.text for word in offer(text.replace("|", ""), position, WORDS, asked=asked).words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT ti| FROM books", ["title"]),
        ("SELECT b.| FROM books AS b", ["title", "price", '"Select"']),
        ("SELECT i.st| FROM runner.items i", ["state"]),
        ("FROM runner.|", ["items"]),
        ("FROM it|", ["runner.items"]),
        ("FROM bo|", ["books"]),
        ("FROM le|", ['"left"']),
        ('SELECT o.at| FROM "order" o', ['"at"']),
        ("SELECT x.pr|", ["price"]),
        ("WITH total AS (SELECT sum(price) AS turnover FROM books) SELECT tu| FROM total", ["turnover"]),
        ("WITH total AS (SELECT sum(price) AS turnover FROM books) FROM to|", ["total"]),
        ("WITH total(cheap, dear) AS NOT MATERIALIZED (FROM books) SELECT t.de| FROM total t", ["dear"]),
        ("WITH total AS (SELECT *, 1 AS one FROM books) SELECT total.|", ["one", "title", "price", '"Select"']),
        ("SELECT price * 2 AS double_price FROM books ORDER BY dou|", ["double_price"]),
        ("SELECT CAST(price AS double_type) FROM books ORDER BY dou|", []),
        ("SELECT 1 AS pri| FROM books", ["price"]),
        ("SELECT * FROM books AS shelf WHERE she|", ["shelf"]),
        ("SELECT 'ti|' FROM books", []),
        ("SELECT 1 -- ti|\nFROM books", []),
        ("SELECT title| FROM books", []),
        ("wh|", ["where"]),
        ("WH|", ["WHERE"]),
        ("SELECT t|", []),
        ("SELECT 12|", []),
        ('SELECT * FROM "order" WHERE pa|', ["paid"]),
        ('FROM "order" o WHERE o.pa|', ["paid"]),
        ('FROM "order" WHERE "order".pa|', ["paid"]),
        ('FROM "order" WHERE "pa|', ["paid"]),
        ('FROM "order" JOIN books b ON "b".ti|', ["title"]),
        ('FROM "order"|', []),
        ('FROM "order|', ['"order"', "order"]),
        ("SELECT * fr|", ["from", "freeze"]),
        ('SELECT "Se| FROM books', ['"Select"', "SELECT"]),
        ("SELECT st| FROM runner.items", ["state", "struct", "strftime", "starts_with"]),
    ],
)
def test_words_fit_where_the_cursor_is(text: str, expected: list[str]) -> None:
    assert offered(text) == expected


def test_words_are_offered_for_nothing_when_asked() -> None:
    words = offered("SELECT |", asked=True)
    assert words[:2] == ["title", "price"], "columns of the results come first"
    assert {"books", "runner.items"} <= set(words)


def test_names_are_quoted_before_the_words_are_known() -> None:
    assert Vocabulary().identifier("at") == '"at"'
    assert [WORDS.identifier(name) for name in ("at", "AT", "price", "a b")] == ['"at"', '"AT"', "price", '"a b"']


def test_aliases_of_a_statement() -> None:
    sql = "SELECT * FROM books AS b, (SELECT 1) s JOIN runner.items i USING (x) LEFT JOIN \"we ird\" ON 'from x y' = 1"
    assert dict(aliases(sql)) == {
        "b": "books", "books": "books", "i": "runner.items", "items": "runner.items", "we ird": "we ird",
    }  # fmt: skip


def test_lines_are_coloured_with_tokens_over_several_of_them() -> None:
    lines = by_line("SELECT 'ü\nx' -- c\n, 1.5")
    assert [[(token.start, token.end, token.role) for token in line] for line in lines] == [
        [(0, 6, "sql-keyword"), (7, 9, "sql-string")],
        [(0, 2, "sql-string"), (3, 7, "sql-comment")],
        [(0, 1, "sql-operator"), (2, 5, "sql-number")],
    ]


@settings(max_examples=66)
@given(st.text(st.sampled_from("aä漢🎉'\"$;-/*\n.(), 1\t\0\ud800select"), max_size=40))
def test_any_text_can_be_coloured_and_completed(text: str) -> None:
    lines = text.split("\n")
    for line, tokens in zip(lines, by_line(text), strict=True):
        assert all(0 <= token.start <= token.end <= len(line) for token in tokens)
    for position in range(len(text) + 1):
        assert 0 <= offer(text, position, WORDS).start <= position


def test_cells_are_cut_before_they_become_text() -> None:
    long = pa.array(["x" * 1_000_000, None, "\x1b[1m", "a\nb"])
    shown = shown_cells(long)
    assert shown[0] is not None and len(shown[0]) == SHOWN and shown[0].endswith("…")
    assert shown[1:] == [None, "␛[1m", "a␊b"]
    assert shown_cells(pa.array([list(range(200_000))])) == ["(1.6 MB)"]
    assert shown_cells(pa.array([3.5444999999999998, -12345.5, 1e300])) == ["3.5445", "-12,345.5", "1e+300"]
    assert shown_cells(pa.array([2024, 38211, -1234567])) == ["2024", "38,211", "-1,234,567"]
    assert whole_text(pa.array([38211]), 0) == ("38211", 5), "copied and exported as they are"
    assert shown_cells(pa.array([b"\x00" * 5_000]))[0] is not None
    assert whole_text(long, 0, limit=10) == ("xxxxxxxxxx", 1_000_000)
    assert whole_text(long, 1) == (None, 0)


def test_changed_cells_are_those_that_differ() -> None:
    old = pa.table({"a": [1, 2, None], "b": [[1], [2], None], "c": ["x", "y", "z"]})
    new = pa.table({"a": [1, None, 3, 4], "b": [[1], [5], None, None], "c": ["x", "y", "q", "n"]})
    assert changed_cells(old, new) == {(1, 0), (2, 0), (1, 1), (2, 2), (3, 0), (3, 1), (3, 2)}
    assert changed_cells(None, new) == changed_cells(pa.table({"z": [1]}), new) == frozenset()


def test_a_chart_says_what_it_leaves_out() -> None:
    table = pa.table({"x": [str(number) for number in range(50)], **{f"y{n}": [float(n)] * 50 for n in range(6)}})
    plot = plot_of(table, complete=False)
    assert isinstance(plot, Plot)
    assert [each.text for each in plot.remarks] == ["first 50 rows", "4 of 6 numeric columns"]
    assert "… and 48 more" in bars(plot, 60, 10)[-1][0][0]
    assert plot_of(pa.table({"x": ["a"]}), complete=True) == "a chart needs a numeric column"
    assert plot_of(pa.table({"x": [1], "y": ["a"]}), complete=True) == "a chart needs a numeric column"
    assert plot_of(pa.table({"x": [1], "y": [2]}).slice(1), complete=True) == "there are no rows"


def drawn(values: list[float | None]) -> tuple[str, str]:
    """Return the bars and the line of a column."""
    plot = plot_of(pa.table({"x": ["a"] * len(values), "y": pa.array(values, pa.float64())}), complete=True)
    assert isinstance(plot, Plot)
    pictures = (bars(plot, 40, 12), line_chart(plot, 40, 8))
    bar_text, line_text = ("\n".join("".join(text for text, _ in line) for line in lines) for lines in pictures)
    return bar_text, line_text


def test_values_that_cannot_be_drawn_are_named_as_what_they_are() -> None:
    bar_text, _ = drawn([1.0, None, math.inf, -math.inf, math.nan])
    assert [line.split()[-1] for line in bar_text.split("\n")] == ["1", "NULL", "inf", "-inf", "nan"]
    assert "no value is finite" in drawn([None, math.inf])[1]


def test_the_largest_numbers_are_drawn_and_written_short() -> None:
    bar_text, line_text = drawn([1.7e308, -1.7e308, 0.0])
    assert bar_text.count("█") > 10 and "1.7e+308" in bar_text and "-1.7e+308" in line_text
    drawn([5e-324, 0.0])
    assert "-1.1e+308" in drawn([-1.1e308])[1]


@pytest.mark.parametrize(("value", "ends"), [(5.0, ("5", "0")), (-5.0, ("0", "-5")), (0.0, ("1", "0"))])
def test_a_line_that_is_level_has_a_scale_from_zero(value: float, ends: tuple[str, str]) -> None:
    lines = drawn([value] * 9)[1].split("\n")
    assert (lines[0].split("│")[0].strip(), lines[-2].split("│")[0].strip()) == ends


numbers = st.one_of(st.none(), st.floats(), st.integers(-(10**18), 10**18))


@settings(max_examples=50)
@given(st.lists(numbers, min_size=1, max_size=30), st.integers(1, 90), st.integers(1, 30))
def test_every_chart_stays_in_its_lines(values: list[float | None], width: int, height: int) -> None:
    table = pa.table({"x": [str(number) for number in range(len(values))], "y": pa.array(map(as_float, values))})
    plot = plot_of(table.cast(pa.schema([("x", pa.string()), ("y", pa.float64())])), complete=True)
    assert isinstance(plot, Plot)
    for lines in (bars(plot, width, height), line_chart(plot, width, height)):
        assert len(lines) <= height
        assert all(sum(len(text) for text, _ in line) <= width for line in lines)


def as_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def test_history_survives_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "queries.jsonl"
    history = History(path)
    for number in range(KEPT + 5):
        history.add(f"SELECT {number}") if number % 200 == 0 or number > KEPT else None
    history.add("  ")
    path.write_text(path.read_text() + "not json\n17\n")
    assert History(path).statements[-1] == f"SELECT {KEPT + 4}"
    assert History(tmp_path / "none").statements == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    inside = History(blocked / "queries.jsonl")
    inside.add("SELECT 1")
    assert inside.statements == ["SELECT 1"]


def test_history_knows_when_statements_were_run_and_which_failed(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('"SELECT 0"\n{"sql": "SELECT 1", "at": ' + "9" * 400 + '}\n{"sql": 2}\n')
    path.chmod(0o600)
    now = [100.0]
    history = History(path, clock=lambda: now[0])
    history.add("SELECT x")
    history.mark_failed("SELECT x")
    history.mark_failed("SELECT unheard_of")
    history.add("SELECT y")
    history.mark_failed("SELECT y", ended=True)
    now[0] = 200.0
    history.add("SELECT 0")
    assert History(path).entries == [
        PastStatement("SELECT x", 100.0, failed=True),
        PastStatement("SELECT y", 100.0, ended=True),
        PastStatement("SELECT 0", 200.0),
    ]


def test_a_pipe_in_the_place_of_the_history_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queries.jsonl")
    assert History(tmp_path / "queries.jsonl").statements == []


def test_statements_are_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    file, link = tmp_path / "mine.sql", tmp_path / "link.sql"
    file.write_text("SELECT 1\n")
    file.chmod(0o640)
    link.symlink_to(file)
    write_statements(link, "SELECT 2")
    assert link.is_symlink() and file.read_text() == "SELECT 2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    with pytest.raises(UserError, match="not a character"):
        write_statements(file, "SELECT '\ud800'")
    assert file.read_text() == "SELECT 2\n" and set(tmp_path.iterdir()) == {file, link}


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is in ~/Library")
def test_state_folder_ignores_a_relative_path_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert state_folder() == Path("/x/tui-runner")
    monkeypatch.setenv("XDG_STATE_HOME", "x")
    assert state_folder() == Path("~/.local/state/tui-runner").expanduser()


def test_files_that_are_no_statements_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sql").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_statements(tmp_path / "bad.sql")
    (tmp_path / "good.sql").write_bytes("\ufeffSELECT 1\r\n".encode())
    assert read_statements(tmp_path / "good.sql") == "SELECT 1\n"


def test_one_line_that_cannot_be_read_costs_no_other_statement(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'"SELECT 1"\n"SELECT \xe9"\n{"no": "text"}\n' + b"[" * 100_000 + b'\n"SELECT 2"\n"SELECT 3')
    path.chmod(0o600)
    history = History(path)
    assert history.statements == ["SELECT 1", "SELECT 2"]
    history.add("SELECT 4")
    assert History(path).statements == ["SELECT 1", "SELECT 2", "SELECT 4"]
    assert [each.name for each in tmp_path.iterdir()] == ["queries.jsonl"]


def test_an_unreadable_history_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b"SQLite format 3\x00\xff")
    path.chmod(0o600)
    History(path).add("SELECT 1")
    assert History(path).statements == ["SELECT 1"]
    assert path.with_name("queries.jsonl.unread").read_bytes() == b"SQLite format 3\x00\xff"
