"""Text that goes into SQL statements: identifiers and string literals are quoted here and nowhere else."""

from __future__ import annotations

import re
from typing import Any, Protocol


class Cursor(Protocol):
    """What code that reads needs: a cursor of DuckDB, or one that asks the process that has the database open."""

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
    """Whether `text` can name a table: not blank, and every character of it can be seen."""
    return bool(text.strip()) and text.isprintable()
