"""Converts errors and items to text that is bounded and storable, and derives an error's shape.

The shape of an error is the first line of its message with the parts that vary between similar errors, such as numbers
and paths, replaced by placeholders. It is computed once and stored with the error, so that the dashboard, the ledger
and the user's own SQL form the same groups. This module imports only the standard library and other modules of `text`.
"""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from types import CodeType, TracebackType

from tui_runner.text.messages import type_name
from tui_runner.text.paths import cut_middle
from tui_runner.text.redaction import LONGEST_SECRET, redact

_LONGEST = 200
"""Characters of a message's shape: enough to distinguish errors, short enough to group a million of them."""
_REASONS = "|".join(re.escape(f"{status.value} {status.phrase}") for status in HTTPStatus)
"""Alternatives of a pattern: every HTTP status with its phrase, such as `404 Not Found`."""
_KEPT = (
    # Leave a number that identifies the kind of an error: 404 and 500 are different errors.
    rf"\b(?i:status|code|errno|HTTP(?:/[0-9](?:\.[0-9])?)?)\b[^\w\n]{{1,3}}[0-9]{{1,3}}\b(?![.,:][0-9])"
    rf"|\b(?:{_REASONS}|[45][0-9][0-9]\ (?:Client|Server)\ Error)\b"
)
_IS_KEPT = re.compile(_KEPT)
_NAMES = r"\b(?i:utf|sha|md|crc|base|u?int|float|ipv|latin|python|win)[0-9]{1,3}\b"
"""Matches names that end in digits, such as `utf8`. The digits of other words are mostly ids, such as `SKU124`."""
_PARTS = re.compile(
    rf"(?P<kept>{_KEPT}|{_NAMES})"
    r"|(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]{1,20}://)[^\s'\"<>]+"
    # An apostrophe is not a quote: a quote is never between two letters.
    r"|(?<![\w\\])(?P<quote>['\"`])(?P<quoted>(?:(?!(?P=quote)(?!\w))[^\n])+)(?P=quote)(?!\w)"
    r"|(?P<place>\()[^()\n]+(?=,\ line\ [0-9]+\))"
    r"|(?<![\w/.…])~?(?:/[\w.@%+~\-]+){2,}/?"
    r"|\bU\+[0-9A-F]{4,6}\b|0x[0-9a-fA-F]+|\b0o[0-7]+\b|\b0b[01]+\b"
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-fA-F]{16,}\b"
    # A short id, such as that of a commit: at least six hexadecimal digits, with a letter after one that is none.
    r"|\b(?=[0-9a-f]*[0-9][a-f])[0-9a-f]{6,}\b"
    # A bare `0o` is the prefix of a number, not a zero.
    r"|(?!(?<![A-Za-z0-9])0[box]\b)[0-9]+(?:[.,:][0-9]+)*"
)
"""Matches the parts of a message that differ between similar errors. The group `kept` matches parts that are not
replaced."""


def shape(message: str) -> str:
    """Return the first line of a message, with placeholders for the parts that differ between similar errors.

    `N` stands for a number; `…` stands for a quoted text, a path, or a URL after its scheme. Numbers that identify a
    kind of error are not replaced: `404 Not Found`, `status 500`, `[Errno 13]`. A message that is only a name in
    quotes, as in a `KeyError`, is not changed.
    """
    line = first_line(message)[: 4 * _LONGEST]
    if _NAME.fullmatch(line):
        return line
    return _PARTS.sub(_folded, line)[:_LONGEST]


_NAME = re.compile(r"'[A-Za-z_]{1,40}'")
"""A name in quotes, as in the message of a `KeyError`."""


def first_line(message: str) -> str:
    """Return the first line of a message, without white space around the message."""
    return message.strip().split("\n", 1)[0]


