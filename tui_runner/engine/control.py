"""The commands that an interface may give to a running run."""

from __future__ import annotations

import queue
from collections.abc import Collection
from typing import Any, Protocol

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


class RunControl(Protocol):
    """Commands and snapshots of one run.

    Every command returns at once; whether it took effect shows in the next snapshots. Commands that make
    no sense in the present state (pausing a finished run) do nothing.
    """

    @property
    def database(self) -> Database | None:
        """The database of the run, for reading through a cursor of one's own; None for a run without one."""

    def start(self) -> None:
        """Begin; call once. Returns before the first item runs."""

    def snapshot(self) -> Snapshot:
        """The newest picture of the run; cheap, may be called from any thread."""

    def pause(self) -> None:
        """Start no new items; those in flight finish."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def try_now(self) -> None:
        """Try one item at once, while the run waits for the end of an outage; it goes on if that ends well."""

    def pause_chunks(self, numbers: Collection[int]) -> None:
        """Start no new items of these chunks."""

    def resume_chunks(self, numbers: Collection[int]) -> None:
        """Go on with these chunks."""

    def cancel_chunks(self, numbers: Collection[int]) -> None:
        """End these chunks: items that have not started are recorded as cancelled."""

    def retry_chunks(self, numbers: Collection[int]) -> None:
        """Run again what failed or was cancelled in these chunks, which have ended during the run."""

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once, over all workers (at least 1)."""

    def set_open_chunks(self, open_chunks: int) -> None:
        """Keep this many chunks open at once (at least 1)."""

    def set_rate(self, rate: float | None) -> None:
        """Start at most this many items per second, over all workers; None for no bound."""

    def set_host_limits(self, limits: HostLimits, host: str = "") -> None:
        """Limit requests to a host so, or to every other host where `host` is empty, over all workers."""

    def pause_hosts(self, hosts: Collection[str], paused: bool) -> None:
        """Ask these hosts no more, or again."""

    def set_max_memory(self, limit: int | str | None) -> None:
        """Bytes that the run may use, or a share of the machine's such as `80%`; None for no bound."""

    def stop(self) -> None:
        """Drain: start no new items, write those that finish within the grace time, then end as `stopped`."""

    def kill(self) -> None:
        """End at once; what is not yet written is run again on resume."""

    def abandon(self, reason: str) -> None:
        """Run on without a screen, and log `reason`; a pause that only a person could end stops the run."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most `timeout` seconds; whether it has ended."""


_REQUESTED = "on request; resume it whenever you like"
ON_REQUEST = f"stopped {_REQUESTED}"
"""Reason of a run that the user had stop."""


class Commands:
    """Puts commands into the runner's inbox; see `RunControl`."""

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.inbox = inbox

    def pause(self) -> None:
        """Start no new items; those in flight finish."""
        self.inbox.put(PauseRun())

    def resume(self) -> None:
        """Go on after `pause`."""
        self.inbox.put(ResumeRun())

    def try_now(self) -> None:
        """Try one item at once, while the run waits for the end of an outage; it goes on if that ends well."""
        self.inbox.put(TryNow())

    def pause_chunks(self, numbers: Collection[int]) -> None:
        """Start no new items of these chunks."""
        self.inbox.put(PauseChunks(tuple(numbers)))

    def resume_chunks(self, numbers: Collection[int]) -> None:
        """Go on with these chunks."""
        self.inbox.put(ResumeChunks(tuple(numbers)))

    def cancel_chunks(self, numbers: Collection[int]) -> None:
        """End these chunks: items that have not started are recorded as cancelled."""
        self.inbox.put(CancelChunks(tuple(numbers)))

    def retry_chunks(self, numbers: Collection[int]) -> None:
        """Run again what failed or was cancelled in these chunks, which have ended."""
        self.inbox.put(RetryChunks(tuple(numbers)))

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once, over all workers."""
        self.inbox.put(ChangeThreads(threads))

    def set_open_chunks(self, open_chunks: int) -> None:
        """Keep this many chunks open at once."""
        self.inbox.put(ChangeOpenChunks(open_chunks))

    def set_rate(self, rate: float | None) -> None:
        """Start at most this many items per second, over all workers; None for no bound."""
        self.inbox.put(ChangeRate(rate))

    def set_host_limits(self, limits: HostLimits, host: str = "") -> None:
        """Limit requests to a host so, or to every other host where `host` is empty, over all workers."""
        self.inbox.put(ChangeHostLimits(limits, host))

    def pause_hosts(self, hosts: Collection[str], paused: bool) -> None:
        """Ask these hosts no more, or again."""
        self.inbox.put(PauseHosts(tuple(hosts), paused))

    def set_max_memory(self, limit: int | str | None) -> None:
        """Bytes that the run may use, or a share of the machine's such as `80%`; None for no bound."""
        self.inbox.put(ChangeMaxMemory(limit))

    def stop(self) -> None:
        """Drain: start no new items, write those that finish within the grace time, then end as `stopped`."""
        self.inbox.put(StopRun(RunState.STOPPED, ON_REQUEST, announced=_REQUESTED))

    def kill(self) -> None:
        """End at once; what is not yet written is run again on resume."""
        self.inbox.put(KillRun(RunState.STOPPED, f"killed {_REQUESTED}"))

    def abandon(self, reason: str) -> None:
        """Run on without a screen, and log `reason`; a pause that only a person could end stops the run."""
        self.inbox.put(Abandoned(reason))
