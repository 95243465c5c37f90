"""Looks up the recorded items of a run to resume it: by chunk, by position and by key.

No object exists for each item of a run, because there may be millions. Chunks are columns of numbers, items are read
for a few chunks at a time, and `KeyMatcher` stores one bit per item.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.store.database import Database
from tui_runner.store.ingest.results_table import ArrowViews
from tui_runner.store.records import WORKER_KILLED

_MOST_ITEMS = 1 << 36
"""Largest position of an item. `KeyMatcher` allocates a bit for each position, so a damaged ledger must not name a
larger one."""
_ROWS_AT_ONCE = 5_000
"""Rows that are converted to Python objects at once, because the conversion holds the interpreter lock."""


_MILLISECONDS = """CASE WHEN isfinite(started_at) AND isfinite(ended_at)
    THEN greatest(epoch_ms(ended_at) - epoch_ms(started_at), 0) ELSE 0 END"""
"""SQL for the milliseconds that a chunk took; 0 if it has not ended."""


@dataclass(frozen=True, slots=True)
class RecordedChunks:
    """Rows of a run's chunks, as columns of equal length. The index in a column is the number of the chunk.

    Attributes:
        first_items: position of the first item of each chunk.
        items: number of items.
        offsets: byte offset of the first item in the input; -1 if unknown.
        done: 1 if all items have succeeded, otherwise 0.
        rows: number of result rows.
        milliseconds: time from the start of the chunk to its end, in the process that ran it last; 0 if unknown.
    """

    first_items: array[int]
    items: array[int]
    offsets: array[int]
    done: array[int]
    rows: array[int]
    milliseconds: array[int]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def end(self) -> int:
        """Position after the last item of the last chunk."""
        return self.first_items[-1] + self.items[-1] if self.items else 0

    @property
    def are_limits(self) -> bool:
        """True if each chunk begins where the previous one ends, so that the input can be cut into them again."""
        position = 0
        for first, items in zip(self.first_items, self.items, strict=True):
            if first != position:
                return False
            position += items
        return True


@dataclass(slots=True)
class ChunkItems:
    """Recorded items of one chunk.

    Attributes:
        done: number of items that succeeded.
        rows: number of result rows of these items.
        failed: positions of the other items.
    """

    done: int = 0
    rows: int = 0
    failed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that did not succeed, with its value as JSON. The value is None if the ledger does not contain it."""

    chunk: int
    item: int
    key: str
    value: str | None


