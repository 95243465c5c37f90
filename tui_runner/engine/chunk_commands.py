"""What a person may have done with chunks: pause, resume, cancel, run again.

*Cancelling* is done by a worker, because only workers write ledger rows: a chunk that no worker has is sent, paused,
to one that is ready, as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from tui_runner.engine import events, protocol
from tui_runner.engine.chunk import Chunk, ChunkState
from tui_runner.engine.chunks import MAX_KEPT_FAILURES, Chunks
from tui_runner.engine.crew import Crew
from tui_runner.engine.turn import Turn
from tui_runner.text.numbers import plural, run_again

Command = events.PauseChunks | events.ResumeChunks | events.CancelChunks | events.RetryChunks
"""What `ChunkCommands.obey` takes."""


class ChunkCommands:
    """Carries out commands on chunks; those that make no sense in a chunk's state do nothing to it."""

    def __init__(self, chunks: Chunks, crew: Crew, turn: Turn) -> None:
        self._chunks = chunks
        self._crew = crew
        self._turn = turn

    def obey(self, command: Command) -> None:
        """Carry out a command on each of its chunks, in their order."""
        match command:
            case events.PauseChunks(numbers):
                self._each(numbers, self._pause)
            case events.ResumeChunks(numbers):
                self._each(numbers, self._resume)
            case events.CancelChunks(numbers):
                self._each(numbers, self._cancel)
            case events.RetryChunks(numbers):
                self._each(numbers, self._retry)
                self._tell_dropped(numbers)

    def resume_all(self) -> None:
        """Go on with every chunk that is paused."""
        self._each([chunk.number for chunk in self._chunks.all if chunk.state is ChunkState.PAUSED], self._resume)

    def _each(self, numbers: Collection[int], command: Callable[[Chunk], None]) -> None:
        for number in sorted(set(numbers)):
            if 0 <= number < len(self._chunks.all):
                command(self._chunks.all[number])

    def _pause(self, chunk: Chunk) -> None:
        if chunk.cancelling or chunk.state not in (ChunkState.WAITING, ChunkState.RUNNING):
            return
        if chunk.worker is None:
            self._chunks.unqueue(chunk)
        else:
            self._crew[chunk.worker].open.discard(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Pause(chunk.number)))
        chunk.stop_clock(self._turn.active)
        self._chunks.set_state(chunk, ChunkState.PAUSED)
        self._turn.tell("INFO", f"chunk {chunk.number} paused")

    def _resume(self, chunk: Chunk) -> None:
        if chunk.state is not ChunkState.PAUSED or chunk.cancelling:
            return
        chunk.start_clock(self._turn.active)
        if chunk.worker is None:
            self._chunks.queue(chunk)
        else:
            self._chunks.set_state(chunk, ChunkState.RUNNING)
            if not chunk.exhausted:
                self._crew[chunk.worker].open.add(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Resume(chunk.number)))
        self._turn.tell("INFO", f"chunk {chunk.number} resumed")

    def _cancel(self, chunk: Chunk) -> None:
        if chunk.state.ended or chunk.cancelling:
            return
        chunk.cancelling = True
        self._chunks.cancelling += 1
        if chunk.worker is None:
            if chunk.state is ChunkState.WAITING:
                self._chunks.unqueue(chunk)
                self._chunks.set_state(chunk, ChunkState.PAUSED)
            self._chunks.to_cancel.append(chunk.number)
        else:
            self._crew[chunk.worker].open.discard(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Cancel(chunk.number)))
        self._turn.tell("INFO", f"chunk {chunk.number} cancelled: items in flight finish")

    def _retry(self, chunk: Chunk) -> None:
        if not _has_failed(chunk) or not chunk.failures:
            return
        items = self._chunks.run_again(chunk)
        self._turn.tell("INFO", f"chunk {chunk.number}: {run_again(items)}")

    def _tell_dropped(self, numbers: Collection[int]) -> None:
        """Say which failures are too many to be kept: they do not run again now."""
        chunks = [self._chunks.all[number] for number in set(numbers) if 0 <= number < len(self._chunks.all)]
        dropped = [chunk.counts.failed + chunk.counts.cancelled for chunk in chunks if _has_failed(chunk)]
        if dropped:
            what = f"{plural(sum(dropped), 'item')} of {plural(len(dropped), 'chunk')}"
            why = f"more than {MAX_KEPT_FAILURES:,} have failed, and no more are kept"
            self._turn.tell("WARNING", f"{what} cannot run again now: {why}; use tui-runner retry when the run is over")


def _has_failed(chunk: Chunk) -> bool:
    """Whether a chunk has ended otherwise than well. One whose failures run again has not ended."""
    return chunk.state in (ChunkState.FAILED, ChunkState.CANCELLED)
