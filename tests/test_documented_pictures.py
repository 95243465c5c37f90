"""The pictures of README and docs are those that the tests of the screens hold: CI finds any that is not current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNAPSHOTS = ROOT / "tests" / "tui" / "__snapshots__"
PICTURES = {
    "dashboard": "test_pictures/test_dashboard[120x40-night].svg",
    "launcher": "test_pictures/test_launcher[form-120x40-night].svg",
    "wide": "test_pictures/test_wide_dashboard[night].svg",
    "summary": "test_pictures/test_summary[120x40-night].svg",
    "errors": "test_pictures/test_other_screens[errors-120x40-night].svg",
    "query": "test_query_pictures/test_query_screen[rows-120x40-night].svg",
    "chart": "test_query_pictures/test_charts[bars].svg",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_program_shows_now(name: str) -> None:
    assert (ROOT / "docs" / "pictures" / f"{name}.svg").read_bytes() == (SNAPSHOTS / PICTURES[name]).read_bytes()


def test_every_picture_that_is_shown_is_there() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+\.svg)\)", document.read_text()):
            assert (document.parent / link).is_file(), f"{document.name}: {link}"
    assert set(PICTURES) == {path.stem for path in (ROOT / "docs" / "pictures").glob("*.svg")}
