"""Finds the words that completion offers at the cursor: columns, tables, schemas, aliases, functions, keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tui_runner.store.access import Access, AnyConsole
from tui_runner.store.query.catalog import CatalogTable
from tui_runner.store.query.statements import statement_at
from tui_runner.store.sql import QUOTED_WORDS, as_typed, quote
from tui_runner.tui.query.sql_tokens import aliases, given_names, tokens, unquoted

MOST = 200
"""Most words that are offered. Users do not scroll further in the list."""
LEAST = 2
"""Fewest typed characters of a word before completion offers words by itself, because too many words contain a single
character."""

_COMMON = """
    select from where join group by order having limit left inner on using and or as asc desc distinct in is not null
    like between case when then else end with union all except intersect exists insert into update delete set values
    create table view cast offset right full cross over partition qualify filter describe summarize explain
"""
"""Keywords of everyday queries, the most common first. Completion offers them before the rare ones: DuckDB has 500."""
_RANKS = {keyword: rank for rank, keyword in enumerate(_COMMON.split())}

# `main."my table".` before the word that is being typed
_QUALIFIER = re.compile(r'(?:(?:"(?:[^"]|"")*"|\w+)\.)+$')
# the typed part of an unquoted word
_WORD = re.compile(r"\w*$")
# one name of a qualifier
_PART = re.compile(r'"(?:[^"]|"")*"|\w+')


@dataclass(frozen=True, slots=True)
class Word:
    """A word that completion offers.

    Attributes:
        text: text to insert into the editor, quoted if necessary.
        name: the name that is compared with the typed text.
        kind: `column`, `table`, `schema`, `alias`, `function` or `keyword`.
        remark: type of a column, table of an alias, schema of a table outside of `main`, or `( )` for a function; empty
            for other words.
    """

    text: str
    name: str
    kind: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table of the database.

    Attributes:
        schema: name of its schema.
        name: name of the table.
        columns: (name, type) of each column.
    """

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All words that completion can offer.

    Attributes:
        tables: the tables with their columns.
        functions: names of functions.
        keywords: keywords in lower case.
        quoted_words: keywords that must be quoted if they are names.
    """

    tables: tuple[KnownTable, ...] = ()
    functions: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    quoted_words: frozenset[str] = frozenset()

    def identifier(self, name: str) -> str:
        """Return `name` in the form that a statement needs: quoted if necessary."""
        # Until the words have been read, or if that has failed, any name may need quotes.
        return as_typed(name, self.quoted_words) if self.quoted_words else quote(name)


@dataclass(frozen=True, slots=True)
class Offer:
    """The words that completion offers.

    Attributes:
        start: offset in the editor's text. The chosen word replaces the text between this offset and the cursor.
        words: the words, the best first.
    """

    start: int
    words: tuple[Word, ...]


def offer(text: str, position: int, vocabulary: Vocabulary, *, asked: bool = False) -> Offer:
    """Return the words that fit at the cursor.

    Args:
        text: the whole text of the editor.
        position: offset of the cursor in `text`.
        vocabulary: all words that can be offered.
        asked: True to offer words even if fewer than `LEAST` characters were typed.
    """
    nothing = Offer(position, ())
    start = _word_start(text, position)
    if start is None:
        return nothing
    typed = text[start:position]
    # A search from the start of a long text would make every key slow, and no qualifier has 200 characters.
    qualifier = _QUALIFIER.search(text, max(start - 200, 0), start)
    if not asked and not qualifier and (len(typed) < LEAST or typed[0].isdigit()):
        return nothing
    statement = statement_at(text, position)
    sql = "" if statement is None else statement.sql
    sources = list(aliases(sql))
    # The word that is being typed is no name that the statement defines.
    given = [(name, kind) for name, kind in given_names(sql) if name.lower() != typed.removeprefix('"').lower()]
    if qualifier:
        path = [unquoted(part) for part in _PART.findall(qualifier[0])]
        found = list(_qualified(path, sources, given, vocabulary))
    else:
        found = list(_unqualified(sources, given, vocabulary, typed))
    return Offer(start, tuple(_fitting(found, typed.removeprefix('"'))))


def _word_start(text: str, position: int) -> int | None:
    """Return the offset of the word before the cursor, with its opening quote; None in a string or comment.

    Only the tokens tell an opening quote from a closing one: `"order" where` has no quoted name at its end.
    """
    for token in tokens(text):
        if not token.start < position <= token.end:
            continue
        if token.role in ("sql-string", "sql-comment"):
            return None
        is_quoted = text[token.start] == '"'
        if is_quoted and (position < token.end or not _PART.fullmatch(text, token.start, token.end)):
            return token.start
    word = _WORD.search(text, max(position - 200, 0), position)
    return position if word is None else word.start()


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
        # A common table expression may have any column that the statement names, and any column of the tables that the
        # statement reads.
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
        # This may be an alias that is not defined yet, because FROM comes after SELECT. It may stand for any table.
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
        # If no table is typed yet, because FROM comes after SELECT, offer the columns of all tables of results.
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
    for keyword in sorted(vocabulary.keywords, key=lambda keyword: _RANKS.get(keyword, len(_RANKS))):
        yield Word(keyword if lower else keyword.upper(), keyword, "keyword")
    for function in vocabulary.functions:
        yield Word(function, function, "function", "( )")


def _columns(table: KnownTable, vocabulary: Vocabulary) -> Iterator[Word]:
    for name, kind in table.columns:
        yield Word(vocabulary.identifier(name), name, "column", kind)


def _fitting(words: Iterable[Word], typed: str) -> list[Word]:
    """Return the words that begin with the typed text, then those that contain it. No word is returned twice.

    Keywords and functions must begin with the typed text.
    """
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
    # Offer nothing if the user has typed the only word that fits.
    if len(found) == 1 and found[0].text.lower() == lowered:
        return []
    return found[:MOST]


_FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z]\\w*$')"
_KEYWORDS = "SELECT DISTINCT keyword_name FROM duckdb_keywords()"


def read_words(access: Access) -> Vocabulary:
    """Return the functions and keywords of DuckDB, without tables. Blocks.

    Raises:
        UserError: the database does not answer.
    """
    with access.console() as console:
        functions, keywords, quoted_words = (
            sorted(_first_column(console, sql)) for sql in (_FUNCTIONS, _KEYWORDS, QUOTED_WORDS)
        )
    return Vocabulary(functions=tuple(functions), keywords=tuple(keywords), quoted_words=frozenset(quoted_words))


def _first_column(console: AnyConsole, sql: str) -> list[str]:
    with console.query(sql) as result:
        return [str(value) for value in result.read_all().column(0).to_pylist()]


def with_tables(vocabulary: Vocabulary, tables: Sequence[CatalogTable]) -> Vocabulary:
    """Return a copy of `vocabulary` with the tables `tables`."""
    return replace(
        vocabulary,
        tables=tuple(
            KnownTable(table.schema, table.name, tuple((each.name, each.type) for each in table.columns))
            for table in tables
        ),
    )


def name_in_sql(vocabulary: Vocabulary, table: CatalogTable) -> str:
    """Return the name of a table in the form that a statement needs, after its schema unless this is `main`."""
    name = vocabulary.identifier(table.name)
    return name if table.schema == "main" else f"{vocabulary.identifier(table.schema)}.{name}"
