"""Turns what happens in a run into records for the writing thread: batches, chunks, samples and the run's state."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import get_args

from tui_runner.engine.input_reader import PendingItems
from tui_runner.engine.progress.snapshot_builder import RecordSample
from tui_runner.engine.protocol import ResultBatch
from tui_runner.engine.scheduling.chunk import Chunk
from tui_runner.engine.scheduling.events import (
    ChunkEnded,
    Committed,
    EndRun,
    ItemsRejected,
    RecordState,
    RetryFlush,
    RunAgain,
    SendChunk,
    WriteFailed,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import RunState
from tui_runner.store.arrow_batches import deserialize
from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.records import Batch, ChunkRecord

Message = ResultBatch | SendChunk | ChunkEnded | RunAgain | RecordState | RecordSample | RetryFlush | EndRun


class Recorder:
    """Writes one run into its database, through the thread of `Ingest`.

    Args:
        database: open.
        run_id: number of the run.
        table: results table.
        scheduler: read only.
        items: keys of the items that run; read only.
        items_total: length of the input as far as it is known; None while it is not.
        chunks: numbers of chunks that the ledger has already. Of the others those get their row as well in which there
            was nothing left to do: an earlier process had done it, and was killed before it wrote that, or had cut
            chunks in another size. None for no such rows: a retry does not know whether all of a chunk is done.
        replaced_keys: keys whose ledger rows are replaced when their items end; grows here.
        deliver: takes what the writing thread reports, in that thread.
        redact: takes secrets out of messages of the database.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        database: Database,
        run_id: int,
        table: str,
        scheduler: Scheduler,
        items: PendingItems,
        *,
        items_total: int | None,
        chunks: Collection[int] | None,
        replaced_keys: set[str],
        deliver: Callable[[Committed | WriteFailed | ItemsRejected], None],
        redact: Callable[[str], str],
    ) -> None:
        self._ingest = Ingest(
            database,
            run_id,
            table,
            on_written=lambda tickets: deliver(Committed(tickets)),
            on_error=lambda error: deliver(WriteFailed(error)),
            on_rejected=lambda batch, error: deliver(_rejected(batch, error)),
            replaced_keys=replaced_keys,
            redact=redact,
        )
        self._scheduler = scheduler
        self._items = items
        self._items_total = items_total
        self._replaced_keys = replaced_keys
        self._chunks = chunks
        self._opened_at: dict[int, datetime] = {}

    def handle(self, message: Message, now: float) -> Iterable[object]:
        """Hand what is to be recorded to the writing thread; returns at once, and nothing."""
        match message:
            case ResultBatch():
                self._write(message)
            case SendChunk():
                self._opened_at.setdefault(message.chunk, datetime.now(UTC))
            case ChunkEnded(number):
                self._record_chunk(self._scheduler.chunks[number])
            case RunAgain(number, positions):
                self._replaced_keys.update(self._items.keys(number, positions))
            case RecordState(state):
                self._record_state(state)
            case RecordSample(sample):
                self._ingest.record_sample(sample)
            case RetryFlush():
                self._ingest.retry_failed_flush()
            case EndRun(state):
                for chunk in self._scheduler.chunks.open.values():
                    self._record_chunk(chunk)
                self._record_state(state)
        return ()

    def start(self) -> None:
        """Begin to write; raises `DatabaseError` when the results table's name is taken."""
        self._ingest.start()

    def _write(self, flush: ResultBatch) -> None:
        self._ingest.submit(
            Batch(
                ticket=(flush.worker, flush.nbytes),
                tables=tuple(deserialize(table) for table in flush.tables),
                items=deserialize(flush.items),
                errors=deserialize(flush.errors) if flush.errors else None,
                rows=flush.rows,
            )
        )

    def _record_chunk(self, chunk: Chunk) -> None:
        """Write down how a chunk stands; nothing for one that no worker of this process has had, unless it is done."""
        opened_at = self._opened_at.pop(chunk.number, None)
        if opened_at is None and not self._was_done(chunk):
            return
        if opened_at is not None and not chunk.state.ended:
            self._opened_at[chunk.number] = opened_at
        # What the database has refused, which a record may overtake, it takes off by itself.
        refused, counts = chunk.rejected, chunk.counts
        self._ingest.record_chunk(
            ChunkRecord(
                chunk=chunk.number,
                first_item=chunk.first_item,
                items=chunk.items,
                state=chunk.state.value,
                done=counts.done + refused,
                failed=counts.failed - refused,
                rows=counts.rows + chunk.rejected_rows,
                retries=counts.retries,
                started_at=opened_at,
                ended_at=datetime.now(UTC) if chunk.state.ended else None,
                busy_seconds=counts.busy_seconds,
            )
        )

    def _was_done(self, chunk: Chunk) -> bool:
        """Return True if an earlier process did all of a chunk and did not record that."""
        return self._chunks is not None and chunk.counts.done == chunk.items and chunk.number not in self._chunks

    def _record_state(self, state: RunState) -> None:
        length = self._scheduler.input_length
        total = self._items_total if length is None else length
        self._ingest.record_state(state.value, items_total=total, ended_at=datetime.now(UTC) if state.ended else None)

    def finish(self) -> None:
        """Begin to write all that is left; returns at once."""
        self._ingest.finish()

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all is written after `finish`. Return True if it is."""
        return self._ingest.wait(timeout)

    def close(self) -> bool:
        """Write all that is left, and end. Return True if all of it is in the database."""
        return self._ingest.close()


def _rejected(batch: Batch, error: BaseException) -> ItemsRejected:
    """Those items of a refused batch that were counted as done."""
    items: defaultdict[int, list[int]] = defaultdict(list)
    rows: Counter[int] = Counter()
    for item in batch.items.select(["item", "chunk", "state", "rows"]).to_pylist():
        if item["state"] == "ok":
            items[item["chunk"]].append(item["item"])
            rows[item["chunk"]] += item["rows"]
    return ItemsRejected(dict(items), dict(rows), str(error).split("\n", 1)[0])
