from __future__ import annotations

from pathlib import Path

from waiting import eventually

from tui_runner.engine.log_file import LogFile, log_path, written
from tui_runner.engine.protocol import LogLines
from tui_runner.engine.snapshot import LogLine


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
        "--- run 1", "of run 1", "--- run 2", "(7 lines were too many to be kept)", "of run 2",
    ]  # fmt: skip


def test_a_run_that_says_nothing_makes_no_file(tmp_path: Path) -> None:
    LogFile(tmp_path / "x.log", 1, failed=lambda reason: None).close()
    assert not list(tmp_path.iterdir())


def test_it_is_rotated_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", 1, failed=lambda reason: None, limit=200)
    for number in range(20):
        log.add(lines(f"line {number}"))
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1"]
    assert (tmp_path / "x.log.1").stat().st_size < 400
    assert "line 19" in (tmp_path / "x.log").read_text() + (tmp_path / "x.log.1").read_text()


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
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
