"""What a run writes down: batches, chunks, samples and its state, as records for the thread that writes them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.protocol import Flush
from tui_runner.engine.scheduling.chunk import Chunk
from tui_runner.engine.scheduling.events import ItemsRejected
from tui_runner.engine.states import RunState
from tui_runner.store.arrow_batches import deserialize
from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.records import Batch, ChunkRecord, SampleRecord

_SAMPLE_SECONDS = 5.0
"""Between rows of `runner.samples`: 7,200 rows in a run of ten hours."""


class Journal:
    """Writes one run into its database, through the thread of `Ingest`.

    Args:
        database: open.
        run_id: number of the run.
        table: results table.
        chunks: numbers of chunks that the ledger has already. Of the others those get their row as well in which there
            was nothing left to do: an earlier process had done it, and was killed before it wrote that, or had cut
            chunks in another size. None for no such rows: a retry does not know whether all of a chunk is done.
        replaced_keys: keys whose ledger rows are replaced when their items end; may grow.
        on_written: called with (worker, bytes) of every flush that is committed, from the writing thread.
        on_rejected: called with items whose rows the database refuses.
        on_error: called when nothing can be written.
        redact: takes secrets out of messages of the database.
    """

    def __init__(
        self,
        database: Database,
        run_id: int,
        table: str,
        *,
        chunks: Collection[int] | None,
        replaced_keys: Collection[str],
        on_written: Callable[[list[object]], None],
        on_rejected: Callable[[ItemsRejected], None],
        on_error: Callable[[BaseException], None],
        redact: Callable[[str], str],
    ) -> None:
        self._ingest = Ingest(
            database,
            run_id,
            table,
            on_written=on_written,
            on_error=on_error,
            on_rejected=lambda batch, error: on_rejected(_rejected(batch, error)),
            replaced_keys=replaced_keys,
            redact=redact,
        )
        self._chunks = chunks
        self._opened_at: dict[int, datetime] = {}
        self._next_sample = 0.0

    def start(self) -> None:
        """Begin to write; raises `DatabaseError` when the results table's name is taken."""
        self._ingest.start()

    def write(self, flush: Flush) -> None:
        """Have a flush written; returns at once."""
        self._ingest.submit(
            Batch(
                ticket=(flush.worker, flush.nbytes),
                tables=tuple(deserialize(table) for table in flush.tables),
                items=deserialize(flush.items),
                errors=deserialize(flush.errors) if flush.errors else None,
                rows=flush.rows,
            )
        )

    def chunk_opened(self, number: int) -> None:
        """Remember when the chunk was first sent to a worker."""
        self._opened_at.setdefault(number, datetime.now(UTC))

    def chunk(self, chunk: Chunk) -> None:
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
        """Whether an earlier process did all of a chunk and did not write that down."""
        return self._chunks is not None and chunk.counts.done == chunk.items and chunk.number not in self._chunks

    def sample(self, memory: MemoryMeasured, picture: Snapshot) -> None:
        """Write down how the run goes, every few seconds."""
        now = time.monotonic()
        if now < self._next_sample:
            return
        self._next_sample = now + _SAMPLE_SECONDS
        self._ingest.record_sample(
            SampleRecord(
                sampled_at=datetime.now(UTC),
                items_done=picture.items_done,
                items_failed=picture.items_failed,
                rows=picture.rows,
                in_flight=picture.in_flight,
                threads=picture.threads,
                items_per_second=picture.items_per_second,
                app_rss=memory.app_rss,
                workers_rss=memory.workers_rss,
                db_bytes=memory.db_bytes,
            )
        )

    def state(self, state: RunState, items_total: int | None) -> None:
        """Write down the state of the run."""
        self._ingest.record_state(
            state.value, items_total=items_total, ended_at=datetime.now(UTC) if state.ended else None
        )

    def try_again(self) -> None:
        """Try again what could not be written; nothing when there is no such thing."""
        self._ingest.retry_failed_flush()

    def finish(self) -> None:
        """Begin to write all that is left; returns at once."""
        self._ingest.finish()

    def finished(self, timeout: float) -> bool:
        """After `finish`: wait so many seconds for the end of that; whether it has come."""
        return self._ingest.wait(timeout)

    def close(self) -> bool:
        """Write all that is left, and end; whether that is in the database."""
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
