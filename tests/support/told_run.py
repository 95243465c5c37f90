"""A run that a test tells what to do: `RunControl` without an engine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState


def picture(**changes: Any) -> Snapshot:
    """Return a snapshot of a run half-way, but for `changes`."""
    usual: dict[str, Any] = {
        "run_id": 3,
        "job": "books",
        "table": "books",
        "database": "/data/books.duckdb",
        "state": RunState.RUNNING,
        "items_total": 100,
        "items_done": 50,
        "rows": 5_000,
        "items_per_second": 10.0,
        "rows_per_second": 1_000.0,
    }
    return Snapshot(**usual | changes)


class ToldRun:
    """Shows a list of snapshots, one at each look; the last of them is the end.

    Attributes:
        commands: names of the commands that it was given.
        clock: seconds, one more at each look.
        meanwhile: called at each look with its number, from 1; may raise, as an interrupt does.
        fault: raised when the end is reached.
    """

    database = None
    """It has none, so that its errors are those of its snapshots."""

    def __init__(self, *snapshots: Snapshot, fault: BaseException | None = None) -> None:
        self.commands: list[str] = []
        self.clock = 0.0
        self.meanwhile: Callable[[int], None] = lambda look: None
        self.fault = fault
        self._snapshots = list(snapshots)
        self._looks = 0

    def start(self) -> None:
        """Noted."""
        self.commands.append("start")

    def snapshot(self) -> Snapshot:
        """Return the current snapshot."""
        return self._snapshots[min(self._looks, len(self._snapshots) - 1)]

    def join(self, timeout: float | None = None) -> bool:
        """Proceed to the next snapshot; without a timeout, to the last one."""
        self._looks += 1
        self.clock += 1.0
        self.meanwhile(self._looks)
        if timeout is None:
            self._looks = len(self._snapshots)
        ended = self._looks >= len(self._snapshots) - 1
        if ended and self.fault is not None:
            raise self.fault
        return ended

    def stop(self) -> None:
        """Noted."""
        self.commands.append("stop")

    def abandon(self, reason: str) -> None:
        """Noted."""
        self.commands.append("abandon")

    def kill(self) -> None:
        """Record the call; the run ends at once."""
        self.commands.append("kill")
        self._looks = len(self._snapshots)

    def pause(self) -> None:
        """Not for a run without a screen."""
        raise AssertionError

    resume = try_now = pause

    def pause_chunks(self, numbers: Collection[int]) -> None:
        """Not for a run without a screen."""
        raise AssertionError

    resume_chunks = cancel_chunks = retry_chunks = pause_chunks

    def set_threads(self, threads: int) -> None:
        """Not for a run without a screen."""
        raise AssertionError

    set_open_chunks = set_threads

    def set_rate(self, rate: float | None) -> None:
        """Not for a run without a screen."""
        raise AssertionError

    def set_max_memory(self, limit: int | str | None) -> None:
        """Not for a run without a screen."""
        raise AssertionError
