"""What a chunk looks like, in the table, the map and its own screen alike: a glyph, a word, a role.

A chunk's state `failed` means that it has ended and that some of its items failed. One failed item of 500 is not what
500 of 500 are, so the two look different, and both say how many.
"""

from __future__ import annotations

from tui_runner.engine.progress.snapshot import ChunkView
from tui_runner.engine.states import ChunkState
from tui_runner.tui.glyphs import CHUNK_GLYPHS
from tui_runner.tui.paint import Span

FEW_FAILED = "few failed"
"""The look of a chunk of which at most a tenth of the items failed."""
MANY_FAILED = "many failed"
"""The look of a chunk of which more failed."""
_FEW = 0.1
"""Share of a chunk's items up to which failed ones are few."""
_WIDEST = 1_000
"""From so many failed items on their number does not fit beside the word; the column of failed items has it."""

LOOKS: dict[str, tuple[str, str]] = {
    **{str(state): (glyph, str(state)) for state, glyph in CHUNK_GLYPHS.items() if state is not ChunkState.FAILED},
    FEW_FAILED: ("△", "warn"),
    MANY_FAILED: (CHUNK_GLYPHS[ChunkState.FAILED], "failed"),
}
"""Glyph and role of every look."""


def look(chunk: ChunkView) -> str:
    """What a chunk looks like: its state, or that few or many of its items failed."""
    if chunk.state is not ChunkState.FAILED:
        return chunk.state
    return FEW_FAILED if 0 < chunk.failed <= _FEW * chunk.items else MANY_FAILED


def words(chunk: ChunkView) -> str:
    """The state of a chunk in a word or two: `running`, `3 failed`, `all failed`; twelve cells with its glyph."""
    if chunk.state is not ChunkState.FAILED or not 0 < chunk.failed < _WIDEST:
        return chunk.state
    return "all failed" if chunk.failed == chunk.items else f"{chunk.failed} failed"


def state_span(chunk: ChunkView) -> Span:
    """Glyph and words of a chunk's state."""
    glyph, role = LOOKS[look(chunk)]
    return f"{glyph} {words(chunk)}", role
