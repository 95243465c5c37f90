"""Finds the statements of a script, their limits and their parameters.

A script is cut at the semicolons that DuckDB's tokenizer finds. The tokenizer knows strings, `$$` bodies, quoted names
and comments, and works on a script that is still being typed. DuckDB's parser would cut at the same places, but it
rejects the whole script for one mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb

_WHOLE = re.compile(r"[+-]?\d+")
"""A whole number, which becomes an int."""
_BROKEN = re.compile(r"[+-]?(\d+\.\d*|\.\d+)")
"""A decimal number, which becomes a Decimal."""
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)e[+-]?\d+", re.IGNORECASE)
"""A number with an exponent, which becomes a float, as in DuckDB."""
_NAME = re.compile(r"\w+")
"""Name or number of a parameter."""
_MOST_DIGITS = 40
"""Characters of the longest whole number in DuckDB, a HUGEINT with sign. Python refuses to convert 4,301 digits."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: its text, without surrounding comments and without the semicolon.
        start: where `sql` begins in the script, in characters.
        end: where it ends, in characters.
        parameters: parameters in order of first use: names of `$name`, numbers (`"1"`) of `?` and `$1`.
    """

    sql: str
    start: int
    end: int
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A token of DuckDB. `start` is in characters; `kind` is DuckDB's name, such as keyword, identifier or operator."""

    start: int
    kind: str


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text`, with places in characters (DuckDB counts bytes). Never fails, whatever the text."""
    # DuckDB stops at a NUL and rejects lone surrogates, so both are replaced.
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
    """Return the greatest depth of nested brackets in `script`, closed or not."""
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
    """Return the statements of `script` in order, without empty ones and those that are only comments."""
    statements = []
    for group, end in _groups(script):
        text = script[group[0].start : end]
        # A comment after the last token is not part of the statement, because the group lacks its token.
        text = text.rstrip()
        if text:  # empty for `$--`, where DuckDB reports a token that starts at the comment
            statements.append(
                Statement(text, group[0].start, group[0].start + len(text), tuple(_parameters(script, group)))
            )
    return statements


def statement_at(script: str, position: int) -> Statement | None:
    """Return the statement at or next to a cursor at `position` (in characters); None if there is none.

    If the cursor is between two statements, return the statement that ends on the cursor's line; if there is none, the
    following statement; if there is none, the last one.
    """
    statements = split(script)
    for statement in statements:
        if statement.start <= position <= statement.end:
            return statement
    line_start = script.rfind("\n", 0, position) + 1
    for statement in reversed(statements):  # the last one that ends on this line
        if line_start <= statement.end <= position:
            return statement
    following = (statement for statement in statements if statement.start > position)
    return next(following, statements[-1] if statements else None)


def typed_value(text: str) -> object:
    """Convert the text that a user typed for a parameter to a number, true, false or null; else leave it a text.

    Text in single quotes stays text: `'5'`. So does a number with more digits than DuckDB supports.
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
    """Yield the tokens and the end of each statement: a semicolon, a comment after it, or the end of the script."""
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
    """Yield names and numbers of the parameters, each once. Names are case-insensitive, as in DuckDB."""
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