class RecordedItems:
    """The items of a run that were recorded before this process opened the database.

    Each query opens a cursor and closes it at its end, because DuckDB releases memory only while no cursor is open.
    """

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self.run_id = int(run_id)
        with self._database.opened_cursor() as cursor:
            (self.end,) = cursor.execute(
                """SELECT greatest(
                    (SELECT coalesce(max(item) + 1, 0) FROM runner.items WHERE run_id = $run),
                    (SELECT coalesce(max(item) + 1, 0) FROM runner.failed_attempts WHERE run_id = $run),
                    (SELECT coalesce(max(first_item + items), 0) FROM runner.chunks WHERE run_id = $run))""",
                {"run": self.run_id},
            ).fetchall()[0]
        """Position after every recorded item and every chunk. New items get positions from here on."""
        if not 0 <= self.end <= _MOST_ITEMS:
            raise ValueError(f"an item or a chunk of run {self.run_id} ends at position {self.end:,}")

    @property
    def has_places(self) -> bool:
        """True if some items have the key `@<position>`, because no key could be computed from their values."""
        with self._database.opened_cursor() as cursor:
            sql = "SELECT 1 FROM runner.items WHERE run_id = ? AND starts_with(key, '@') LIMIT 1"
            return bool(cursor.execute(sql, [self.run_id]).fetchall())

    def chunks(self) -> RecordedChunks:
        """Return the chunks of the run; no chunks if the ledger lacks one of the numbers from 0 to the highest."""
        with self._database.opened_cursor() as cursor:
            table = cursor.sql(
                f"""SELECT chunk, coalesce(first_item, -1) AS first_item, items,
                    coalesce(byte_offset, -1) AS byte_offset, CAST(state = 'done' AS BIGINT) AS done, rows,
                    {_MILLISECONDS} AS milliseconds
                FROM runner.chunks WHERE run_id = {self.run_id} ORDER BY chunk"""
            ).to_arrow_table()
        whole = pc.all(pc.equal(table.column("chunk"), pa.array(range(table.num_rows), pa.int64()))).as_py()
        table = table if whole is not False else table.slice(0, 0)
        return _chunks_of(table)

    def highest_chunk(self) -> int:
        """Return the highest number of a chunk of the run; -1 if the run has no chunks."""
        with self._database.opened_cursor() as cursor:
            return int(
                cursor.execute(
                    """SELECT greatest(
                        (SELECT coalesce(max(chunk), -1) FROM runner.items WHERE run_id = $run),
                        (SELECT coalesce(max(chunk), -1) FROM runner.chunks WHERE run_id = $run))""",
                    {"run": self.run_id},
                ).fetchall()[0][0]
            )

    def by_chunk(self, first: int, last: int) -> dict[int, ChunkItems]:
        """Return the recorded items of the chunks from `first` to `last` (inclusive), by the chunk's number."""
        with self._database.opened_cursor() as cursor:
            table = cursor.sql(
                f"""SELECT chunk, count(*) FILTER (WHERE state = 'ok') AS done,
                    CAST(coalesce(sum(rows) FILTER (WHERE state = 'ok'), 0) AS BIGINT) AS rows,
                    list(item ORDER BY item) FILTER (WHERE state <> 'ok') AS failed
                FROM runner.items WHERE run_id = {self.run_id} AND chunk BETWEEN {int(first)} AND {int(last)}
                GROUP BY chunk"""
            ).to_arrow_table()
        return {
            row["chunk"]: ChunkItems(row["done"], row["rows"], row["failed"] or ())
            for batch in table.to_batches()
            for row in batch.to_pylist()
        }

    def done_by_chunk(self) -> RecordedChunks:
        """Return the chunks from 0 to the highest number, counting only the items that succeeded."""
        with self._database.opened_cursor() as cursor:
            table = cursor.sql(
                f"""SELECT number AS chunk, coalesce(first_item, 0) AS first_item, coalesce(items, 0) AS items,
                    CAST(-1 AS BIGINT) AS byte_offset, CAST(1 AS BIGINT) AS done, coalesce(rows, 0) AS rows,
                    coalesce(milliseconds, 0) AS milliseconds
                FROM range({self.highest_chunk() + 1}) AS numbers(number) LEFT JOIN (
                    SELECT chunk, min(item) AS first_item, count(*) AS items, CAST(sum(rows) AS BIGINT) AS rows
                    FROM runner.items WHERE run_id = {self.run_id} AND state = 'ok' GROUP BY chunk
                ) ON chunk = number LEFT JOIN (
                    SELECT chunk, max({_MILLISECONDS}) AS milliseconds
                    FROM runner.chunks WHERE run_id = {self.run_id} GROUP BY chunk
                ) USING (chunk) ORDER BY number"""
            ).to_arrow_table()
        return _chunks_of(table)

    def done_among(self, chunk: int) -> set[int]:
        """Return the positions of the items of a chunk that succeeded."""
        with self._database.opened_cursor() as cursor:
            found = cursor.execute(
                "SELECT item FROM runner.items WHERE run_id = ? AND chunk = ? AND state = 'ok'", [self.run_id, chunk]
            ).fetchall()
        return {item for (item,) in found}

    def positions_of(self, chunk: int) -> array[int]:
        """Return the positions of all recorded items of a chunk, in ascending order."""
        with self._database.opened_cursor() as cursor:
            table = cursor.sql(
                f"SELECT item FROM runner.items WHERE run_id = {self.run_id} AND chunk = {int(chunk)} ORDER BY item"
            ).to_arrow_table()
        return _numbers(table.column("item"))

    def failed(self, first: int, last: int) -> list[Failed]:
        """Return the items of the chunks from `first` to `last` (inclusive) that did not succeed, in order."""
        with self._database.opened_cursor() as cursor:
            rows = cursor.execute(
                """SELECT chunk, item, key, CAST(value AS VARCHAR) FROM runner.items
                WHERE run_id = ? AND chunk BETWEEN ? AND ? AND state <> 'ok' ORDER BY chunk, item""",
                [self.run_id, first, last],
            ).fetchall()
        return [Failed(*row) for row in rows]

    def deaths(self) -> dict[int, int]:
        """Return the number of worker deaths by position, for items that were in flight then and have not ended yet."""
        with self._database.opened_cursor() as cursor:
            sql = """SELECT item, count(*) FROM runner.failed_attempts
                WHERE run_id = $run AND type = $type AND NOT final GROUP BY item"""
            deaths = dict(cursor.execute(sql, {"run": self.run_id, "type": WORKER_KILLED}).fetchall())
        # Use a second statement. In the first one, NOT IN would read every recorded item into memory: 2 GB for 40
        # million items.
        ended = self.taken(list(deaths)) if deaths else ()
        return {item: number for item, number in deaths.items() if item not in ended}

    def count_failed(self, *, without_value: bool = False) -> int:
        """Return the number of items that did not succeed.

        With `without_value`, count only those whose value the ledger does not contain.
        """
        condition = "state <> 'ok'" + (" AND value IS NULL" if without_value else "")
        with self._database.opened_cursor() as cursor:
            sql = f"SELECT count(*) FROM runner.items WHERE run_id = ? AND {condition}"
            return int(cursor.execute(sql, [self.run_id]).fetchall()[0][0])

    def taken(self, positions: Sequence[int]) -> set[int]:
        """Return the `positions` at which an item is recorded."""
        wanted = pa.table({"item": pa.array(positions, pa.int64())})
        with self.matching(wanted) as (cursor, view):
            found = cursor.execute(
                f"SELECT item FROM runner.items WHERE run_id = {self.run_id} AND item IN (SELECT item FROM {view})"
            ).fetchall()
        return {item for (item,) in found}

    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return the `keys` that recorded items of the run have."""
        with self.matching(pa.table({"key": pa.array(keys, pa.string())})) as (cursor, view):
            found = cursor.execute(
                f"SELECT DISTINCT key FROM runner.items WHERE run_id = {self.run_id}"
                f" AND key IN (SELECT key FROM {view})"
            ).fetchall()
        return {key for (key,) in found}

    @contextmanager
    def matching(self, table: pa.Table) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Register `table` for the duration of a `with` block. Yield a cursor and the table's name for SQL."""
        with self._database.opened_cursor() as cursor, ArrowViews(cursor).show("keys", table) as view:
            yield cursor, view


