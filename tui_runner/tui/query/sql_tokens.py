"""Analyses SQL text for the editor: finds its tokens for the colours, and the names that a statement defines.

The tokens come from DuckDB's own tokenizer, so that keywords and strings are coloured as DuckDB reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tui_runner.store.query import statements

LONGEST = 50_000
"""Most characters of a text that is tokenized. The tokenizer runs at every key and takes 40 ms for this number."""

_ROLES = {
    "keyword": "sql-keyword",
    "string_const": "sql-string",
    "numeric_const": "sql-number",
    "comment": "sql-comment",
    "operator": "sql-operator",
}
_NAME = re.compile(r'"(?:[^"]|"")*"|\w+')
_CASTS = frozenset({"cast", "try_cast"})
"""Functions in whose parentheses AS is followed by a type, not by a name."""
_BEFORE_BODY = frozenset({"materialized", "not"})
"""Words that may be between AS and the statement of a common table expression."""
_SOURCE = re.compile(r"from|join|into|update", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of SQL.

    Attributes:
        start: offset of the first character.
        end: offset after the last character.
        role: role of the colour; empty for a name, which has the usual colour.
    """

    start: int
    end: int
    role: str


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text` in their order. Return no tokens for a text of more than `LONGEST` characters."""
    if len(text) > LONGEST:
        return []
    found = statements.tokens(text)
    if not found:
        return []
    ends = [*(token.start for token in found[1:]), len(text)]
    result = []
    for token, end in zip(found, ends, strict=True):
        word = text[token.start : end].rstrip()
        # The tokenizer says that the dot of `a.b` is a number.
        role = "sql-operator" if word == "." else _ROLES.get(token.kind, "")
        result.append(Token(token.start, token.start + len(word), role))
    return result


def by_line(text: str) -> list[list[Token]]:
    """Return the coloured tokens of each line, with offsets in the line.

    A token of several lines has a part in each of them.
    """
    starts = [0, *(found.end() for found in re.finditer("\n", text)), len(text) + 1]
    lines: list[list[Token]] = [[] for _ in starts[1:]]
    line = 0
    for token in tokens(text):
        if not token.role:
            continue
        while starts[line + 1] <= token.start:
            line += 1
        for number in range(line, len(lines)):
            first, behind = starts[number], starts[number + 1] - 1
            if first >= token.end:
                break
            lines[number].append(Token(max(token.start, first) - first, min(token.end, behind) - first, token.role))
    return lines


def follows_column(text: str) -> bool:
    """Return True if `text` ends with a value in the list after SELECT or BY, so that a comma must precede a column."""
    found = [token for token in tokens(text) if token.role != "sql-comment"]
    if not found:
        return False
    last = text[found[-1].start : found[-1].end]
    words = [text[token.start : token.end].lower() for token in found if token.role == "sql-keyword"]
    clause = next((word for word in reversed(words) if word in _CLAUSE_STARTS), "")
    is_value = found[-1].role in ("", "sql-number", "sql-string") or last in (")", "]")
    return clause in ("select", "by") and is_value


_TABLE_ALONE = re.compile(rf"from\s+(?:{_NAME.pattern})(?:\s*\.\s*(?:{_NAME.pattern}))*\s*", re.IGNORECASE)


def is_table_alone(text: str) -> bool:
    """Return True if the last statement of `text` is only FROM and a table, so that a column must follow SELECT."""
    return _TABLE_ALONE.fullmatch(text.rpartition(";")[2].strip()) is not None


def aliases(statement: str) -> Iterator[tuple[str, str]]:
    """Yield pairs (alias, table) for the tables of a statement.

    `FROM books AS b JOIN runner.items i` has the aliases b and i. The name of a table is its alias as well. Strings and
    comments are skipped. This is no parser: it is good enough for completion, also in an unfinished statement.
    """
    parts = _parts(statement)
    place = 0
    expecting = False
    while place < len(parts):
        if _SOURCE.fullmatch(parts[place]):
            expecting = True
            place += 1
            continue
        if not expecting or not _NAME.fullmatch(parts[place]):
            expecting = expecting and parts[place] == "("
            place += 1
            continue
        if parts[place].lower() in _NO_TABLES:
            expecting = parts[place].lower() == "lateral"
            place += 1
            continue
        table = [parts[place]]
        place += 1
        while place + 1 < len(parts) and parts[place] == "." and _NAME.fullmatch(parts[place + 1]):
            table.append(parts[place + 1])
            place += 2
        if place < len(parts) and parts[place].lower() == "as":
            place += 1
        name = ".".join(unquoted(part) for part in table)
        if place < len(parts) and _NAME.fullmatch(parts[place]) and parts[place].lower() not in _CLAUSES:
            yield unquoted(parts[place]), name
            place += 1
        yield unquoted(table[-1]), name
        # After a table, a comma means that another table follows, as in `FROM a, b`. Commas elsewhere do not.
        expecting = place < len(parts) and parts[place] == ","
        place += expecting


def given_names(statement: str) -> Iterator[tuple[str, str]]:
    """Yield pairs (name, kind) for the names that a statement defines. The kind is `table` or `column`.

    `WITH a(x) AS (SELECT 1 AS b) …` defines table a, and columns x and b. Every name after AS counts as a column, so an
    alias of a table counts as one, too.
    """
    parts = [*_parts(statement), "", ""]
    casts: list[bool] = []
    for place, part in enumerate(parts):
        if part == "(":
            casts.append(parts[place - 1].lower() in _CASTS)
        elif part == ")" and casts:
            casts.pop()
        elif part.lower() == "as":
            following = parts[place + 1]
            if following == "(" or following.lower() in _BEFORE_BODY:
                yield from _common_table(parts, place - 1)
            elif _NAME.fullmatch(following) and not (casts and casts[-1]):
                yield unquoted(following), "column"


def _common_table(parts: list[str], place: int) -> Iterator[tuple[str, str]]:
    """Yield pairs (name, kind) for a common table expression and the columns in parentheses after its name.

    Args:
        parts: the parts of the statement.
        place: index of the part before AS.
    """
    if parts[place] == ")":
        while place > 0 and parts[place] != "(":
            if _NAME.fullmatch(parts[place]):
                yield unquoted(parts[place]), "column"
            place -= 1
        place -= 1
    if place >= 0 and _NAME.fullmatch(parts[place]):
        yield unquoted(parts[place]), "table"


def _parts(statement: str) -> list[str]:
    """Return the names, keywords, numbers and signs of a statement, in order, without strings and comments."""
    words = [
        statement[token.start : token.end]
        for token in tokens(statement)
        if token.role not in ("sql-string", "sql-comment")
    ]
    return [part for word in words for part in re.findall(r'"(?:[^"]|"")*"|\w+|[^\w\s]', word)]


def unquoted(name: str) -> str:
    """Return an identifier without the quotes around it; one without quotes is unchanged."""
    return name[1:-1].replace('""', '"') if len(name) > 1 and name[0] == name[-1] == '"' else name


_CLAUSE_STARTS = frozenset(
    ["select", "by", "from", "where", "join", "on", "having", "qualify", "limit", "offset", "values", "set", "using"]
)
"""Keywords that begin a clause of a statement."""
_NO_TABLES = frozenset({"select", "with", "values", "from", "lateral"})
"""Keywords that may stand where a table is expected. They are no tables."""
_CLAUSES = frozenset(
    [
        "where",
        "group",
        "order",
        "having",
        "limit",
        "join",
        "left",
        "right",
        "full",
        "inner",
        "cross",
        "on",
        "using",
        "union",
        "except",
        "intersect",
        "select",
        "qualify",
        "window",
        "sample",
        "offset",
        "natural",
        "asof",
        "anti",
        "semi",
        "positional",
        "lateral",
        "pivot",
        "unpivot",
        "set",
        "values",
        "returning",
    ]
)
"""Keywords that may follow a table. They are no aliases."""
