from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.text.safe_text import ELLIPSIS, masked, safe_text

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)
"""Every code point, lone surrogates included."""
NASTY = st.lists(
    st.sampled_from(
        [
            "\x1b[2J",
            "\x1b]52;c;aGk=\x07",
            "\x9b31m",
            "\u202e",
            "\u2066",
            "\ud800",
            "\x00",
            "\r\n",
            "\n",
            "\t",
            "x",
            "é",
            "\ufeff",
        ]
    ),
    max_size=20,
).map("".join)

KEPT_INVISIBLE = {"\u200c", "\u200d"}


def obeyed(character: str) -> bool:
    """Return True if a terminal would act on the character, hide it, or fail to encode it, by its Unicode category."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
    }  # fmt: skip


@given(ANY_TEXT | NASTY)
@settings(max_examples=100)
def test_nothing_that_comes_out_is_obeyed(text: str) -> None:
    safe = safe_text(text)
    assert not [character for character in safe if obeyed(character)]
    safe.encode("utf-8")


@given(ANY_TEXT | NASTY)
@settings(max_examples=66)
def test_with_newlines_only_newlines_are_left(text: str) -> None:
    safe = safe_text(text, newlines=True)
    assert not [character for character in safe if character != "\n" and obeyed(character)]
    assert safe.count("\n") == text.count("\n")


@given(ANY_TEXT | NASTY, st.integers(0, 40))
@settings(max_examples=66)
def test_the_result_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    safe = safe_text(text, limit=limit)
    assert len(safe) <= limit
    if len(text) > limit > 0:
        assert safe.endswith(ELLIPSIS)


@given(ANY_TEXT | NASTY)
@settings(max_examples=66)
def test_safe_text_stays_as_it_is(text: str) -> None:
    once = safe_text(text)
    assert safe_text(once) == once


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
@settings(max_examples=33)
def test_visible_characters_are_kept(text: str) -> None:
    invisible_letters = "\u115f\u1160\u3164\uffa0"
    assert safe_text(text) == text or any(character in text for character in invisible_letters)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\x9b2J", "‹U+009B›2J"),
        ("\u202egnp.exe", "‹U+202E›gnp.exe"),
        ("a\u2028b", "a‹U+2028›b"),
        ("a\u200bb", "a‹U+200B›b"),
        ("\U000e0041", "‹U+E0041›"),
        ("\ud83d", "‹U+D83D›"),
        ("\x7f", "␡"),
        ("a\tb\nc", "a b␊c"),
        ("[red]x[/foo]", "[red]x[/foo]"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
    ],
)
def test_marks(text: str, shown: str) -> None:
    assert safe_text(text) == shown


def test_line_ends_of_other_systems_are_one_line_end() -> None:
    assert safe_text("a\r\nb\rc\n", newlines=True) == "a\nb␍c\n"


@pytest.mark.parametrize("piece", ["x", "\x1b"], ids=["clean", "dirty"])
def test_a_limit_makes_the_cost_independent_of_the_length(piece: str) -> None:
    small, large = piece * 1_000, piece * 30_000_000

    def seconds(text: str) -> float:
        best = 1.0
        for _ in range(5):
            begun = time.perf_counter()
            safe_text(text, limit=200)
            best = min(best, time.perf_counter() - begun)
        return best

    # Searching 30 M characters takes thousands of times as long as searching 200.
    assert seconds(large) < 100 * seconds(small)


@pytest.mark.parametrize(
    "character", ["\x1b", "\x9b", "\u202e", "\U000e0041", "\U000e0001", "\U000e01ef", "\ud800", "\x7f"]
)
def test_a_text_that_is_edited_has_a_mark_of_one_character_for_each_that_is_not_shown(character: str) -> None:
    text = f"a{character}b\tc"
    assert len(masked(text)) == len(text)
    assert character not in masked(text)
    assert masked(text).replace(masked(character), "") == "ab\tc"
    assert masked("می‌خواهم 👩‍🚀") == "می‌خواهم 👩‍🚀"
