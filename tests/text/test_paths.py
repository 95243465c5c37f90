from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.text.paths import cut_text, with_short_paths
from tui_runner.text.safe_text import display_width
from tui_runner.tui.widgets.paint import cells, fitted, message_spans

ERROR = "[Errno 2] No such file or directory: '/srv/archive/photographs/2026/november/card-1/image-00195.raw'"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, ERROR),
        (90, "[Errno 2] No such file or directory: '…/photographs/2026/november/card-1/image-00195.raw'"),
        (70, "[Errno 2] No such file or directory: '…/card-1/image-00195.raw'"),
        (60, "[Errno 2] No such file or directory: '…/image-00195.raw'"),
        (40, "[Errno 2] No such file or directory: '…/image-00195.raw'"),
    ],
)
def test_a_path_in_a_text_loses_its_beginning_and_keeps_its_last_name(width: int, shown: str) -> None:
    assert with_short_paths(ERROR, len(ERROR) - width) == shown


def test_the_longest_path_is_shortened_first_and_urls_are_left() -> None:
    copied = "copied /a/b/c.raw to /srv/archive/photographs/c.raw: https://books.example/catalogue/old/page-1.html"
    assert with_short_paths(copied, 3).startswith("copied /a/b/c.raw to …/archive/photographs/c.raw: https://books.e")
    assert with_short_paths(copied, 99).startswith("copied …/c.raw to …/c.raw: https://books.example/catalogue/old/p")


def test_lines_of_every_screen_keep_the_names_of_files() -> None:
    line = (("  17:53:06 INFO  ", "muted"), (ERROR, "text"), ("  2 rows", "muted"))
    shown = "".join(text for text, _ in fitted(line, 90))
    assert shown == "  17:53:06 INFO  [Errno 2] No such file or directory: '…/card-1/image-00195.raw'  2 rows"
    narrow = "".join(text for text, _ in fitted((*line[:1], ("FileNotFoundError: ", "bad"), (ERROR, "text")), 78))
    assert narrow == "  17:53:06 INFO  FileNotFoundError: [Errno 2] No such file…'…/image-00195.raw'"
    # What is dimmed, because it differs within the group, is shortened as well.
    assert ("…/image-00195.raw", "muted") in message_spans(ERROR, "warn", 60)
    assert "".join(text for text, _ in message_spans(ERROR, "warn", 50)).endswith(
        "No such file or dire…'…/image-00195.raw'"
    )
    assert cut_text(ERROR, 70).endswith("'…/card-1/image-00195.raw'")
    assert cut_text(ERROR, 48) == "[Errno 2] No such file or di…'…/image-00195.raw'"
    bare = "unexpected token 'tok1989' in the file /srv/data/abc/mod_1989.py"
    assert cut_text(bare, 40) == "unexpected token 'tok1989' …/mod_1989.py"
    assert cut_text(ERROR, 30) == "[Errno 2] No such file or dir…"


@given(st.text("/ab.~' :字", max_size=60), st.integers(0, 70))
def test_a_shortened_text_is_never_longer_and_a_line_always_fits(text: str, width: int) -> None:
    assert display_width(with_short_paths(text, display_width(text) - width)) <= display_width(text)
    assert cells(fitted(((text, "text"),), width)) <= width
    assert len(cut_text(text, max(width, 1))) <= max(width, 1)
