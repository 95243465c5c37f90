"""What the three applications, launcher, dashboard and query screen, have in common."""

from __future__ import annotations

from textual.app import ReturnType

from tui_runner.tui.keys_in_turn import KeysInTurn
from tui_runner.tui.screen_fault import KeepsFault
from tui_runner.tui.themes import Themed
from tui_runner.tui.toasts import BriefToasts


class Application(Themed, BriefToasts[ReturnType], KeysInTurn[ReturnType], KeepsFault[ReturnType]):
    """An application that keeps its faults to itself, takes keys in their turn, and says little at once."""
