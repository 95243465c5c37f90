"""Replaces secrets in text before it is stored or shown.

Two kinds of text are replaced. The first is the values of `Secret` parameters. They are found as they are,
percent-encoded, in JSON (also within a JSON text), in HTML, in a `repr` of text or bytes, in base64 and in hexadecimal.
The second is text that looks like a secret:

* the user and password of a URL;
* values with names such as `token`, `api_key` or `signature`: in the query or fragment of a URL, in JSON, as
  `name=value`, as a pair `("name", "value")`, or after an option `--name`;
* Authorization and Cookie headers, and headers whose names end in `-token`, `-key` or `-secret`;
* credentials after `Bearer`, `Basic` or `Digest`.

A worker redacts errors (`engine/worker/reporter.py`) and log lines (`engine/worker/job_output.py`) before it sends
them. The tui-runner process redacts parameters and its own messages. Result rows belong to the job and are never
redacted.

The time of every regular expression below is linear in the length of the text: a repetition is either bounded, or stops
at a character with which no other match can begin. Before an expression is used, a quick search checks that the text
has the characters that every match needs. So an ordinary line takes less than a microsecond.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from tui_runner.errors import UserError
from tui_runner.text.safe_text import safe_text

MASK = "***"
"""Text that replaces a secret."""

LONGEST_SECRET = 4_000
"""Longest secret that is found, in characters. A text that will be shortened keeps that many characters more until it
is redacted, because the part of a secret before a cut would not be recognised."""
_SHORTEST = 4
"""Characters. Shorter values are not searched for: they occur by chance, and masks would make ordinary text unreadable.
"""
_SHORTEST_BASE64 = 6
"""Characters. Shorter base64 forms of a value are not searched for, because they too occur by chance."""
_URL_SAFE = str.maketrans("+/", "-_")
_SHORTEST_LINE = 8
"""Characters. Each line of a secret of several lines, such as a private key, is also searched for by itself, unless it
is shorter: a line such as `}` is no secret."""

_USER = re.compile(r"(?<=://)[^\s/?#]*@")
"""Matches the user and password of a URL."""
_USER_WITH_SLASH = re.compile(
    # The text after the colon is a password, unless it is a port. An IPv6 address contains colons itself.
    r"(?<=://)(?!\[)[^\s/?#@:]{0,256}:(?!\d{0,5}(?:[/?#]|$))[^\s@,\"'<>]{0,256}@(?:[^\s/?#@,\"'<>]{0,256}@){0,3}"
)
"""Matches a user and password that were not percent-encoded, so that the password contains `/`, `?` or `#`."""

_NAMES = (
    "(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|signature|credentials?"
    "|session[-_]?id|sess[-_]?id)"
)
"""A part of patterns: matches words in names that show that a value is secret."""
_QUERY = re.compile(
    rf"([?&;#](?:[\w.~%\-\[\]]{{0,40}}?{_NAMES}|key|auth|authorization|pass|pwd|sig|sid|session|jwt)=)[^\s&;#\"'<>]+",
    re.IGNORECASE,
)
"""Matches an argument in the query or fragment of a URL whose name is that of a secret."""

_HEADERS = r"\b((?:proxy-)?authorization|(?:set-)?cookie)"
_QUOTED_HEADER = re.compile(
    _HEADERS + r"""(\\?["']\s{0,9}[:,=]\s{0,9}b?)("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[^"'\n][^\n]*)""",
    re.IGNORECASE,
)
"""Matches an Authorization or Cookie header as a member of a dict or of JSON."""
_HEADER = re.compile(_HEADERS + r"(\s{0,9}[:=]\s{0,9})[^\s][^\n]*", re.IGNORECASE)
"""Matches an Authorization or Cookie header up to the end of the line."""
_KEY_HEADERS = r"(?<![\w-])((?:[a-z][\w-]{0,40}-(?:token|key|secret)))"
"""Pattern for the names of headers with keys, such as `x-api-key`."""
_FIELDS = rf"(?<![\w-])((?:[a-z][\w-]{{0,40}}[_-])?{_NAMES}|pwd)"
"""Pattern for the name of a field that has a secret, such as `db_password`."""
_FIELD = re.compile(
    rf"(?:{_KEY_HEADERS}|{_FIELDS})"
    + r"""(\\?["']?\s{0,9}[:=]\s{0,9}b?)"""
    # `…` alone is the place of a value in our own messages: `give --set token=…`.
    + r"""("[^"\n]{1,4000}"?|'[^'\n]{1,4000}'?|[\[({][^\])}\n]{1,4000}[\])}]?|(?!…(?:\s|$))[^\s"'&;,<>]+)""",
    re.IGNORECASE,
)
"""Matches a name such as `token` or `password`, and its value."""
_QUOTED_ONLY = frozenset({"credential", "credentials", "signature", "token"})
"""Names that are also ordinary words, as in `unexpected token: x`. They count as names of secrets only in quotes or
before `=`."""
_PAIR = re.compile(
    r"""([\[(]\s{0,9}b?(\\?["'])(?:[a-z][\w-]{0,40}-(?:token|key|secret)"""
    + rf"|(?:[a-z][\w-]{{0,40}}[_-])?{_NAMES}|pwd)"
    + r"""\2\s{0,9},\s{0,9}b?(\\?["']))((?:(?!\3)(?:\\.|[^\\\n])){1,4000})(?=\3\s{0,9}[\])])""",
    re.IGNORECASE,
)
"""Matches the name of a secret and its value as the two elements of a tuple or list. A longer list may consist of names
only."""
_OPTION = re.compile(
    rf"(?<![\w-])(--?(?i:(?:[a-z][\w-]{{0,40}}[_-])?{_NAMES}|pass|pwd))"
    r"""(=|["']\s{0,9},\s{0,9}b?(?=["'][^-])|\s{1,9}(?!-)(?=["']|\S{0,200}(?:[0-9=]|[a-z][A-Z])))"""
    r"""("[^"\n]{1,4000}"?|'[^'\n]{1,4000}'?|[^\s"'<>]+)"""
)
"""Matches the name of a secret and its value as an option of a command, in one text or a list of words. A following
word is a secret only if it has a digit, `=`, or a capital after a small letter."""
_DIGEST_PART = r"""\w{1,20}[ \t]{0,9}=[ \t]{0,9}(?:\\?"[^"\n]{0,4000}"|[^\s,"']{1,200})"""
_DIGEST = re.compile(
    rf"\b(digest\s{{1,9}})({_DIGEST_PART}(?:[ \t]{{0,9}}[ \t,][ \t]{{0,9}}{_DIGEST_PART}){{0,20}})", re.IGNORECASE
)
"""Matches the parameters after `Digest` in an Authorization header."""
_SCHEME = re.compile(r"\b((?i:bearer|basic)\s{1,9})(?=[\w.~+/=\-]{0,200}(?:[0-9=]|[a-z][A-Z]))[\w.~+/=\-]{8,}")
"""Matches credentials after the name of an HTTP authentication scheme. A word is a credential only if it has a digit,
`=`, or a capital after a small letter."""
_HINTS = ("token", "secret", "pass", "pwd", "key", "credential", "signature", "sess")
"""Every name of a secret contains at least one of these."""


SUSPECT = (
    r"://[^\s@]*@|[?&;#][^=]*=|authorization|cookie|bearer|basic|digest"
    r"|token|secret|pass|pwd|key|credential|signature|sess"
)
"""Pattern for a quick search in many texts, ignoring case. `redact` does not change a text without a match."""


def redact(text: str) -> str:
    """Return `text` with everything that looks like a secret replaced by `***`."""
    if "://" in text:
        text = _USER.sub(MASK + "@", text)
        if "@" in text:
            text = _USER_WITH_SLASH.sub(MASK + "@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\g<1>{MASK}", text)
    folded = text.lower()
    if "authorization" in folded or "cookie" in folded:
        text = _QUOTED_HEADER.sub(_mask_quoted, text)
        text = _HEADER.sub(rf"\g<1>\g<2>{MASK}", text)
    has_value = ":" in text or "=" in text
    if (has_value or "-" in text or "," in text) and any([hint in folded for hint in _HINTS]):
        if "-" in text:
            text = _OPTION.sub(_mask_option, text)
        if has_value:
            text = _FIELD.sub(_mask_field, text)
        if "," in text:
            text = _PAIR.sub(rf"\g<1>{MASK}", text)
    if "digest" in folded:
        text = _DIGEST.sub(_mask_digest, text)
    if "bearer" in folded or "basic" in folded:
        text = _SCHEME.sub(rf"\g<1>{MASK}", text)
    return text


def _mask_field(match: re.Match[str]) -> str:
    name, between, value = match[1] or match[2], match[3], match[4]
    quoted_name = between.lstrip("\\")[:1] in ("'", '"')
    if name.lower() in _QUOTED_ONLY and not quoted_name and "=" not in between:
        return match[0]
    return f"{name}{between}{_masked(value)}"


def _mask_option(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{_masked(match[3])}"


def _masked(value: str) -> str:
    """Return the mask, in the quotes of `value` if it has any."""
    mark = value[0] if value[0] in "\"'" else ""
    end = mark if mark and len(value) > 1 and value.endswith(mark) else ""
    return f"{mark}{MASK}{end}"


def _mask_digest(match: re.Match[str]) -> str:
    """Mask the credentials that a client sends in a Digest header. A server's challenge is not secret."""
    answers = "response" in match[2].lower() or "username" in match[2].lower()
    return f"{match[1]}response={MASK}" if answers else match[0]


def _mask_quoted(match: re.Match[str]) -> str:
    """Mask a header in a dict or in JSON, up to the end of its quoted value."""
    mark = match[3][0] if match[3][0] in "\"'" else ""
    return f"{match[1]}{match[2]}{mark}{MASK}{mark}"


def is_redacted(text: str) -> bool:
    """Return True if `text` contains a mask where `redact` would put one."""
    return MASK in text and redact(text.replace(MASK, "x1" * 8)) == text


class Redaction:
    """A replacement of given secrets in texts, in addition to the secrets that `redact` recognises.

    Args:
        values: the secrets.
        guessed: True if some of the values may not be secrets. tui-runner's own messages then show them.
    """

    def __init__(self, values: Iterable[str] = (), *, guessed: bool = False) -> None:
        self.guessed = guessed
        forms = {form for value in values for form in _forms(str(value))}
        # Replace the longest values first: if a value contains another, no part of it must be left.
        self._forms = sorted(forms, key=len, reverse=True)

    @property
    def forms(self) -> Sequence[str]:
        """All spellings of the secrets (plain, quoted, encoded) that are searched for, longest first."""
        return self._forms

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Redaction:
        """Return the redaction for a run with the parameters `params`: it replaces every `Secret` in them."""
        return cls(secrets_in(params))

    def __call__(self, text: str) -> str:
        """Return `text` with all secrets replaced by `***`."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return redact(text)


@contextlib.contextmanager
def redacted_errors(redaction: Redaction) -> Iterator[None]:
    """Redact the message of a `UserError` that leaves the `with` block: it may quote an error of the user's code."""
    try:
        yield
    except UserError as error:
        error.what, error.where, error.do = map(redaction, (error.what, error.where, error.do))
        raise


def secrets_in(value: Any) -> Iterator[str]:
    """Yield every `Secret` in a value: in values of mappings, lists, tuples, sets and dataclasses, at any depth."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from secrets_in(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from secrets_in(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from secrets_in(getattr(value, field.name, None))


def _forms(value: str) -> Iterator[str]:
    """Yield all spellings (plain, quoted, encoded) in which a secret may occur in a text."""
    lines = value.splitlines()
    parts = [value, *(line for line in lines if len(line) >= _SHORTEST_LINE)] if len(lines) > 1 else [value]
    for part in parts:
        # Use a plain `str`, because a `Secret` would be formatted as a mask.
        part = str(part)
        if len(part) < _SHORTEST:
            continue
        yield part
        yield from (repr(part)[1:-1], ascii(part)[1:-1], repr(_raw(part))[2:-1])
        yield from _in_json(part)
        yield from _in_urls(part)
        yield from _in_html(part)
        yield from (_raw(part).hex(), _raw(part).hex().upper())
        yield from _in_base64(part)


def _raw(value: str) -> bytes:
    return value.encode(errors="surrogatepass")


def _in_json(value: str) -> Iterator[str]:
    """Yield the forms of a secret in JSON and in a JSON text within JSON, with slashes escaped and unescaped."""
    for ensure_ascii in (True, False):
        once = json.dumps(value, ensure_ascii=ensure_ascii)[1:-1]
        for form in (once, once.replace("/", "\\/")):
            yield form
            yield json.dumps(form, ensure_ascii=ensure_ascii)[1:-1]


def _in_html(value: str) -> Iterator[str]:
    """Yield the forms of a secret in HTML: escaped by Python, with quotes unescaped, and escaped by MarkupSafe."""
    escaped = html.escape(value)
    yield escaped
    yield html.escape(value, quote=False)
    yield escaped.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _in_urls(value: str) -> Iterator[str]:
    yield quote(value, safe="", errors="replace")
    yield quote(value, errors="replace")
    yield quote_plus(value, errors="replace")
    yield re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), quote(value, safe="", errors="replace"))


def _in_base64(value: str) -> Iterator[str]:
    """Yield the base64 forms of a secret that is part of an encoded text, for instance after a user's name.

    Base64 turns three bytes into four characters, so a secret can begin at three offsets. The characters at its ends
    also encode neighbouring bytes, so they are not part of the forms.
    """
    raw = _raw(value)
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        form = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        if len(form) >= _SHORTEST_BASE64:
            yield form
            yield form.translate(_URL_SAFE)


def safe_traceback(error: BaseException, redact: Callable[[str], str]) -> str:
    """Return the traceback of an exception without values of variables, secrets and control characters.

    Args:
        error: the exception. Exceptions chained to it are the user's and not redacted yet.
        redact: replaces secrets.
    """
    return safe_text(redact("".join(traceback.format_exception(error))), newlines=True)


class Secret(str):
    """Type for a job parameter whose value must never be shown or stored.

    The function receives an ordinary `str`. Its value is replaced by `***` in errors, log lines and the ledger.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
