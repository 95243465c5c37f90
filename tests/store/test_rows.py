"""Results of functions → rows, and the rows of many items → Arrow."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import OrderedDict, UserDict, deque
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import RowError
from tui_runner.store.records import MAX_COLUMNS
from tui_runner.store.rows.collect import ARROW_FROM, EMPTY, Built, Rows, build, collect


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass(slots=True)
class Book:
    title: str
    tags: list[str] | None = None
    shelf: ClassVar[int] = 3


class Pair(NamedTuple):
    left: object
    right: object


class Model(pydantic.BaseModel):
    name: str
    when: date


class ListModel:
    def model_dump(self) -> list[int]:
        return [1]


class Attrs:
    __attrs_attrs__ = (MappingProxyType({}),)


class Struct:
    __struct_fields__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, 2


class Unreadable:
    __struct_fields__ = ("missing",)


def stored(*values: object) -> list[dict[str, Any]]:
    """Return the rows in the database-to-be, when each value is what one item returned; items are numbered from 0."""
    built = build([(position, collect(value)) for position, value in enumerate(values)])
    assert built.failed == {}
    return rows_of(built)


def rows_of(built: Built) -> list[dict[str, Any]]:
    for table in built.tables:
        assert table.schema.field(0) == pa.field("_item", pa.int64())
        table.validate(full=True)
    rows = [row for table in built.tables for row in table.to_pylist()]
    assert len(rows) == built.rows
    return rows


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (None, []),
        ([], []),
        ((), []),
        (iter([]), []),
        ({"a": 1, "b": "x"}, [{"a": 1, "b": "x"}]),
        ({}, [{}]),
        ([{}, {}], [{}, {}]),
        ([{}, {"a": 1}], [{"a": None}, {"a": 1}]),
        (OrderedDict(a=1), [{"a": 1}]),
        (UserDict(a=1), [{"a": 1}]),
        (MappingProxyType({"a": 1}), [{"a": 1}]),
        (Book("t", ["x"]), [{"title": "t", "tags": '["x"]'}]),
        (Pair(1, 2.5), [{"left": 1, "right": 2.5}]),
        (Struct(), [{"a": 1, "b": 2}]),
        (Model(name="n", when=date(2020, 1, 1)), [{"name": "n", "when": date(2020, 1, 1)}]),
        ([{"a": 1}, Pair(2, 3), Book("t"), 5], None),
        (({"a": n} for n in range(3)), [{"a": 0}, {"a": 1}, {"a": 2}]),
        (deque([{"a": 1}]), [{"a": 1}]),
        ({"k": {"a": 1}}.values(), [{"a": 1}]),
        ({Pair(1, 2)}, [{"left": 1, "right": 2}]),
        ("text", [{"value": "text"}]),
        (5, [{"value": 5}]),
        (True, [{"value": True}]),
        (2.5, [{"value": 2.5}]),
        (b"x", [{"value": b"x"}]),
        (Decimal("1.5"), [{"value": Decimal("1.5")}]),
        (UUID(int=1), [{"value": UUID(int=1)}]),
        (Colour.RED, [{"value": "red"}]),
        (Path("/a"), [{"value": "/a"}]),
        (np.int8(1), [{"value": 1}]),
        ([1, 2, 3], [{"value": 1}, {"value": 2}, {"value": 3}]),
        ({"one"}, [{"value": "one"}]),
        (range(2), [{"value": 0}, {"value": 1}]),
        (["a", Colour.RED], [{"value": "a"}, {"value": "red"}]),
        ({1: "a", None: "b"}, [{"1": "a", "None": "b"}]),
        ({"a": None}, [{}]),
        (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        (pd.Series([1], name="n"), [{"n": 1}]),
        (pl.DataFrame({"a": ["x"]}), [{"a": "x"}]),
        (pl.LazyFrame({"a": ["x"]}), [{"a": "x"}]),
        (pa.table({"a": [1]}), [{"a": 1}]),
        (pa.table({"a": pa.nulls(2)}), [{}, {}]),
        (pa.table({"a": pa.array([], pa.int64())}), []),
        (np.array([1, 2]), [{"value": 1}, {"value": 2}]),
        (iter([pd.DataFrame({"a": [1]}), {"a": 2}, pa.table({"a": [3]})]), [{"a": 2}, {"a": 1}, {"a": 3}]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_everything_that_a_function_may_return(value: object, rows: list[dict[str, Any]] | None) -> None:
    got = stored(value)
    assert all(row.pop("_item") == 0 for row in got)
    if rows is None:
        names = ["a", "left", "right", "title", "value"]  # `tags` is null everywhere
        filled = [{"a": 1}, {"left": 2, "right": 3}, {"title": "t"}, {"value": 5}]
        rows = [dict.fromkeys(names) | row for row in filled]
    assert got == rows


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "the function returned a value of type object; return None, dicts"),
        (print, "the function returned a value of type builtin_function_or_method"),
        (1j, "the function returned a value of type complex"),
        ([{"a": 1}, None], "a list of rows contains None"),
        ([[1, 2]], "a row is a list, which has no column names"),
        ([(1, 2)], "a row is a tuple, which has no column names"),
        ([np.array([1])], "a row is a ndarray, which has no column names"),
        ([pl.Series([1])], "a row is a Series, which has no column names"),
        ([object()], "a row is a value of type object"),
        ({"a": object()}, "column 'a': cannot store a value of type object"),
        ([{"a": 1}, {"price": {"x": [object()]}}], "column 'price': cannot store a value of type object"),
        ([{"a": 1}] * ARROW_FROM + [{"price": object()}], "column 'price': cannot store a value of type object"),
        ([{"a": 1}] * ARROW_FROM + [{"_item": 1}], "column '_item' is reserved; rename it"),
        ([{"a": 1}] * ARROW_FROM + [{"a": "\ud800"}], "column 'a': text with a lone surrogate"),
        ({1: "a", "1": "b"}, "two keys of one row become the same column '1'"),
        ([{1: "a", "1": "b"}] * ARROW_FROM, "two keys of one row become the same column '1'"),
        (ListModel(), "model_dump() of a ListModel returned a list, not a dict"),
        (Attrs(), "a row of type Attrs cannot be read: AttributeError"),
        (Unreadable(), "a row of type Unreadable cannot be read: AttributeError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_result_that_cannot_be_stored_says_so(value: object, why: str) -> None:
    with pytest.raises(RowError) as caught:
        collect(value)
    assert why in str(caught.value)


@pytest.mark.parametrize("key", ["_item", "_run", "_ITEM", "\ud800", "bad"])
def test_one_bad_item_fails_alone(key: str) -> None:
    bad = {"a": 1, key: "\udfff" if key == "bad" else 1}
    results = [(10, {"a": 1}), (11, bad), (12, [{"a": 2}, bad]), (13, None), (14, pa.table({"a": [3]})), (15, {"a": 4})]
    built = build([(position, collect(value)) for position, value in results])
    assert set(built.failed) == {1, 2}
    assert all(why.startswith("column '") for why in built.failed.values())
    "".join(built.failed.values()).encode()
    assert sorted((row["_item"], row["a"]) for row in rows_of(built)) == [(10, 1), (14, 3), (15, 4)]


def test_a_failed_item_leaves_no_rows_of_its_tables_either() -> None:
    mixed = collect([pa.table({"a": [1]}), {"a": "\ud800"}])
    assert build([(0, mixed)]) == Built((), 0, {0: "column 'a': text with a lone surrogate, which UTF-8 cannot hold"})


def test_faults_that_show_only_when_others_are_gone_fail_their_item_too() -> None:
    """The mix is text, where a huge integer cannot be; without the text it is JSON and a surrogate comes to light."""
    built = build([(0, collect({"a": 10**5000})), (1, collect({"a": "\ud800"})), (2, collect({"a": 1}))])
    assert set(built.failed) == {0, 1}
    assert rows_of(built) == [{"_item": 2, "a": 1}]


def test_columns_come_in_order_of_first_sight() -> None:
    built = build([(0, collect({"b": 1, "a": 1})), (1, collect({"c": 1, "a": 1}))])
    assert built.tables[0].column_names == ["_item", "b", "a", "c"]


def test_rows_with_as_many_but_other_keys_keep_their_values() -> None:
    assert stored([{"a": 1, "b": 2}, {"b": 3, "c": 4}]) == [
        {"_item": 0, "a": 1, "b": 2, "c": None},
        {"_item": 0, "a": None, "b": 3, "c": 4},
    ]


def test_many_rows_become_arrow_at_once_and_few_wait() -> None:
    (few,) = collect([{"a": 1}] * (ARROW_FROM - 1)).parts
    (many,) = collect([{"a": 1}] * ARROW_FROM).parts
    assert isinstance(few, list)
    assert isinstance(many, pa.Table)
    assert collect([{1: 2}] * ARROW_FROM).parts[0] == pa.table({"1": [2] * ARROW_FROM})
    assert collect([{}] * ARROW_FROM).count == ARROW_FROM


def test_a_generator_holds_few_rows_at_a_time() -> None:
    alive = peak = 0

    class Row(dict[str, object]):
        def __init__(self, n: int) -> None:
            nonlocal alive, peak
            alive += 1
            peak = max(peak, alive)
            super().__init__(n=n)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    total = 20_000
    rows = collect(Row(n) for n in range(total))
    assert rows.count == total
    assert peak < total / 2
    assert [row["n"] for row in rows_of(build([(0, rows)]))] == list(range(total))


def test_an_error_in_a_generator_is_the_items_own() -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise LookupError("page 2")

    with pytest.raises(LookupError, match="page 2"):
        collect(broken())


def test_rows_that_the_job_changes_afterwards_are_stored_as_returned() -> None:
    row: dict[str, object] = {"a": 1, "tags": ["x"]}
    rows = [dict(row), dict(row)]

    def refilled() -> Iterator[dict[str, int]]:
        same: dict[str, int] = {}
        for n in range(3):
            same["a"] = n
            yield same

    results = [(0, collect(row)), (1, collect(rows)), (2, collect(refilled()))]
    row["a"] = 2
    row["tags"].append("y")  # type: ignore[attr-defined]  # a list
    rows[0]["a"] = "changed"
    rows.clear()
    got = rows_of(build(results))
    assert [(row["_item"], row["a"]) for row in got] == [(0, 1), (1, 1), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert {row["tags"] for row in got[:3]} == {'["x"]'}


def test_tables_of_one_schema_become_one_table() -> None:
    values = [{"a": 1}, pa.table({"a": [2]}), pa.table({"a": pa.array([3], pa.int8())}), pa.table({"a": ["x"]})]
    built = build([(position, collect(value)) for position, value in enumerate(values)])
    assert [table.num_rows for table in built.tables] == [3, 1]


def test_a_pandas_series_in_a_list_is_a_row_by_its_index() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert stored([row for _, row in frame.iterrows()]) == [
        {"_item": 0, "a": 1, "b": "x"},
        {"_item": 0, "a": 2, "b": None},
    ]


def test_sqlite_rows_have_names() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.row_factory = sqlite3.Row
        assert stored(connection.execute("SELECT 1 AS a, 'x' AS b").fetchall()) == [{"_item": 0, "a": 1, "b": "x"}]
    connection.close()


def test_a_dict_keyed_by_ids_does_not_make_a_table_as_wide_as_it_is_long() -> None:
    wide = {f"id-{n}": n for n in range(MAX_COLUMNS)}
    built = build([(0, collect(wide)), (1, collect({"other": 1})), (2, collect({"id-0": 5}))])
    assert list(built.failed) == [1]
    assert "different columns" in built.failed[1]
    assert built.rows == 2
    with pytest.raises(RowError, match="different columns"):
        collect([{str(n): 1 for n in range(MAX_COLUMNS + 1)}] * ARROW_FROM)


def test_nothing_returned_is_nothing() -> None:
    assert collect(None) is EMPTY
    assert collect([]) is EMPTY
    assert build([(0, EMPTY)]) == Built((), 0, {}) == build([])


@pytest.mark.parametrize(
    "value",
    [{"a": "x" * 100_000}, [{"a": b"x" * 1_000}] * 100, [{"a": "x" * 100}] * 2_000, {"a": ["x" * 1_000] * 100}],
    ids=["text", "rows", "table", "nested"],
)
def test_bytes_are_counted(value: object) -> None:
    assert 100_000 <= collect(value).nbytes <= 300_000


def test_rows_without_text_count_too() -> None:
    assert collect({"a": 1}).nbytes > 100
    assert collect(pa.table({"a": [1] * 1_000})).nbytes == 8_000


TEXTS = st.text(max_size=4)  # with lone surrogates
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(object)
)
KEYS = TEXTS | st.integers() | st.none() | st.sampled_from(["a", "b", "_item", "_RUN"])
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.builds(Pair, inner, inner)
        | st.builds(Book, inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=66)
@given(st.lists(ANYTHING, max_size=5))
def test_build_takes_whatever_collect_took(values: list[object]) -> None:
    results: list[tuple[int, Rows]] = []
    for position, value in enumerate(values):
        try:
            results.append((position * 10, collect(value)))
        except RowError as error:
            str(error).encode()
    built = build(results)
    got = [position for table in built.tables for position in table.column("_item").to_pylist()]
    expected = [
        position for n, (position, rows) in enumerate(results) if n not in built.failed for _ in range(rows.count)
    ]
    assert sorted(got) == expected
    assert built.rows == len(expected)
    alone = {n for n, result in enumerate(results) if build([result]).failed}
    assert alone <= set(built.failed)  # a mix may have no room for what stands well alone, never the other way


ROWS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.none() | st.booleans() | st.integers() | TEXTS | st.dates(), max_size=3),
    min_size=1,
    max_size=6,
)


@settings(max_examples=20)
@given(ROWS, st.integers(1, 4))
def test_rows_are_the_same_wherever_items_are_cut(rows: list[dict[str, object]], size: int) -> None:
    """As one item of rows, as many items, as a table converted in `collect`."""
    whole = build([(0, collect(rows))])
    cut = build([(0, collect(rows[n : n + size])) for n in range(0, len(rows), size)])
    if not whole.failed:
        assert cut == whole
        many = rows * ARROW_FROM
        (table,) = build([(0, collect(many))]).tables
        assert table.slice(0, len(rows)).to_pylist() == whole.tables[0].to_pylist()
        assert table.schema == whole.tables[0].schema
