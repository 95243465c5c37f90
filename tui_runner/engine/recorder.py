"""Converts events of a run into records for the writing thread: batches, chunks, hosts, samples and the run's state."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import get_args

import pyarrow as pa

from tui_runner.engine.progress.snapshot_builder import RecordSample
from tui_runner.engine.protocol import Ready, ResultBatch, WorkerLost
from tui_runner.engine.scheduling.chunk import Chunk
from tui_runner.engine.scheduling.events import (
    ChunkEnded,
    ChunkRead,
    ChunksSkipped,
    Committed,
    EndRun,
    ItemsRejected,
    RecordState,
    RetryFlush,
    RunAgain,
    SendChunk,
    WorkerDied,
    WriteFailed,
)
from tui_runner.engine.scheduling.host_board import NO_ANSWER, HostRow
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.store.arrow_batches import deserialize
from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.records import ERRORS, ITEMS, WORKER_KILLED, Batch, ChunkRecord, HostRecord
from tui_runner.text.describe import shape

Message = (
    ChunkRead | ChunksSkipped | ResultBatch | SendChunk | ChunkEnded | WorkerDied | RunAgain | RecordState
    | RecordSample | RetryFlush | EndRun | Ready | WorkerLost
)  # fmt: skip

NO_WORKER = (-1, 0)
"""Ticket (worker, bytes) of a batch that the recorder has made itself. No worker has the number -1, so no worker gets a
`Written` for this batch."""


class Recorder:
    """The part that writes a run into its database, through the thread of `Ingest`.

    Args:
        database: the open database.
        run_id: number of the run.
        table: name of the results table.
        scheduler: the scheduler; read only.
        items_total: length of the input; None while unknown.
        active_before: seconds that the run was active in earlier processes, without pauses.
        wall_before: seconds that the run took in earlier processes, with pauses.
        deliver: called in the writing thread with its reports.
        redact: removes secrets from messages of the database.
        frontier: limits on the items that a job adds while it runs; None for a job that adds none.
        keeps_versions: True if rows are pages whose HTTP versions are recorded.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        database: Database,
        run_id: int,
        table: str,
        scheduler: Scheduler,
        *,
        items_total: int | None,
        active_before: float = 0.0,
        wall_before: float = 0.0,
        deliver: Callable[[Committed | WriteFailed | ItemsRejected], None],
        redact: Callable[[str], str],
        frontier: FrontierRules | None = None,
        keeps_versions: bool = False,
    ) -> None:
        self._ingest = Ingest(
            database,
            run_id,
            table,
            on_written=lambda tickets: deliver(Committed(tickets)),
            on_error=lambda error: deliver(WriteFailed(error)),
            on_rejected=lambda batch, error: deliver(_rejected(batch, error)),
            redact=redact,
            frontier=frontier,
            keeps_versions=keeps_versions,
        )
        self._redact = redact
        self._scheduler = scheduler
        self._items_total = items_total
        self._active_before = active_before
        self._wall_before = wall_before
        self._ended = False
        self._offsets = array("q")
        """Byte offset in the input of each chunk, by number; -1 if unknown."""
        self._sent_at: dict[int, datetime] = {}
        """Time when each open chunk was first sent to a worker, by chunk."""
        self._begun_at: dict[int, datetime] = {}
        """Time when the first item of each open chunk started, by chunk, as soon as items of it have ended. A worker
        has several chunks in its queue, so this may be much later than the chunk was sent."""
        self._machines: dict[int, str] = {}
        """Name of the machine, by worker; only workers on other machines."""
        self._machine_of: dict[int, str] = {}
        """Name of the machine to which each open chunk was last sent, by chunk; only other machines."""
        self._hosts_version = 0

    def handle(self, message: Message, now: float) -> Iterable[object]:
        """Pass records to the writing thread. Returns at once, without messages."""
        match message:
            case ChunkRead(number):
                self._offsets.append(-1 if message.byte_offset is None else message.byte_offset)
                # Record a chunk before its items, because a resume needs the recorded chunk of every done item.
                self._record_chunk(self._scheduler.chunks[number], ChunkState.RUNNING)
            case ChunksSkipped(_, first_items):
                self._offsets.extend([-1] * len(first_items))
            case ResultBatch():
                if not self._ended:  # commit the run's times with the items, in case this process is killed
                    self._record_state(self._scheduler.status.persisted, now, at_once=False)
                self._note_begun(message)
                self._write(message)
            case SendChunk():
                self._sent_at.setdefault(message.chunk, datetime.now(UTC))
                if host := self._machines.get(message.worker):
                    self._machine_of[message.chunk] = host
            case Ready(worker, _, host):
                if host:
                    self._machines[worker] = host
            case WorkerLost(worker):
                self._machines.pop(worker, None)
            case ChunkEnded(number):
                self._record_chunk(self._scheduler.chunks[number])
            case WorkerDied():
                self._write_deaths(message)
            case RunAgain(_, positions):
                self._ingest.replace_below(max(positions) + 1)
            case RecordState(state):
                self._record_state(state, now)
            case RecordSample(sample):
                self._ingest.record_sample(sample)
                self._record_hosts(now)
                if not self._ended:  # commit the run's times now, in case this process is killed
                    self._record_state(self._scheduler.status.persisted, now)
            case RetryFlush():
                self._ingest.retry_failed_flush()
            case EndRun(state):
                for chunk in self._scheduler.chunks.open.values():
                    if chunk.number in self._sent_at:
                        self._record_chunk(chunk)
                self._record_hosts(now)
                self._ended = True
                self._record_state(state, now)
        return ()

    def start(self) -> None:
        """Start writing. Raise `DatabaseError` if the results table's name is taken."""
        self._ingest.start()

    def _record_hosts(self, now: float) -> None:
        """Record the hosts of a run if they have changed."""
        board = self._scheduler.hosts
        if board.version != self._hosts_version:
            self._hosts_version = board.version
            at = datetime.now(UTC)
            self._ingest.record_hosts(tuple(_host_record(row, now, at, self._redact) for row in board.rows.values()))

    def _write(self, batch: ResultBatch) -> None:
        """Queue a worker's batch for the database."""
        self._ingest.submit(
            Batch(
                ticket=(batch.worker, batch.nbytes),
                tables=tuple(deserialize(table) for table in batch.tables),
                items=deserialize(batch.items),
                errors=deserialize(batch.errors) if batch.errors else None,
                rows=batch.rows,
                added=deserialize(batch.added) if batch.added else None,
            )
        )

    def _note_begun(self, batch: ResultBatch) -> None:
        now = datetime.now(UTC)
        for chunk, age in batch.begun.items():
            # No attempt began before the chunk was sent.
            begun = max(now - timedelta(seconds=age), self._sent_at.get(chunk, now))
            self._begun_at.setdefault(chunk, begun)

    def _write_deaths(self, died: WorkerDied) -> None:
        """Record a failed attempt for each item that a worker was executing when it died."""
        at, message = datetime.now(UTC), self._redact(died.reason)
        errors = [
            (item, died.chunk, attempt, WORKER_KILLED, message, "", at, False, shape(message), None)
            for item, attempt in died.attempts.items()
        ]
        columns = zip(*errors, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, ERRORS, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=ERRORS)
        self._ingest.submit(Batch(NO_WORKER, tables=(), items=ITEMS.empty_table(), errors=table, rows=0))

    def _record_chunk(self, chunk: Chunk, state: ChunkState | None = None) -> None:
        """Record a chunk in `state`, or in its own state if that is None or the chunk has ended."""
        state = chunk.state if state is None or chunk.state.ended else state
        started_at = self._begun_at.get(chunk.number, self._sent_at.get(chunk.number))
        if chunk.state.ended:
            self._sent_at.pop(chunk.number, None)
            self._begun_at.pop(chunk.number, None)
        host = self._machine_of.get(chunk.number)
        if chunk.state.ended:
            self._machine_of.pop(chunk.number, None)
        offset = self._offsets[chunk.number]
        # Add refused items back here. `Ingest` subtracts them, because it may refuse items after it gets this record.
        refused, counts = chunk.rejected, chunk.counts
        self._ingest.record_chunk(
            ChunkRecord(
                chunk=chunk.number,
                first_item=chunk.first_item,
                items=chunk.items,
                state=state.value,
                done=counts.done + refused,
                failed=counts.failed - refused,
                rows=counts.rows + chunk.rejected_rows,
                retries=counts.retries,
                started_at=started_at,
                ended_at=datetime.now(UTC) if chunk.state.ended else None,
                busy_seconds=counts.busy_seconds,
                byte_offset=None if offset < 0 else offset,
                host=host,
            )
        )

    def _record_state(self, state: RunState, now: float, *, at_once: bool = True) -> None:
        length = self._scheduler.input_length
        self._ingest.record_state(
            state.value,
            items_total=self._items_total if length is None else length,
            ended_at=datetime.now(UTC) if state.ended else None,
            active_seconds=self._active_before + self._scheduler.active(now),
            wall_seconds=self._wall_before + self._scheduler.elapsed(now),
            at_once=at_once,
        )

    def finish(self) -> None:
        """Start writing all remaining records. Returns at once."""
        self._ingest.finish()

    def wait(self, timeout: float) -> bool:
        """Wait after `finish` until all rows are written, at most `timeout` seconds. Return True if all are written."""
        return self._ingest.wait(timeout)

    def give_up_failing(self) -> None:
        """Start writing all remaining records, and drop a flush that fails. Returns at once."""
        self._ingest.close(0.0)

    def close(self) -> bool:
        """Write all remaining records and end the thread. Return True if all were committed."""
        return self._ingest.close()


