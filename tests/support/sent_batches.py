"""Batches as workers send them, and the rows in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tui_runner.engine.protocol import ResultBatch, Trials
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.records import ERRORS, ITEMS, Batch, RunRecord
from tui_runner.text.describe import shape

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


EMPTY_BATCH = ResultBatch(
    worker=0,
    tables=(),
    items=serialize(ITEMS.empty_table()),
    errors=b"",
    ended={},
    failed={},
    retried={},
    counts={},
    error_groups={},
    rows=0,
    nbytes=0,
    trials=Trials(),
)
"""A batch of worker 0 without items."""


def run_record(**changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "run_id": 0,
        "job": "books",
        "job_path": "/jobs/scrape.py:books",
        "table_name": "books",
        "input": None,
        "params": {"base": "https://example.org", "last": 50},
        "settings": {"threads": 16, "timeout": None},
        "state": "running",
        "items_total": 100,
        "started_at": STARTED,
        "ended_at": None,
        "host": "here",
        "version": "0.1.0",
    }
    return RunRecord(**(values | changes))


def item_row(
    item: int, state: str = "ok", *, key: str | None = None, rows: int = 1, attempts: int = 1
) -> dict[str, Any]:
    return {
        "item": item,
        "chunk": item // 10,
        "key": key or f"key-{item}",
        "state": state,
        "attempts": attempts,
        "rows": rows if state == "ok" else 0,
        "seconds": 0.5,
        "finished_at": STARTED,
    }


def error_row(
    item: int, message: str = "boom", *, attempt: int = 1, final: bool = True, type: str = "ValueError"
) -> dict[str, Any]:
    return {
        "item": item,
        "chunk": item // 10,
        "attempt": attempt,
        "type": type,
        "message": message,
        "traceback": f"Traceback: {message}",
        "occurred_at": STARTED,
        "final": final,
        "shape": shape(message),
        "item_text": f"value {item}",
    }


def make_batch(
    *tables: pa.Table,
    items: Sequence[dict[str, Any]] | None = None,
    errors: Sequence[dict[str, Any]] = (),
    ticket: object = None,
) -> Batch:
    """Return a batch with these result tables; unless `items` says otherwise, every item of the tables is done."""
    if items is None:
        found = sorted({item for table in tables for item in table["_item"].to_pylist()})
        items = [item_row(item) for item in found]
    return Batch(
        ticket=ticket,
        tables=tables,
        items=pa.Table.from_pylist(list(items), schema=ITEMS),
        errors=pa.Table.from_pylist(list(errors), schema=ERRORS) if errors else None,
        rows=sum(table.num_rows for table in tables),
    )


def rows_of(item: int, **columns: Any) -> pa.Table:
    """Return one result row of an item; a value may be a (value, Arrow type) pair."""
    arrays = {
        name: pa.array([value[0]], value[1]) if isinstance(value, tuple) else pa.array([value])
        for name, value in columns.items()
    }
    return pa.table({"_item": pa.array([item], pa.int64()), **arrays})
