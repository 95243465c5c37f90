"""Values in the ledger: short texts of all items, without secrets; failed ones as JSON."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui_runner.engine.protocol import MAX_KEPT_VALUE
from tui_runner.engine.worker.item_columns import json_value, packed_value, text_column
from tui_runner.text.describe import item_text
from tui_runner.text.redaction import MASK, Redaction

SECRET = "hush-hush"
HOSTILE = (
    "https://me:pw@example.org/", "https://example.org/?api_key=abc&x=1", "Authorization: Bearer abcdefghijklmnopq",
    "COOKIE: a=b", "x-api-key: 1234567", "a bearer 0123456789abcdef0", f"with {SECRET} inside", "plain", "é" * 100,
    "https://example.org/?q=1;token=zz", "\udc80 lone", "",
)  # fmt: skip
texts = (
    st.text(max_size=120)
    | st.sampled_from(HOSTILE)
    | st.builds("{}{}".format, st.text(max_size=90), st.sampled_from(HOSTILE))
)


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


@given(st.lists(texts, max_size=20))
@example([*HOSTILE])
def test_texts_are_those_that_would_be_made_one_by_one(values: list[str]) -> None:
    redact = Redaction([SECRET])
    found = text_column(values, redact).to_pylist()
    for value, text in zip(values, found, strict=True):
        shown = redact(value.encode("utf-8", "backslashreplace").decode())
        assert len(text.encode()) <= 80
        if len(shown.encode()) > 80:
            start, _, end = text.partition("…")
            assert len(start.encode()) > 34 and len(end.encode()) > 35, "no more is cut out than must be"
            assert shown.startswith(start) and shown.endswith(end)
        else:
            assert text == shown


def test_texts_of_rows_are_short_whatever_their_methods_do() -> None:
    wide = {f"column {n}": n for n in range(1000)}
    values: list[object] = [1, None, wide, list(range(1000)), Broken(), {"url": "https://a:b@c"}]
    one, none, row, numbers, broken, url = text_column(values, Redaction()).to_pylist()
    assert (one, none, broken) == ("1", "None", "(its __str__ raised RuntimeError)")
    assert row == "{'column 0': 0, 'column 1': 1, 'column… 'column 10': 10, 'column 11': 11, …}"
    assert numbers == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …]"
    assert url == "{'url': 'https://" + MASK + "@c'}"
    assert text_column([], Redaction()).to_pylist() == []


def test_long_texts_keep_their_starts_and_ends_without_a_part_of_a_secret() -> None:
    paths = [f"/srv/data/2026/{'district/' * 20}household-{number}.csv" for number in range(3)]
    found = text_column(paths, Redaction()).to_pylist()
    assert [text[-15:] for text in found] == [f"household-{number}.csv"[-15:] for number in range(3)]
    assert all(text.startswith("/srv/data/2026/district/") and "…" in text for text in found)
    secret = "s3cr3t" * 30
    for before, behind in ((0, 0), (30, 5_000), (5_000, 30), (5_000, 5_000)):
        value = f"{'x' * before}{secret}{'y' * behind}"
        for each in (value, {"url": value}):
            (text,) = text_column([each], Redaction([secret])).to_pylist()
            assert "3cr3" not in text and len(text.encode()) <= 80
            assert "3cr3" not in item_text(each, Redaction([secret]))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.binary(max_size=3),
    lambda parts: (
        st.lists(parts, max_size=4) | st.tuples(parts) | st.dictionaries(st.text(max_size=5), parts, max_size=4)
    ),
    max_leaves=10,
)


def kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: kinds(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *map(kinds, value)]
    return type(value), repr(value)


@given(values)
def test_a_value_is_kept_as_json_only_if_it_comes_back_as_it_was(value: object) -> None:
    text = json_value(value, Redaction())
    if text is not None:
        assert kinds(json.loads(text)) == kinds(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2), math.inf, math.nan, b"x", {1: 2}, {1, 2}, object(), "\ud800", [(1,)], "x" * MAX_KEPT_VALUE,
        f"with {SECRET}", {"a": [SECRET]}, {SECRET: 1}, "https://me:pw@example.org/", {"Authorization": "Basic abc"},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_that_would_not_come_back_are_large_or_have_secrets_are_not_kept(value: object) -> None:
    assert json_value(value, Redaction([SECRET])) is None


def test_values_that_contain_themselves_are_not_kept() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert json_value(endless, Redaction()) is None


def test_plain_values_are_kept() -> None:
    for value in ("a", 1, 2**70, 1.5, -0.0, True, None, [1, "é"], {"url": "u", "tags": ["a", {"b": None}]}):
        text = json_value(value, Redaction([SECRET]))
        assert text is not None and json.loads(text) == value


def test_small_values_are_packed() -> None:
    packed = packed_value({"a": 1})
    assert packed is not None and pickle.loads(packed) == {"a": 1}
    assert packed_value("x" * MAX_KEPT_VALUE) is None
    assert packed_value(n for n in ()) is None
