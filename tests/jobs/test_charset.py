"""The encoding of a text, found as a browser finds it."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.jobs.http.charset import charset_of
from tui_runner.jobs.http.response import decoded

PAGE = "<html><head>%s</head><body>Žluťoučký kůň</body></html>"


def text_of(content: bytes, content_type: str) -> str:
    return decoded(content, charset_of(content, content_type))


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        ("Привет".encode("utf-16"), "text/plain; charset=windows-1251", "Привет"),
        (codecs.BOM_UTF8 + "né".encode(), "text/html; charset=iso-8859-1", "né"),
        ("né".encode("cp1250"), 'text/html; charset="windows-1250"', "né"),
        ("日本".encode("cp932"), "text/html;charset=Shift_JIS", "日本"),
        ("“né”".encode("cp1252"), "text/html; charset=ISO-8859-1", "“né”"),
        ("汉字".encode("gb18030"), "text/html; charset=gb2312", "汉字"),
        (b"caf\xe9", "text/html", "café"),
        ("café".encode(), "text/html", "café"),
        (b"caf\xe9", "text/plain", "caf\ufffd"),
        ('{"a": "é"}'.encode(), "application/json", '{"a": "é"}'),
        (b"x" * 2000 + b'<meta charset="koi8-r">' + b"\xe9", "text/html", None),
        (b"caf\xe9", "text/html; charset=unicode_escape", "café"),
        (b"6361", "text/html; charset=hex", "6361"),
        (b"caf\xe9", "text/html; charset=utf-7", "café"),
        (b"caf\xe9", "text/html; charset=no-such", "café"),
        (b"caf\xe9", "text/html; charset=a\0b", "café"),
    ],
)
def test_text_is_read_as_a_browser_reads_it(content: bytes, content_type: str, expected: str | None) -> None:
    found = text_of(content, content_type)
    assert found == expected if expected is not None else found.endswith("é")


@pytest.mark.parametrize(
    "declaration",
    [
        '<meta charset="iso-8859-2">',
        "<META CHARSET=iso-8859-2>",
        '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2">',
        '<!-- <meta charset="koi8-r"> --><meta charset="iso-8859-2">',
    ],
)
def test_page_that_names_its_encoding_itself(declaration: str) -> None:
    assert text_of((PAGE % declaration).encode("iso-8859-2"), "text/html") == PAGE % declaration


def test_document_that_names_its_encoding_in_its_declaration() -> None:
    text = '<?xml version="1.0" encoding="windows-1251"?><a>Привет</a>'
    assert text_of(text.encode("cp1251"), "application/rss+xml") == text


def test_page_in_ascii_letters_is_not_utf_16_whatever_it_says() -> None:
    text = '<meta charset="utf-16"><p>ž</p>'
    assert text_of(text.encode(), "text/html") == text


@settings(max_examples=50)
@given(st.binary(max_size=300), st.text(max_size=60))
def test_anything_becomes_text(content: bytes, content_type: str) -> None:
    assert isinstance(text_of(content, content_type), str)
    assert isinstance(text_of(content, f"text/html; charset={content_type}"), str)
