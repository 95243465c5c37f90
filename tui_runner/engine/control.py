"""The commands that a user interface can give to a running run."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.scheduling.events import (
    Abandoned,
    CancelChunks,
    ChangeHostLimits,
    ChangeMaxMemory,
    ChangeOpenChunks,
    ChangeRate,
    ChangeThreads,
    KillRun,
    PauseChunks,
    PauseHosts,
    PauseRun,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    StopRun,
    TryNow,
)
from tui_runner.engine.states import RunState
from tui_runner.jobs.hosts import HostLimits
from tui_runner.store.database import Database

_ANNOUNCED = "on request"
"""Reason that is logged when the user stops a run and the run begins to drain."""
_REQUESTED = f"{_ANNOUNCED}; resume it whenever you like"
"""Second part of the reason shown for a run that the user has stopped or killed."""
ON_REQUEST = f"stopped {_REQUESTED}"
"""Reason shown for a run that the user has stopped."""


class RunControl(ABC):
    """Commands to one run, and its snapshots. Thread-safe.

    Every command returns at once. Later snapshots show its effect. A command that does not apply to the current state,
    such as pausing a finished run, is ignored.

    Args:
        inbox: the runner's queue, which gets the commands as events.
    """

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.inbox = inbox

    @property
    @abstractmethod
    def database(self) -> Database | None:
        """The run's database, or None for a run without one. Read it through a new cursor."""

    @abstractmethod
    def start(self) -> None:
        """Start the run in a thread of its own, and return at once. Call it once."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Return the newest snapshot. Takes no time; may be called from any thread."""

    @abstractmethod
    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most `timeout` seconds. Return True if it has ended."""

    def pause(self) -> None:
        """Start no new items; items in flight finish."""
        self.inbox.put(PauseRun())

    def resume(self) -> None:
        """Start items again after `pause` or an outage."""
        self.inbox.put(ResumeRun())

    def try_now(self) -> None:
        """Start one item now, while the run waits for the end of an outage.

        If the item succeeds, the run continues.
        """
        self.inbox.put(TryNow())

    def pause_chunks(self, numbers: Collection[int]) -> None:
        """Start no new items of the chunks `numbers`."""
        self.inbox.put(PauseChunks(tuple(numbers)))

    def resume_chunks(self, numbers: Collection[int]) -> None:
        """Start items of the paused chunks `numbers` again."""
        self.inbox.put(ResumeChunks(tuple(numbers)))

    def cancel_chunks(self, numbers: Collection[int]) -> None:
        """End the chunks `numbers`: their items that have not started are recorded as cancelled."""
        self.inbox.put(CancelChunks(tuple(numbers)))

    def retry_chunks(self, numbers: Collection[int]) -> None:
        """Run the failed and cancelled items of the chunks `numbers` again.

        The chunks must have ended in this process.
        """
        self.inbox.put(RetryChunks(tuple(numbers)))

    def set_threads(self, threads: int) -> None:
        """Execute `threads` items at once, over all workers; at least 1."""
        self.inbox.put(ChangeThreads(threads))

    def set_open_chunks(self, open_chunks: int) -> None:
        """Have `open_chunks` chunks open at once; at least 1."""
        self.inbox.put(ChangeOpenChunks(open_chunks))

    def set_rate(self, rate: float | None) -> None:
        """Start at most `rate` items per second, over all workers; None for no limit."""
        self.inbox.put(ChangeRate(rate))

    def set_host_limits(self, limits: HostLimits, host: str = "") -> None:
        """Set the limits of requests to `host`, over all workers.

        If `host` is empty, set the limits of all hosts without limits of their own.
        """
        self.inbox.put(ChangeHostLimits(limits, host))

    def pause_hosts(self, hosts: Collection[str], paused: bool) -> None:
        """Pause requests to `hosts`, or resume them if `paused` is False."""
        self.inbox.put(PauseHosts(tuple(hosts), paused))

    def set_max_memory(self, limit: int | str | None) -> None:
        """Set the memory limit in bytes, or as a share of the machine's memory such as `80%`; None for no limit."""
        self.inbox.put(ChangeMaxMemory(limit))

    def stop(self) -> None:
        """Drain the run: start no new items, write the items that end within the grace time, then end as `stopped`."""
        self.inbox.put(StopRun(RunState.STOPPED, ON_REQUEST, announced=_ANNOUNCED))

    def kill(self) -> None:
        """End the run at once. Items whose rows are not written run again on resume."""
        self.inbox.put(KillRun(RunState.STOPPED, f"killed {_REQUESTED}"))

    def abandon(self, reason: str) -> None:
        """Continue without a screen and log `reason`. From now on, a pause that only a user could end stops the run."""
        self.inbox.put(Abandoned(reason))
