"""Scripts, cut into statements."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tui_runner.store.query.statements import bracket_depth, has_limit, split, statement_at, tokens, typed_value


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        (" ;; -- nothing\n/* at all */ ;", []),
        ("select 1", ["select 1"]),
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select ';', \"a;b\", $$c;d$$, $x$e;f$x$ ; from t", ["select ';', \"a;b\", $$c;d$$, $x$e;f$x$", "from t"]),
        ("-- first; one\nselect 1 -- it; is\n; /* a;b */ select 2", ["select 1", "select 2"]),
        ("select 1 -- a\n + 2; x", ["select 1 -- a\n + 2", "x"]),
        ("sélect 'ü;é'; select '日本;語' as 数; from ü", ["sélect 'ü;é'", "select '日本;語' as 数", "from ü"]),
        ("select 'open; select 2", ["select 'open; select 2"]),
        ("selec 1; select 2", ["selec 1", "select 2"]),
    ],
)
def test_a_script_is_cut_at_the_semicolons_that_duckdb_sees(script: str, expected: list[str]) -> None:
    statements = split(script)
    assert [statement.sql for statement in statements] == expected
    assert all(script[each.start : each.end] == each.sql for each in statements)


@given(st.text(alphabet="se ;'\"$-/*\nü\0?1()a", max_size=40))
@example("$--")
@settings(max_examples=66)
def test_any_text_can_be_cut(script: str) -> None:
    for statement in split(script):
        assert script[statement.start : statement.end] == statement.sql
        assert statement.sql == statement.sql.strip() != ""


@given(st.lists(st.sampled_from(["select 1", "from 'ü'", "select $$;$$ -- x\n", "values ('日;')", 'select "a;b"'])))
@settings(max_examples=50)
def test_cuts_are_those_of_duckdbs_parser(parts: list[str]) -> None:
    script = ";".join(parts)
    with duckdb.connect() as connection:
        parsed = [each.query.strip().rstrip(";").strip() for each in connection.extract_statements(script)]
    assert [each.sql.split(" -- ")[0] for each in split(script)] == [each.split(" -- ")[0] for each in parsed]


def test_tokens_are_placed_in_characters() -> None:
    assert [(token.start, token.kind) for token in tokens("é 'ü' x")] == [
        (0, "identifier"),
        (2, "string_const"),
        (6, "identifier"),
    ]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0, "select 1"),
        (8, "select 1"),
        (9, "select 1"),  # behind the semicolon, on its line
        (10, "select 2"),
        (14, "select 2"),
        (20, "select 2"),  # in the comment behind it
        (29, "from t"),
        (99, "from t"),
    ],
)
def test_the_statement_under_the_cursor(position: int, expected: str) -> None:
    script = "select 1;\nselect 2; -- two\n\nfrom t"
    statement = statement_at(script, position)
    assert statement is not None
    assert statement.sql == expected


def test_there_may_be_no_statement_under_the_cursor() -> None:
    assert statement_at("-- nothing", 3) is None


@pytest.mark.parametrize(
    "sql",
    [
        "select $a, $B, $a",
        "select ?, ?",
        "select ?2 + ?1",
        "select $1::int",
        "select '$no', $$ $no $$, \"$no\", x ->> '$.no' from t where y = $yes -- $no",
        "select 1",
        "select $select",
    ],
)
def test_parameters_are_those_of_duckdb(sql: str) -> None:
    with duckdb.connect() as connection:
        assert set(split(sql)[0].parameters) == {
            name.lower() for name in connection.extract_statements(sql)[0].named_parameters
        }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        (" -12 ", -12),
        ("2.50", Decimal("2.50")),
        ("1e3", 1000.0),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("'5'", "5"),
        ("'it''s'", "it's"),
        ("abc def", "abc def"),
        ("", ""),
        ("'", "'"),
        ("7" * 39, int("7" * 39)),
        ("7" * 5_000, "7" * 5_000),
    ],
)
def test_typed_text_becomes_a_value(text: str, value: object) -> None:
    assert typed_value(text) == value
    assert type(typed_value(text)) is type(value)


@pytest.mark.parametrize(
    ("script", "deepest"),
    [("select 1", 0), ("select ((1)), [(2)]", 2), ("select '((((' -- (((\n, $$(($$", 0), ("))((", 0), ("((((", 4)],
)
def test_brackets_are_counted_where_they_are_brackets(script: str, deepest: int) -> None:
    assert bracket_depth(script) == deepest


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("FROM t LIMIT 3", True),
        ("FROM t limit 3 -- of many", True),
        ("FROM (FROM t LIMIT 3)", False),
        ('SELECT "limit", limits FROM t', False),
        ("SELECT 'LIMIT 3'", False),
    ],
)
def test_a_limit_is_found_unless_it_is_in_brackets(sql: str, expected: bool) -> None:
    assert has_limit(sql) is expected
