"""Results written into files: whole, or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import CommandLine
from support.other_users import BOB, as_root

from tui_runner.errors import UserError
from tui_runner.store.export.files import Stopped, check_output, chosen_format, export_format, write_file, write_rows
from tui_runner.tui.query.copy_export import TableRows
from tui_runner.tui.query.script_files import check_writable, write_statements

ROWS = TableRows(pa.table({"a": list(range(10_000))}))
FEW = TableRows(pa.table({"a": [1]}))


def test_an_export_that_is_ended_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(0o640)
    with pytest.raises(Stopped):
        write_file(ROWS, "csv", target, lambda count: count < 5_000, replace=True)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    told: list[int] = []
    assert write_file(ROWS, "csv", target, lambda count: told.append(count) is None, replace=True) == 10_000
    assert told[-1] == 10_000 and told == sorted(told)
    assert len(target.read_text().splitlines()) == 10_001
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr("os.link", unsupported)
    target = tmp_path / "out.csv"
    assert write_file(ROWS, "csv", target, replace=False) == 10_000
    target.unlink()

    def progress(count: int) -> bool:
        target.write_text("another's")
        return True

    with pytest.raises(UserError, match="was created by another program meanwhile"):
        write_file(ROWS, "csv", target, progress, replace=False)
    assert target.read_text() == "another's" and list(tmp_path.iterdir()) == [target]


def unsupported(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@as_root
@pytest.mark.parametrize(("owner", "written"), [(0, True), (BOB, False)])
def test_rows_go_into_no_pipe_of_a_stranger(tmp_path: Path, owner: int, written: bool) -> None:
    pipe = tmp_path / "out.csv"
    os.mkfifo(pipe, 0o666)
    os.chown(pipe, owner, owner)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if written:
            assert write_file(FEW, "csv", pipe, replace=True) == 1
            assert os.read(reader, 100) == b"a\n1\n"
        else:
            with pytest.raises(UserError, match=f"it is a pipe or a device of uid {BOB}"):
                write_file(FEW, "csv", pipe, replace=True)
            assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


@as_root
def test_pipe_of_a_stranger_without_a_reader_does_not_keep_an_export_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.csv", 0o666)
    os.chown(tmp_path / "out.csv", BOB, BOB)
    with pytest.raises(UserError, match="it is a pipe or a device of"):
        write_file(FEW, "csv", tmp_path / "out.csv", replace=True)


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [(0, 0o640, 0o640), (0, 0o6777, 0o777), (0, 0o1600, 0o600), (BOB, 0o6777, 0o644), (BOB, 0o666, 0o644)],
)
def test_permissions_are_those_of_a_file_of_ours_alone(tmp_path: Path, owner: int, mode: int, expected: int) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    os.chown(target, owner, owner)
    target.chmod(mode)
    before = os.umask(0o022)
    try:
        write_file(FEW, "csv", target, replace=True)
    finally:
        os.umask(before)
    found = target.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (expected, 0)


@pytest.mark.parametrize("kind", ["link", "file", "folder", "nothing"])
@pytest.mark.parametrize("replace", [True, False])
def test_unfinished_file_that_is_swapped_does_not_take_the_place_of_the_file(
    tmp_path: Path, kind: str, replace: bool
) -> None:
    precious, target, away = tmp_path / "precious", tmp_path / "out.csv", tmp_path / "away"
    precious.write_text("precious")
    precious.chmod(0o600)

    def swap(count: int) -> bool:
        (unfinished,) = tmp_path.glob(".tui-runner-*")
        unfinished.rename(away)
        match kind:
            case "link":
                unfinished.symlink_to(precious)
            case "file":
                unfinished.write_text("another's")
            case "folder":
                unfinished.mkdir()
        return True

    with pytest.raises(UserError, match="another program moved the unfinished file away"):
        write_file(FEW, "csv", target, swap, replace=replace)
    assert (precious.read_text(), stat.S_IMODE(precious.stat().st_mode)) == ("precious", 0o600)
    assert not target.is_symlink() and not target.exists()
    assert away.read_bytes() == b""


@as_root
def test_link_of_a_stranger_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    target, link = tmp_path / "target.csv", tmp_path / "shared" / "out.csv"
    target.write_text("precious")
    link.symlink_to(target)
    os.lchown(link, BOB, BOB)
    for write in (
        lambda: check_output(link, tmp_path / "books.duckdb", overwrite=True),
        lambda: write_file(FEW, "csv", link, replace=True),
        lambda: write_statements(link, "SELECT 1"),
        lambda: check_writable(link),
    ):
        with pytest.raises(UserError, match=f"is a link of uid {BOB} in a folder that others write to"):
            write()
    assert target.read_text() == "precious"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder does not exist"):
        write_file(ROWS, "csv", tmp_path / "none" / "out.csv", replace=False)
    with pytest.raises(UserError, match="folder does not exist"):
        check_output(tmp_path / "none" / "out.csv", tmp_path / "books.duckdb", overwrite=False)


@pytest.mark.parametrize("ending", ["", ".wal", ".lock", ".log", ".log.1"])
def test_no_file_of_the_database_is_written_over(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UserError, match="is the database, or belongs to it"):
        check_output(tmp_path / f"books.duckdb{ending}", tmp_path / "books.duckdb", overwrite=True)
    check_output(tmp_path / f"other.duckdb{ending}", tmp_path / "books.duckdb", overwrite=True)


def test_a_path_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    circle = tmp_path / "circle.csv"
    circle.symlink_to(circle)
    for path in (circle, tmp_path / f"{'x' * 300}.csv", tmp_path / "a\0b.csv"):
        with pytest.raises(UserError, match="its path can't be used"):
            check_output(path, tmp_path / "books.duckdb", overwrite=False)


@pytest.mark.parametrize("command", ["query", "export"])
@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_can_be_named(cli: CommandLine, tmp_path: Path, command: str, output: str) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).execute("CREATE TABLE t AS SELECT 7 AS a").close()
    # Where it is a file, as here, no `--force` is needed: the shell has opened it.
    answer = cli(command, "a.duckdb", "FROM t", "-o", output, cwd=tmp_path)
    assert (answer.code, answer.out, answer.err) == (0, "a\n7\n", "")
    answer = cli(command, "a.duckdb", "FROM t", "-o", output, "--format", "jsonl", cwd=tmp_path)
    assert answer.out == '{"a": 7}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.duckdb"]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_rows_go_into_a_pipe_that_a_shell_has_opened(tmp_path: Path, format: str) -> None:
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{writer}")
    check_output(path, tmp_path / "books.duckdb", overwrite=False)
    assert write_file(TableRows(pa.table({"a": [1, 2]})), format, path, replace=False) == 2
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        got = pipe.read()
    if format == "csv":
        assert got == b"a\n1\n2\n"
    else:
        assert pq.read_table(io.BytesIO(got)).to_pydict() == {"a": [1, 2]}
    with pytest.raises(UserError, match="is not open"):
        check_output(path, tmp_path / "books.duckdb", overwrite=False)


def test_a_file_that_a_shell_has_opened_is_written_on_and_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with target.open("w") as opened:
        opened.write("above\n")
        opened.flush()
        path = Path(f"/dev/fd/{opened.fileno()}")
        check_output(path, tmp_path / "books.duckdb", overwrite=False)
        write_file(TableRows(pa.table({"a": [1]})), "csv", path, replace=False)
        with pytest.raises(UserError, match="is the database"):
            check_output(path, target, overwrite=True)
    assert target.read_text() == "above\na\n1\n"


def test_parquet_goes_to_standard_output_unless_that_is_a_terminal() -> None:
    out = io.TextIOWrapper(io.BytesIO())
    assert chosen_format("parquet", None, out) == "parquet"
    assert write_rows(ROWS, "parquet", out) == 10_000
    assert pq.read_table(io.BytesIO(out.buffer.getvalue())).num_rows == 10_000  # type: ignore[attr-defined]
    out.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.raises(UserError, match="parquet cannot be shown on a terminal"):
        chosen_format("parquet", None, out)


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "csv"), ("a.JSON", "json"), ("a.ndjson", "jsonl"), ("a.md", "markdown"), ("a.b.parquet", "parquet")],
)
def test_the_end_of_a_name_says_the_format(name: str, format: str) -> None:
    assert export_format(Path(name)) == format


@pytest.mark.parametrize("name", ["out", "out.xyz", "out.table", ".csv"])
def test_a_name_that_says_no_format_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"does not say the format.*end it in \.csv"):
        export_format(Path(name))
