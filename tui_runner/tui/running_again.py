"""What is asked before failed items run again: commands are for whole chunks, so more may run than was meant."""

from __future__ import annotations

from collections.abc import Sequence

from tui_runner.engine.progress.snapshot import ChunkView, Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import plural
from tui_runner.tui.refusals import named


def what_runs_again(chunks: Sequence[ChunkView], later: int = 0) -> str:
    """What it means to run again what did not end well in these chunks.

    Args:
        chunks: they have ended, each with failed items.
        later: failed items of chunks that have not ended: these cannot run again yet.
    """
    failed = sum(chunk.failed for chunk in chunks)
    cancelled = sum(chunk.cancelled for chunk in chunks)
    also = f", and {plural(cancelled, 'cancelled item')} of the same chunks," if cancelled else ""
    verb = "runs" if failed == 1 and not cancelled else "run"
    text = f"{plural(failed, 'failed item')} of {named(chunks)}{also} {verb} again, before what is still waiting."
    if later:
        text += f" {plural(later, 'other')} failed in chunks that have not ended and can run again when these have."
    return text


def nothing_runs_again(snapshot: Snapshot | None) -> str:
    """Why the key for everything that failed does nothing."""
    if snapshot is None or not snapshot.state.ended:
        why = "no chunk has ended with failed items"
    elif snapshot.state is RunState.FINISHED:
        why = "nothing failed, nothing was cancelled"
    else:
        why = f"the run has {snapshot.state}, `tui-runner resume` goes on with it and with what failed"
    return f"nothing to run again: {why}"
