"""Finds words that fit at the cursor: columns of the tables in the statement, tables, functions, keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tui_runner.store.access import Access
from tui_runner.store.query.catalog import CatalogTable
from tui_runner.store.query.statements import statement_at
from tui_runner.store.sql import quote
from tui_runner.tui.query.sql_tokens import aliases, given_names, tokens, unquoted

MOST = 200
"""Most words that are offered. Users scroll no further, and all offered words are compared at every key."""
LEAST = 2
"""Number of typed characters from which words are offered: too many words match a single character."""

_BEFORE = re.compile(r'((?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))*\.)?("(?:[^"]|"")*|\w*)$')
_PART = re.compile(r'"(?:[^"]|"")*"|\w+')
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
"""Match the text before the cursor (the names before the last point, and the word being typed), one of these names, and
a name that needs no quotes."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word to offer.

    Attributes:
        text: text to insert into the editor.
        name: name that is compared with the typed text.
        kind: `column`, `table`, `schema`, `alias`, `function` or `keyword`.
        remark: the type of a column; else empty.
    """

    text: str
    name: str
    kind: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table: its schema, its name, and (name, type) of its columns."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All words that can be offered; keywords in lower case."""

    tables: tuple[KnownTable, ...] = ()
    functions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    reserved: frozenset[str] = frozenset()

    def identifier(self, name: str) -> str:
        """Return a name in the form for a statement, quoted if necessary."""
        return name if _PLAIN.fullmatch(name) and name not in self.reserved else quote(name)


@dataclass(frozen=True, slots=True)
class Offer:
    """Matching words, the best first. The chosen word replaces the text from `start` to the cursor."""

    start: int
    words: tuple[Word, ...]


def offer(text: str, position: int, vocabulary: Vocabulary, *, asked: bool = False) -> Offer:
    """Return the words that can follow at `position` of `text`.

    Args:
        text: the whole text of the editor.
        position: position of the cursor, in characters.
        vocabulary: all known words.
        asked: True to offer words even if little was typed.
    """
    nothing = Offer(position, ())
    for token in tokens(text):
        if token.role in ("sql-string", "sql-comment") and token.start < position <= token.end:
            return nothing
    before = _BEFORE.search(text, max(position - 200, 0), position)
    if before is None:
        return nothing
    qualifier, typed = before[1], before[2]
    if not asked and not qualifier and (len(typed) < LEAST or typed[0].isdigit()):
        return nothing
    statement = statement_at(text, position)
    sql = "" if statement is None else statement.sql
    sources = list(aliases(sql))
    # The word being typed is not a name yet.
    given = [(name, kind) for name, kind in given_names(sql) if name.lower() != typed.removeprefix('"').lower()]
    if qualifier:
        path = [unquoted(part) for part in _PART.findall(qualifier)]
        found = list(_qualified(path, sources, given, vocabulary))
    else:
        found = list(_unqualified(sources, given, vocabulary, typed))
    return Offer(before.start(2), tuple(_fitting(found, typed.removeprefix('"'))))


def _qualified(
    path: list[str], sources: list[tuple[str, str]], given: list[tuple[str, str]], vocabulary: Vocabulary
) -> Iterator[Word]:
    name = ".".join(path)
    lowered = name.lower()
    targets = {table.lower() for alias, table in sources if alias.lower() == lowered} or {lowered}
    for table in vocabulary.tables:
        if table.name.lower() in targets or f"{table.schema}.{table.name}".lower() in targets:
            yield from _columns(table, vocabulary)
    known = False
    if any(kind == "table" and name.lower() in targets for name, kind in given):
        # A common table expression has the columns that the statement names, and may have all columns that it reads.
        known = True
        yield from _given_columns(sources, given, vocabulary)
        named = {table.lower() for _, table in sources}
        for table in vocabulary.tables:
            if table.name.lower() in named:
                yield from _columns(table, vocabulary)
    for table in vocabulary.tables:
        if table.schema.lower() == lowered:
            known = True
            yield Word(vocabulary.identifier(table.name), table.name, "table")
    if not known and len(targets) == 1 and lowered in targets:
        # This may be an alias of a table that is not typed yet, because SELECT comes first. It may stand for any table.
        for table in vocabulary.tables:
            if table.schema == "main" and table.name.lower() != lowered:
                yield from _columns(table, vocabulary)


