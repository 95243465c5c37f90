"""Inputs: lines, JSON, globs and ranges, read from real files."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.input_files import read, refusal, written

from tui_runner.cli import overwritten_line
from tui_runner.engine.packed_items import pack, unpack
from tui_runner.errors import UserError
from tui_runner.inputs import compressed_files, open_source
from tui_runner.inputs.json_files import parsed
from tui_runner.inputs.keys import keyed, plain_key
from tui_runner.jobs.job import job
from tui_runner.text.items import Refused


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT"])
def test_a_line_of_text_is_an_item(folder: Path, name: str) -> None:
    text = b"\xef\xbb\xbfone\r\n\r\n  \n two \n\xc3\xa9[/foo]\nbroken \xff\nlast"
    source = open_source(written(name, text))
    assert source.columns == ("line",)
    assert list(source) == ["one", " two ", "é[/foo]", "broken \\xff", "last"]
    assert list(source) == list(source)
    assert source.total == (None if name.endswith("gz") else 5)


def test_standard_input_is_read_as_it_comes(folder: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream, os.fdopen(write_end, "wb", buffering=0) as writer:
        source = open_source("-", stdin=stream)
        assert (source.columns, source.total, source.text) == (("line",), None, "-")
        items = iter(source)
        writer.write(b"one\n\n")
        assert next(items) == "one"
        writer.write(b'{"a": 1}')
        writer.close()
        assert list(items) == ['{"a": 1}']
    assert read("-", stdin=io.StringIO("a\nb\n")) == ["a", "b"]


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


@given(_json_values.map(json.dumps) | st.text('[]{}:,0123456789.eE+-"\\ud8ntrlas \t\n\ufeff', max_size=12))
@example(f"{2**64}")
@example("1e400")
@example("-NaN")
@example('{"a": 1, "a": 2.0}')
@example("[" * 100_000)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    def result(read: Callable[[bytes | str], object], source: bytes | str) -> str:
        try:
            return repr(read(source))
        except (ValueError, RecursionError) as error:
            return f"{type(error).__name__}: {error}"

    for source in (text, text.encode("utf-8", "surrogatepass"), text.encode("utf-16", "surrogatepass")):
        assert result(parsed, source) == result(json.loads, source)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_json_lines_keep_every_type(folder: Path, name: str) -> None:
    lines = '{"a": 1, "d": "2026-01-01"}\n\n{"a": 123456789012345678901234567890, "late": [1.5, null]}\n'
    source = open_source(written(name, lines))
    assert source.columns == ("a", "d", "late")
    assert list(source) == [{"a": 1, "d": "2026-01-01"}, {"a": 123456789012345678901234567890, "late": [1.5, None]}]


def test_json_objects_with_one_member_give_their_values(folder: Path) -> None:
    source = open_source(written("a.jsonl", '{"url": "x"}\n{"url": null}\n{}\n'))
    assert source.columns == ("url",)
    assert list(source) == ["x", None, None]


def test_json_that_is_no_table_has_no_columns(folder: Path) -> None:
    source = open_source(written("a.jsonl", '[1, 2]\n"x"\n{"a": 1}\n'))
    assert source.columns is None
    assert list(source) == [[1, 2], "x", {"a": 1}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[", "it is not JSON: Expecting value (character 2)"),
        (b'{"a": 1', "it is not JSON: Expecting ',' delimiter (character 8)"),
        (b'{"a": "\xff"}', "it is not UTF-8 text"),
        (b'{"a": %b}' % (b"9" * 6_000), "it has a number of more than 4,300 digits"),
        (b"[" * 100_000, "it is nested too deep"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_line_that_cannot_be_read_fails_alone(folder: Path, name: str, line: bytes, reason: str) -> None:
    source = open_source(written(name, b"\n".join([b'{"a": 1}', line, b"", b'{"a": 2}', line, b'{"a": 3}'])))
    assert source.columns == ("a",)
    items = list(source)
    assert [items[0], items[2], items[4]] == [1, 2, 3]
    for place, line_number in ((1, 2), (3, 5)):
        where = f"{folder}/{name}:{line_number}"
        assert items[place] == Refused(
            "InputUnreadable", f"{where}: {reason}; correct the line, then retry the run", where
        )


def test_json_line_that_is_broken_behind_the_sample_fails_alone(folder: Path) -> None:
    items = list(open_source(written("a.jsonl", '{"a": 1}\n' * 2000 + "{")))
    assert items[:2000] == [1] * 2000
    assert isinstance(items[2000], Refused) and items[2000].message.startswith(f"{folder}/a.jsonl:2001: it is not JSON")


@pytest.mark.parametrize(
    "text", ["nonsense\n" * 2_000, "{", '{\n "a": [\n  "x"\n ]\n}\n', "[\n1,\n2,\n3\n]\n", "[\n" * 999 + "1\n" * 5_000]
)
def test_file_without_json_lines_is_refused_at_once(folder: Path, text: str) -> None:
    said = refusal(written("a.jsonl", text))
    assert said.startswith(f"{folder}/a.jsonl:1: it is not JSON: ")
    assert said.endswith("; write one JSON value a line, or name a file that is one JSON text .json")


def test_line_that_is_too_long_is_no_reason_to_refuse_a_file(folder: Path) -> None:
    items = list(open_source(written("a.jsonl", f'"{"x" * 2_000}"\n'), max_bytes=1_000))
    assert [item.type for item in items if isinstance(item, Refused)] == ["InputTooLarge"]


@pytest.mark.parametrize(
    ("text", "columns", "items"),
    [
        ('[{"a": 1, "b": 2.0}, {"a": "x"}]', ("a", "b"), [{"a": 1, "b": 2.0}, {"a": "x"}]),
        ('{\n "a": 1,\n "b": []\n}', ("a", "b"), [{"a": 1, "b": []}]),
        ('{"a": 1}\n{"a": 2}', ("a",), [1, 2]),
        ('[1, "é", null, [2]]', None, [1, "é", None, [2]]),
        ("[]", None, []),
        ("", None, []),
        (f'[{{"n": {10**30}, "d": "2026-01-01"}}]', ("n", "d"), [{"n": 10**30, "d": "2026-01-01"}]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_files(folder: Path, name: str, text: str, columns: object, items: list[object]) -> None:
    source = open_source(written(name, text))
    assert source.columns == columns
    assert list(source) == items
    assert source.total == len(items)


def test_a_path_that_duckdb_takes_for_a_pattern_of_other_folders_is_refused(folder: Path) -> None:
    (folder / "a\\b[1]").mkdir()
    path = written("a\\b[1]/x.csv", "n\n1\n")
    assert refusal(path).endswith("with which DuckDB finds no file; rename the file or its folder")


def test_json_that_breaks_off(folder: Path) -> None:
    assert (
        refusal(written("a.json", '[{"a": 1}, {"a": 2},'))
        == f"{folder}/a.json: its array does not end: the file was cut off; get the whole file"
    )
    said = refusal(written("b.json", '{"a": 1}\n {"a": '))
    assert said == f"{folder}/b.json:2: it is not JSON: its last value breaks off; complete it there"
    large = '{"a": 1}\n' * 1_000_000 + '{"a": '  # not parsed again for its line
    assert refusal(written("c.json", large)).startswith(f"{folder}/c.json: it is not JSON: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1}] junk', 1),
        ('[{"a": "]\\\\"}, "\\"]"]\n\n junk', 3),
        ("[1] ]", 1),
        ("[1,\n2]\n5 [3]", 3),
        ("[1]\n\\", 2),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 1 << 18])
def test_what_stands_behind_a_json_array_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, block: int
) -> None:
    monkeypatch.setattr(compressed_files, "BLOCK", block)
    assert refusal(written("a.json", text)) == (
        f"{folder}/a.json:{line}: something follows the end of its array; "
        "remove it, or write all values without the brackets of the array"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'[{"a": "\xff"}]', "it is not JSON: invalid UTF-8 encoding in string"),
        (b'[1, {"a": %b}]' % (b"9" * 6_000), "row 2: it has a number of more than 4,300 digits"),
        (b"[" * 100_000 + b"]" * 100_000, "row 1: it is nested too deep"),
    ],
    ids=["bytes that are not UTF-8", "a number of 6,000 digits", "nested deeper than any Python reads"],
)
def test_json_file_with_a_value_that_cannot_be_read_says_why(folder: Path, text: bytes, reason: str) -> None:
    assert refusal(written("a.json", text)) == f"{folder}/a.json: {reason}"


def test_empty_fields_leave_a_column_its_type(folder: Path) -> None:
    assert read(written("a.csv", "width,height\n1,2\n,4\n5.5,\n")) == [
        {"width": 1.0, "height": 2},
        {"width": None, "height": 4},
        {"width": 5.5, "height": None},
    ]


def test_a_glob_reads_files_in_the_order_of_their_names(folder: Path) -> None:
    (folder / "in").mkdir()
    for name, text in (("b.csv", "y,x\n3,4\n"), ("a.csv", "x,y\n1,2\n")):
        written(f"in/{name}", text)
    source = open_source("in/*.csv")
    assert list(source) == [{"x": 1, "y": 2}, {"x": 4, "y": 3}]
    assert source.total == 2
    assert len(read("**/*.csv")) == 2
    for name in ("1.parquet", "2.parquet"):
        pq.write_table(pa.table({"n": [name]}), f"in/{name}")
    assert read("in/*.parquet") == ["1.parquet", "2.parquet"]
    written("in/1.txt", "a\nb"), written("in/2.txt.gz", "c")
    assert read("in/*.txt*") == ["a", "b", "c"]


def test_columns_of_later_files_are_there_in_all(folder: Path) -> None:
    (folder / "in").mkdir()
    written("in/a.csv", "x,y\n1,2\n"), written("in/b.csv", "z\n3\n"), written("in/c.csv", "y,more,x\n5,6,7\n")
    rows = [
        {"x": 1, "y": 2, "z": None, "more": None},
        {"x": None, "y": None, "z": 3, "more": None},
        {"x": 7, "y": 5, "z": None, "more": 6},
    ]
    assert read("in/*.csv") == rows
    for name in "abc":
        names = {"a": ("x", "y"), "b": ("z",), "c": ("y", "more", "x")}[name]
        row = next(row for row in rows if all(row[column] is not None for column in names))
        pq.write_table(pa.table({column: [row[column]] for column in names}), f"in/{name}.parquet")
    assert read("in/*.parquet") == rows
    assert open_source("in/*.parquet").columns == ("x", "y", "z", "more")
    written("in/d.csv", "http://a\n")
    assert re.search(
        r"in/d\.csv: its first line does not name its column, and .*in/a\.csv has several", refusal("in/*.csv")
    )


def test_files_of_one_column_may_call_it_differently(folder: Path) -> None:
    written("a.csv", "url\nx\n"), written("b.csv", "address\ny\n")
    assert read("?.csv") == ["x", "y"]


def test_nested_columns_and_names_that_differ_in_case_alone_are_columns_of_a_later_file(folder: Path) -> None:
    pq.write_table(pa.table({"n": [1]}), "a.parquet")
    pq.write_table(pa.table({"s": [{"a": {"b": 1}, "c": [1]}], "m": [[1]], "N": [2]}), "b.parquet")
    rows = read("?.parquet")
    assert rows[0] == {"n": 1, "s": None, "m": None, "N": None}
    assert rows[1] == {"n": None, "s": {"a": {"b": 1}, "c": [1]}, "m": [1], "N": 2}


def test_broken_later_parquet_file_is_found_at_once(folder: Path) -> None:
    for number in range(3):
        pq.write_table(pa.table({"n": [number]}), f"{number}.parquet")
    Path("1.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(UserError) as caught:
        open_source("?.parquet")
    advice = "get the whole file again"
    assert str(caught.value) == f"{folder}/1.parquet: it can't be read as Parquet: Footer length error; {advice}"


def test_parquet_file_that_is_cut_off_says_so(folder: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), "a.parquet")
    Path("a.parquet").write_bytes(Path("a.parquet").read_bytes()[:-1])
    assert refusal("a.parquet").startswith(
        f"{folder}/a.parquet: it can't be read as Parquet: No magic bytes found; get"
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_member_that_comes_late_is_passed_by_name(folder: Path, name: str) -> None:
    lines = [f'{{"id": {number}}}' for number in range(1_200)] + ['{"id": 1200, "extra": "KEEP"}']
    written(name, "\n".join(lines))
    source = open_source(name)
    assert source.columns == ("id",)
    items = list(source)
    assert (items[0], items[1200]) == (0, {"id": 1200, "extra": "KEEP"})

    def both(id: int, extra: str = "") -> object:
        return id, extra

    def plain(id, extra=""):  # type: ignore[no-untyped-def]  # nothing is converted
        return id, extra

    for function in (job(both), job(plain)):
        call = function.caller({}, by_name=function.check_input(source.columns), from_input=True)
        assert (call(items[0]), call(unpack(pack(items))[1200])) == ((0, ""), (1200, "KEEP"))
    assert plain_key(keyed(items[1200], "id")) == plain_key(1200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope.csv", "nope.csv: there is no such file; did you mean "),
        ("no/where.csv", "there is no folder"),
        ("*.nope", "no file matches"),
        ("*", "it matches files of several kinds"),
        (".", "the input is a folder"),
        ("", "'' names no input"),
        ("x.xlsx", ".xlsx can't be read; inputs end in .csv, .tsv, .parquet"),
        ("noending", "its name has no ending; inputs end in .csv"),
        ("https://x.org/a.csv", "a URL cannot be the input itself"),
        (
            "https://u:pw@x.org/?token=x",
            "'https://***@x.org/?token=***': a URL cannot be the input itself; put URLs in a",
        ),
        ("\x1b]52;c;x\x07.csv", r"'\x1b]52;c;x\x07.csv': there is no such file"),
        ("a\0b.csv", "names no input"),
        ("x" * 5000 + ".csv", "the input can't be read"),
        ("range:5", "write range:START:STOP"),
        ("range:1:x", "is not a range"),
        ("range:1:2:0", "is not a range"),
        ("range:1:2:3:4", "is not a range"),
    ],
)
def test_source_that_is_no_input_says_so(folder: Path, text: str, message: str) -> None:
    written("nope1.csv", "a,b\n"), written("b.txt", "x")
    if text in ("x.xlsx", "noending"):
        written(text, "")
    assert message in refusal(text)


def test_matches_of_a_glob_that_are_no_files_are_named(folder: Path) -> None:
    for name in ("a.txt", "b.txt"):
        written(name, "x\n")
    Path("folder.txt").mkdir()
    assert open_source("*.txt").remarks == ()
    Path("gone.txt").symlink_to("nowhere")
    source = open_source("*.txt")
    assert list(source) == ["x", "x"]
    assert source.remarks == (f"1 of 3 matches of *.txt is not a file and is left out: {folder}/gone.txt",)
    os.mkfifo("pipe.txt")
    said = f"2 of 4 matches of *.txt are not files and are left out: {folder}/gone.txt, {folder}/pipe.txt"
    assert open_source("*.txt").remarks == (said,)
    assert (
        refusal("*e.txt")
        == f"*e.txt: nothing that matches is a file: {folder}/gone.txt, {folder}/pipe.txt; check the pattern"
    )


def test_paths_that_are_no_files_are_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo("pipe.csv")
    assert "pipe.csv: the input is a pipe, a socket or a device, not a file; give a pipe" in refusal("pipe.csv")
    Path("loop.csv").symlink_to("loop.csv")
    Path("gone.txt").symlink_to("nowhere")
    for name in ("loop.csv", "gone.txt"):
        assert refusal(name) == f"{name}: the input is a link that leads nowhere; check the link"


@pytest.mark.parametrize("name", ["\udcff.csv", "\udcff.json", "\udcff.parquet"])
def test_a_path_that_is_no_text_is_said_to_be_that(folder: Path, name: str) -> None:
    assert "its path is not UTF-8 text, which DuckDB needs; rename it" in refusal(written(name, "a,b\n1,2\n"))
    assert read(written("\udcff.txt", "a\n")) == ["a"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.csv", "a.tsv.gz", "a.json", "a.json.gz"])
def test_text_in_another_encoding_is_refused(folder: Path, name: str, encoding: str, mark: str) -> None:
    said = refusal(written(name, f'{mark}"Zoë 1…"\n"x"\n'.encode(encoding)))
    assert said == f"{folder}/{name}: it is {encoding[:6].upper()} text; save it as UTF-8"


def test_standard_input_in_another_encoding_is_refused(folder: Path) -> None:
    said = refusal("-", stdin=io.BytesIO("one\ntwo\n".encode("utf-16")))
    assert said == "standard input: it is UTF-16 text; save it as UTF-8"


@pytest.mark.parametrize("content", [b"a\0b\0\0\nlong word\n", b"\0\0\0\0\0\0\0\0\n", b"a\0bc\0def\0ghij"])
def test_nul_bytes_alone_are_no_other_encoding(folder: Path, content: bytes) -> None:
    assert read(written("a.txt", content)) == content.decode().split("\n")[: content.count(b"\n") or 1]


def test_ranges(folder: Path) -> None:
    source = open_source("range:1:10:3")
    assert (list(source), source.total, source.columns) == ([1, 4, 7], 3, ("value",))
    assert read("range:3:0:-1") == [3, 2, 1]
    assert read("range:0:0") == []
    assert open_source("range:0:1_000_000_000_000").total == 10**12


def test_progress_of_opening_an_input_is_said_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(overwritten_line.time, "monotonic", lambda: now)
    said: list[str] = []
    slow = overwritten_line.SlowOnly(said.append)
    for step in range(30):
        slow(f"step {step}")
        now += 0.125
    assert said == ["step 8", "step 16", "step 24"]


def test_files_are_counted_while_they_are_looked_for(folder: Path) -> None:
    for name in ("a.csv", "b.csv"):
        written(name, "x,y\n1,2\n")
    said: list[str] = []
    open_source("*.csv", progress=said.append)
    assert said[:2] == ["looking for *.csv: 1 file so far", "looking for *.csv: 2 files so far"]
    assert said[2:] == ["reading the columns of 2 files: 0 so far", "reading the columns of 2 files: 1 so far"]
