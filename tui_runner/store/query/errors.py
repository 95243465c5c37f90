"""Describe what is wrong with a statement, and where in it."""

from __future__ import annotations

import re

import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError

_PICTURE = re.compile(r"\n\nLINE (\d+): (.*)\n( *)\^", re.DOTALL)
"""DuckDB draws the line below its message, cut with dots when it is long, and a mark below the place."""
_TOO_DEEP = re.compile(r"Max expression depth limit of (\d+) exceeded")
"""DuckDB's advice is a setting that cannot be changed here."""
_DOTS = "..."
CHANGES_DATA = "the statement would change the database, and only statements that read can be run"
"""Message about a statement that changes data where that is not allowed."""


class QueryError(UserError):
    """A statement that DuckDB rejected, or that failed while it ran.

    Attributes:
        line: line of the statement that is at fault, from 1; None when DuckDB names none.
        column: column in that line, from 1, in characters; None when DuckDB names none.
    """

    def __init__(
        self, what: str, where: str = "", do: str = "", *, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(what, where, do)
        self.line = line
        self.column = column


class QueryCancelled(UserError):
    """The statement was ended on request."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class TooManyQueries(DatabaseError):
    """The process that has the database open answers as many others as it can."""

    def __init__(self, where: str) -> None:
        super().__init__("too many queries of other processes are running", where, "try again in a moment")


def query_error(error: BaseException, sql: str, *, lines_before: int = 0) -> QueryError:
    """Return what DuckDB or Arrow raised for `sql`, as one line with its place.

    Args:
        error: what was raised.
        sql: the statement as DuckDB got it.
        lines_before: lines of it that are not the person's; they are not counted.
    """
    message = str(error)
    if isinstance(error, pa.ArrowException | OSError):
        # Errors that arrive through a reader carry DuckDB's message within Arrow's.
        message = message.removeprefix("Invalid Input Error: ")
    picture = _PICTURE.search(message)
    line = column = None
    if picture is not None:
        line = int(picture[1])
        column = _column(sql, line, picture[2], len(picture[3]) - len(f"LINE {line}: "))
        message = message[: picture.start()]
    message = message.split("\n\nLINE ", 1)[0].strip() or type(error).__name__
    if message.startswith("Out of Memory Error"):
        # DuckDB's advice is about settings that cannot be changed here.
        what = "the statement needs more memory than it may use"
        return QueryError(what, do="ask for less at once: fewer or shorter values, fewer groups, a LIMIT")
    if found := _TOO_DEEP.search(message):
        what = f"the statement has expressions within each other more than {int(found[1]):,} deep"
        return QueryError(what, do="split it: WITH, a list (x IN (…)) or a table in the place of a long chain")
    if "read-only mode" in message:
        message = CHANGES_DATA
    return QueryError(message, line=None if line is None else line - lines_before, column=column)


def _column(sql: str, line: int, shown: str, mark: int) -> int | None:
    """The column that the mark stands below; DuckDB shows of a long line only the part around it."""
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
