"""Converts results of a job's function to Arrow; all rows of a results table pass through this module.

    collect(value)  in the item's thread: converts a result to `Rows`, which are immutable, counted and measured
    build(results)  in the reporter's thread: converts the rows of many items to Arrow tables with the column `_item`

| returned | rows |
| --- | --- |
| `None` | none |
| mapping, dataclass, named tuple, attrs, msgspec or pydantic-like object | one |
| text, number, date, bytes, UUID, enum, path | one, column `value` |
| list, tuple, set, iterator, generator of these, in any mixture | one per element |
| table or series of pandas, polars, numpy or pyarrow, or a list of tables | one per row of the table |

A pandas series in a list is a row by its index, as `iterrows()` returns it; a series returned alone is a column. A row
without columns (`{}`) is a row; the results table gets its `_item`. Columns are in the order in which they first
appear. A key that is not a str is named `str(key)`. A column in which all values are null is omitted, because its type
is unknown; the database adds the column with its first value.

If a value cannot be stored, only its item fails, with a message that names the column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import pyarrow as pa

from tui_runner.errors import RowError
from tui_runner.store.records import ITEM_COLUMN, MAX_COLUMNS, TOO_MANY_COLUMNS
from tui_runner.store.rows.columns import name_fault, to_arrow
from tui_runner.store.rows.dataframes import VALUE_COLUMN, is_pandas_series, is_series, is_table, read_table, series_row
from tui_runner.store.rows.values import PLAIN, Json, in_column, is_record, is_scalar, named, plain, record, type_name

ARROW_FROM = 1_000
"""Fewest rows of a result that the item's thread converts to Arrow. For so many rows, the fixed cost of a table (30 µs)
is negligible. Fewer rows are copied, and converted later together with those of other items (`build`)."""
_SLICE = 4_096
"""Rows of an iterator that exist as Python objects at the same time. As Arrow they need a fraction of the memory."""
_FIRST_SLICE = 16
"""Rows of the first slice of an iterator. It is small, because rows may be large. Each slice is four times as long as
the previous one."""
MAX_ITEM_BYTES = 1 << 30
"""Largest size of one item's rows in bytes. On the way into the database, up to six copies of the rows are in memory
(measured). The rows cannot be written in parts, because an item is recorded as a whole."""
_ROW_BYTES = 232
"""Estimated memory of a dict with up to five keys, with its place in the buffer, in CPython on 64 bits."""
_CELL_BYTES = 64
"""Estimated memory of a value: a small object and its part of the dict. For text and bytes, the length is added."""
_SIZED = frozenset({str, bytes, Json})
"""Types whose length in characters or bytes is added to the estimated size of a value."""

_ACCEPTED = "return None, dicts, dataclasses, named tuples, scalars, lists or generators of those, or a table"
"""End of the messages about results that cannot be stored."""

Row = Mapping[str, object]


@dataclass(slots=True)
class Rows:
    """The rows of one item, in a form independent of what the function returned.

    They are never changed. The class is not frozen only because that would cost 0.3 µs per item.

    Attributes:
        count: number of rows.
        nbytes: estimated bytes of memory that the rows take.
        parts: lists of rows with plain values that are not yet converted to Arrow, and tables.
        added: items that the item has added to the run.
    """

    count: int
    nbytes: int
    parts: tuple[list[Row] | pa.Table, ...]
    added: tuple[object, ...] = ()


EMPTY = Rows(0, 0, ())
"""The result of an item that has no rows."""


@dataclass(frozen=True, slots=True)
class Built:
    """The rows of many items as Arrow.

    Attributes:
        tables: result rows, with `_item` (int64) as the first column. One table per schema, usually only one.
        rows: number of rows in `tables`.
        failed: for each item that cannot be stored, its index in the results and the reason. No table contains its
            rows.
    """

    tables: tuple[pa.Table, ...]
    rows: int
    failed: dict[int, str]


def collect(value: object) -> Rows:
    """Convert the result of a function to `Rows`. Iterators are read to their end, and their exceptions are not caught.

    Raises:
        RowError: the value cannot be stored.
    """
    kind: Any = type(value)
    if kind is dict:
        # Copy it, because the function may keep the dict and change it later.
        return _one(value.copy())  # type: ignore[attr-defined]  # a dict
    if value is None:
        return EMPTY
    if kind in PLAIN:
        return _one({VALUE_COLUMN: value})
    if is_table(kind):
        return _from_table(read_table(value))
    if is_scalar(kind) or is_record(kind):
        return _one(_row_reader(kind)(value))
    if issubclass(kind, (list, tuple, set, frozenset)):
        return _gathered(_parts(list(value)))  # type: ignore[call-overload]  # one of the four
    if isinstance(value, Iterable):
        return _gathered(chain.from_iterable(map(_parts, _slices(iter(value)))))
    raise RowError(f"the function returned a value of type {type_name(kind)}; {_ACCEPTED}")


def _one(row: dict[Any, object]) -> Rows:
    """Return `Rows` with one row. The caller must not use `row` afterwards."""
    nbytes = _measured(row)
    if nbytes < 0:
        row = _frozen(row)
        nbytes = _measured(row)
    return Rows(1, nbytes, ([row],))


def _measured(row: dict[Any, object]) -> int:
    """Return the estimated bytes of a row; -1 if a key is not a str or a value not plain. One pass, for speed."""
    nbytes = _ROW_BYTES + _CELL_BYTES * len(row)
    for key, value in row.items():
        if type(key) is not str:
            return -1
        kind = type(value)
        if kind in _SIZED:
            nbytes += len(value)  # type: ignore[arg-type]  # text or bytes
        elif kind not in PLAIN:
            return -1
    return nbytes


def _frozen(row: Mapping[Any, object]) -> dict[str, object]:
    """Return `row` with keys of type str and plain values."""
    frozen = named(row)
    for name, value in frozen.items():
        if type(value) not in PLAIN:
            try:
                frozen[name] = plain(value)
            except RowError as error:
                raise RowError(in_column(name, error)) from error
    return frozen


def too_large(nbytes: int) -> str:
    """Return the error message for an item whose rows have more than `MAX_ITEM_BYTES`."""
    size, limit = nbytes >> 20, MAX_ITEM_BYTES >> 20
    return f"one item may return {limit} MB and this one returned {size} MB or more; make smaller items"


def _gathered(parts: Iterable[Rows]) -> Rows:
    """Merge several `Rows` into one. Raise `RowError` if they are too large together."""
    found = []
    nbytes = 0
    for part in parts:
        if part.count:
            found.append(part)
            nbytes += part.nbytes
            if nbytes > MAX_ITEM_BYTES:  # checked while reading, because a generator may never end
                raise RowError(too_large(nbytes))
    if not found:
        return EMPTY
    if len(found) == 1:
        return found[0]
    return Rows(
        sum(part.count for part in found),
        nbytes,
        tuple(chain.from_iterable(part.parts for part in found)),
    )


def _slices(elements: Iterator[object]) -> Iterator[list[object]]:
    """Yield the elements of an iterator in lists of limited length. A table ends its list, because it may be large."""
    tables: dict[type, bool] = {dict: False}
    taken: list[object] = []
    length = _FIRST_SLICE
    for element in elements:
        kind: Any = type(element)
        # Copy it, because a generator may yield the same dict again with other values.
        taken.append(element.copy() if kind is dict else element)  # type: ignore[attr-defined]
        if kind not in tables:
            tables[kind] = is_table(kind)
        if len(taken) == length or tables[kind]:
            yield taken
            taken = []
            length = min(4 * length, _SLICE)
    yield taken


def _parts(elements: list[object]) -> Iterator[Rows]:
    """Yield the elements of a list as `Rows`: consecutive rows together, and each table by itself."""
    kinds = set(map(type, elements))
    if kinds == {dict}:
        yield _from_rows(elements)  # type: ignore[arg-type]  # dicts all
        return
    readers = {kind: None if is_table(kind) and not is_series(kind) else _row_reader(kind) for kind in kinds}
    rows: list[Mapping[Any, object]] = []
    for element in elements:
        read = readers[type(element)]
        if read is not None:
            rows.append(read(element))
            continue
        yield _from_rows(rows)
        rows = []
        yield _from_table(read_table(element))
    yield _from_rows(rows)


def _row_reader(kind: type) -> Callable[[Any], dict[Any, object]]:
    """Return the function that converts a value of the type `kind` to a row.

    Raises:
        RowError: values of this type are not rows.
    """
    if kind is dict:
        return dict.copy
    if kind is NoneType:
        raise RowError("a list of rows contains None; leave it out, or return None alone for no rows")
    if is_scalar(kind):
        return lambda value: {VALUE_COLUMN: value}
    if is_pandas_series(kind):
        return series_row
    if is_record(kind):
        return _read_record
    if issubclass(kind, (list, tuple)) or is_series(kind):
        raise RowError(f"a row is a {type_name(kind)}, which has no column names; return dicts or named tuples")
    raise RowError(f"a row is a value of type {type_name(kind)}; {_ACCEPTED}")


def _read_record(value: object) -> dict[Any, object]:
    try:
        return dict(record(value))
    except RowError:
        raise  # this error already has a reason
    except Exception as error:  # reading an object of the user's class runs its code, which may raise anything
        kind = type_name(type(value))
        raise RowError(f"a row of type {kind} cannot be read: {type_name(type(error))}") from error


def _from_table(table: pa.Table) -> Rows:
    return Rows(table.num_rows, table.nbytes, (table,)) if table.num_rows else EMPTY


def _from_rows(rows: list[Mapping[Any, object]]) -> Rows:
    """Return many rows as `Rows`: as Arrow if there are at least `ARROW_FROM`, else as copies with plain values."""
    if not rows:
        return EMPTY
    if len(rows) < ARROW_FROM:
        copies: list[Row] = []
        nbytes = 0
        for row in rows:
            copy = dict(row)
            size = _measured(copy)
            if size < 0:
                copy = _frozen(copy)
                size = _measured(copy)
            copies.append(copy)
            nbytes += size
        return Rows(len(copies), nbytes, (copies,))
    columns = _columns(rows)
    if columns is not None and any(type(name) is not str for name in columns):
        rows = [named(row) for row in rows]
        columns = _columns(rows)
    arrays, faults = _arrays(rows, columns)
    if faults:
        raise RowError(faults[min(faults)])
    if not arrays:
        return _from_table(pa.table({"": pa.nulls(len(rows))}).select([]))
    return _from_table(pa.Table.from_arrays(list(arrays.values()), names=list(arrays)))


def _arrays(
    rows: Sequence[Mapping[Any, object]], columns: dict[Any, list[object]] | None
) -> tuple[dict[str, pa.Array], dict[int, str]]:
    """Return the columns of `rows` that have a value as Arrow arrays, and the reason for each bad row by its index."""
    if columns is None:
        return {}, _too_wide(rows)
    arrays: dict[str, pa.Array] = {}
    faults: dict[int, str] = {}
    for name, values in columns.items():
        if fault := name_fault(name):
            faults |= {index: fault for index, row in enumerate(rows) if name in row and index not in faults}
            continue
        array, unstorable = to_arrow(values)
        for index, why in unstorable.items():
            faults.setdefault(index, in_column(name, why))
        if array is not None:
            arrays[name] = array
    return arrays, faults


def _columns(rows: Sequence[Mapping[Any, object]]) -> dict[Any, list[object]] | None:
    """Return the columns in order of first appearance, with None for missing keys; None if there are too many."""
    names: Collection[Any] = rows[0]
    if len(names) <= MAX_COLUMNS and len(set(map(len, rows))) == 1:
        try:
            return {name: list(map(itemgetter(name), rows)) for name in names}
        except KeyError:
            pass  # every row has the same number of keys, but not the same keys
    names = dict.fromkeys(chain.from_iterable(rows))
    if len(names) > MAX_COLUMNS:
        return None
    return {name: [row.get(name) for row in rows] for name in names}


def _too_wide(rows: Sequence[Mapping[Any, object]]) -> dict[int, str]:
    """Return the reason for each row with too many columns, alone or with the rows before it, by the row's index."""
    faults: dict[int, str] = {}
    names: set[str] = set()
    for index, row in enumerate(rows):
        added = row.keys() - names
        if len(names) + len(added) > MAX_COLUMNS:
            faults[index] = TOO_MANY_COLUMNS
        else:
            names |= added
    return faults


