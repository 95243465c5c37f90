"""What changed between two results of a statement that is watched."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_ROWS = 1_000
"""Rows that are compared: nobody watches more."""


def changed_cells(old: pa.Table | None, new: pa.Table) -> frozenset[tuple[int, int]]:
    """(row, column) of cells whose value is another than in the same place before; rows that are new count whole.

    Nothing is marked when the columns are others. Compares the first thousand rows.
    """
    if old is None or not old.schema.equals(new.schema):
        return frozenset()
    both = min(old.num_rows, new.num_rows, _ROWS)
    cells = {(row, column) for row in range(both, min(new.num_rows, _ROWS)) for column in range(new.num_columns)}
    for number, (before, after) in enumerate(zip(old.columns, new.columns, strict=True)):
        cells.update((row, number) for row in _changed(before.slice(0, both), after.slice(0, both)))
    return frozenset(cells)


def _changed(before: pa.ChunkedArray, after: pa.ChunkedArray) -> list[int]:
    if before.equals(after):
        return []
    try:
        differs = pc.fill_null(pc.not_equal(before, after), False)
    except pa.ArrowNotImplementedError:  # nested values
        return [row for row in range(len(before)) if not before[row].equals(after[row])]
    nulls = pc.not_equal(pc.is_null(before), pc.is_null(after))
    return pc.indices_nonzero(pc.or_(differs, nulls)).to_pylist()  # type: ignore[no-any-return]
