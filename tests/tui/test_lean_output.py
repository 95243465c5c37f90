from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from tui_runner.tui.terminal.driver import CompactDriver, driver_class, lean

Cell = tuple[str, frozenset[str], str, str]


def printed(data: str) -> tuple[list[Cell | str], tuple[frozenset[str], str, str]]:
    """Return what a terminal makes of a text: characters with their styles, all other sequences, and the last style."""
    attributes: frozenset[str] = frozenset()
    foreground = background = ""
    seen: list[Cell | str] = []
    for match in re.finditer(r"\x1b\[([0-9;]*)m|\x1b\[[0-9;]*H|[\r\n]|(.)", data, re.DOTALL):
        if match[2]:
            seen.append((match[2], attributes, foreground, background))
        elif match[1] is None:
            seen.append(match[0])
        else:
            parts = (match[1] or "0").split(";")
            while parts:
                part = parts.pop(0)
                if part == "0":
                    attributes, foreground, background = frozenset(), "", ""
                elif part in ("38", "48"):
                    count = 4 if parts[0] == "2" else 2
                    value = ";".join(parts[:count])
                    del parts[:count]
                    foreground, background = (value, background) if part == "38" else (foreground, value)
                elif part in ("39", "49"):
                    foreground, background = ("", background) if part == "39" else (foreground, "")
                elif int(part) >= 30:
                    is_foreground = part[-2] in "39"
                    foreground, background = (part, background) if is_foreground else (foreground, part)
                else:
                    attributes |= {part}
    return seen, (attributes, foreground, background)


COLOURS = st.sampled_from([None, "#102030", "#ffffff", "color(7)", "color(200)", "red", "bright_blue", "default"])
STYLES = st.builds(
    lambda color, bgcolor, bold, reverse, underline: Style(
        color=color, bgcolor=bgcolor, bold=bold, reverse=reverse, underline=underline
    ),
    COLOURS,
    COLOURS,
    *[st.sampled_from([None, True])] * 3,
)
SEGMENTS = st.tuples(st.text("ab ⣿漢m", max_size=4), STYLES, st.sampled_from(["", "\x1b[3;40H", "\r\n"]))


@given(st.lists(SEGMENTS, max_size=12))
def test_a_frame_looks_the_same_in_fewer_bytes(segments: list[tuple[str, Style, str]]) -> None:
    data = "".join(move + style.render(text) for text, style, move in segments)
    shorter = lean(data)
    assert printed(shorter) == printed(data)
    # One reset may be needed at the end of a frame that ends with a move.
    assert len(shorter) <= len(data) + len("\x1b[0m") + 2


def test_colours_in_force_are_not_set_again() -> None:
    one, two = Style(color="#112233", bgcolor="#000000"), Style(color="#445566", bgcolor="#000000")
    assert lean(one.render("a") + two.render("b") + two.render("c")) == (
        "\x1b[0;38;2;17;34;51;48;2;0;0;0ma\x1b[38;2;68;85;102mbc\x1b[0m"
    )


def test_styles_on_top_of_each_other_are_left_alone() -> None:
    data = "\x1b[1m\x1b[31mred and bold\x1b[0m"
    assert lean(data) == data


def test_text_without_styles_is_left_alone() -> None:
    assert lean("\x1b[?25l plain \x1b[>4;2m") == "\x1b[?25l plain \x1b[>4;2m"
    assert driver_class() is CompactDriver
