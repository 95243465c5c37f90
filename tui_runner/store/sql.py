"""Text that goes into SQL statements: identifiers and literals are quoted here and nowhere else; names of columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN

CATALOG = "system.main"
"""Where DuckDB's own functions are. Without it a macro of the same name in the database takes their place."""


class Cursor(Protocol):
    """Protocol of a cursor for reading: DuckDB's, or one that asks the process that has the database open."""

    def execute(self, query: Any, parameters: Any = ..., /) -> Any:
        """Run a statement; `parameters` stand for its `?`."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, None behind the last."""

    def fetchmany(self, size: int = ..., /) -> list[Any]:
        """Return the next rows, `size` at most."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""


def quote(identifier: str) -> str:
    """`identifier` as SQL, whatever is in it: spaces, quotes, a reserved word such as `at`.

    Raises:
        ValueError: it is empty or holds a NUL character, which no identifier can.
    """
    if not identifier or "\0" in identifier:
        raise ValueError(f"{identifier!r} cannot be the name of a table or column")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a string literal of SQL."""
    if "\0" in text:
        return " || chr(0) || ".join(literal(part) for part in text.split("\0"))
    return "'" + text.replace("'", "''") + "'"


def visible_literal(text: str) -> str:
    """`text` as an expression of SQL in which every character can be seen: to be read and edited by a person."""
    parts = [part for part in re.split(r"([^ -~]+)", text) if part]
    shown = []
    for part in parts or [""]:
        if part.isprintable():
            shown.append("'" + part.replace("'", "''") + "'")
        else:
            shown += [f"chr({ord(character)})" for character in part]
    return " || ".join(shown)


def is_sql_name(text: str) -> bool:
    """Return True if `text` can name a table: not blank, and every character of it can be seen."""
    return bool(text.strip()) and text.isprintable()


_UNSEEN = re.compile(
    # C0, DEL and C1; marks of direction and zero-width ones; line and paragraph separators; byte order mark.
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_NAMELESS = "column"


def new_names(raws: Iterable[str], known: Mapping[str, str], existing: Collection[str]) -> dict[str, str]:
    """Column names for keys that have none yet, in their order.

    SQL does not tell `A` from `a`: whichever comes second becomes `a_1`. A key that is the name of a column nobody's
    key leads to yet (one that was added by hand) goes into that column.

    Args:
        raws: keys as a function returned them.
        known: the column of each key that has one.
        existing: all columns of the table, those that tui-runner adds to each row included.

    Returns:
        The column of each key of `raws` that `known` lacks.
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


def distinct(names: Iterable[str]) -> list[str]:
    """`names` with a number behind those that are there before, so that each is there once."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        result.append(candidate)
    return result


def file_of(cursor: Cursor) -> str:
    """Path of the database that a cursor asks; empty when it is in memory."""
    sql = (
        f"SELECT coalesce(path, '') FROM {CATALOG}.duckdb_databases()"
        f" WHERE database_name = {CATALOG}.current_database()"
    )
    return str(cursor.execute(sql).fetchall()[0][0])
