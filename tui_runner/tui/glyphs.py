"""How states look: a glyph, a word and a role, so that none is told by colour alone."""

from __future__ import annotations

from collections.abc import Sequence

from tui_runner.engine.states import ChunkState, RunState

CHUNK_GLYPHS = {
    ChunkState.WAITING: "○",
    ChunkState.RUNNING: "▶",
    ChunkState.PAUSED: "⏸",
    ChunkState.DONE: "✔",
    ChunkState.FAILED: "▲",
    ChunkState.CANCELLED: "⊘",
}
"""Glyph of a chunk's state; its role is named like the state."""

RUN_GLYPHS = {
    RunState.RUNNING: ("▶", "running"),
    RunState.PAUSED: ("⏸", "paused"),
    RunState.DRAINING: ("▽", "paused"),
    RunState.STOPPED: ("■", "paused"),
    RunState.FINISHED: ("✔", "done"),
    RunState.FAILED: ("▲", "failed"),
}
"""Glyph and role of a run's state."""

WARNING = "⚠"

_BLOCKS = " ▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars from zero to the highest of them; right-aligned."""
    values = values[-width:]
    top = max(values, default=0.0)
    if top <= 0:
        return " " * width
    # Anything above zero shows: a slow chunk must not look like one that does nothing.
    bars = "".join(_BLOCKS[max(1, round(8 * value / top))] if value > 0 else " " for value in values)
    return bars.rjust(width)


def bar(share: float, width: int) -> tuple[str, str]:
    """A progress bar in `width` cells, to half a cell: its filled and its empty part."""
    halves = round(max(0.0, min(share, 1.0)) * width * 2)
    filled = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    # The rest is thinner, not only fainter: without colours it must still be told from what is filled.
    return filled, "─" * (width - len(filled))
