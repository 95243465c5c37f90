"""Base classes of the screens of a run. They take snapshots, and handle the keys of lists and of commands on chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.message import Message
from textual.screen import Screen

from tui_runner.engine.progress.chunk_views import ChunkView
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import Keys, shown_key
from tui_runner.tui.actions.list_keys import ListNavigation
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.run.commands import RunCommands, Verb, disabled_reason, fit_for, named
from tui_runner.tui.terminal.textual_fixes import EarlyClose
from tui_runner.tui.widgets.footer import KeyLine


class RunScreen(ListNavigation, EarlyClose, Screen[None]):
    """The base class of the screens of a run.

    Args:
        steering: passes commands to the run.
        keys: the keys of every action.
    """

    class Retry(Message):
        """Message: the user wants to retry the failed items of a run that has ended."""

    class ToList(Message):
        """Message: the user wants to return from an ended run to the launcher."""

    class Query(Message):
        """Message: the user wants to see the result of a statement in the query screen."""

        def __init__(self, sql: str) -> None:
            super().__init__()
            self.sql = sql

    PLACES: ClassVar[tuple[Place, ...]] = (Place.LIST, Place.ANYWHERE)
    """The places whose actions apply on this screen."""

    def __init__(self, steering: RunCommands, keys: Keys) -> None:
        super().__init__()
        self.steering = steering
        self.keys = keys
        self._laid_out = False

    def on_mount(self) -> None:
        """Show the newest snapshot, which may have arrived before the screen had its widgets."""
        self._laid_out = True
        if self.steering.snapshot is not None:
            self.update(self.steering.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Show `snapshot`. Do nothing while the screen has no widgets yet: `on_mount` will show the newest snapshot."""
        if self._laid_out:
            self.update(snapshot)

    def update(self, snapshot: Snapshot) -> None:
        """Show `snapshot`. Draw only what differs from the previous snapshot."""
        raise NotImplementedError

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out the action whose key was clicked."""
        owner = "app" if event.action.place is Place.ANYWHERE else "screen"
        self.call_later(self.run_action, f"{owner}.{event.action.method}")

    def inner_labels(self) -> dict[str, str]:
        """Return labels for the footer of a screen other than the dashboard, where the key for quitting goes back."""
        return {"quit_run": "back", "back": ""}

    def action_back(self) -> None:
        """Go back to the dashboard."""
        self.app.pop_screen()

    def say(self, text: str) -> None:
        """Show a short message, for example why a key has no effect now."""
        self.notify(text, markup=False, timeout=4)  # s, to read one line

    def open_query(self, sql: str) -> None:
        """Run the statement `sql` in the query screen."""
        self.post_message(self.Query(sql))

    def copied(self, text: str, what: str) -> None:
        """Copy a text to the clipboard, and show a message that says how.

        Args:
            text: the text, which is made safe.
            what: name of the text in the message.
        """
        self.app.copy_to_clipboard(safe_text(text, newlines=True))
        self.notify(
            f"{what} copied (by OSC 52; the terminal must allow it)", markup=False, timeout=4
        )  # s, to read one line


class ChunkCommands(RunScreen):
    """A screen on which the user can pause, retry and cancel chunks."""

    def chosen(self) -> Sequence[ChunkView]:
        """Return the chunks to which a command of the user applies now."""
        raise NotImplementedError

    def stay(self) -> None:
        """Keep the cursor on the chunk to which a command was given. A screen of one chunk need not do anything."""

    def show_asked(self) -> None:
        """Show the commands that no snapshot has confirmed yet."""
        raise NotImplementedError

    def action_pause_chunk(self) -> None:
        """Pause the chunk under the cursor, or the marked chunks. If they are paused, resume them."""
        chunks = self.chosen()
        if self._can(Verb.PAUSE, chunks):
            self.steering.pause_chunks(chunks)
            self.show_asked()

    def action_retry_chunk(self) -> None:
        """Retry the failed and cancelled items of the chunk under the cursor, or of the marked chunks."""
        chunks = self.chosen()
        if self._can(Verb.RETRY, chunks):
            self.steering.retry_chunks(chunks)
            self.show_asked()

    def action_cancel_chunk(self) -> None:
        """Ask whether to cancel the chunk under the cursor, or the marked chunks."""
        meant = self.chosen()
        if not self._can(Verb.CANCEL, meant):
            return
        chunks = fit_for(Verb.CANCEL, meant)

        def answered(yes: bool | None) -> None:
            # Chunks may have ended while the question was open, so check them again.
            snapshot = self.steering.snapshot
            now = [snapshot.chunks[chunk.number] for chunk in meant] if snapshot else meant
            if yes and self._can(Verb.CANCEL, now):
                self.steering.cancel_chunks(now)
                self.show_asked()

        left = sum(chunk.items - chunk.finished - chunk.in_flight for chunk in chunks)
        items = sum(chunk.items for chunk in chunks)
        started = sum(chunk.in_flight for chunk in chunks)
        consequence = (
            f"{left:,} of {items:,} items have not started and are recorded as cancelled. Retry runs them after all."
            if left
            else f"All of its items have started already: nothing is left to cancel, {started:,} in flight finish."
        )
        self.app.push_screen(
            Confirm(
                f"Cancel {named(chunks, len(meant))}?",
                consequence,
                "Cancel the chunk" if len(chunks) == 1 else f"Cancel {len(chunks)} chunks",
                "Keep it" if len(chunks) == 1 else "Keep them",
            ),
            answered,
        )

    def _can(self, verb: Verb, chunks: Sequence[ChunkView]) -> bool:
        """Return True if a command has an effect on any of `chunks`. Otherwise show the reason."""
        again = "/".join(shown_key(key) for key in self.keys["retry_all"][:1]) or "`retry all`"
        why = disabled_reason(verb, chunks, self.steering.snapshot, again)
        if why:
            self.say(why)
        else:
            self.stay()
        return not why
