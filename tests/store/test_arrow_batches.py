"""Arrow batches as bytes of an IPC stream."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tui_runner.store.arrow_batches import deserialize, serialize


@pytest.mark.parametrize("rows", [0, 3, 200_000], ids=["empty", "small", "measured before it is written"])
def test_table_comes_back_equal(rows):
    table = pa.table({"number": pa.array(range(rows), pa.int64()), "text": pa.array(["é"] * rows, pa.string())})
    assert deserialize(serialize(table)).equals(table)


def test_chunks_of_a_large_table_stay_chunks():
    part = pa.table({"number": pa.array(range(50_000), pa.int64())})
    assert deserialize(serialize(pa.concat_tables([part, part.slice(7)]))).column("number").num_chunks == 2
