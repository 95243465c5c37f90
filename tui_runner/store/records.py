"""The shape of what is written: Arrow schemas of ledger rows, and the records of chunks, samples and runs.

Nothing here needs DuckDB, so a worker builds its ledger rows with it and never loads the database library.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

RUN_COLUMN = "_run"
"""Column of every results table: number of the run."""
ITEM_COLUMN = "_item"
"""Column of every results table: position of the item in the input, from 0."""

MAX_COLUMNS = 4_096
"""Columns of a function that a results table may have: a dict keyed by ids would else make it as wide as it is long."""
TOO_MANY_COLUMNS = f"more than {MAX_COLUMNS} different columns; return rows of key and value, or nest the dict"

_UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

ITEMS = pa.schema(
    [
        ("item", pa.int64()),
        ("chunk", pa.int64()),
        ("key", pa.string()),
        ("state", pa.string()),
        ("attempts", pa.int32()),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("finished_at", _UTC_MICROSECONDS),
        ("text", pa.string()),
        ("value", pa.string()),
    ]
)
"""Ledger rows of items: `state` is ok, failed, timeout or cancelled; `seconds` those of the last attempt.

`text` is a short text of the item's value, null where a run keeps none; `value` the value of an item that did not end
well as JSON, null where it would not come back from that as it was.
"""

ERRORS = pa.schema(
    [
        ("item", pa.int64()),
        ("chunk", pa.int64()),
        ("attempt", pa.int32()),
        ("type", pa.string()),
        ("message", pa.string()),
        ("traceback", pa.string()),
        ("occurred_at", _UTC_MICROSECONDS),
        ("final", pa.bool_()),
        ("shape", pa.string()),
        ("item_text", pa.string()),
    ]
)
"""One row an attempt that failed; `final` marks the one that ended the item.

`shape` is what the message has in common with those that are alike (`error_shape.shape`); `item_text` a short text of
the item's value, null where it is not known.
"""

WORKER_KILLED = "WorkerKilled"
"""The type of the error of an item that was in flight when its worker died."""


ADDED = pa.schema([("added_by", pa.int64()), ("key", pa.string()), ("value", pa.string())])
"""Items that an item has added to the run: its position, and of each the key, and the value as JSON."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows and ledger rows of one batch of a worker, for the database.

    Attributes:
        ticket: handed back when the batch is committed.
        tables: result rows, each table with `_item` and the function's raw column names.
        items: rows of `ITEMS`.
        errors: rows of `ERRORS`, or None.
        rows: result rows in `tables`.
        added: rows of `ADDED`, or None.
    """

    ticket: object
    tables: tuple[pa.Table, ...]
    items: pa.Table
    errors: pa.Table | None
    rows: int
    added: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """The ledger's row of a chunk: written before the first of its items, and again when it ends or the run stops.

    `byte_offset` is where its first item begins in the input, None where that has no such place; `host` the other
    machine that had it last, None for this one. Items whose rows the
    database refuses while it takes them from `Ingest` count as done here.
    """

    chunk: int
    first_item: int
    items: int
    state: str
    done: int
    failed: int
    rows: int
    retries: int
    started_at: datetime | None
    ended_at: datetime | None
    busy_seconds: float
    byte_offset: int | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """The ledger's row of one moment of a run, taken every few seconds."""

    sampled_at: datetime
    items_done: int
    items_failed: int
    rows: int
    in_flight: int
    threads: int
    items_per_second: float
    app_rss: int
    workers_rss: int
    db_bytes: int


@dataclass(frozen=True, slots=True)
class HostRecord:
    """The ledger's row of a host that a run asks, as far as one process has asked it.

    Attributes:
        host: its name.
        done: requests that were answered well.
        failed: requests that failed.
        refused: requests that it refused for now.
        seconds: that requests took, added up.
        delay_seconds: from one request to the next.
        cooldown_until: when its last refusal ends; None for none.
        p50_seconds: median of a request; None before the first.
        p95_seconds: 95th percentile likewise.
        statuses: how many answers had which status, as text; `no answer` for none.
        updated_at: when that was so.
    """

    host: str
    done: int
    failed: int
    refused: int
    seconds: float
    delay_seconds: float
    cooldown_until: datetime | None
    p50_seconds: float | None
    p95_seconds: float | None
    statuses: dict[str, int]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The ledger's row of a run.

    Attributes:
        run_id: number in its database, from 1.
        job: name of the function.
        job_path: path or module it was loaded from, with the function: `/abs/scrape.py:fetch`, `pkg.mod:fetch`.
        table_name: results table.
        input: the `SOURCE` of its items as it was given, None when the job makes its own.
        params: job parameters as JSON values.
        settings: settings as JSON values.
        state: a state of a run.
        items_total: length of the input, None while unknown.
        started_at: when it was begun (with time zone).
        ended_at: when it came to its end, None before.
        host: name of the machine.
        version: of tui-runner.
        key_columns: what the keys of its items are made of, see `inputs.keys`; None where an earlier version began it.
        fingerprint: what its input looked like when it began; None where that is not known, or it has changed since.
        active_seconds: how long processes were at work on it, without the time it was paused.
        is_whole: whether the ledger has all that is needed to go on with it; a damaged one is shown as far as it is.
    """

    run_id: int
    job: str
    job_path: str
    table_name: str
    input: str | None
    params: dict[str, object]
    settings: dict[str, object]
    state: str
    items_total: int | None
    started_at: datetime
    ended_at: datetime | None
    host: str
    version: str
    key_columns: str | tuple[str, ...] | None = ()
    fingerprint: str | None = None
    active_seconds: float = 0.0
    is_whole: bool = True


PROTOCOL = "beside"
"""Of addresses of a database that is read beside its writer, see `store/beside.py`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of a database that another process writes.

    Attributes:
        file: the database.
        name: what its owner's statements call it.
        log: its write-ahead log.
        log_bytes: how much of the log belongs to this state.
    """

    file: Path
    name: str
    log: Path
    log_bytes: int

    @property
    def address(self) -> str:
        """The file as `ATTACH` takes it, once `OtherFiles` is registered."""
        return f"{PROTOCOL}://{self.file}"