@dataclass(frozen=True, slots=True)
class Matched:
    """Items of the input that were found among the recorded items, as columns of equal length.

    Attributes:
        index: index of the item in the section of the input.
        item: position of the recorded item.
        is_done: True if the recorded item succeeded.
        is_kept: True if the ledger contains the value of the recorded item.
    """

    index: list[int]
    item: list[int]
    is_done: list[bool]
    is_kept: list[bool]


class KeyMatcher:
    """A search for the items of an input among the recorded items, by their keys, one slice at a time.

    Each recorded item is matched with at most one item of the input. If several recorded items have the same key, those
    that succeeded are matched first.

    Args:
        items: the recorded items.
    """

    def __init__(self, items: RecordedItems) -> None:
        self._items = items
        # One bit per position: 2.5 MB for a run with 20 million items.
        self._used = bytearray(-(-items.end // 8) or 1)
        self._bits = pa.Array.from_buffers(pa.bool_(), 8 * len(self._used), [None, pa.py_buffer(self._used)])

    def match(self, keys: Sequence[str], *, failed: bool = False) -> Matched:
        """Return the recorded items that match the keys, and mark them as matched.

        Args:
            keys: the keys of the items in a slice of the input.
            failed: True if only recorded items that did not succeed may match.
        """
        among = " AND state <> 'ok'" if failed else ""
        wanted = pa.table({"key": pa.array(keys, pa.string()), "index": pa.array(range(len(keys)), pa.int64())})
        with self._items.matching(wanted) as (cursor, view):
            # Rows with positions from `end` on were recorded by this process.
            recorded = cursor.sql(
                f"""SELECT index, item, state = 'ok' AS is_done, value IS NOT NULL AS is_kept
                FROM runner.items JOIN (SELECT key, min(index) AS index FROM {view} GROUP BY key) USING (key)
                WHERE run_id = {self._items.run_id} AND item < {self._items.end}{among}
                ORDER BY state <> 'ok', item"""
            ).to_arrow_table()
            repeated = cursor.sql(
                f"SELECT list(index ORDER BY index) FROM {view} GROUP BY key HAVING count(*) > 1"
            ).to_arrow_table()
        others = {places[0]: deque(places[1:]) for places in repeated.column(0).to_pylist()}
        recorded = recorded.filter(pc.invert(pc.take(self._bits, recorded.column("item"))))
        matched = Matched([], [], [], [])
        taken, used = bytearray(len(keys)), self._used
        for batch in recorded.to_batches(max_chunksize=_ROWS_AT_ONCE):
            for first, item, is_done, is_kept in zip(*(part.to_pylist() for part in batch.columns), strict=True):
                index = first
                if taken[index]:
                    rest = others.get(first)
                    if not rest:
                        continue  # the slice has no more items with this key
                    index = rest.popleft()
                taken[index] = 1
                used[item >> 3] |= 1 << (item & 7)
                matched.index.append(index)
                matched.item.append(item)
                matched.is_done.append(is_done)
                matched.is_kept.append(is_kept)
        return matched

    def unused_failures(self, *, without_value: bool = False) -> int:
        """Return the number of recorded items that did not succeed and were not matched.

        Args:
            without_value: True to count only those whose value the ledger does not contain.
        """
        left, condition = 0, "value IS NULL" if without_value else "true"
        with self._items.matching(pa.table({"key": []})) as (cursor, _):
            reader = cursor.sql(
                f"""SELECT item FROM runner.items WHERE run_id = {self._items.run_id} AND item < {self._items.end}
                    AND state <> 'ok' AND {condition}"""
            ).to_arrow_reader(65_536)
            for batch in reader:
                left += batch.num_rows - (pc.sum(pc.take(self._bits, batch.column(0))).as_py() or 0)
        return left


def _chunks_of(table: pa.Table) -> RecordedChunks:
    names = ("first_item", "items", "byte_offset", "done", "rows", "milliseconds")
    return RecordedChunks(*(_numbers(table.column(name)) for name in names))


def _numbers(column: pa.ChunkedArray) -> array[int]:
    numbers = array("q")
    for part in column.chunks:
        buffer = part.buffers()[1]
        numbers.frombytes(memoryview(buffer)[part.offset * 8 : (part.offset + len(part)) * 8] if len(part) else b"")
    return numbers
