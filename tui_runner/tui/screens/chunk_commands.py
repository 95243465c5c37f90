"""The commands on chunks, for the screens that have some under a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from tui_runner.engine.progress.snapshot import ChunkView
from tui_runner.tui.actions import shown_key
from tui_runner.tui.refusals import Verb, fit_for, named, refusal
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.screens.run_screen import RunScreen


class ChunkCommands(RunScreen):
    """A screen on which chunks can be paused, run again and cancelled."""

    def chosen(self) -> Sequence[ChunkView]:
        """The chunks that a command is for."""
        raise NotImplementedError

    def stay(self) -> None:
        """Stay with the chunks that a command is given for; one that does nothing is none."""

    def show_asked(self) -> None:
        """Show the commands that no snapshot has confirmed yet."""
        raise NotImplementedError

    def action_pause_chunk(self) -> None:
        """Pause the chunk under the cursor or those marked, or go on with them."""
        chunks = self.chosen()
        if self._can(Verb.PAUSE, chunks):
            self.steering.pause_chunks(chunks)
            self.show_asked()

    def action_retry_chunk(self) -> None:
        """Run what failed or was cancelled in the chunk under the cursor, or in those marked, again."""
        chunks = self.chosen()
        if self._can(Verb.RETRY, chunks):
            self.steering.retry_chunks(chunks)
            self.show_asked()

    def action_cancel_chunk(self) -> None:
        """Ask whether to cancel the chunk under the cursor, or those marked."""
        meant = self.chosen()
        if not self._can(Verb.CANCEL, meant):
            return
        chunks = fit_for(Verb.CANCEL, meant)

        def answered(yes: bool | None) -> None:
            if yes:
                self.steering.cancel_chunks(meant)
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
        """Whether a command does something; if not, why is said."""
        again = "/".join(shown_key(key) for key in self.keys["retry_all"][:1]) or "`retry all`"
        why = refusal(verb, chunks, self.steering.snapshot, again)
        if why:
            self.notify(why, markup=False, timeout=4)
        else:
            self.stay()
        return not why
