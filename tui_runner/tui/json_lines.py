"""JSON over several lines, to be read."""

from __future__ import annotations

import json
import re
from itertools import pairwise

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_DEEPEST = 30
"""Levels that are indented: beyond them lines would be mostly blanks."""


def indented_json(text: str) -> str:
    """`text` with a member a line; as it is when it is no JSON.

    Nothing but blanks is changed: numbers keep their digits, members that are there twice stay.
    """
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return text
    parts: list[str] = []
    depth = 0
    tokens = [*_TOKEN.findall(text), ""]
    for part, following in pairwise(tokens):
        if part in "[{":
            depth += 1
        elif part in "]}":
            depth -= 1
        parts.append(part)
        if part == ":":
            parts.append(" ")
        elif following and (part == "," or (part in "[{") != (following in "]}")):
            parts.append("\n" + "  " * min(depth - (following in "]}"), _DEEPEST))
    return "".join(parts)