def build(results: Sequence[tuple[int, Rows]]) -> Built:
    """Convert the rows of many items to Arrow tables. If a value cannot be stored, only its item fails.

    Args:
        results: for each item, its position in the run and its rows.
    """
    failed: dict[int, str] = {}
    tables: list[pa.Table] = []
    rows, owners, finished = _sorted_parts(results)
    while rows:
        arrays, faults = _arrays(rows, _columns(rows))
        if not faults:
            positions = pa.array([results[owner][0] for owner in owners], pa.int64())
            tables.append(pa.Table.from_arrays([positions, *arrays.values()], names=[ITEM_COLUMN, *arrays]))
            break
        for index in sorted(faults):  # report only the first fault of an item
            failed.setdefault(owners[index], faults[index])
        accepted = [index for index, owner in enumerate(owners) if owner not in failed]
        rows = [rows[index] for index in accepted]
        owners = [owners[index] for index in accepted]
    tables += [_with_item(table, results[owner][0]) for table, owner in finished if owner not in failed]
    groups: dict[pa.Schema, list[pa.Table]] = {}
    for table in tables:
        groups.setdefault(table.schema, []).append(table)
    merged = tuple(pa.concat_tables(group) for group in groups.values())
    return Built(merged, sum(table.num_rows for table in merged), failed)


def _sorted_parts(
    results: Sequence[tuple[int, Rows]],
) -> tuple[list[Row], list[int], list[tuple[pa.Table, int]]]:
    """Separate rows that are not Arrow yet from finished tables.

    Returns:
        The rows; for each row, the index in `results` of the item that it came from; each table with the same index.
    """
    rows: list[Row] = []
    owners: list[int] = []
    finished: list[tuple[pa.Table, int]] = []
    for index, (_, result) in enumerate(results):
        for part in result.parts:
            if isinstance(part, list):
                rows += part
                owners += [index] * len(part)
            else:
                finished.append((part, index))
    return rows, owners, finished


def _with_item(table: pa.Table, position: int) -> pa.Table:
    items = pa.repeat(pa.scalar(position, pa.int64()), table.num_rows)
    return table.add_column(0, ITEM_COLUMN, items)
