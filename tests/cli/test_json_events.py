"""JSON events: their names and fields are a contract with programs."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

from support.told_run import picture

from tui_runner.cli.json_events import JsonEvents
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import ChunkState, RunState


def events_of(*looks: Snapshot, seconds: float = 0.25, resumed: bool = False) -> list[dict[str, Any]]:
    """Return what is written for these snapshots, `seconds` apart."""
    out = io.StringIO()
    events = JsonEvents(out, resumed=resumed)
    events.started(looks[0], 0.0)
    for number, look in enumerate(looks, start=1):
        events.look(look, number * seconds)
    events.finished(looks[-1])
    return [json.loads(line) for line in out.getvalue().splitlines()]


def chunk(number: int, state: ChunkState = ChunkState.DONE, **changes: Any) -> ChunkView:
    return ChunkView(number=number, state=state, first_item=number * 10, items=10, **{"done": 10, **changes})


def test_every_event_says_what_when_and_of_which_run() -> None:
    events = events_of(picture(), picture(state=RunState.FINISHED))
    assert [event["event"] for event in events] == ["run_started", "run_finished"]
    for event in events:
        assert event["run_id"] == 3
        assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0)


def test_progress_comes_once_a_second_at_most() -> None:
    events = events_of(*[picture(eta_seconds=(4.0, 5.0), app_rss=10, workers_rss=5, in_flight=2, items_held=3)] * 12)
    progress = [event for event in events if event["event"] == "progress"]
    assert len(progress) == 3
    assert progress[0] | {"time": ""} == {
        "event": "progress",
        "time": "",
        "run_id": 3,
        "state": "running",
        "reason": "",
        "items_total": 100,
        "items_done": 50,
        "items_failed": 0,
        "rows": 5_000,
        "in_flight": 2,
        "items_held": 3,
        "items_per_second": 10.0,
        "rows_per_second": 1_000.0,
        "eta_seconds": 5.0,
        "rss_bytes": 15,
    }


def test_a_chunk_is_finished_once_in_whatever_order() -> None:
    running = ChunkState.RUNNING
    events = events_of(
        picture(chunks=ChunkViews.of((chunk(0, running), chunk(1, running)))),
        picture(chunks=ChunkViews.of((chunk(0, running), chunk(1, ChunkState.FAILED, failed=1), chunk(2, running)))),
        picture(chunks=ChunkViews.of((chunk(0), chunk(1, ChunkState.FAILED, failed=1), chunk(2)))),
        picture(chunks=ChunkViews.of((chunk(0), chunk(1, ChunkState.FAILED, failed=1), chunk(2)))),
    )
    finished = [(event["chunk"], event["state"]) for event in events if event["event"] == "chunk_finished"]
    assert finished == [(1, "failed"), (0, "done"), (2, "done")]


def test_chunks_of_an_earlier_process_are_not_told_of() -> None:
    events = events_of(picture(chunks=ChunkViews.of((chunk(0, skipped=10), chunk(1, skipped=9)))), resumed=True)
    assert events[0]["resumed"] is True
    assert [event["chunk"] for event in events if event["event"] == "chunk_finished"] == [1]


def test_the_end_has_totals_and_reason() -> None:
    end = events_of(picture(state=RunState.STOPPED, reason="asked", items_skipped=7, retries=2, elapsed=1.23456))[-1]
    assert end["event"] == "run_finished"
    assert (end["state"], end["reason"]) == ("stopped", "asked")
    assert (end["items_done"], end["items_failed"], end["items_skipped"]) == (50, 0, 7)
    assert (end["rows"], end["retries"], end["seconds"]) == (5_000, 2, 1.235)


def test_hostile_text_cannot_steer_a_terminal() -> None:
    out = io.StringIO()
    JsonEvents(out).finished(picture(reason="\x1b[2J\x7f\x9b\u202e\udc80\n"))
    line = out.getvalue().removesuffix("\n")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["reason"] == "\x1b[2J\x7f\x9b\u202e\udc80\n"
