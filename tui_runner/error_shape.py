"""What errors that are alike have in common: their message without ids, addresses and numbers.

It is made once, where an error becomes text, and kept beside it: the dashboard, the ledger and a person's own SQL
group by the same words. Needs nothing but the standard library.
"""

from __future__ import annotations

import re
from http import HTTPStatus

_LONGEST = 200
_REASONS = "|".join(re.escape(f"{status.value} {status.phrase}") for status in HTTPStatus)
_PARTS = re.compile(
    # What a number says about the kind of error, it goes on to say: a 404 and a 500 are different troubles.
    rf"(?P<kept>\b(?i:status|code|errno|HTTP(?:/[0-9](?:\.[0-9])?)?)\b[^\w\n]{{1,3}}[0-9]{{1,3}}\b(?![.,:][0-9])"
    rf"|\b(?:{_REASONS}|[45][0-9][0-9]\ (?:Client|Server)\ Error)\b)"
    r"|0x[0-9a-fA-F]+|\b0o[0-7]+\b|\b0b[01]+\b"
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-fA-F]{16,}\b"
    # The digits of a name (utf8, sha256) belong to it; more than three are an id. `0o` alone is the name of a prefix.
    r"|(?<![A-Za-z0-9])(?!0[box]\b)[0-9]+(?:[.,:][0-9]+)*|(?<=[A-Za-z])[0-9]{4,}"
)


def shape(message: str) -> str:
    """The first line of a message with `N` for everything that differs between errors that are alike.

    Numbers that tell kinds of errors apart stay: `404 Not Found`, `status 500`, `[Errno 13]`.
    """
    line = message.strip().split("\n", 1)[0]
    return _PARTS.sub(lambda match: match["kept"] or "N", line[: 4 * _LONGEST])[:_LONGEST]