def folded_parts(message: str) -> list[tuple[str, bool]]:
    """Divide the first line of a message into parts, each with True if `shape` replaces it by a placeholder.

    The joined parts are that line. Screens show the newest message of a group of errors and dim the replaced parts,
    because they differ in the other messages of the group.
    """
    line = first_line(message)[: 4 * _LONGEST]
    if _NAME.fullmatch(line):
        return [(line, False)]
    parts: list[tuple[str, bool]] = []
    end = 0
    for match in _PARTS.finditer(line):
        start, stop = match.span()
        if match["kept"]:
            continue
        if match["scheme"]:
            start += len(match["scheme"])
        elif match["quote"]:
            start, stop = start + 1, stop - 1
            if kept := _IS_KEPT.search(match["quoted"]):
                parts += [(line[end:start], False), (line[start : start + kept.start()], True)]
                end, start = start + kept.start(), start + kept.end()
        elif match["place"]:
            start += 1
        parts += [(line[end:start], False), (line[start:stop], True)]
        end = stop
    parts.append((line[end:], False))
    return [(text, folded) for text, folded in parts if text]


def _folded(match: re.Match[str]) -> str:
    if match["kept"]:
        return match["kept"]
    if match["scheme"]:
        return f"{match['scheme']}…"
    if match["quote"]:
        kept = _IS_KEPT.search(match["quoted"])
        return f"{match['quote']}{kept[0] if kept else '…'}{match['quote']}"
    if match["place"]:
        return "(…"
    return "…" if match[0][0] in "/~" else "N"


MESSAGE_LENGTH = 10_000
"""Characters of a message that are stored. A longer message is usually a page of HTML in an exception."""
TYPE_LENGTH = 200
"""Characters of an exception type's name that are stored. A class created at run time can have a name of any length."""
_LONG_MESSAGE = 1_000_000
"""Characters. A longer message is probably data. A traceback would repeat it several times, so that traceback is
formatted without the message."""
_TRACEBACK_LENGTH = 20_000
"""Characters of a traceback that are stored. Fifty frames of ordinary code take 5,000 characters."""
_FRAMES = 50
"""Innermost frames of a traceback that are formatted at most: an endless recursion has a thousand identical frames."""
_NEED_FRAMES = (SyntaxError, NameError, AttributeError, ImportError, BaseExceptionGroup)
"""Exceptions for which Python prints more than frames and message, such as a suggestion for a misspelt name."""
_MANY_STACKS = 256
"""Formatted stacks in the cache at most, of up to 20 kB each. A job that compiles code for each item has a new stack
for each item."""
_STACKS: dict[tuple[tuple[int, int], ...], tuple[list[CodeType], str]] = {}
"""Cache of formatted frames, by the id of each code object and the instruction. It refers to the code objects, because
a freed object's id is reused."""
_ASYNCIO = f"{Path(os.__file__).parent / 'asyncio'}{os.sep}"
"""Folder of asyncio's own modules. In a traceback, their frames precede the frames of the user's coroutine."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as text.

    Attributes:
        type: name of its class.
        message: its message.
        traceback: its formatted traceback; empty if it would not help the user.
        transient: True if another attempt may succeed.
        retry_after: seconds until the server that caused the error accepts another request; None if it named no time.
    """

    type: str
    message: str
    traceback: str = ""
    transient: bool = False
    retry_after: float | None = None


def describe(error: BaseException, *, whole: bool = False) -> Failure:
    """Convert an exception to text, even if its own methods raise. Secrets are not yet redacted.

    Args:
        error: the exception.
        whole: True to include tui-runner's own frames. They precede the frames of the user's code and seldom help the
            user.
    """
    try:
        message = str(error)
    except BaseException as fault:  # the user's __str__ may raise anything
        message = f"(its __str__ raised {type_name(fault)})"
    trace = error.__traceback__ if whole else _from_user(error.__traceback__)
    is_long = len(message) > _LONG_MESSAGE
    message = message[: MESSAGE_LENGTH + LONGEST_SECRET]
    kind = storable(type(error).__name__[: TYPE_LENGTH + LONGEST_SECRET])
    if is_long:
        return Failure(kind, storable(message), storable(_frames(trace)))
    try:
        text = _formatted(error, trace)
    except BaseException as fault:
        text = f"(no traceback: formatting it raised {type_name(fault)})"
    if len(text) > _TRACEBACK_LENGTH:
        half = _TRACEBACK_LENGTH // 2
        # Cut at line ends, because only half of a secret would not be recognised. A line longer than half the limit is
        # a message, which is stored separately.
        text = f"{text[:half].rpartition(chr(10))[0]}\n  …\n{text[-half:].partition(chr(10))[2]}"
    return Failure(kind, storable(message), storable(text))


