"""Keys, by which items are recognised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.inputs.keys import canonical, key_columns, keyed, plain_key


class Colour(Enum):
    RED = 1
    BLUE = 2


class Word(StrEnum):
    RED = "red"


@dataclass
class Page:
    number: int
    tags: set[str]


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Hostile:
    def __reduce_ex__(self, protocol: object) -> str:
        raise RuntimeError("no")


Point = namedtuple("Point", "x y")


def key(value: object) -> str:
    return plain_key(value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda part: st.lists(part) | st.dictionaries(st.text(), part) | st.tuples(part, part), max_leaves=8
)


def test_a_key_is_16_hex_digits_that_will_never_change() -> None:
    # These stand in ledgers: a change here makes every resumed run start from the beginning.
    known: list[tuple[object, str]] = [
        ("a", "a4e5032c0d419313"),
        ("é", "bab7c93e186ffdf3"),
        (0, "7af38095fd650cb3"),
        (1, "ae2a1effba11cf0a"),
        (-255, "fa8f7de7002a1b64"),
        (0.5, "36086e8b376f644a"),
        (None, "5dba33a5971e98b4"),
        (True, "ca73dcf5e072d4d6"),
        (b"a", "ee3f6b40991a6c7a"),
        ([1, "a"], "d08ee9f650e36a24"),
        ({"b": 1, "a": None}, "48905439702edbb4"),
    ]
    assert [key(value) for value, _ in known] == [expected for _, expected in known]


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (1, 1.0),
        (1, Decimal("1.00")),
        (0, -0.0),
        (Decimal("0.10"), Decimal("0.1")),
        ([1, 2], (1, 2)),
        (Point(1, 2), (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({3, 1, 2}, frozenset({1, 2, 3})),
        (bytearray(b"x"), b"x"),
        (Word.RED, Word.RED),
        (Path("a/b"), PurePosixPath("a/b")),
        (Plain([1, {"x": 2}]), Plain([1, {"x": 2}])),
        (Slotted("x"), Slotted("x")),
        (Page(1, {"a", "b"}), Page(1, {"b", "a"})),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_equal_values_have_the_same_key(one: object, same: object) -> None:
    assert key(one) == key(same)


def test_values_that_differ_have_different_keys() -> None:
    different = [
        {"red": 1}, {Word.RED: 1},
        1, True, "1", b"1", None, "", 0, False, 0.5, Decimal("0.55"), float("inf"), "inf", [1], ["1"], [[1]], [], {},
        {"a": 1}, {"a": "1"}, ["a", 1], ["ab", ""], ["a", "b"], Colour.RED, Colour.BLUE, Word.RED, "red", Path("red"),
        date(2026, 1, 1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), UUID(int=1),
        Page(1, set()), Page(2, set()), Plain(1), Plain(2), Slotted(1), 10**5000, 10**5000 + 1, "\ud800", "\udc00",
        Decimal("1e999999"), float("nan"), {1, 2}, [1, 2], test_values_that_differ_have_different_keys, Page,
    ]  # fmt: skip
    assert len({key(value) for value in different}) == len(different)


@settings(max_examples=20)
@given(st.lists(values, max_size=8))
def test_distinct_values_have_distinct_keys(items: list[object]) -> None:
    distinct = list({canonical(item): item for item in items}.values())
    assert len({key(item) for item in distinct}) == len(distinct)


def thawed(value: object) -> object:
    """Return the value with lists for tuples, which have the same keys."""
    if isinstance(value, (list, tuple)):
        return [thawed(part) for part in value]
    if isinstance(value, dict):
        return {name: thawed(part) for name, part in value.items()}
    return value


@settings(max_examples=20)
@given(values, values)
def test_values_with_the_same_form_are_equal(one: object, other: object) -> None:
    if canonical(one) == canonical(other):
        assert thawed(one) == thawed(other)


def test_values_without_state_are_known_by_their_position(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    with (tmp_path / "x").open("w") as file:
        for position, value in enumerate((file, (n for n in ()), endless, Hostile())):
            assert plain_key(value, position) == f"@{position}"
    assert plain_key(1, 7) == key(1)


def test_a_row_is_known_by_the_columns_that_its_input_had_at_first() -> None:
    row = {"url": "a", "title": "b", "size": 1}
    began = key_columns(("url", "title"))
    assert keyed(row, began) == {"url": "a", "title": "b"}
    assert keyed({"url": "a"}, began) == {"url": "a"}, "a member that is missing stays missing"
    # An input of one column has its values as items; it may get more columns later.
    assert keyed(row, key_columns(("url",))) == "a" == keyed("a", key_columns(("url",)))
    for columns in (None, ()):
        assert keyed(row, key_columns(columns)) == row
    assert keyed([1, 2], began) == [1, 2]


def test_keys_are_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from tui_runner.inputs.keys import plain_key\n"
        "from decimal import Decimal; from datetime import date\n"
        "print(*[plain_key(v) for v in ('é', {'b': {3, 'x', 1.5}, 'a': [None]}, {'x', 'y', 'z'}, date(2026, 1, 1))])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().split()[0] == key("é")
