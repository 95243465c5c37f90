"""The base of the screens that show a run: they take its snapshots, and have a list and a line of keys."""

from __future__ import annotations

from typing import ClassVar

from textual.message import Message
from textual.screen import Screen

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.action import Place
from tui_runner.tui.actions import Keys
from tui_runner.tui.left_early import LeftEarly
from tui_runner.tui.moving import Moving
from tui_runner.tui.steering import Steering
from tui_runner.tui.widgets.footer import KeyLine


class RunScreen(Moving, LeftEarly, Screen[None]):
    """A screen on one run.

    Args:
        steering: takes the commands.
        keys: the keys in force, for the footer.
    """

    class Retry(Message):
        """What failed in a run that is over is to run again."""

    class Query(Message):
        """A statement is to be run in the query screen."""

        def __init__(self, sql: str) -> None:
            super().__init__()
            self.sql = sql

    PLACES: ClassVar[tuple[Place, ...]] = (Place.LIST, Place.ANYWHERE)
    """Which actions apply on this screen."""

    def __init__(self, steering: Steering, keys: Keys) -> None:
        super().__init__()
        self.steering = steering
        self.keys = keys
        self._laid_out = False

    def on_mount(self) -> None:
        """Show the snapshot that came while the parts were being made."""
        self._laid_out = True
        if self.steering.snapshot is not None:
            self.update(self.steering.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Show this snapshot, as soon as there is something to show it with."""
        if self._laid_out:
            self.update(snapshot)

    def update(self, snapshot: Snapshot) -> None:
        """Show this snapshot; draw only what differs from the last one."""
        raise NotImplementedError

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out an action whose key was clicked."""
        owner = "app" if event.action.place is Place.ANYWHERE else "screen"
        self.call_later(self.run_action, f"{owner}.{event.action.method}")

    def inner_labels(self) -> dict[str, str]:
        """What the footer of a screen that is not the dashboard calls some keys."""
        return {"quit_run": "back", "back": ""}

    def action_back(self) -> None:
        """Go back to the dashboard."""
        self.app.pop_screen()

    def open_query(self, sql: str) -> None:
        """Show what a statement gives in the query screen."""
        self.post_message(self.Query(sql))

    def copied(self, text: str, what: str) -> None:
        """Copy a text and say so, and by which way."""
        self.app.copy_to_clipboard(safe_text(text, newlines=True))
        self.notify(f"{what} copied (by OSC 52; the terminal must allow it)", markup=False, timeout=4)
