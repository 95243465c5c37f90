"""The words that a database knows, for completion: its tables and columns, its functions, the keywords of its SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tui_runner.store.access import Access
from tui_runner.store.query.catalog import CatalogTable
from tui_runner.tui.completion import KnownTable, Vocabulary

_FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z]\\w*$')"
_KEYWORDS = "SELECT keyword_name, keyword_category = 'reserved' AS reserved FROM duckdb_keywords()"


def read_words(access: Access) -> Vocabulary:
    """Functions and keywords; blocks.

    Raises:
        UserError: the database does not answer.
    """
    with access.console() as console:
        with console.query(_FUNCTIONS) as functions:
            names = functions.read_all().column(0).to_pylist()
        with console.query(_KEYWORDS) as keywords:
            words = keywords.read_all().to_pylist()
    return Vocabulary(
        functions=tuple(sorted(names)),
        keywords=tuple(sorted(str(each["keyword_name"]) for each in words)),
        reserved=frozenset(str(each["keyword_name"]) for each in words if each["reserved"]),
    )


def with_tables(vocabulary: Vocabulary, tables: Sequence[CatalogTable]) -> Vocabulary:
    """The same functions and keywords, with these tables."""
    return replace(
        vocabulary,
        tables=tuple(
            KnownTable(table.schema, table.name, tuple((each.name, each.type) for each in table.columns))
            for table in tables
        ),
    )


def name_in_sql(vocabulary: Vocabulary, table: CatalogTable) -> str:
    """The name of a table as it is written in a statement."""
    name = vocabulary.identifier(table.name)
    return name if table.schema == "main" else f"{vocabulary.identifier(table.schema)}.{name}"
