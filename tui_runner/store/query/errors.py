"""Errors of statements, with line and column."""

from __future__ import annotations

import re

import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.query.statements import tokens
from tui_runner.store.sql import Cursor, about_missing_table, quote
from tui_runner.text.messages import plain

_PICTURE = re.compile(r"\n\nLINE (\d+): (.*)\n( *)\^", re.DOTALL)
"""Matches the excerpt below DuckDB's message: the line, with dots where it is shortened, and a mark below the place."""
_TOO_DEEP = re.compile(r"Max expression depth limit of (\d+) exceeded")
"""Matches a message of DuckDB that advises to change a setting, which is not possible here."""
_NEAR = re.compile(r'syntax error at or near "(\w+)"')
"""Matches a message of DuckDB about a word that its parser does not expect."""
_BEFORE_TABLE = re.compile(r"\b(?:from|join|into|update|table|describe|summarize)\s+$", re.IGNORECASE)
"""Matches the text of a statement before the name of a table."""
_OTHER_FILE = re.compile(r'Cannot access (?:file|directory) "(.*)" - file system operations are disabled', re.DOTALL)
"""Matches a message of DuckDB about access to any other file, which `connection` has disabled."""
_DOTS = "..."
"""Text that DuckDB writes where it cuts a long line."""
CHANGES_DATA = "the statement would change the database, and only statements that read can be run"
"""Message for a statement that would change data, as its type or DuckDB's read-only transaction shows."""
ONLY_READS = "only statements that read can be run"
"""Message for a statement whose type shows that it neither reads nor changes data."""


class QueryError(UserError):
    """Raised if DuckDB rejects a statement, or if a statement fails while it is executed.

    Attributes:
        line: line of the error in the statement, from 1; None if unknown.
        column: column in that line, from 1, in characters; None if unknown.
    """

    def __init__(
        self, what: str, where: str = "", do: str = "", *, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(what, where, do)
        self.line = line
        self.column = column


class QueryCancelled(UserError):
    """Raised when the user has cancelled the statement."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class TooManyQueries(DatabaseError):
    """Raised if the process that has the database open already executes as many queries of others as it may."""

    def __init__(self, where: str) -> None:
        super().__init__("too many queries of other processes are running", where, "try again in a moment")


def query_error(error: BaseException, sql: str, *, lines_before: int = 0, cursor: Cursor | None = None) -> QueryError:
    """Convert an error of DuckDB or Arrow to an error of one line, with its place in the statement.

    Args:
        error: the error.
        sql: the statement as DuckDB received it.
        lines_before: number of lines that were inserted before the user's statement.
        cursor: reads the names of the tables, for advice about a table that does not exist; None for no such advice.
    """
    message = str(error)
    if isinstance(error, pa.ArrowException | OSError):
        # Arrow puts its own prefix before an error that DuckDB raises while rows are read.
        message = message.removeprefix("Invalid Input Error: ")
    picture = _PICTURE.search(message)
    line = column = None
    if picture is not None:
        line = int(picture[1])
        column = _column(sql, line, picture[2], len(picture[3]) - len(f"LINE {line}: "))
        message = message[: picture.start()]
    message = message.split("\n\nLINE ", 1)[0].strip() or type(error).__name__
    if message.startswith("Out of Memory Error"):
        # DuckDB advises to change settings, which is not possible here.
        what = "the statement needs more memory than it may use"
        return QueryError(what, do="ask for less at once: fewer or shorter values, fewer groups, a LIMIT")
    if found := _TOO_DEEP.search(message):
        what = f"the statement has expressions that are nested more than {int(found[1]):,} deep"
        return QueryError(what, do="split it: WITH, a list (x IN (…)) or a table in the place of a long chain")
    if found := _OTHER_FILE.search(message):
        what = "queries can't read or write other files"
        return QueryError(what, do=f"use DuckDB itself for {plain(found[1])}")
    if "read-only mode" in message:
        message = CHANGES_DATA
    message, do = about_missing_table(message, cursor)
    if message.startswith("Parser Error"):
        do = _unquoted_name(message, _text_before(sql, line, column)) or "correct the statement"
    return QueryError(message, do=do, line=None if line is None else line - lines_before, column=column)


def _unquoted_name(message: str, before: str) -> str:
    """Return advice for a syntax error at a reserved word in the place of a table, as in `FROM order`; otherwise empty.

    Args:
        message: DuckDB's message, which quotes the word.
        before: the statement up to that word.
    """
    word = _NEAR.search(message)
    if word is None or not _BEFORE_TABLE.search(before) or [each.kind for each in tokens(word[1])] != ["keyword"]:
        return ""
    return f"if {word[1]} is a name, write {quote(word[1])} in double quotes, because it is a reserved word"


def _text_before(sql: str, line: int | None, column: int | None) -> str:
    """Return the statement up to a place of it, or an empty text if the place is unknown."""
    if line is None or column is None:
        return ""
    lines = sql.split("\n")[:line]
    return "\n".join([*lines[:-1], lines[-1][: column - 1]])


def _column(sql: str, line: int, shown: str, mark: int) -> int | None:
    """Return the column to which DuckDB's mark points; None if unknown.

    Args:
        sql: the statement.
        line: number of the line, from 1.
        shown: the line as DuckDB shows it; of a long line only the part around the mark.
        mark: offset of the mark in `shown`.
    """
    lines = sql.split("\n")
    if not 0 < line <= len(lines) or mark < 0:
        return None
    if shown.startswith(_DOTS) and not lines[line - 1].startswith(shown):
        cut = shown.removeprefix(_DOTS).removesuffix(_DOTS)
        before = lines[line - 1].find(cut)
        if before < 0:
            return None
        mark += before - len(_DOTS)
    return mark + 1
