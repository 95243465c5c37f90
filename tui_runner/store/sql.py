"""Builds text for SQL statements. Only this module quotes identifiers and literals, and chooses column names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN

CATALOG = "system.main"
"""Schema of DuckDB's own functions. Without this prefix, a macro of the same name in the database would be called."""


class Cursor(Protocol):
    """A cursor for reading: DuckDB's own, or one that queries the process that has the database open."""

    def execute(self, query: Any, parameters: Any = ..., /) -> Any:
        """Execute a statement. `parameters` replace its `?`."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row; None after the last row."""

    def fetchmany(self, size: int = ..., /) -> list[Any]:
        """Return the next rows, at most `size` of them."""

    def fetchall(self) -> list[Any]:
        """Return all remaining rows."""


def quote(identifier: str) -> str:
    """Return `identifier` quoted for SQL, even if it has spaces or quotes, or is a reserved word such as `at`.

    Raises:
        ValueError: the identifier is empty or contains a NUL character, which SQL does not allow.
    """
    if not identifier or "\0" in identifier:
        raise ValueError(f"{identifier!r} cannot be the name of a table or column")
    return '"' + identifier.replace('"', '""') + '"'


QUOTED_WORDS = f"""SELECT DISTINCT keyword_name FROM {CATALOG}.duckdb_keywords()
WHERE keyword_category NOT IN ('unreserved', 'column_name')"""
"""Query for the keywords that cannot name a table and a column without quotes, in lower case.

DuckDB 2.0 accepts a keyword as a name in every place of a statement if its category is `unreserved` (`year`) or
`column_name` (`values`). It refuses reserved words (`order`) in all places, and words of types and functions (`at`,
`left`) in nearly all: `FROM left`, `SELECT at FROM t`.
"""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Matches names that need no quotes in a statement, unless they are keywords."""


def as_typed(name: str, quoted_words: Collection[str]) -> str:
    """Return `name` as a user would type it in a statement: quoted only if DuckDB needs that.

    Args:
        name: name of a table, column or schema.
        quoted_words: the result of the query `QUOTED_WORDS`.
    """
    return name if _PLAIN.fullmatch(name) and name.lower() not in quoted_words else quote(name)


def literal(text: str) -> str:
    """Return `text` as a string literal of SQL."""
    if "\0" in text:
        return " || chr(0) || ".join(literal(part) for part in text.split("\0"))
    return "'" + text.replace("'", "''") + "'"


def visible_literal(text: str) -> str:
    """Return `text` as an SQL expression in which every character is visible, so that a user can read and edit it."""
    parts = [part for part in re.split(r"([^ -~]+)", text) if part]
    shown = []
    for part in parts or [""]:
        if part.isprintable():
            shown.append("'" + part.replace("'", "''") + "'")
        else:
            shown += [f"chr({ord(character)})" for character in part]
    return " || ".join(shown)


def is_sql_name(text: str) -> bool:
    """Return True if `text` can name a table: it is not blank, and every character is printable."""
    return bool(text.strip()) and text.isprintable()


_UNSEEN = re.compile(
    # C0, DEL and C1; marks of direction and zero-width ones; line and paragraph separators; byte order mark.
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
"""Matches invisible characters, and those that change the direction of text. In names of columns `_` replaces them."""
_NAMELESS = "column"
"""Name of a column whose key is blank."""


def new_names(raws: Iterable[str], known: Mapping[str, str], existing: Collection[str]) -> dict[str, str]:
    """Return column names for those keys that have none yet, in the order of the keys.

    SQL does not distinguish `A` from `a`, so the second of two such keys gets the column `a_1`. If the user has added a
    column to the table, the key with exactly its name gets that column.

    Args:
        raws: keys as a function returned them.
        known: column of each key that has one.
        existing: all columns of the table, including those that tui-runner adds to each row.

    Returns:
        The column of each key in `raws` that is not in `known`.
    """
    taken = {name.lower() for name in existing}
    free = set(existing) - set(known.values()) - {RUN_COLUMN, ITEM_COLUMN}
    found: dict[str, str] = {}
    for raw in raws:
        if raw in known or raw in found:
            continue
        if raw in free:
            found[raw] = raw
            free.discard(raw)
            continue
        base = _UNSEEN.sub("_", raw) if raw.strip() else _NAMELESS
        name, number = base, 0
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        found[raw] = name
    return found


def distinct(names: Iterable[str], first: int = 1) -> list[str]:
    """Return `names` made unique: repeated names get a suffix `_1`, `_2` and so on, from the number `first` on."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, first
        while candidate in seen:
            candidate = f"{name}_{number}"
            number += 1
        seen.add(candidate)
        result.append(candidate)
    return result


def file_of(cursor: Cursor) -> str:
    """Return the path of the database of a cursor; empty for a database in memory."""
    sql = (
        f"SELECT coalesce(path, '') FROM {CATALOG}.duckdb_databases()"
        f" WHERE database_name = {CATALOG}.current_database()"
    )
    return str(cursor.execute(sql).fetchall()[0][0])


_MISSING_TABLE = re.compile(r"Table with name .* does not exist")
"""Matches DuckDB's message about a table that does not exist."""
_SUGGESTION = re.compile(r'\s*Did you mean "([^"]*)"\?')
"""Matches the name that DuckDB suggests in place of a name that does not exist."""
_OF_DUCKDB = re.compile(r"(?:pg_|duckdb_|sqlite_|pragma_|(?:information_schema|pg_catalog|system)\.)", re.IGNORECASE)
"""Matches the beginning of the names of DuckDB's own tables, which users of results do not look for."""
_LISTED_TABLES = 8
"""Most tables that advice lists. More would fill several lines; the catalog shows them all."""


def about_missing_table(message: str, cursor: Cursor | None) -> tuple[str, str]:
    """Return a message of DuckDB without the suggestion of one of its own tables, and advice that lists the tables.

    For a table that does not exist, DuckDB suggests the most similar name, often one of its own: for `nowhere`, it is
    `pg_indexes`. The advice is empty if the message has another suggestion or another subject, or without `cursor`.

    Args:
        message: the message.
        cursor: reads the tables of the current database; None if there is no database.
    """
    if not _MISSING_TABLE.search(message):
        return message, ""
    suggestion = _SUGGESTION.search(message)
    if suggestion is not None:
        if not _OF_DUCKDB.match(suggestion[1]):
            return message, ""
        message = message[: suggestion.start()].rstrip("!") + message[suggestion.end() :]
    if cursor is None:
        return message, ""
    words = {str(word) for (word,) in cursor.execute(QUOTED_WORDS).fetchall()}
    names = [
        as_typed(name, words) if schema == "main" else f"{as_typed(schema, words)}.{as_typed(name, words)}"
        for schema, name in cursor.execute(
            f"""SELECT schema_name, name FROM (
                SELECT database_name, schema_name, table_name AS name, internal FROM {CATALOG}.duckdb_tables()
                UNION ALL SELECT database_name, schema_name, view_name, internal FROM {CATALOG}.duckdb_views()
            ) WHERE database_name = {CATALOG}.current_database() AND NOT internal
            ORDER BY schema_name <> 'main', schema_name, name"""
        ).fetchall()
    ]
    if not names:
        return message, "this database has no tables yet"
    more = len(names) - _LISTED_TABLES
    return message, f"its tables are {', '.join(names[:_LISTED_TABLES])}{f' and {more} more' if more > 0 else ''}"
