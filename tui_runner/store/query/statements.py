"""Where the statements of a script begin and end, and what they ask for.

The cuts are made at the semicolons that DuckDB's tokenizer sees, which knows strings, `$$` bodies, quoted names and
comments, and gives an answer for a script that is still being typed. DuckDB's parser would cut at the same places,
but rejects the whole script for one mistake in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb

_WHOLE = re.compile(r"[+-]?\d+")
_BROKEN = re.compile(r"[+-]?(\d+\.\d*|\.\d+)")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)e[+-]?\d+", re.IGNORECASE)
_NAME = re.compile(r"\w+")
_MOST_DIGITS = 40
"""A sign and the digits of the longest whole number in DuckDB, a HUGEINT; Python itself makes none of 4,301 digits."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: its text, without comments around it and without the semicolon.
        start: where `sql` begins in the script, in characters.
        end: where it ends.
        parameters: what it asks for, in the order of first use: names of `$name`, numbers (`"1"`) of `?` and `$1`.
    """

    sql: str
    start: int
    end: int
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A token of DuckDB; `start` in characters, `kind` as DuckDB calls it: keyword, identifier, operator and so on."""

    start: int
    kind: str


def tokens(text: str) -> list[Token]:
    """The tokens of `text`. DuckDB counts bytes; this counts characters. Never fails on text that is no SQL."""
    # DuckDB would end the text at a NUL, and takes no lone surrogate.
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


def nesting(script: str) -> int:
    """Return how deep brackets of `script` are within each other, closed or not."""
    depth = deepest = 0
    for token in tokens(script):
        sign = script[token.start]
        if sign in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ")]}":
            depth -= 1
    return deepest


def split(script: str) -> list[Statement]:
    """The statements of `script`, in their order; empty ones and comments alone are none."""
    statements = []
    for group, end in _groups(script):
        text = script[group[0].start : end]
        # A comment behind the last token is no part of the statement; its token is not in the group.
        text = text.rstrip()
        if text:  # of `$--` DuckDB makes a token that begins where the comment does
            statements.append(
                Statement(text, group[0].start, group[0].start + len(text), tuple(_parameters(script, group)))
            )
    return statements


def statement_at(script: str, position: int) -> Statement | None:
    """The statement that a cursor at `position` (characters) is in or next to; None when there is none.

    Between two statements it is the one that ends on the cursor's line, else the one that follows, else the last.
    """
    statements = split(script)
    for statement in statements:
        if statement.start <= position <= statement.end:
            return statement
    line_start = script.rfind("\n", 0, position) + 1
    for statement in reversed(statements):
        if line_start <= statement.end <= position:
            return statement
    following = (statement for statement in statements if statement.start > position)
    return next(following, statements[-1] if statements else None)


def typed_value(text: str) -> object:
    """Return what a person typed as the value of a parameter: a number, `true`, `false`, `null`; all else is text.

    Text in single quotes is text whatever is in it: `'5'`; so are more digits than any number in DuckDB has.
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
    """The tokens of each statement, and where its text ends: at a semicolon, a comment behind it or the end."""
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
    """Names and numbers of the parameters, each once; names are not told apart by case, as in DuckDB."""
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
