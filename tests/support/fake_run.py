"""A run that only pretends: scripted snapshots, and a list of the commands that reached it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.progress.snapshot import ErrorGroup, RunEvent, Sample, Snapshot
from tui_runner.engine.protocol import Counts, InFlight
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.jobs.hosts import HostLimits
from tui_runner.store.database import Database


class FakeRunControl:
    """A `RunControl` that shows whatever snapshot a test puts into it."""

    def __init__(self, first: Snapshot, start_error: Exception | None = None) -> None:
        self.current = first
        self.commands: list[tuple[object, ...]] = []
        self._start_error = start_error
        self.database: Database | None = None

    def start(self) -> None:
        self.commands.append(("start",))
        if self._start_error is not None:
            raise self._start_error

    def snapshot(self) -> Snapshot:
        return self.current

    def change(self, **fields: object) -> None:
        self.current = replace(self.current, **fields)

    def pause(self) -> None:
        self.commands.append(("pause",))

    def resume(self) -> None:
        self.commands.append(("resume",))

    def try_now(self) -> None:
        self.commands.append(("try_now",))

    def pause_chunks(self, numbers: Collection[int]) -> None:
        self.commands.append(("pause_chunks", *numbers))

    def resume_chunks(self, numbers: Collection[int]) -> None:
        self.commands.append(("resume_chunks", *numbers))

    def cancel_chunks(self, numbers: Collection[int]) -> None:
        self.commands.append(("cancel_chunks", *numbers))

    def retry_chunks(self, numbers: Collection[int]) -> None:
        self.commands.append(("retry_chunks", *numbers))

    def set_threads(self, threads: int) -> None:
        self.commands.append(("set_threads", threads))

    def set_open_chunks(self, open_chunks: int) -> None:
        self.commands.append(("set_open_chunks", open_chunks))

    def set_rate(self, rate: float | None) -> None:
        self.commands.append(("set_rate", rate))

    def set_host_limits(self, limits: HostLimits, host: str = "") -> None:
        self.commands.append(("set_host_limits", limits, host))

    def pause_hosts(self, hosts: Collection[str], paused: bool) -> None:
        self.commands.append(("pause_hosts", *hosts, paused))

    def set_max_memory(self, limit: int | str | None) -> None:
        self.commands.append(("set_max_memory", limit))

    def stop(self) -> None:
        self.commands.append(("stop",))

    def abandon(self, reason: str) -> None:
        self.commands.append(("abandon",))

    def kill(self) -> None:
        self.commands.append(("kill",))

    def join(self, timeout: float | None = None) -> bool:
        self.commands.append(("join",))
        return True


def chunk(number: int, state: ChunkState, **fields: object) -> ChunkView:
    """Return a chunk of 500 items."""
    return ChunkView(number=number, state=state, first_item=number * 500, items=500, **fields)


def busy_chunks() -> tuple[ChunkView, ...]:
    """Return 76 ended chunks, two running, one paused, the rest waiting."""
    chunks = []
    for number in range(76):
        failed = 3 if number == 75 else 6 if number == 40 else 0
        chunks.append(
            chunk(
                number,
                ChunkState.CANCELLED if number == 12 else ChunkState.FAILED if failed else ChunkState.DONE,
                done=200 if number == 12 else 500 - failed,
                failed=failed,
                cancelled=300 if number == 12 else 0,
                retries=9 if failed else 0,
                rows=3_700_000,
                started_at=number * 10.0,
                elapsed=11.0,
                items_per_second=48.8,
                recent=tuple(40 + 10 * math.sin(number + place) for place in range(10)),
            )
        )
    wave = (10.0, 14.0, 22.0, 30.0, 26.0, 22.0, 28.0, 31.0, 30.0, 27.0)
    chunks += [
        chunk(76, ChunkState.RUNNING, done=353, failed=2, retries=2, rows=1_200_000, in_flight=40, worker=1,
              started_at=746.0, elapsed=16.0, items_per_second=31.0, recent=wave),
        chunk(77, ChunkState.RUNNING, done=89, failed=1, rows=300_000, in_flight=24, worker=2,
              started_at=757.0, elapsed=5.0, items_per_second=19.2, recent=wave[:4]),
        chunk(78, ChunkState.PAUSED, done=20, rows=90_000, started_at=758.0, elapsed=2.0, recent=wave[:2]),
    ]  # fmt: skip
    chunks += [chunk(number, ChunkState.WAITING, wait=Wait(WaitCause.NOT_STARTED)) for number in range(79, 200)]
    return tuple(chunks)


def ended_chunks(number: int) -> ChunkStore:
    """So many chunks of an item each that ended one after the other."""
    store = ChunkStore()
    for place in range(number):
        ended = Chunk(place, place, 1, 0, ItemsLeft(range(1), [0]), started_at=float(place), ended_at=place + 0.5)
        store.add(ended)
        ended.set_state(ChunkState.DONE)
        ended.count(Counts(done=1))
        store.end(ended)
    return store


def history(seconds: int = 290) -> tuple[Sample, ...]:
    """Return five minutes of throughput and memory, with a pause in the middle."""
    samples = []
    for at in range(seconds):
        paused = 120 <= at < 145
        items = None if paused else 45 + 12 * math.sin(at / 17) + 4 * math.sin(at * 1.7)
        samples.append(
            Sample(
                at=472.0 + at,
                items_per_second=items,
                rows_per_second=None if items is None else items * 7500,
                app_rss=110_000_000 + at * 20_000,
                workers_rss=250_000_000 + int(60_000_000 * abs(math.sin(at / 25))),
            )
        )
    return tuple(samples)


def busy() -> Snapshot:
    """Return a run at full speed, like the one drawn in the documentation."""
    return Snapshot(
        run_id=3,
        job="books",
        table="books",
        database="/data/scrape/books.duckdb",
        state=RunState.RUNNING,
        began_at=1_790_000_000.0,
        at=761.0,
        elapsed=761.4,
        items_total=100_000,
        items_done=38_202,
        items_failed=12,
        rows=286_000_000,
        retries=87,
        in_flight=64,
        threads=64,
        workers=2,
        items_per_second=50.2,
        rows_per_second=376_000.0,
        eta_seconds=(1200.0, 1290.0),
        p50=0.84,
        p95=2.1,
        latency_window=60.0,
        app_rss=116_000_000,
        workers_rss=296_000_000,
        memory_limit=4_000_000_000,
        db_bytes=2_300_000_000,
        chunks=ChunkViews.of(busy_chunks()),
        history=history(),
        events=(RunEvent(at=700.0, level="info", text="threads set to 64"),),
        errors=(
            ErrorGroup(9, "ReadTimeout", "timed out", final=9),
            ErrorGroup(3, "ValueError", "no table on page", final=3),
        ),
        errors_final=12,
        error_groups=2,
        failed_groups=2,
        oldest=(
            InFlight(76, 38_017, "https://books.example/page-38017.html", 2, 8.4),
            InFlight(76, 38_050, "https://books.example/page-38050.html", 1, 2.0),
        ),
    )
