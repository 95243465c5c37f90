"""Converts values of items to the form that the ledger keeps: a short text of each item, and failed items as JSON.

Secrets are removed from a whole column at once: regular expressions in Arrow find the few texts that may contain one.
Checking each text alone took 0.84 µs, a seventh of the time of an item.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from itertools import islice, repeat

import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.engine.protocol import MAX_KEPT_VALUE
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.describe import storable
from tui_runner.text.paths import cut_middle
from tui_runner.text.redaction import LONGEST_SECRET, SUSPECT, Redaction
from tui_runner.text.safe_text import ELLIPSIS

_TEXT_BYTES = 80
"""Most bytes of an item's text in the ledger: enough for most URLs. A longer text loses its middle, because the ends of
paths and URLs tell them apart."""
_START, _END = 38, 39
"""Bytes of the start and of the end of such a text, between which are the three bytes of `…`."""
_BEYOND = 160
"""Characters beyond the text that are also searched for secrets, because a secret that is cut in two is not found."""
_LONGEST = 2 * (_TEXT_BYTES + LONGEST_SECRET)
"""Characters of an item's text that are kept until secrets are removed, because a secret that is cut in two is not
found."""
_MEMBERS = 12
"""Most members of a dict or list that are converted to text. Text of more members would be cut off, and converting
large rows takes long."""


def text_column(values: Sequence[object], redact: Redaction) -> pa.StringArray:
    """Return a column with a short text of each item, without secrets and at most 80 bytes long."""
    longest = 2 * (_TEXT_BYTES + max(_BEYOND, *map(len, redact.forms), 0))
    texts = [value if type(value) is str and len(value) <= longest else short_text(value, longest) for value in values]
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:  # UTF-8 cannot encode lone surrogates
        column = pa.array(list(map(storable, texts)), pa.string())
    column = _replaced(column, _suspects(column, redact), redact)
    is_long = _is_long(column)
    if pc.any(is_long).as_py():
        start, end = pc.utf8_slice_codeunits(column, 0, _START), pc.utf8_slice_codeunits(column, -_END)
        column = pc.if_else(is_long, pc.binary_join_element_wise(start, end, ELLIPSIS), column)
    # A text that is not ASCII may still have more bytes.
    return _replaced(column, _is_long(column), _cut)


def _is_long(column: pa.StringArray) -> pa.BooleanArray:
    return pc.greater(pc.binary_length(column), _TEXT_BYTES)


def short_text(value: object, limit: int = _LONGEST) -> str:
    """Return the start and the end of an item as text of at most `limit` characters, even if its own methods fail.

    The text still contains secrets, and is long enough that `text_column` finds them.
    """
    try:
        members = value
        if type(value) is dict and len(value) > _MEMBERS:
            members = dict(islice(value.items(), _MEMBERS))
        elif type(value) in (list, tuple) and len(value) > _MEMBERS:  # type: ignore[arg-type]  # they have a length
            members = value[:_MEMBERS]  # type: ignore[index]  # and parts
        text = str(members)
        return cut_middle(text if members is value else f"{text[:-1]}, {ELLIPSIS}{text[-1]}", limit)
    except BaseException as fault:  # `__str__` is user code and may raise anything
        return f"(its __str__ raised {type(fault).__name__})"


def _suspects(column: pa.StringArray, redact: Redaction) -> pa.BooleanArray:
    found = pc.match_substring_regex(column, SUSPECT, ignore_case=True)
    for form in redact.forms:
        found = pc.or_(found, pc.match_substring(column, form))
    return found


def _replaced(column: pa.StringArray, mask: pa.BooleanArray, replace: object) -> pa.StringArray:
    """Return `column`, with `replace` applied to each text for which `mask` is true."""
    if not pc.any(mask).as_py():
        return column
    texts = [replace(text) for text in column.filter(mask).to_pylist()]  # type: ignore[operator]  # a function of text
    return pc.replace_with_mask(column, mask, pa.array(texts, pa.string()))


def _cut(text: str) -> str:
    data = text.encode()
    return data[:_START].decode(errors="ignore") + ELLIPSIS + data[-_END:].decode(errors="ignore")


def json_value(value: object, redact: Redaction) -> str | None:
    """Return an item as JSON; None if JSON does not preserve it, or it is too large, or it contains a secret."""
    try:
        if not comes_back(value):
            return None
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > MAX_KEPT_VALUE:
            return None
        return text if redact(text) == text and not _holds_secret(value, redact) else None
    except (RecursionError, UnicodeEncodeError):  # the value is nested too deeply, or has a lone surrogate
        return None


def comes_back(value: object) -> bool:
    """Return True if JSON preserves the value and the types in it.

    Raises:
        RecursionError: the value is nested too deeply, or contains itself.
    """
    kind = type(value)
    if value is None or kind in (str, int, bool):
        return True
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # `kind` says that
    if kind is list:
        return all(map(comes_back, value))  # type: ignore[call-overload]  # `kind` says that
    if kind is dict:
        return all(type(name) is str and comes_back(part) for name, part in value.items())  # type: ignore[attr-defined]
    return False


def _holds_secret(value: object, redact: Redaction) -> bool:
    """Return True if a string in the value contains a secret; JSON escapes may hide it from a search of the text."""
    if isinstance(value, str):
        return redact(value) != value
    if isinstance(value, dict):
        return any(map(_holds_secret, (*value, *value.values()), repeat(redact)))
    return isinstance(value, list) and any(map(_holds_secret, value, repeat(redact)))


def packed_value(value: object) -> bytes | None:
    """Return a value pickled; None if it cannot be pickled or is too large."""
    try:
        with no_exit_at_once():
            packed = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except (Exception, SystemExit):  # pickling calls methods of the value, which may raise anything
        return None
    return packed if len(packed) <= MAX_KEPT_VALUE else None
