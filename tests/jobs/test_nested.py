"""A whole column of nested values as JSON text: the same as value by value, or not at all."""

from __future__ import annotations

import json
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.errors import RowError
from tui_runner.store.rows.values import json_texts, plain


class Listed(Enum):
    A = [1]  # noqa: RUF012 - a value, and no default


class Word(str):
    pass


class Bag(dict[str, object]):
    pass


_leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters())
_odd = st.sampled_from([Listed.A, Word("x"), Bag(a=1), UUID(int=7), date(2026, 1, 2), b"x", {1, 2}])
_keys = st.text(max_size=3) | st.sampled_from([1, None, Word("k")])


def _nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


@given(st.lists(st.none() | _nested(_leaves | _odd, _keys), max_size=6))
def test_nested_values_become_what_each_becomes_by_itself(values: list[Any]) -> None:
    texts = json_texts(values)
    if texts is not None:
        assert texts == [None if value is None else plain(value) for value in values]


@given(st.lists(st.none() | st.lists(_nested(st.integers(0, 99) | st.text("abcé"), st.text("abc"))), max_size=6))
def test_json_types_are_taken_as_they_are(values: list[Any]) -> None:
    texts = json_texts(values)
    assert texts is not None
    assert [None if text is None else json.loads(text) for text in texts] == json.loads(json.dumps(values))


@pytest.mark.parametrize("odd", [Listed.A, Word("x"), Bag(a=1), UUID(int=7), date(2026, 1, 2), {1}, 2**64, "\ud800"])
def test_anything_else_is_looked_at_by_itself(odd: object) -> None:
    assert json_texts([[1], None, {"a": [odd]}]) is None
    assert json_texts([odd, [1]]) is None


def test_a_value_that_contains_itself_ends() -> None:
    endless: list[object] = []
    endless += [endless, endless]
    assert json_texts([endless]) is None
    with pytest.raises(RowError, match="contains itself"):
        plain(endless)


def test_deep_values_are_looked_at_by_themselves() -> None:
    deep: list[object] = []
    for _ in range(150):
        deep = [deep]
    assert json_texts([deep]) is None
    assert plain(deep) == "[" * 151 + "]" * 151
