"""The form of the data to write: Arrow schemas of ledger rows, and records of chunks, samples, hosts and runs.

This module does not import DuckDB, so that workers can build ledger rows without loading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

RUN_COLUMN = "_run"
"""Column of every results table: the number of the run."""
ITEM_COLUMN = "_item"
"""Column of every results table: the position of the item in the run, from 0."""

MAX_COLUMNS = 4_096
"""Columns that functions may add to a results table. A dict keyed by ids would otherwise add a column per row."""
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
"""Ledger rows of items.

`state` is ok, failed, timeout or cancelled; `seconds` is the duration of the last attempt. `text` is a short text of
the item's value; null if the run stores none. `value` is the value of an item that did not succeed, as JSON; null if
JSON does not preserve the value, or if it is too large or contains a secret.
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
"""Ledger rows of failed attempts.

`final` is true for the last attempt at its item. `shape` is the message without its variable parts
(`text.describe.shape`), which is equal for similar errors. `item_text` is a short text of the item's value; null if
unknown.
"""


def insert_errors_sql(rows: str, run_id: str) -> tuple[str, str]:
    """Return two statements that add failed attempts to the ledger, and each distinct traceback only once.

    A traceback ends with the message, which differs from item to item. It is stored without the message, so that all
    errors raised at the same lines have the same traceback.

    Args:
        rows: table or view with the columns of `ERRORS`.
        run_id: SQL expression for the run's number.
    """
    ends = "message <> '' AND ends_with(traceback, message || chr(10))"
    text = f"if({ends}, left(traceback, length(traceback) - length(message) - 1), traceback)"
    return (
        f"""INSERT INTO runner.tracebacks SELECT DISTINCT traceback_id, text
        FROM (SELECT {text} AS text, md5_number_lower({text}) AS traceback_id FROM {rows}) new
            ANTI JOIN runner.tracebacks USING (traceback_id)
        WHERE text IS NOT NULL""",
        f"""INSERT INTO runner.failed_attempts SELECT {run_id}, item, chunk, attempt, type, message,
        md5_number_lower({text}), {ends}, occurred_at, final, shape, item_text FROM {rows}""",
    )


WORKER_KILLED = "WorkerKilled"
"""Type of the error of an item that was in flight when its worker died."""


ADDED = pa.schema([("added_by", pa.int64()), ("key", pa.string()), ("value", pa.string())])
"""Items that items have added: position of the adding item, key of the new item, and its value as JSON."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Result rows and ledger rows of one batch of a worker.

    Attributes:
        ticket: any object by which the caller recognises the batch when it is committed.
        tables: result rows. Each table has `_item` and the function's raw column names.
        items: ledger rows with the schema `ITEMS`.
        errors: ledger rows with the schema `ERRORS`; None if there are none.
        rows: number of result rows in `tables`.
        added: rows with the schema `ADDED`; None if there are none.
    """

    ticket: object
    tables: tuple[pa.Table, ...]
    items: pa.Table
    errors: pa.Table | None
    rows: int
    added: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """Ledger row of a chunk, written before its first item, and again when the chunk ends or the run stops.

    `started_at` is the time when its first item started; None before the chunk is sent to a worker. `byte_offset`
    is the offset of the chunk's first item in the input; None if the input has no offsets. `host` is the other
    machine that ran the chunk last; None for this machine. An item counts as done even if the database later
    refuses its rows; `Ingest` corrects that.
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
    """Ledger row with a run's counters at one moment, taken every few seconds.

    `in_flight` is None in the first sample of a process, when no worker has reported yet. It marks the start of a
    process. `items_per_second` is the highest rate that the dashboard has shown since the previous sample; `app_rss`
    and `workers_rss` are from the moment since then at which their sum was highest.
    """

    sampled_at: datetime
    items_done: int
    items_failed: int
    rows: int
    in_flight: int | None
    threads: int
    items_per_second: float
    app_rss: int
    workers_rss: int
    db_bytes: int


@dataclass(frozen=True, slots=True)
class HostRecord:
    """Ledger row of an HTTP host of a run, with what one process has counted.

    Attributes:
        host: name of the host.
        done: requests that succeeded.
        failed: requests that failed.
        refused: requests that the host refused but may accept later, for example with status 429.
        seconds: total duration of the requests.
        delay_seconds: seconds between two requests.
        cooldown_until: when the host's present cooldown ends; None if there is none.
        p50_seconds: median duration of a request; None if there was none.
        p95_seconds: 95th percentile of the duration; None if there was no request.
        statuses: number of responses by status, as text. The key `no answer` counts requests without a response.
        updated_at: when the counts were taken.
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
    """Ledger row of a run.

    Attributes:
        run_id: number of the run in its database, from 1.
        job: name of the function.
        job_path: file or module from which the job was loaded, with the function: `/abs/scrape.py:fetch` or
            `pkg.mod:fetch`.
        table_name: name of the results table.
        input: `SOURCE` of the items as the user gave it; None if the job creates its own items.
        params: job parameters as JSON values.
        settings: settings as JSON values.
        state: a `RunState` as text.
        items_total: number of items in the input; None while unknown.
        started_at: when the run was started, with time zone.
        ended_at: when the run ended; None if it has not ended.
        host: name of the machine.
        version: version of tui-runner.
        key_columns: columns from which the keys of items are computed, see `inputs.keys`; None for a run of an earlier
            version.
        fingerprint: fingerprint of the input when the run began. None if it was unknown, or after the input has
            changed.
        active_seconds: seconds for which processes have worked on the run, without pauses.
        wall_seconds: seconds for which processes have had the run open, with pauses; 0 for a run of an earlier version.
        is_whole: True if the ledger contains everything that is needed to resume the run. False in a damaged ledger.
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
    wall_seconds: float = 0.0
    is_whole: bool = True


PROTOCOL = "beside"
"""Scheme of the address of a database that is read while another process writes it, see `store/reader_files.py`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of a database that another process writes.

    Attributes:
        file: path of the database.
        name: name of the database in statements of the writing process.
        log: path of the write-ahead log.
        log_bytes: bytes of the log that belong to this state.
    """

    file: Path
    name: str
    log: Path
    log_bytes: int

    @property
    def address(self) -> str:
        """Address of the file for DuckDB's `ATTACH`. DuckDB knows it only if `OtherFiles` was registered before."""
        return f"{PROTOCOL}://{self.file}"
