"""Keeps a run within its memory: gives each worker its share, and carries out what `MemoryLadder` decides.

A share is what is left of 70 % of the limit, divided by one more than there are workers: while one is being replaced,
both of them are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tui_runner.engine.chunk import RunState
from tui_runner.engine.events import DivideThreads, Event, Hold, Recycle, Release, StopRun
from tui_runner.engine.memory_ladder import (
    FEWER_THREADS,
    ITEMS_AGAIN,
    EndStatements,
    FewerThreads,
    Figures,
    GiveUp,
    HoldItems,
    MemoryLadder,
    ReleaseItems,
    ReplaceWorker,
)
from tui_runner.engine.monitor import MemoryMeasured
from tui_runner.store.database import OpenStatements
from tui_runner.text.numbers import size

_CAUSE = "memory"
_WORKER = 100_000_000
"""Bytes of a worker that has loaded a small job: Python, Arrow and an HTTP client take 60 to 90 MB."""
_WORTH_TELLING = 0.1
"""Change of a share, of what it was, that workers are told of."""


def too_little(limit: int | None, workers: int, app_rss: int) -> str:
    """Why a run with so many workers cannot do with `limit`; empty when it perhaps can."""
    needed = app_rss + workers * _WORKER
    if limit is None or limit >= needed:
        return ""
    each = f", {size(_WORKER)} for each worker" if workers else ""
    return f"{size(limit)} is too little memory: tui-runner itself has {size(app_rss)} now{each}"


class MemoryKeeper:
    """Memory's part in a run.

    Args:
        workers: how many workers the run has; 0 where they are no processes and cannot be replaced.
        handle: passes events to the scheduler.
        set_share: has every worker told that it may have so many bytes, those that start later, too.
        statements: the queries of people, which end before the run suffers.
        tell: takes (level, text) for a person.

    Attributes:
        limit: bytes that the run may use; None for no bound.
        workers: how many there are to be.
        needed: bytes with which the run probably could go on, once it was given up.
    """

    def __init__(
        self,
        limit: int | None,
        workers: int,
        handle: Callable[[Event], None],
        set_share: Callable[[int | None], None],
        statements: OpenStatements,
        tell: Callable[[str, str], None],
    ) -> None:
        self.limit = limit
        self.workers = workers
        self.needed: int | None = None
        self._handle = handle
        self._set_share = set_share
        self._statements = statements
        self._tell = tell
        self._share: int | None = None
        self._ladder = MemoryLadder()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to warn of."""
        return (self._ladder.warning,) if self._ladder.warning else ()

    def try_now(self) -> None:
        """Somebody wants the run to go on: say so if it cannot, because more items would take more memory."""
        if self._ladder.held:
            at = self._ladder.warning or "the run is held"
            self._tell("WARNING", f"{at}: it goes on below {100 * ITEMS_AGAIN:.0f} %, or with a higher memory limit")

    def measured(
        self, memory: MemoryMeasured, pids: Mapping[int, int], in_flight: int, threads: int, now: float
    ) -> None:
        """Take over a measurement.

        Args:
            memory: what was measured.
            pids: process ids of the workers, by their number.
            in_flight: items being executed.
            threads: items executed at once, as a person wants it.
            now: monotonic seconds.
        """
        self.divide(memory.app_rss)
        by_number = {number: memory.by_pid[pid] for number, pid in pids.items() if pid in memory.by_pid}
        # Workers that are not yet known by number, or any more, are nobody's but count all the same.
        rest = memory.app_rss + memory.workers_rss - sum(by_number.values())
        figures = Figures(rest, by_number, in_flight, threads, len(self._statements))
        for step in self._ladder.judge(figures, self.limit, now):
            match step:
                case FewerThreads(divisor, text):
                    self._handle(DivideThreads(divisor, text))
                case HoldItems(text):
                    self._handle(Hold(_CAUSE, text))
                case ReleaseItems():
                    self._handle(Release(_CAUSE))
                case ReplaceWorker(worker, at_once, text):
                    self._handle(Recycle(worker, text, at_once))
                case EndStatements(text):
                    if self._statements.end(f"the run needs the memory, {text}"):
                        self._tell("WARNING", f"{text}: queries that were open are ended")
                case GiveUp(text, needed):
                    self.needed = needed
                    self._handle(StopRun(RunState.FAILED, text))

    def divide(self, app_rss: int) -> None:
        """Give the workers their shares of what `app_rss` leaves."""
        if not self.workers:
            return
        share = None
        if self.limit is not None:
            share = max(0, int(FEWER_THREADS * self.limit) - app_rss) // (self.workers + 1)
        before = self._share
        if before is None or share is None or abs(share - before) > _WORTH_TELLING * before:
            if share != before:
                self._set_share(share)
            self._share = share
