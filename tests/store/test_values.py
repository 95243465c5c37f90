"""The plain form of one value, and the JSON text of nested ones."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import OrderedDict, UserList, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
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
from tui_runner.store.rows.values import PLAIN, Json, named, plain


class Colour(Enum):
    RED = "red"
    MANY = ("r", "g")
    NOTHING = None


class Level(IntEnum):
    LOW = 1


class Mode(StrEnum):
    FAST = "fast"


class Text(str):
    def __str__(self) -> str:
        raise AssertionError("a subclass's own methods are not called")


class Number(int):
    def __repr__(self) -> str:
        raise AssertionError("a subclass's own methods are not called")


class Moment(datetime):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Pair(NamedTuple):
    left: object
    right: object


class Model(pydantic.BaseModel):
    name: str
    when: date


def kind_name(value: object) -> str:
    """Return a parameter's name in pytest's reports, which would else call `repr()`."""
    return type(value).__name__


def exactly(value: object) -> tuple[type, object]:
    return type(value), value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("a"), "a"),
        (Number(5), 5),
        (type("Float", (float,), {})(1.5), 1.5),
        (type("Bytes", (bytes,), {})(b"a"), b"a"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"abcd")[::2], b"ac"),
        (type("Amount", (Decimal,), {})("1.50"), Decimal("1.50")),
        (Moment(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)),
        (type("Day", (date,), {})(2020, 1, 1), date(2020, 1, 1)),
        (type("Clock", (time,), {})(1, 2), time(1, 2)),
        (type("Span", (timedelta,), {})(1), timedelta(1)),
        (type("Id", (UUID,), {})(int=1), UUID(int=1)),
        (Colour.RED, "red"),
        (Colour.MANY, "MANY"),
        (Colour.NOTHING, None),
        (Level.LOW, 1),
        (Mode.FAST, "fast"),
        (PurePosixPath("/a/b"), "/a/b"),
        (np.int8(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(1.5), 1.5),
        (np.float64(1.5), 1.5),
        (np.longdouble(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), b"a"),
        (np.datetime64("2020-01-02"), date(2020, 1, 2)),
        (np.datetime64("2020-01-02T03:04:05.000001999"), datetime(2020, 1, 2, 3, 4, 5, 1)),
        (np.datetime64("NaT"), None),
        (np.timedelta64(1, "ms"), timedelta(milliseconds=1)),
        (np.timedelta64(1_500, "ns"), timedelta(microseconds=1)),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2020-01-02 03:04:05.000001999"), datetime(2020, 1, 2, 3, 4, 5, 1)),
        (pd.Timedelta("1 day"), timedelta(1)),
        (pa.scalar(5), 5),
        (pa.scalar(None), None),
    ],
    ids=kind_name,
)
def test_scalars_become_exact_builtins(value: object, expected: object) -> None:
    assert exactly(plain(value)) == exactly(expected)


def test_nan_stays_nan() -> None:
    assert math.isnan(plain(np.float32("nan")))  # type: ignore[arg-type]  # a float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a", None, True], [1, "a", None, True]),
        ([1.5, math.nan, math.inf, -math.inf], [1.5, None, None, None]),
        ({"a": {"b": (1, [2])}}, {"a": {"b": [1, [2]]}}),
        (
            {1: "a", None: "b", 1.5: "c", Mode.FAST: "d", (1, 2): "e"},
            {"1": "a", "None": "b", "1.5": "c", "fast": "d", "(1, 2)": "e"},
        ),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 1, None}), ["b", 1, None]),
        (deque([1]), [1]),
        (UserList([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"k": 1}.values(), [1]),
        ({"k": 1}.keys(), ["k"]),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (
            [date(2020, 1, 2), datetime(2020, 1, 2, 3, tzinfo=UTC), time(1)],
            ["2020-01-02", "2020-01-02T03:00:00+00:00", "01:00:00"],
        ),
        ([timedelta(hours=25, microseconds=10)], ["25:00:00.00001"]),
        ([Decimal("1.50"), Decimal("NaN")], ["1.50", "NaN"]),
        ([b"\x00\xff", UUID(int=1), Path("a")], ["AP8=", "00000000-0000-0000-0000-000000000001", "a"]),
        ([Colour.RED, Level.LOW, np.int8(1), np.float32("nan"), pd.NaT], ["red", 1, 1, None, None]),
        ([Point(1, Pair(2, Point(3)))], [{"x": 1, "y": {"left": 2, "right": {"x": 3, "y": None}}}]),
        ([Model(name="a", when=date(2020, 1, 2))], [{"name": "a", "when": "2020-01-02"}]),
        (np.array([[1, 2]]), [[1, 2]]),
        ([pd.Series([1, 2]), pl.Series([1, 2]), pa.array([1, 2])], [[1, 2]] * 3),
        ([Text("a"), Number(1)], ["a", 1]),
        ([10**100], [10**100]),
    ],
    ids=kind_name,
)
def test_nested_values_become_json(value: object, expected: object) -> None:
    got = plain(value)
    assert type(got) is Json
    if isinstance(value, frozenset):
        assert sorted(json.loads(got), key=str) == sorted(expected, key=str)  # type: ignore[call-overload]  # a list
    else:
        assert json.loads(got) == expected


def test_json_is_compact_and_readable() -> None:
    assert plain({"ä": [1, "ü"]}) == '{"ä":[1,"ü"]}'


def test_a_set_is_written_in_the_same_order_in_every_process() -> None:
    mixed = {"b", "a", 1, (2,)}
    assert plain(mixed) == plain(set(reversed(list(mixed)))) == '["a","b",1,[2]]'


class Hostile:
    """Raises from whatever is asked of it."""

    def __repr__(self) -> str:
        raise AssertionError("repr() of a job's object is not called")

    __str__ = __repr__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class HostileModel:
    def model_dump(self) -> dict[str, object]:
        raise ValueError("broken \ud800 model")


def _circular() -> object:
    circle: list[object] = []
    circle.append([circle, circle])
    return circle


def _deep() -> object:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "cannot store a value of type object (return str, numbers, dates, bytes, lists or dicts)"),
        (Hostile(), "type Hostile"),
        ([{"a": Hostile()}], "type Hostile"),
        (1j, "type complex"),
        (np.complex64(1), "type complex64"),
        (np.datetime64(10**15, "Y"), "numpy datetime64 is out of range"),
        ((n for n in [1]), "type generator"),
        (print, "type builtin_function_or_method"),
        (_circular(), "contains itself"),
        (_deep(), "levels deep"),
        ({"a": 1, 1: 2, "1": 3}, "two keys of a nested object become the same key '1'; rename one"),
        ([HostileModel()], "ValueError: broken \\ud800 model"),
        ([10**5000], "cannot be read"),
    ],
    ids=kind_name,
)
def test_values_without_a_plain_form_are_refused(value: object, why: str) -> None:
    with pytest.raises(RowError) as caught:
        plain(value)
    assert why in str(caught.value)
    str(caught.value).encode()  # the ledger stores the message as UTF-8


def test_keys_that_become_one_name_are_refused() -> None:
    with pytest.raises(RowError, match="same column '1'"):
        named({1: "a", "1": "b"})
    assert named({1: "a", namedtuple("K", "x")(2): "b"}) == {"1": "a", "K(x=2)": "b"}


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5) | st.dates()
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@given(NESTED)
def test_every_nested_value_of_builtins_has_a_plain_form(value: object) -> None:
    try:
        got = plain(value)
    except RowError as error:
        assert "same column" in str(error)  # the one fault that this data can have
        return
    assert type(got) in PLAIN
    if type(got) is Json:
        json.loads(got, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert plain(got) is got
