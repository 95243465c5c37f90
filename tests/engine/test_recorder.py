"""The recorder: what it writes of a run into the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from support.sent_batches import EMPTY_BATCH

from tui_runner.engine.progress.snapshot_builder import RecordSample
from tui_runner.engine.protocol import ResultBatch
from tui_runner.engine.recorder import Recorder
from tui_runner.engine.scheduling.events import Begin, EndRun, PauseRun
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import RunState
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import RunRecord, SampleRecord

RECORD = RunRecord(
    run_id=0,
    job="books",
    job_path="/a/shop.py:books",
    table_name="books",
    input=None,
    params={},
    settings={},
    state="running",
    items_total=None,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    ended_at=None,
    host="here",
    version="0",
)
SAMPLE = RecordSample(SampleRecord(datetime(2026, 1, 1, tzinfo=UTC), 0, 0, 0, 0, 0, 0.0, 0, 0, 0))


def times_after(folder: Path, *, ended: bool, message: RecordSample | ResultBatch = SAMPLE) -> tuple[str, float, float]:
    """Return state, active and wall seconds of a run that another process worked on for 100 s, 20 s of them paused.

    This process begins it at 1,000 s by its clock, pauses it after four seconds, and gets `message` after ten.
    """
    with Database.open(folder / "x.duckdb") as database:
        run_id = Ledger(database.cursor()).begin_run(RECORD)
        scheduler = Scheduler(threads=1, workers=1, open_chunks=1, grace=1.0)
        recorder = Recorder(
            database, run_id, "books", scheduler, items_total=None, active_before=80.0, wall_before=100.0,
            deliver=lambda report: None, redact=str,
        )  # fmt: skip
        recorder.start()
        scheduler.handle(Begin(), 1_000.0)
        scheduler.handle(PauseRun(), 1_004.0)
        recorder.handle(message, 1_010.0)
        if ended:
            recorder.handle(EndRun(RunState.STOPPED, ""), 1_012.0)
            recorder.handle(SAMPLE, 1_012.0)  # the last one follows the end
        assert recorder.close()
        record = Ledger(database.cursor()).run(run_id)
    return record.state, record.active_seconds, record.wall_seconds


def test_a_sample_records_the_times_of_a_run_for_a_process_that_is_killed(tmp_path: Path) -> None:
    assert times_after(tmp_path, ended=False) == ("paused", 84.0, 110.0)


def test_items_are_recorded_with_the_time_of_the_run_even_if_no_sample_follows(tmp_path: Path) -> None:
    assert times_after(tmp_path, ended=False, message=EMPTY_BATCH) == ("paused", 84.0, 110.0)


def test_a_sample_after_the_end_leaves_the_recorded_state(tmp_path: Path) -> None:
    assert times_after(tmp_path, ended=True) == ("stopped", 84.0, 112.0)
