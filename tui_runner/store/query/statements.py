"""Finds the statements of a script, their places in the text and their parameters.

A script is cut at the semicolons that DuckDB's tokenizer finds. The tokenizer recognises strings, `$$` bodies, quoted
names and comments, and works on a script that is still being typed. DuckDB's parser would cut at the same places, but
rejects the whole script because of one mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb

_WHOLE = re.compile(r"[+-]?\d+")
"""Matches a whole number, which becomes an int."""
_BROKEN = re.compile(r"[+-]?(\d+\.\d*|\.\d+)")
"""Matches a decimal number, which becomes a Decimal."""
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)e[+-]?\d+", re.IGNORECASE)
"""Matches a number with an exponent, which becomes a float, as in DuckDB."""
_NAME = re.compile(r"\w+")
"""Matches the name or number of a parameter."""
_MOST_DIGITS = 40
"""Characters of the longest whole number in DuckDB, a HUGEINT with a sign. A longer one stays text: Python refuses to
convert more than 4,300 digits."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: the text of the statement, without surrounding comments and semicolon.
        start: offset in the script at which `sql` begins, in characters.
        end: offset in the script at which `sql` ends, in characters.
        parameters: its parameters in order of first use: the name for `$name`, the number as text (`"1"`) for `?` and
            `$1`.
    """

    sql: str
    start: int
    end: int
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A token of DuckDB. `start` is in characters; `kind` is DuckDB's name for it, such as keyword or operator."""

    start: int
    kind: str


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text`, with offsets in characters (DuckDB counts bytes). Never raises an error."""
    # DuckDB stops at a NUL and rejects lone surrogates, so replace both.
    safe = text.replace("\0", " ").encode("utf-8", "replace")
    found = [(start, kind.name) for start, kind in duckdb.tokenize(safe.decode())]
    if len(safe) == len(text):
        return [Token(start, kind) for start, kind in found]
    placed, characters, at = [], 0, 0
    for start, kind in found:
        characters += len(safe[at:start].decode())
        at = start
        placed.append(Token(characters, kind))
    return placed


def bracket_depth(script: str) -> int:
    """Return the largest depth of nested brackets in `script`. Unclosed brackets count, too."""
    depth = deepest = 0
    for token in tokens(script):
        sign = script[token.start]
        if sign in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ")]}":
            depth -= 1
    return deepest


def has_limit(statement: str) -> bool:
    """Return True if a LIMIT outside of brackets cuts the rows of a statement."""
    depth = 0
    for token in tokens(statement):
        sign = statement[token.start]
        if sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif not depth and token.kind == "keyword" and statement[token.start : token.start + 5].upper() == "LIMIT":
            return True
    return False


def split(script: str) -> list[Statement]:
    """Return the statements of `script` in order. Omit empty statements and statements that contain only comments."""
    statements = []
    for group, end in _groups(script):
        text = script[group[0].start : end]
        # A comment after the last token is not part of the statement, because the group does not contain its token.
        text = text.rstrip()
        if text:  # empty for `$--`, where DuckDB reports a token that starts at the comment
            statements.append(
                Statement(text, group[0].start, group[0].start + len(text), tuple(_parameters(script, group)))
            )
    return statements


def statement_at(script: str, position: int) -> Statement | None:
    """Return the statement at or next to a cursor at `position` (in characters); None if there is none.

    If the cursor is not in a statement, return the last statement that ends on the cursor's line. If there is none,
    return the next statement, or if the script has no further one, the last statement.
    """
    statements = split(script)
    for statement in statements:
        if statement.start <= position <= statement.end:
            return statement
    line_start = script.rfind("\n", 0, position) + 1
    for statement in reversed(statements):  # the last statement that ends on this line
        if line_start <= statement.end <= position:
            return statement
    following = (statement for statement in statements if statement.start > position)
    return next(following, statements[-1] if statements else None)


def typed_value(text: str) -> object:
    """Convert text that a user typed for a parameter to a number, true, false or null if it has that form.

    Other text is returned unchanged, as is a whole number with more digits than DuckDB supports. Text in single quotes
    loses the quotes: `'5'` is a text.
    """
    stripped = text.strip()
    match stripped.lower():
        case "null":
            return None
        case "true":
            return True
        case "false":
            return False
    if _WHOLE.fullmatch(stripped) and len(stripped) <= _MOST_DIGITS:
        return int(stripped)
    if _BROKEN.fullmatch(stripped):
        return Decimal(stripped)
    if _FLOAT.fullmatch(stripped):
        return float(stripped)
    if len(stripped) > 1 and stripped[0] == stripped[-1] == "'":
        return stripped[1:-1].replace("''", "'")
    return text


def _groups(script: str) -> Iterator[tuple[Sequence[Token], int]]:
    """Yield the tokens and the end of each statement: a semicolon, a following comment, or the end of the script."""
    group: list[Token] = []
    end = len(script)
    for token in tokens(script):
        if token.kind == "operator" and script[token.start] == ";":
            if group:
                yield group, min(end, token.start)
            group, end = [], len(script)
        elif token.kind == "comment":
            if group:
                end = min(end, token.start)
        else:
            group.append(token)
            end = len(script)
    if group:
        yield group, end


def _parameters(script: str, group: Sequence[Token]) -> Iterator[str]:
    """Yield the name or number of each parameter once. Names are case-insensitive, as in DuckDB."""
    seen: set[str] = set()
    unnumbered = 0
    for token in group:
        sign = script[token.start]
        if token.kind != "operator" or sign not in "$?":
            continue
        named = _NAME.match(script, token.start + 1)
        if named is None and sign == "?":
            unnumbered += 1
            name = str(unnumbered)
        elif named is not None:
            name = named[0].lower()
        else:
            continue
        if name not in seen:
            seen.add(name)
            yield name
