"""Reports as frames for a network: what the program reads is what the host process sent."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from support.sent_batches import EMPTY_BATCH

from tui_runner.engine.backends.frames import BadFrame, pack_report, unpack_report
from tui_runner.engine.protocol import ResultBatch
from tui_runner.store.arrow_batches import deserialize, serialize
from tui_runner.store.records import ADDED, ERRORS, ITEMS

ROWS = pa.table({"_item": pa.array([3], pa.int64()), "title": ["a"]})
ONE_ADDED = pa.table({"added_by": [3], "key": ["k"], "value": ['"b"']}, schema=ADDED)


def batch(**fields: Any) -> ResultBatch:
    """Return a batch of worker 7 without items, with `fields` changed."""
    return replace(EMPTY_BATCH, **{"worker": 7, "failing_since": math.inf} | fields)


def sent(report: ResultBatch) -> ResultBatch:
    received = unpack_report(pack_report(report))
    assert isinstance(received, ResultBatch)
    return received


def test_every_arrow_stream_of_a_batch_arrives() -> None:
    errors = ERRORS.empty_table()
    received = sent(batch(tables=(serialize(ROWS),), errors=serialize(errors), added=serialize(ONE_ADDED)))
    assert [deserialize(table) for table in received.tables] == [ROWS]
    assert deserialize(received.items) == ITEMS.empty_table()
    assert deserialize(received.errors) == errors
    assert deserialize(received.added) == ONE_ADDED


def test_a_batch_without_errors_and_added_items_arrives_without_them() -> None:
    received = sent(batch())
    assert (received.errors, received.added, received.failing_since) == (b"", b"", math.inf)


@pytest.mark.parametrize("field", ["items", "errors", "added"])
def test_a_stream_with_other_columns_than_the_ledger_is_refused(field: str) -> None:
    with pytest.raises(BadFrame, match="do not have the expected columns"):
        sent(batch(**{field: serialize(ROWS)}))
