"""Writes the events of a run for programs: one JSON object per line, as documented in `docs/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.progress.snapshot import Snapshot

_PROGRESS_SECONDS = 1.0
"""Seconds between two `progress` events, as documented. A log of ten hours has at most 36,000 of them."""


class JsonEvents:
    """A writer of the events of one run: `run_started`, `progress`, `chunk_finished`, `run_finished`.

    If the reader disappears, nothing more is written and the run continues.

    Args:
        out: stream for the events.
        resumed: True if the run continues the work of an earlier process.
    """

    def __init__(self, out: TextIO, *, resumed: bool = False) -> None:
        self._out: TextIO | None = out
        self._resumed = resumed
        self._next_progress = 0.0
        self._chunks = ChunkViews.of(())
        self._ended_chunks: set[int] = set()
        self._all_ended = 0

    def started(self, snapshot: Snapshot, now: float) -> None:
        """Write `run_started`."""
        self._next_progress = now + _PROGRESS_SECONDS
        self._emit(
            snapshot,
            "run_started",
            {
                "job": snapshot.job,
                "table": snapshot.table,
                "database": snapshot.database,
                "items_total": snapshot.items_total,
                "threads": snapshot.threads,
                "resumed": self._resumed,
            },
        )

    def look(self, snapshot: Snapshot, now: float) -> None:
        """Write `chunk_finished` for each chunk that has ended since the last call, and `progress` once a second."""
        for chunk in self._newly_ended(snapshot):
            self._emit(snapshot, "chunk_finished", _chunk(chunk))
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_SECONDS
            self._emit(snapshot, "progress", _progress(snapshot))

    def finished(self, snapshot: Snapshot) -> None:
        """Write `run_finished`."""
        self._emit(snapshot, "run_finished", _totals(snapshot))

    def _newly_ended(self, snapshot: Snapshot) -> Iterator[ChunkView]:
        """Yield the chunks that have ended in this process since the last call.

        Each chunk is yielded once, even if it runs again. All chunks with numbers below `_all_ended` have ended;
        `_ended_chunks` has the numbers from there on that were yielded.
        """
        old, self._chunks = self._chunks, snapshot.chunks
        yielded = self._ended_chunks
        for number in sorted(snapshot.chunks.changed_since(old)):
            if number < self._all_ended or number in yielded or not snapshot.chunks.state(number).ended:
                continue
            yielded.add(number)
            chunk = snapshot.chunks[number]
            if chunk.skipped < chunk.items:
                yield chunk
        while self._all_ended in yielded:
            yielded.discard(self._all_ended)
            self._all_ended += 1

    def _emit(self, snapshot: Snapshot, event: str, fields: dict[str, Any]) -> None:
        if self._out is None:
            return
        head = {"event": event, "time": datetime.now(UTC).isoformat(), "run_id": snapshot.run_id}
        try:
            self._out.write(json.dumps(head | fields) + "\n")
            self._out.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream was closed
            self._out = None


def _progress(snapshot: Snapshot) -> dict[str, object]:
    return {
        "state": snapshot.state.value,
        "reason": snapshot.reason,
        "items_total": snapshot.items_total,
        **({} if snapshot.items_known is None else {"items_known": snapshot.items_known}),
        "items_done": snapshot.items_done,
        "items_failed": snapshot.items_failed,
        "rows": snapshot.rows,
        "in_flight": snapshot.in_flight,
        "items_held": snapshot.items_held,
        "items_per_second": round(snapshot.items_per_second, 3),
        "rows_per_second": round(snapshot.rows_per_second, 3),
        "eta_seconds": None if snapshot.eta_seconds is None else round(snapshot.eta_seconds[1], 1),
        "rss_bytes": snapshot.app_rss + snapshot.workers_rss,
    }


def _chunk(chunk: ChunkView) -> dict[str, object]:
    return {
        "chunk": chunk.number,
        "state": chunk.state.value,
        "items": chunk.items,
        "done": chunk.done,
        "failed": chunk.failed,
        "retries": chunk.retries,
        "rows": chunk.rows,
        "seconds": round(chunk.elapsed, 3),
    }


def _totals(snapshot: Snapshot) -> dict[str, object]:
    return {
        "state": snapshot.state.value,
        "reason": snapshot.reason,
        "items_total": snapshot.items_total,
        "items_done": snapshot.items_done,
        "items_failed": snapshot.items_failed,
        "items_cancelled": snapshot.items_cancelled,
        "items_skipped": snapshot.items_skipped,
        "rows": snapshot.rows,
        "rows_skipped": snapshot.rows_skipped,
        "retries": snapshot.retries,
        "seconds": round(snapshot.elapsed, 3),
    }
