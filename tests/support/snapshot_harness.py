"""A snapshot builder and its scheduler with a fake clock, which receive events as in a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from support.sent_batches import EMPTY_BATCH
from support.simulated_worker import by_index, flush
from support.simulated_world import cut
from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.guards.disk import DiskGuard
from tui_runner.engine.guards.memory import MemoryGuard
from tui_runner.engine.metrics import Durations
from tui_runner.engine.progress.snapshot_builder import RunIdentity, SnapshotBuilder
from tui_runner.engine.protocol import ChunkExhausted, ChunkFinished, Counts, InFlight, Progress, Ready
from tui_runner.engine.scheduling.events import Begin, ChunkEnded
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.store.database import OpenStatements

IDENTITY = RunIdentity(
    run_id=3,
    job="books",
    table="books",
    database="x.duckdb",
    started_at=1e9,
    items_total=100,
)


def builder(scheduler, began, **identity):
    """Return a snapshot builder and the guards that it reads."""
    memory = MemoryGuard(None, scheduler.workers, OpenStatements(), 0)
    disk = DiskGuard(scheduler, Path(IDENTITY.database))
    return SnapshotBuilder(dataclasses.replace(IDENTITY, **identity), scheduler, memory, disk, began)


class SnapshotHarness:
    """A snapshot builder and its scheduler, which receive events in the same order as in a run."""

    def __init__(self, *, chunks=10, items=10, skipped=0, total=100, **settings):
        self.now = 5_000.0
        defaults = {"threads": 8, "workers": 1, "open_chunks": 20, "grace": 10.0}
        self.scheduler = Scheduler(**{**defaults, **settings})
        self.board = builder(self.scheduler, self.now, items_total=total)
        self.counted = {}
        self.handle(Begin())
        self.handle(Ready(0, 1))
        for chunk in cut([[index < skipped for index in range(items)] for _ in range(chunks)]):
            self.handle(chunk)

    def handle(self, event):
        for action in self.scheduler.handle(event, self.now):
            if isinstance(action, ChunkEnded):
                list(self.board.handle(action, self.now))

    def end(self, number, *, good=0, failed=0, cancelled=0, rows=0, groups=None, begun=None):
        """Let items of a chunk end and their flush arrive; the first attempt began `begun` seconds before."""
        pending = list(self.scheduler.chunks[number].left)[: good + failed + cancelled]
        counts = self.counted[number] = self.counted.get(number, Counts()) + Counts(good, failed, cancelled, rows=rows)
        report = flush(0, {number: pending}, {number: dict.fromkeys(pending[good:], 1)}, {number: counts})
        report = by_index(report, self.scheduler)
        report = dataclasses.replace(report, error_groups=groups or {}, cancelled={number: cancelled})
        report = dataclasses.replace(report, begun={} if begun is None else {number: begun})
        self.handle(report)
        self.board.flushed(report, self.now)
        if not self.scheduler.chunks[number].left:
            self.handle(ChunkExhausted(0, number))
            self.handle(ChunkFinished(0, number))
            self.counted.pop(number)

    def fly(self, in_flight=None, *, seconds=(), buffered=0, throttled=False):
        oldest = tuple(InFlight(0, item, str(item), 1, length) for item, length in enumerate(seconds))
        if in_flight is None:
            in_flight = {0: len(seconds)} if seconds else {}
        report = Progress(0, in_flight, oldest, 8, buffered, throttled)
        self.handle(report)
        self.board.progress(report, self.now)

    def time(self, *seconds):
        """Let a batch arrive whose attempts took so many seconds."""
        self.board.flushed(dataclasses.replace(EMPTY_BATCH, latencies=Durations.of(seconds)), self.now)

    def measure(self):
        self.board.measured(MemoryMeasured(1_000, 2_000, 3_000), self.now)

    def picture(self, after=0.0):
        self.now += after
        return self.board.snapshot(self.now)
