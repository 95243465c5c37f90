"""JSON over several lines: as Python writes it, but without changing what it says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.tui.query.cell_viewer import indented_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_json_is_indented_as_python_does(value: object) -> None:
    assert indented_json(json.dumps(value)) == json.dumps(value, indent=2)
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert indented_json(compact) == json.dumps(value, ensure_ascii=False, indent=2)


@pytest.mark.parametrize(
    "text", ["1e400", "1.10", "-0.0", "123456789012345678901234567890", '{\n  "a": 1,\n  "a": 1E5\n}']
)
def test_numbers_and_members_stay_as_they_are(text: str) -> None:
    assert indented_json(text) == text


@pytest.mark.parametrize("text", ["{", "no JSON", "[" * 100_000, "'a'"])
def test_text_that_is_no_json_stays_as_it_is(text: str) -> None:
    assert indented_json(text) == text


def test_deep_values_do_not_become_mostly_blanks() -> None:
    text = "[" * 500 + "1" + ",1" * 1_000 + "]" * 500
    assert len(indented_json(text)) < 200_000
