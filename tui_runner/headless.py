"""The same run without a screen: a progress line for people, or JSON events for programs."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from types import FrameType
from typing import Any, TextIO

from tui_runner.engine.chunk import RunState
from tui_runner.engine.control import RunControl
from tui_runner.engine.snapshot import ChunkView, Snapshot
from tui_runner.errors import EXIT_ITEMS_FAILED, EXIT_KILLED, EXIT_OK, EXIT_STOPPED, EXIT_USAGE
from tui_runner.formatting import count, duration, rate, size
from tui_runner.safe_text import safe_text

_POLL_SECONDS = 0.25
_PROGRESS_EVENT_SECONDS = 1.0
_PLAIN_LINE_SECONDS = 30.0
"""Between progress lines when they go to a file: 1,200 lines in ten hours."""


def exit_code(snapshot: Snapshot) -> int:
    """The exit code that a run which has ended stands for."""
    if snapshot.state is RunState.FINISHED:
        return EXIT_ITEMS_FAILED if snapshot.items_failed or snapshot.items_cancelled else EXIT_OK
    if snapshot.state is RunState.FAILED and snapshot.items_finished == snapshot.items_skipped:
        return EXIT_USAGE
    return EXIT_STOPPED


class Headless:
    """Watches a run until its end and tells about it.

    Args:
        control: the run.
        events: where JSON events go, one a line; None for none.
        people: where the progress line goes; None for none.
        live: whether `people` is a terminal, on which a line can be overwritten.
        signals: whether Ctrl-C and SIGTERM are taken for commands to stop.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        control: RunControl,
        *,
        events: TextIO | None,
        people: TextIO | None,
        live: bool,
        signals: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._events = events
        self._people = people
        self._live = live
        self._take_signals = signals
        self._clock = clock
        self._next_event = self._next_line = clock()
        self._ended_chunks: set[int] = set()
        self._seen_chunks = 0
        self._line_width = 0
        self._told_at = -1.0
        self._killed = False

    def run(self) -> int:
        """Start the run, watch it to its end, and return the exit code."""
        with self._signals() if self._take_signals else nullcontext():
            self._control.start()
            self._emit(self._control.snapshot(), "run_started", self._description(self._control.snapshot()))
            while not self._control.join(_POLL_SECONDS):
                self._look(self._control.snapshot())
        snapshot = self._control.snapshot()
        self._look(snapshot)
        self._finish(snapshot)
        return EXIT_KILLED if self._killed else exit_code(snapshot)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """First Ctrl-C: drain. Second: end at once. SIGTERM: drain."""
        interrupted = False

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            if interrupted:
                self._killed = True
                self._control.kill()
            else:
                interrupted = True
                self._control.stop()

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: self._control.stop()),
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _look(self, snapshot: Snapshot) -> None:
        now = self._clock()
        if self._people is not None:
            self._tell_news(snapshot)
            if self._live:
                self._overwrite(progress_line(snapshot))
            elif now >= self._next_line:
                self._next_line = now + _PLAIN_LINE_SECONDS
                self._say(progress_line(snapshot))
        if self._events is not None:
            for chunk in self._newly_ended(snapshot):
                self._emit(snapshot, "chunk_finished", _chunk(chunk))
            if now >= self._next_event:
                self._next_event = now + _PROGRESS_EVENT_SECONDS
                self._emit(snapshot, "progress", _progress(snapshot))

    def _newly_ended(self, snapshot: Snapshot) -> Iterator[ChunkView]:
        """Chunks that have ended since the last look, those that an earlier process ended left out."""
        while self._seen_chunks < len(snapshot.chunks) and snapshot.chunks[self._seen_chunks].state.ended:
            chunk = snapshot.chunks[self._seen_chunks]
            self._seen_chunks += 1
            if chunk.number in self._ended_chunks:
                self._ended_chunks.discard(chunk.number)
            elif chunk.skipped < chunk.items:
                yield chunk
        for chunk in snapshot.chunks[self._seen_chunks :]:
            if chunk.state.ended and chunk.number not in self._ended_chunks:
                self._ended_chunks.add(chunk.number)
                if chunk.skipped < chunk.items:
                    yield chunk

    def _tell_news(self, snapshot: Snapshot) -> None:
        for event in snapshot.events:
            if event.at > self._told_at:
                self._told_at = event.at
                self._say(f"{event.level.lower()}: {safe_text(event.text)}")

    def _finish(self, snapshot: Snapshot) -> None:
        self._emit(snapshot, "run_finished", _totals(snapshot))
        if self._people is None:
            return
        self._say(summary(snapshot))
        for group in snapshot.errors[:5]:
            self._say(f"  {count(group.count)} × {safe_text(group.type)}: {safe_text(group.text, limit=200)}")
        if snapshot.reason:
            self._say(safe_text(snapshot.reason))

    def _description(self, snapshot: Snapshot) -> dict[str, object]:
        return {
            "job": snapshot.job,
            "table": snapshot.table,
            "database": snapshot.database,
            "items_total": snapshot.items_total,
            "threads": snapshot.threads,
        }

    def _emit(self, snapshot: Snapshot, event: str, fields: dict[str, Any]) -> None:
        if self._events is None:
            return
        head = {"event": event, "time": datetime.now(UTC).isoformat(), "run_id": snapshot.run_id}
        self._events.write(json.dumps(head | fields) + "\n")
        self._events.flush()

    def _say(self, line: str) -> None:
        """A line that stays."""
        if self._people is not None:
            clear = "\r" + " " * self._line_width + "\r" if self._line_width else ""
            self._people.write(f"{clear}{line}\n")
            self._people.flush()
            self._line_width = 0

    def _overwrite(self, line: str) -> None:
        """A line that takes the place of the one before."""
        if self._people is not None:
            self._people.write("\r" + line.ljust(self._line_width))
            self._people.flush()
            self._line_width = len(line)


