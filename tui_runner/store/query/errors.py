"""Errors of statements, with line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import duckdb
import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.query.statements import tokens
from tui_runner.store.sql import Cursor, about_missing_table, quote
from tui_runner.text.messages import plain

_PICTURE = re.compile(r"\n\nLINE (\d+): (.*)\n( *)\^", re.DOTALL)
"""Matches the excerpt below DuckDB's message: the line, with dots where it is shortened, and a mark below the place."""
_WORD = re.compile(r"\w+")
_TOO_DEEP = re.compile(r"Max expression depth limit of (\d+) exceeded")
"""Matches a message of DuckDB that advises to change a setting, which is not possible here."""
_BEFORE_TABLE = re.compile(r"\b(?:from|join|into|update|table|describe|summarize)\s+$", re.IGNORECASE)
"""Matches the text of a statement before the name of a table."""
_SYNTAX_ERROR = "syntax error at or near"
"""Part of DuckDB's message about a word that its parser does not expect."""
_MOST_QUOTED = 5
"""Most words of a statement for which quotes are tried. Each of them takes two parses at most."""
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
        line, column = _marked(sql, picture)
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
        names: list[str] = []
        if _SYNTAX_ERROR in message and line is not None and column is not None:
            names = _names_without_quotes(sql, _offset(sql, line, column))
        do = _quoting_advice(names) if names else "correct the statement"
    return QueryError(message, do=do, line=None if line is None else line - lines_before, column=column)


def _names_without_quotes(sql: str, place: int) -> list[str]:
    """Return the keywords of a statement that are correct if they are quoted, such as `at` in `SELECT at FROM t`.

    A keyword is a name in the place of a value or table. DuckDB's parser stops at this word or at the next one. Quote
    such words until the parser accepts the statement. If it never does, there is another error as well, and only words
    in the place of a table are returned.

    Args:
        sql: the statement.
        place: offset of the word at which the parser stops.
    """
    names: list[str] = []
    tables: list[str] = []
    with duckdb.connect(config={"threads": 1}) as parser:
        while len(names) < _MOST_QUOTED:
            for start, end in _keywords_as_names(sql, place):
                quoted = sql[:start] + quote(sql[start:end]) + sql[end:]
                stopped = _first_mistake(parser, quoted)
                if stopped is None or stopped > place + len(quoted) - len(sql):
                    names.append(sql[start:end])
                    if _BEFORE_TABLE.search(sql, 0, start):
                        tables.append(sql[start:end])
                    break
            else:
                break
            if stopped is None:
                return list(dict.fromkeys(names))
            sql, place = quoted, stopped
    return list(dict.fromkeys(tables))


def _keywords_as_names(sql: str, place: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the keywords at `place` and before it that are where a name may be.

    A word after a name, a value or a closing bracket is none of them. It would become an alias: `FROM t "where"`.
    """
    found = [token for token in tokens(sql) if token.kind != "comment" and token.start <= place]
    for before, token in list(pairwise(found))[-2:]:
        starts_name = before.kind == "keyword" or (before.kind == "operator" and sql[before.start] not in ")]}")
        word = _WORD.match(sql, token.start)
        if token.kind == "keyword" and starts_name and word is not None:
            yield word.span()


def _first_mistake(parser: duckdb.DuckDBPyConnection, sql: str) -> int | None:
    """Return the offset at which DuckDB's parser stops; None if it accepts the statement; 0 if it gives no place."""
    try:
        parser.extract_statements(sql)
    except duckdb.Error as error:
        picture = _PICTURE.search(str(error))
        line, column = (1, None) if picture is None else _marked(sql, picture)
        return 0 if column is None else _offset(sql, line, column)
    return None


def _quoting_advice(names: Sequence[str]) -> str:
    words, quoted = " and ".join(names), " and ".join(map(quote, names))
    if len(names) == 1:
        return f"if {words} is a name, write {quoted} in double quotes, because it is a reserved word"
    return f"if {words} are names, write {quoted} in double quotes, because they are reserved words"


def _marked(sql: str, picture: re.Match[str]) -> tuple[int, int | None]:
    """Return line and column, both from 1, of the place that DuckDB marks below its message. The column may be unknown.

    Args:
        sql: the statement.
        picture: match of `_PICTURE` in the message.
    """
    line = int(picture[1])
    return line, _column(sql, line, picture[2], len(picture[3]) - len(f"LINE {line}: "))


def _offset(sql: str, line: int, column: int) -> int:
    """Return the offset of a place in a statement. `line` and `column` count from 1."""
    return sum(len(each) + 1 for each in sql.split("\n")[: line - 1]) + column - 1


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