def _formatted(error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback text of an error with its innermost frames, because the user looks for the line that raised.

    For each frame, Python takes 130 µs to find the expression in its source line. Most errors of a run come from the
    same lines, so their formatted frames are cached. The cache is not used for an error with a cause, or if its text
    needs the frames themselves (`_NEED_FRAMES`).
    """
    chained = error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__)
    if trace is None or chained or isinstance(error, _NEED_FRAMES):
        return "".join(_printed(error, trace).format())
    frames = [(each.tb_frame.f_code, each.tb_lasti) for each in _innermost(trace)]
    key = tuple([(id(code), instruction) for code, instruction in frames])
    known = _STACKS.get(key)
    if known is None:
        text = "".join(["Traceback (most recent call last):\n", *_printed(error, trace).stack.format()])
        if len(_STACKS) >= _MANY_STACKS:
            _STACKS.clear()
        known = _STACKS[key] = ([code for code, _ in frames], text)
    return known[1] + "".join(_printed(error, None).format_exception_only())


def _printed(error: BaseException, trace: TracebackType | None) -> traceback.TracebackException:
    return traceback.TracebackException(type(error), error, trace, limit=-_FRAMES, compact=True)


def _innermost(trace: TracebackType | None) -> list[TracebackType]:
    """Return the last `_FRAMES` entries of a traceback."""
    found: deque[TracebackType] = deque(maxlen=_FRAMES)
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return list(found)


def _from_user(trace: TracebackType | None) -> TracebackType | None:
    """Remove tui-runner's own frames from the start of a traceback. Return None if no frames remain.

    Their number varies: tui-runner enters a generator where it collects rows, and a coroutine in asyncio's event loop.
    """
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (is_own_code(file) or file.startswith(_ASYNCIO)):
            return trace
        trace = trace.tb_next
    return None


def _frames(trace: TracebackType | None) -> str:
    """Return the innermost frames without the message, which Python's traceback formatting would include."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace)).format()
    return "".join(["Traceback (most recent call last):\n", *frames[-_FRAMES:]])


def storable(text: str) -> str:
    """Return `text` with lone surrogates as escapes, because DuckDB stores only valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


_ITEM_TEXT = 200
"""Characters of an item that are shown: enough for a URL with its parameters. An item may also be a whole page."""


def item_text(value: object, redact: Callable[[str], str] = redact) -> str:
    """Return a short text for an item, even if its methods raise. A longer text loses its middle.

    Secrets are redacted; pass it through `safe_text`.
    """
    try:
        return cut_middle(redact(cut_middle(str(value), 2 * (_ITEM_TEXT + LONGEST_SECRET))), _ITEM_TEXT)
    except BaseException as fault:  # the item's __str__ is the user's
        return f"(its __str__ raised {type_name(fault)})"


def named_item(position: int, text: str) -> str:
    """Return an item's name for messages: its text, and its position if the text is another one. Not safe to show."""
    return f"item {position}" if text in ("", str(position)) else f"{text} (item {position})"


_CODE = f"{files('tui_runner')}{os.sep}"
"""Start of the paths of tui-runner's own modules."""
_BUNDLED = f"{files('tui_runner') / '_bundled'}{os.sep}"
"""Start of the paths of the sample jobs in an installed package."""


def is_own_code(filename: str) -> bool:
    """Return True if the file of a frame belongs to tui-runner; the sample jobs count as a user's code."""
    return filename.startswith(_CODE) and not filename.startswith(_BUNDLED)


def line_of(error: BaseException) -> str:
    """Return `file:line` of the innermost frame in the user's own code, not in a library that the user's code called.

    If all frames are in libraries, return the innermost frame outside tui-runner; if there is no such frame, an empty
    text.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_own_code(frame.filename)]
    libraries = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    own = [frame for frame in frames if not frame.filename.startswith((*libraries, "<"))]
    found = (own or frames)[-1:]
    return f"{found[0].filename}:{found[0].lineno}" if found else ""
