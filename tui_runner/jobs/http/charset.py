"""Finds the character encoding of a text, as a browser does.

The first of these rules that applies is used (WHATWG Encoding and HTML, "determining the character encoding"):

1. a byte order mark;
2. the `charset` of the Content-Type;
3. `<meta>` in the first kilobyte of a page, or the declaration of an XML document;
4. UTF-8, if the text is not an HTML page, or its bytes are valid UTF-8;
5. windows-1252.
"""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Byte order marks and the codecs that they stand for."""
_FIRST = 1024
"""Bytes in which a page must declare its encoding. Browsers read 1,024, as the HTML standard prescribes."""

_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
"""Match the two forms in which a page declares its encoding, and comments, whose content does not count."""

_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Encodings that browsers replace by a superset, because pages that name them use the superset."""

_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf-7"})
"""Python codecs that are not encodings of pages, or that could hide markup from filters (UTF-7)."""


def known(label: str | None) -> str | None:
    """Return the codec for the name of an encoding; None if the name is unknown, or not of an encoding of text."""
    if not label:
        return None
    try:
        codec = codecs.lookup(label.strip().strip("\"'"))
    except (LookupError, ValueError):  # a null byte raises ValueError
        return None
    if not codec._is_text_encoding or codec.name in _NO_CHARSETS:
        return None
    return _WIDER.get(codec.name, codec.name)


def charset_of(content: bytes, content_type: str) -> str:
    """Return the codec that decodes the body of a response.

    Args:
        content: the body, or its beginning.
        content_type: value of the header `Content-Type`; empty if there is none.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    kind, _, parameters = content_type.partition(";")
    if codec := known(_parameter(parameters)):
        return codec
    kind = kind.strip().lower()
    is_page = kind in ("text/html", "application/xhtml+xml") or (not kind and content.lstrip()[:1] == b"<")
    if not is_page and not kind.endswith("xml"):
        return "utf-8"
    first = content[:_FIRST]
    if (found := _XML.search(first)) and (codec := known(found[1].decode("ascii", "replace"))):
        return _readable(codec)
    if not is_page:
        return "utf-8"
    if (found := _META.search(_COMMENT.sub(b"", first))) and (codec := known(found[1].decode("ascii", "replace"))):
        return _readable(codec)
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _readable(name: str) -> str:
    """Return the encoding for a declared one. A declaration that could be read does not stand for UTF-16 or UTF-32."""
    return "utf-8" if name.startswith(("utf-16", "utf-32")) else name


def _parameter(parameters: str) -> str | None:
    for each in parameters.split(";"):
        name, _, value = each.partition("=")
        if name.strip().lower() == "charset":
            return value
    return None