def _given_columns(
    sources: list[tuple[str, str]], given: list[tuple[str, str]], vocabulary: Vocabulary
) -> Iterator[Word]:
    tables = {alias.lower() for alias, _ in sources}
    for name, kind in given:
        if kind == "column" and name.lower() not in tables:
            yield Word(vocabulary.identifier(name), name, "column")


def _unqualified(
    sources: list[tuple[str, str]], given: list[tuple[str, str]], vocabulary: Vocabulary, typed: str
) -> Iterator[Word]:
    named = {table.lower() for _, table in sources}
    for table in vocabulary.tables:
        # No table is typed yet, because SELECT comes first: it may be any results table.
        at_hand = not named and table.schema == "main"
        if at_hand or table.name.lower() in named or f"{table.schema}.{table.name}".lower() in named:
            yield from _columns(table, vocabulary)
    yield from _given_columns(sources, given, vocabulary)
    for name, kind in given:
        if kind == "table":
            yield Word(vocabulary.identifier(name), name, "table")
    for alias, table_name in sources:
        if alias.lower() != table_name.lower().rpartition(".")[2]:
            yield Word(vocabulary.identifier(alias), alias, "alias", table_name)
    for table in vocabulary.tables:
        name = vocabulary.identifier(table.name)
        text = name if table.schema == "main" else f"{vocabulary.identifier(table.schema)}.{name}"
        yield Word(text, table.name, "table", "" if table.schema == "main" else table.schema)
    for schema in sorted({table.schema for table in vocabulary.tables} - {"main"}):
        yield Word(vocabulary.identifier(schema), schema, "schema")
    lower = typed.islower()
    for keyword in vocabulary.keywords:
        yield Word(keyword if lower else keyword.upper(), keyword, "keyword")
    for function in vocabulary.functions:
        yield Word(function, function, "function", "( )")


def _columns(table: KnownTable, vocabulary: Vocabulary) -> Iterator[Word]:
    for name, kind in table.columns:
        yield Word(vocabulary.identifier(name), name, "column", kind)


def _fitting(words: Iterable[Word], typed: str) -> list[Word]:
    """Return words that begin with the typed text, then names in the database that contain the text, each word once."""
    lowered = typed.lower()
    begin: dict[tuple[str, str], Word] = {}
    contain: dict[tuple[str, str], Word] = {}
    for word in words:
        name = word.name.lower()
        key = (word.text, word.kind if word.kind in ("function", "keyword") else "")
        if name.startswith(lowered):
            begin.setdefault(key, word)
        elif len(lowered) >= LEAST and lowered in name and word.kind not in ("keyword", "function"):
            contain.setdefault(key, word)
    found = [*begin.values(), *(word for key, word in contain.items() if key not in begin)]
    # A completely typed word needs no offer.
    if len(found) == 1 and found[0].text.lower() == lowered:
        return []
    return found[:MOST]


_FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z]\\w*$')"
_KEYWORDS = "SELECT keyword_name, keyword_category = 'reserved' AS reserved FROM duckdb_keywords()"


def read_words(access: Access) -> Vocabulary:
    """Read functions and keywords from DuckDB; blocks.

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
    """Return a vocabulary with the same functions and keywords, and with these tables."""
    return replace(
        vocabulary,
        tables=tuple(
            KnownTable(table.schema, table.name, tuple((each.name, each.type) for each in table.columns))
            for table in tables
        ),
    )


def name_in_sql(vocabulary: Vocabulary, table: CatalogTable) -> str:
    """Return the name of a table in the form for a statement."""
    name = vocabulary.identifier(table.name)
    return name if table.schema == "main" else f"{vocabulary.identifier(table.schema)}.{name}"
