from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.waiting import eventually

from tui_runner.engine.logs.log_file import LogFile, log_path, written
from tui_runner.engine.logs.log_reader import LogReader
from tui_runner.engine.protocol import LogLine, LogLines
from tui_runner.system.files import NotOwnFile


def lines(*texts: str, dropped: int = 0) -> LogLines:
    return LogLines(1, tuple(LogLine(1_700_000_000.25, "INFO", text, 3, 1500, 1) for text in texts), dropped)


def test_a_line_names_its_time_level_chunk_and_item() -> None:
    assert written(lines("hello").lines[0]) == "2023-11-14T22:13:20.250Z INFO     chunk 3 item 1500: hello"
    assert written(LogLine(0.0, "ERROR", "x")) == "1970-01-01T00:00:00.000Z ERROR    chunk - item -: x"


def test_nothing_in_the_file_steers_a_terminal() -> None:
    shown = written(LogLine(0.0, "INFO", "\x1b]52;c;aGk=\x07 \x9b2J \ud800 one\ntwo"))
    assert "\x1b" not in shown and "\x9b" not in shown and "\n" not in shown
    shown.encode()


def test_lines_of_all_runs_are_appended_beside_the_database(tmp_path: Path) -> None:
    path = log_path(tmp_path / "books.duckdb")
    assert path.name == "books.duckdb.log"
    for run in (1, 2):
        log = LogFile(path, run, failed=lambda reason: None)
        log.add(lines(f"of run {run}", dropped=7 if run == 2 else 0))
        log.close()
    text = path.read_text()
    assert [line.rsplit(": ", 1)[-1] for line in text.splitlines()] == [
        "--- run 1", "of run 1", "--- run 2", "(7 lines were dropped)", "of run 2",
    ]  # fmt: skip


def test_a_run_that_says_nothing_makes_no_file(tmp_path: Path) -> None:
    LogFile(tmp_path / "x.log", 1, failed=lambda reason: None).close()
    assert not list(tmp_path.iterdir())


def test_log_file_is_rotated_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", 1, failed=lambda reason: None, limit=200)
    for number in range(20):
        log.add(lines(f"line {number}"))
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1"]
    assert (tmp_path / "x.log.1").stat().st_size < 400
    assert "line 19" in (tmp_path / "x.log").read_text() + (tmp_path / "x.log.1").read_text()


def test_a_file_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    told: list[str] = []
    log = LogFile(tmp_path / "no" / "x.log", 1, failed=told.append)
    log.add(lines("a"))
    log.add(lines("b"))
    log.close()
    assert told == ["x.log: No such file or directory"]


def test_a_file_that_can_be_written_again_says_how_many_lines_are_missing(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "soon"
    log = LogFile(folder / "x.log", 1, failed=told.append)
    log.add(lines("a", "b"))
    eventually(lambda: told, "the complaint")
    folder.mkdir()
    log.add(lines("c"))
    log.close()
    assert [line.rsplit(": ", 1)[-1] for line in (folder / "x.log").read_text().splitlines()] == [
        "--- run 1", "they could not be written)", "c",
    ]  # fmt: skip
    assert "(2 lines are missing" in (folder / "x.log").read_text()


def removed(path: Path) -> None:
    path.unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_name("x.log.1"))


def replaced(path: Path) -> None:
    path.rename(path.with_name("x.log.old"))
    path.touch()


def cut(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("move", [removed, renamed, replaced, cut])
def test_a_moved_file_is_created_anew_and_can_be_read(tmp_path: Path, move: Callable[[Path], None]) -> None:
    path = tmp_path / "x.log"
    told: list[str] = []
    reader, log = LogReader(path, 1), LogFile(path, 1, failed=told.append)
    log.add(lines("before", "more"))
    seen = eventually(lambda: path.exists() and reader.before(None, 9).lines, "the first lines")[-1]
    move(path)
    log.add(lines("after"))
    log.add(lines("last"))
    log.close()
    written = [line.rsplit(": ", 1)[-1] for line in path.read_text().splitlines()]
    assert written == ([] if move is cut else ["--- run 1"]) + ["after", "last"]
    # A reader continues, also from a position that no longer exists; the new file may have the old file's inode.
    assert [stored.line.text for stored in reader.before(None, 2).lines] == ["after", "last"]
    before = [each.line.text for each in reader.before(seen.end, 9).lines]
    assert move is not renamed or before[-2:] == ["before", "more"]
    assert reader.after(seen.start, 9).whole
    assert reader.beginning() is not None
    assert not told


def test_a_pipe_in_its_place_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    os.mkfifo(path)
    told: list[str] = []
    log = LogFile(path, 1, failed=told.append)
    log.add(lines("a"))
    log.close()
    assert told == ["x.log: it is a device or a pipe, not a file"]
    with pytest.raises(OSError, match="a device or a pipe, not a file"):
        LogReader(path, 1).before(None, 1)


def test_a_log_can_be_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.symlink_to(os.devnull)
    told: list[str] = []
    log = LogFile(path, 1, failed=told.append)
    log.add(lines("a"))
    log.close()
    assert not told and not LogReader(path, 1).before(None, 1).lines


def test_a_folder_in_its_place_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(NotOwnFile, match="it is a folder"):
        LogReader(tmp_path, 1).before(None, 1)
