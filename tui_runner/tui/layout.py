"""How the dashboard divides a terminal, from 40×12 to 400×120. Pure arithmetic, tested without a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SIDE_BY_SIDE = 80
"""Cells from which two graphs stand beside each other."""
_ONE_GRAPH = 20
"""Lines from which a narrow terminal has one graph."""
_TWO_GRAPHS = 32
"""Lines from which it has both, one above the other."""
_WITH_GRAPHS = 19
"""Lines from which a wide terminal has graphs."""


class Graphs(StrEnum):
    """How the graphs stand; also the name of the CSS class that does it."""

    NONE = "none"
    ONE = "one"
    STACKED = "stacked"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many lines each part gets; the chunk table has the rest.

    Attributes:
        graphs: how the graphs stand.
        graph_lines: lines of one graph with its frame.
        figure_lines: lines of numbers.
        event_lines: lines for trouble and events.
    """

    graphs: Graphs
    graph_lines: int
    figure_lines: int
    event_lines: int


def plan(width: int, height: int) -> Plan:
    """The division of a terminal of `width` × `height` cells."""
    event_lines = 2 if height >= 16 else 1
    figure_lines = 2 if width < 60 and height >= 12 else 1
    if width >= SIDE_BY_SIDE:
        if height < _WITH_GRAPHS:
            return Plan(Graphs.NONE, 0, figure_lines, event_lines)
        # A quarter of the height, so that the table, which is worked with, has more than half.
        return Plan(Graphs.BESIDE, min(max(height // 4, 6), 18), figure_lines, event_lines)
    if height >= _TWO_GRAPHS:
        return Plan(Graphs.STACKED, min(height // 6, 10), figure_lines, event_lines)
    if height >= _ONE_GRAPH:
        return Plan(Graphs.ONE, 5, figure_lines, event_lines)
    return Plan(Graphs.NONE, 0, figure_lines, event_lines)
