"""Decoding of any bytes that a terminal sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.tui.terminal.driver import KeyDecoder


def decoded(*parts: bytes) -> str:
    decoder = KeyDecoder()
    return "".join(map(decoder.decode, parts))


def test_text_and_keys_come_through() -> None:
    assert decoded("a€\x1b[A\x1b".encode()) == "a€\x1b[A\x1b"


def test_bytes_that_are_not_utf_8_become_replacement_characters() -> None:
    assert decoded(b"caf\xe9 ", b"ok") == "caf\ufffd ok"


def test_a_character_in_two_parts_is_one() -> None:
    assert decoded(b"\xe2\x82", b"\xac") == "€"


def test_reports_of_the_mouse_are_passed_over_whole() -> None:
    assert decoded(b"a\x1b[M \xc3\xa9b\x1b[M#\xff!c") == "abc"
    assert decoded(b"a\x1b[M \xc3", b"\xa9b") == "ab"
    assert decoded(b"a\x1b[M", b" \xc3\xa9", b"b") == "ab"


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_nothing_that_is_sent_raises_and_what_comes_after_it_is_read(parts: list[bytes]) -> None:
    decoder = KeyDecoder()
    for part in parts:
        decoder.decode(part)
    decoder.decode(b"xxx")  # what had begun ends
    assert decoder.decode(b"q") == "q"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x1b")), st.data())
def test_text_is_the_same_however_it_comes(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cut = data.draw(st.integers(0, len(raw)))
    assert decoded(raw[:cut], raw[cut:]) == text
