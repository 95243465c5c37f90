"""Whatever a job's function returned → Arrow; the only way into the results table.

    collect(value)  in the item's thread: one value → `Rows`, immutable, counted and measured
    build(results)  in the thread that reports: the rows of many items → Arrow tables with the column `_item`

| returned | rows |
| --- | --- |
| `None` | none |
| mapping, dataclass, named tuple, attrs, msgspec or pydantic-like object | one |
| text, number, date, bytes, UUID, enum, path | one, column `value` |
| list, tuple, set, iterator, generator of these, mixed as you like | one each |
| table or series of pandas, polars, numpy or pyarrow, or a list of tables | one a row of it |

A pandas series in a list is a row by its index, as `iterrows()` gives it; returned alone it is a column.
A row without columns (`{}`) is a row: the results table gets its `_item`. Columns come in the order in which they are
first seen. A key that is no str is named `str(key)`. A column whose values are all null is left out, since it has no
type yet; the database adds it with its first value.

What cannot be stored fails its own item with a message that names the column, never the batch it is in.
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
"""Rows from which a result becomes Arrow at once: the cost of a table (30 µs) no longer shows beside them."""
_SLICE = 4_096
"""Rows of an iterator that are Python objects at the same time."""
_FIRST_SLICE = 16
"""Rows of it that are looked at first, for they may be large; each slice is four times as long as the one before."""
MAX_ITEM_BYTES = 1 << 30
"""Bytes of the rows of one item: on their way into the database they are held up to six times (measured), and an item
is either recorded or not, so they cannot go in parts."""
_ROW_BYTES = 232
"""Memory of a dict of up to five keys and of its place in the buffer."""
_CELL_BYTES = 64
"""Memory of a cell: a small object and its part of the dict. Text and bytes count their length besides."""
_SIZED = frozenset({str, bytes, Json})

_ACCEPTED = "return None, dicts, dataclasses, named tuples, scalars, lists or generators of those, or a table"

Row = Mapping[str, object]


@dataclass(slots=True)
class Rows:
    """Rows that one item returned, normalised. Not frozen, which would cost 0.3 µs an item; it is never changed.

    Attributes:
        count: rows.
        nbytes: estimate of the memory they hold, bytes.
        parts: rows of plain values that are still to be converted, and finished tables.
        added: items that the item has added to the run.
    """

    count: int
    nbytes: int
    parts: tuple[list[Row] | pa.Table, ...]
    added: tuple[object, ...] = ()


EMPTY = Rows(0, 0, ())
"""Done, and no rows."""


@dataclass(frozen=True, slots=True)
class Built:
    """The rows of many items as Arrow.

    Attributes:
        tables: result rows, first column `_item` (int64); one table a schema, usually exactly one.
        rows: rows in `tables`.
        failed: index into the results → why that item cannot be stored; its rows are in no table.
    """

    tables: tuple[pa.Table, ...]
    rows: int
    failed: dict[int, str]


def collect(value: object) -> Rows:
    """Normalise what a function returned. Iterators are consumed; what they raise is passed on.

    Raises:
        RowError: it is nothing that can be stored.
    """
    kind: Any = type(value)
    if kind is dict:
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
    """Return one row; the caller gives `row` away."""
    nbytes = _measured(row)
    if nbytes < 0:
        row = _frozen(row)
        nbytes = _measured(row)
    return Rows(1, nbytes, ([row],))


def _measured(row: dict[Any, object]) -> int:
    """Estimate of a row's bytes; -1 when a key or a value is not plain. One pass: this is the hot path."""
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
    """`row` with names for keys and plain values."""
    frozen = named(row)
    for name, value in frozen.items():
        if type(value) not in PLAIN:
            try:
                frozen[name] = plain(value)
            except RowError as error:
                raise RowError(in_column(name, error)) from error
    return frozen


def too_large(nbytes: int) -> str:
    """Return what is wrong with rows of more than `MAX_ITEM_BYTES`."""
    size, limit = nbytes >> 20, MAX_ITEM_BYTES >> 20
    return f"one item may return {limit} MB and this one returned {size} MB or more; make smaller items"


def _gathered(parts: Iterable[Rows]) -> Rows:
    """Many `Rows` as one."""
    found = []
    nbytes = 0
    for part in parts:
        if part.count:
            found.append(part)
            nbytes += part.nbytes
            if nbytes > MAX_ITEM_BYTES:  # here already: a generator may never end
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
    """The elements of an iterator in lists short enough to be held; a table ends its list."""
    tables: dict[type, bool] = {dict: False}
    taken: list[object] = []
    length = _FIRST_SLICE
    for element in elements:
        kind: Any = type(element)
        # A generator may fill one dict again and again.
        taken.append(element.copy() if kind is dict else element)  # type: ignore[attr-defined]  # a dict
        if kind not in tables:
            tables[kind] = is_table(kind)
        if len(taken) == length or tables[kind]:
            yield taken
            taken = []
            length = min(4 * length, _SLICE)
    yield taken


def _parts(elements: list[object]) -> Iterator[Rows]:
    """The elements of a list as rows, and the tables among them."""
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
    """Return how a value of this type becomes a row.

    Raises:
        RowError: it cannot be one.
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
        raise
    except Exception as error:
        kind = type_name(type(value))
        raise RowError(f"a row of type {kind} cannot be read: {type_name(type(error))}") from error


def _from_table(table: pa.Table) -> Rows:
    return Rows(table.num_rows, table.nbytes, (table,)) if table.num_rows else EMPTY


def _from_rows(rows: list[Mapping[Any, object]]) -> Rows:
    """Many rows: Arrow at once when they are many, copies of plain values when they are few."""
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
    """The columns of `rows` that have a value as Arrow arrays; or which rows cannot be stored, and why."""
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
    """The values of each column, a missing key being null; columns in order of first sight. None: too many."""
    names: Collection[Any] = rows[0]
    if len(names) <= MAX_COLUMNS and len(set(map(len, rows))) == 1:
        try:
            return {name: list(map(itemgetter(name), rows)) for name in names}
        except KeyError:
            pass  # as many keys in every row, but not the same ones
    names = dict.fromkeys(chain.from_iterable(rows))
    if len(names) > MAX_COLUMNS:
        return None
    return {name: [row.get(name) for row in rows] for name in names}


def _too_wide(rows: Sequence[Mapping[Any, object]]) -> dict[int, str]:
    """The rows whose columns are too many, alone or beside those of the rows before them."""
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
    """Turn the rows of many items into Arrow tables; what cannot be stored fails its item alone.

    Args:
        results: position of each item in the input, and its rows.
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
        for index in sorted(faults):
            failed.setdefault(owners[index], faults[index])
        kept = [index for index, owner in enumerate(owners) if owner not in failed]
        rows = [rows[index] for index in kept]
        owners = [owners[index] for index in kept]
    tables += [_with_item(table, results[owner][0]) for table, owner in finished if owner not in failed]
    groups: dict[pa.Schema, list[pa.Table]] = {}
    for table in tables:
        groups.setdefault(table.schema, []).append(table)
    merged = tuple(pa.concat_tables(group) for group in groups.values())
    return Built(merged, sum(table.num_rows for table in merged), failed)


def _sorted_parts(
    results: Sequence[tuple[int, Rows]],
) -> tuple[list[Row], list[int], list[tuple[pa.Table, int]]]:
    """All rows that are not Arrow yet, the index of the result that each belongs to, and the tables with theirs."""
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
