"""Batches of rows that are narrow, wide, or both, and the pieces that become Python objects."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.store.arrow_batches import PIECE_BYTES, READ_ROWS, gathered, pieces

SCHEMA = pa.schema({"text": pa.large_string()})


def batch(sizes: Sequence[int]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(["x" * size for size in sizes], pa.large_string())], schema=SCHEMA)


def reader(*batches: pa.RecordBatch) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, batches)


@given(st.lists(st.lists(st.sampled_from([0, 10, 300_000]), max_size=40), max_size=4))
def test_pieces_are_all_rows_in_order(batches: list[list[int]]) -> None:
    lengths = [len(text) for piece in pieces(map(batch, batches)) for text in piece.column(0).to_pylist()]
    assert lengths == [size for sizes in batches for size in sizes]


def test_pieces_of_wide_rows_have_few_of_them() -> None:
    assert [piece.num_rows for piece in pieces([batch([1 << 20] * 7)])] == [3, 3, 1]
    assert [piece.num_rows for piece in pieces([batch([2 * PIECE_BYTES] * 2)])] == [1, 1]
    assert [piece.num_rows for piece in pieces([batch([10] * 5_000)])] == [4_096, 904]


def test_small_batches_are_put_together_and_large_ones_are_not() -> None:
    narrow = reader(*[batch([10] * READ_ROWS)] * 9, batch([10]))
    assert [gathered(narrow).num_rows for _ in range(2)] == [4_096, READ_ROWS + 1]
    assert gathered(narrow) is None
    wide = reader(*[batch([PIECE_BYTES // 20] * 10)] * 3)
    assert [gathered(wide).num_rows for _ in range(2)] == [20, 10]
    assert gathered(wide) is None
