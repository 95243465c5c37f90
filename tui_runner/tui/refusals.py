"""Why a command on chunks does nothing, in one line: a key that does nothing must not look like one that was lost."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from tui_runner.engine.progress.snapshot import ChunkView, Snapshot
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.tui.widgets.chunk_columns import chunk_name


class Verb(StrEnum):
    """A command on chunks."""

    PAUSE = "pause"
    RETRY = "retry"
    CANCEL = "cancel"


GOING = (ChunkState.RUNNING, ChunkState.WAITING)
"""States that follow each other without a command."""
AGAIN = (ChunkState.FAILED, ChunkState.CANCELLED)
"""States of chunks that have something to run again."""


def named(chunks: Sequence[ChunkView], of: int | None = None) -> str:
    """`chunk 00076`, `3 chunks`, or, where a command was given for more of them, `2 of 3 chunks`."""
    if of is not None and of > len(chunks):
        return f"{len(chunks)} of {of} chunks"
    return f"chunk {chunk_name(chunks[0].number)}" if len(chunks) == 1 else f"{len(chunks)} chunks"


def fit_for(verb: Verb, chunks: Sequence[ChunkView]) -> list[ChunkView]:
    """Those of these chunks to which the command does something. Pausing is also going on with what is paused."""
    if verb is Verb.RETRY:
        return [chunk for chunk in chunks if chunk.state in AGAIN]
    return [chunk for chunk in chunks if not chunk.state.ended]


def refusal(verb: Verb, chunks: Sequence[ChunkView], snapshot: Snapshot | None, retry_all: str) -> str:
    """Why a command does nothing to any of these chunks; empty when it does something.

    Args:
        verb: the command.
        chunks: what it was given for.
        snapshot: the newest.
        retry_all: the key that runs again what failed in a run that is over.
    """
    if snapshot is None or not chunks:
        return f"there is no chunk to {verb}"
    if snapshot.state.ended:
        if verb is not Verb.RETRY:
            return f"the run is over: nothing to {verb}"
        if snapshot.state is RunState.FINISHED and (snapshot.items_failed or snapshot.items_cancelled):
            return f"the run is over: {retry_all} runs everything that failed again"
        return "the run is over; `tui-runner resume` goes on with one that was stopped"
    if fit_for(verb, chunks):
        return ""
    if len(chunks) > 1:
        state = "has ended with failed items" if verb is Verb.RETRY else "is still to be done"
        return f"nothing to {verb}: none of the {len(chunks)} chunks {state}"
    chunk = chunks[0]
    standing = f"has ended, {chunk.failed:,} failed" if chunk.state is ChunkState.FAILED else f"is {chunk.state}"
    later = "; what failed in it can run again when it has ended" if verb is Verb.RETRY and chunk.failed else ""
    return f"chunk {chunk_name(chunk.number)} {standing}: nothing to {verb}{later}"