def _rejected(batch: Batch, error: BaseException) -> ItemsRejected:
    """Return the items and rows of a batch that the database refused, as far as they were counted as done."""
    items: defaultdict[int, list[int]] = defaultdict(list)
    rows: Counter[int] = Counter()
    for item in batch.items.select(["item", "chunk", "state", "rows"]).to_pylist():
        if item["state"] == "ok":
            items[item["chunk"]].append(item["item"])
            rows[item["chunk"]] += item["rows"]
    return ItemsRejected(dict(items), dict(rows), str(error).split("\n", 1)[0])


def _host_record(row: HostRow, now: float, at: datetime, redact: Callable[[str], str]) -> HostRecord:
    """Return the ledger row of a host, with times of the monotonic clock converted to dates."""
    is_cooling = row.cooldown_until > now
    return HostRecord(
        host=redact(row.host),
        done=row.done,
        failed=row.failed,
        refused=row.refused,
        seconds=row.seconds,
        delay_seconds=row.delay,
        cooldown_until=at + timedelta(seconds=row.cooldown_until - now) if is_cooling else None,
        p50_seconds=row.latencies.percentile(0.5),
        p95_seconds=row.latencies.percentile(0.95),
        statuses={str(status or NO_ANSWER): number for status, number in row.statuses.items()},
        updated_at=at,
    )
