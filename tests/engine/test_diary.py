from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.simulated_worker import flush
from support.told_run import picture

from tui_runner.engine.logs.log_file import LogFile, RunLog
from tui_runner.engine.protocol import LogLine, LogLines, Ready, WorkerLost
from tui_runner.engine.scheduling.events import Committed, LogFailed, SendChunk, StartWorker, Tell
from tui_runner.engine.states import RunState

FLUSH = replace(flush(3, {0: [1, 3]}, counts={}), rows=40, nbytes=900)


def told(path: Path, *, debug: bool, state: RunState = RunState.FINISHED, reason: str = "") -> list[str]:
    """Return the log of a short run in which a little of everything happens."""
    file = LogFile(path, 1, failed=lambda reason: None)
    log = RunLog(file, debug=debug, redact=lambda text: text.replace("sesame", "***"))
    messages = [
        (Tell("INFO", "threads: 4"), 9.0),
        (StartWorker(3, 4, False), 9.0),
        (SendChunk(3, 0, range(500), False), 9.0),
        (Ready(3, 77), 9.5),
        (FLUSH, 10.0),
        (FLUSH, 11.0),
        (Committed([(3, 900), (3, 900)]), 11.5),
        (Committed([]), 11.6),
        (Tell("WARNING", "disk: 1 MB left, says sesame"), 12.0),
        (Tell("INFO", "the run continues"), 13.0),
        (WorkerLost(3, ""), 14.0),
    ]
    for message, now in messages:
        for answer in log.handle(message, now):  # what is told is a line of the log, too
            assert not [*log.handle(answer, now)]
    log.ended(replace(picture(), state=state, reason=reason))
    file.close()
    return [" ".join(line.split()[1:]) for line in path.read_text().splitlines()[1:]] if path.exists() else []


def test_every_event_and_the_reason_of_the_end_are_logged(tmp_path: Path) -> None:
    assert told(tmp_path / "a.log", debug=False) == [
        "INFO chunk - item -: threads: 4",
        "WARNING chunk - item -: disk: 1 MB left, says ***",
        "INFO chunk - item -: the run continues",
        "INFO chunk - item -: run 3 finished (50 items done, 0 failed, 5,000 rows)",
    ]
    stopped = told(tmp_path / "b.log", debug=False, state=RunState.STOPPED, reason="stopped on request")
    assert stopped[-1] == "INFO chunk - item -: run 3 stopped: stopped on request (50 items done, 0 failed, 5,000 rows)"
    failed = told(tmp_path / "c.log", debug=False, state=RunState.FAILED, reason="no such host")
    assert failed[-1].startswith("ERROR chunk - item -: run 3 failed: no such host (")


def test_a_run_without_events_writes_no_log(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.log", 1, failed=lambda reason: None)
    log = RunLog(file, debug=False, redact=str)
    assert [*log.handle(StartWorker(3, 4, False), 0.0)] == []
    log.ended(replace(picture(), state=RunState.FINISHED))
    file.close()
    assert not (tmp_path / "a.log").exists()


def test_the_end_of_a_run_is_logged_after_lines_of_its_job(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.log", 1, failed=lambda reason: None)
    log = RunLog(file, debug=False, redact=str)
    assert [*log.handle(LogLines(0, (LogLine(1e9, "INFO", "page 7"),)), 0.0)] == []
    log.ended(replace(picture(), state=RunState.FINISHED))
    file.close()
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert lines[1].endswith(": page 7") and "run 3 finished (50 items done" in lines[2] and len(lines) == 3


def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    log = RunLog(LogFile(tmp_path / "a.log", 1, failed=lambda reason: None), debug=False, redact=str)
    (told,) = log.handle(LogFailed("a.log: No space left on device"), 0.0)
    assert told == Tell("WARNING", "the log file cannot be written: a.log: No space left on device")


def test_with_debug_everything_is_written(tmp_path: Path) -> None:
    text = [line.partition("item -: ")[2] for line in told(tmp_path / "a.log", debug=True)]
    assert text == [
        "threads: 4",
        "scheduler: StartWorker(worker=3, threads=4, paused=False, rate=None, max_memory=None, "
        "host_limits=HostLimits(per_host=None, delay=0.0, adaptive=False))",
        "scheduler: SendChunk(worker=3, chunk=0, items=500)",
        "worker 3: ready, pid 77",
        "batch of worker 3: 2 items, 40 rows, 900 bytes",
        "batch of worker 3: 2 items, 40 rows, 900 bytes",
        "2 batches are committed, 1.500 s after the first one arrived",
        "disk: 1 MB left, says ***",
        "the run continues",
        "worker 3: ended, in order",
        "run 3 finished (50 items done, 0 failed, 5,000 rows)",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("position", ["first", "last"])
def test_debug_on_the_command_line_fills_the_log_and_shows_tracebacks(
    cli, job_file, tmp_path: Path, position: str
) -> None:
    job = job_file("def double(n: int):\n    return 2 * n\n")
    options = ("run", f"{job}:double", "--input", "range:0:3", "--backend", "inline", "--quiet", "--db", "x.duckdb")
    arguments = ("--debug", *options) if position == "first" else (*options, "--debug")
    assert cli(*arguments, cwd=tmp_path).code == 0
    log = (tmp_path / "x.duckdb.log").read_text()
    assert "scheduler: StartWorker(" in log
    assert "run 1 finished (3 items done, 0 failed, 3 rows)" in log
    mistyped = cli("--debug", "run", "no/such/file.py", cwd=tmp_path)
    assert mistyped.code == 2
    assert "Traceback" not in mistyped.err, "a typing mistake is no fault"
    (tmp_path / "broken.py").write_text("1 / 0\n")
    broken = cli("--debug", "run", "broken.py", cwd=tmp_path)
    assert broken.code == 2
    assert "Traceback (most recent call last)" in broken.err
    assert broken.err.splitlines()[-1].startswith("tui-runner: ")