def progress_line(snapshot: Snapshot) -> str:
    """One line on how far a run is; shorter than 120 characters in all but extreme cases."""
    total = snapshot.items_total
    if total:
        share = f"{100 * snapshot.items_finished / total:5.1f} %  "
        items = f"{snapshot.items_finished:,}/{total:,}"
    else:
        share, items = "", f"{snapshot.items_finished:,} items, unknown total"
    parts = [
        f"{safe_text(snapshot.job)} run {snapshot.run_id}",
        f"{share}{items}",
        f"{rate(snapshot.items_per_second)} items/s",
        f"{rate(snapshot.rows_per_second)} rows/s",
    ]
    if snapshot.items_failed:
        parts.append(f"failed {count(snapshot.items_failed)}")
    parts.append(size(snapshot.app_rss + snapshot.workers_rss))
    if snapshot.state is not RunState.RUNNING:
        parts.append(snapshot.state.value)
    elif snapshot.stalled_seconds is not None:
        parts.append(f"stalled for {duration(snapshot.stalled_seconds)}")
    elif snapshot.eta_seconds is not None:
        parts.append(f"ETA {duration(snapshot.eta_seconds[1])}")
    return "  ".join(parts)


def summary(snapshot: Snapshot) -> str:
    """One line on a run that has ended."""
    parts = [f"{count(snapshot.items_done)} done"]
    if snapshot.items_failed:
        parts.append(f"{count(snapshot.items_failed)} failed")
    if snapshot.items_cancelled:
        parts.append(f"{count(snapshot.items_cancelled)} cancelled")
    done = ", ".join(parts)
    return (
        f"{safe_text(snapshot.job)} run {snapshot.run_id} {snapshot.state}: {done}, {count(snapshot.rows)} rows in "
        f"{duration(snapshot.elapsed)} → table {safe_text(snapshot.table)} in {safe_text(snapshot.database)}"
    )


def _progress(snapshot: Snapshot) -> dict[str, object]:
    return {
        "state": snapshot.state.value,
        "items_total": snapshot.items_total,
        "items_done": snapshot.items_done,
        "items_failed": snapshot.items_failed,
        "rows": snapshot.rows,
        "in_flight": snapshot.in_flight,
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
        "retries": snapshot.retries,
        "seconds": round(snapshot.elapsed, 3),
    }
