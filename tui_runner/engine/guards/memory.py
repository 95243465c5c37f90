"""Keeps a run within its memory limit: gives each worker its share, and acts when the total approaches the limit.

The share of a worker is 70 % of the limit, minus what tui-runner uses, divided by the number of workers plus one: while
a worker is being replaced, both it and its successor exist.

| of the limit | step | undone below |
| --- | --- | --- |
| 70 % | half the threads, then a quarter … | 60 % |
| 80 % | queries end; no new items; the worker that has grown most is replaced | 70 % |
| 95 % | the worker that has grown most is killed; its items run again, half as many at once | 60 % |

Each worker keeps within its share itself (`worker/memory_limit.py`). So these steps are for memory that workers do not
see (their child processes, tui-runner itself), and for items that are larger than a share.

Queries end first, because they can be repeated, and a single value of a query may take gigabytes that DuckDB does not
count. Workers are not replaced before the memory of these queries has been freed. That may take seconds, because DuckDB
first finishes the value that it computes.

If a worker is killed with one item in flight, this item is to blame. Like an item that crashes its worker, it runs
alone from then on, and is recorded as failed after three deaths. The other items continue.

A worker that has hardly grown since before its first item is neither replaced nor killed, because its successor would
be as large. Once no items start and nothing is in flight, memory no longer falls by itself. In this case, workers that
have grown little are replaced as well, one after another, if that brings the total below 80 %, and new items start as
soon as it is. If it cannot, the limit is too low for this job and the run fails. The run also fails if workers are
killed again and again although each has a single item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.protocol import Progress, Ready, WorkerLost
from tui_runner.engine.scheduling.events import (
    ChangeMaxMemory,
    DivideThreads,
    Hold,
    Recycle,
    Release,
    ShareMemory,
    StopRun,
    Tell,
    TryRelease,
)
from tui_runner.engine.scheduling.workers import Workers
from tui_runner.engine.states import PauseCause, RunState
from tui_runner.store.database import OpenStatements
from tui_runner.system.memory import memory_bound
from tui_runner.text.numbers import size

_WORKER = 100_000_000
"""Bytes of a worker with a small job. Python, Arrow and an HTTP client take 60 to 90 MB."""
_WORTH_SENDING = 0.1
"""A new share of memory is sent to the workers only if it differs from the last one by more than this fraction. Each
measurement changes the share a little."""


def too_little(limit: int | None, workers: int, app_rss: int) -> str:
    """Return the reason why `limit` is too low for `workers` workers; empty if it may be enough."""
    needed = app_rss + workers * _WORKER
    if limit is None or limit >= needed:
        return ""
    each = f", {size(_WORKER)} for each worker" if workers else ""
    return f"{size(limit)} is too little memory: tui-runner itself uses {size(app_rss)} now{each}"


def worker_share(limit: int | None, workers: int, app_rss: int) -> int | None:
    """Return the bytes that each worker may use; None for no limit.

    Args:
        limit: bytes that the run may use; None for no limit.
        workers: number of workers. One more is counted, for a replacement. With 0, there is no limit.
        app_rss: resident bytes of tui-runner itself.
    """
    if limit is None or not workers:
        return None
    return max(0, int(FEWER_THREADS * limit) - app_rss) // (workers + 1)


Message = MemoryMeasured | ChangeMaxMemory | TryRelease | Ready | Progress | WorkerLost
Answer = DivideThreads | Hold | Recycle | Release | ShareMemory | StopRun | Tell


class MemoryGuard:
    """A guard that turns measurements of memory into messages for the run.

    Args:
        limit: bytes that the run may use; None for no limit.
        workers: the workers; read only.
        statements: open queries of users. They are ended before workers are replaced or killed.
        app_rss: resident bytes of tui-runner itself.
        in_process: True if workers are threads of this process or run on other machines. Such workers get no share of
            the limit and are not replaced.

    Attributes:
        limit: bytes that the run may use; None for no limit.
        needed: limit in bytes with which the run could probably continue after it failed because of its memory limit.
            None for a run that did not fail so.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(
        self, limit: int | None, workers: Workers, statements: OpenStatements, app_rss: int, *, in_process: bool = False
    ) -> None:
        self.limit = limit
        self.needed: int | None = None
        self._workers = workers
        self._statements = statements
        self._app_rss = app_rss
        self._in_process = in_process
        self._share = workers.max_memory
        self._pids: dict[int, int] = {}
        self._in_flight: dict[int, int] = {}
        """Number of items that each worker executes."""
        self._ladder = MemoryLadder()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings to show, each a few words long."""
        return (self._ladder.warning,) if self._ladder.warning else ()

    def handle(self, message: Message, now: float) -> Iterable[Answer]:
        """Record measurements and the work of workers. Return the messages that follow from them."""
        match message:
            case MemoryMeasured():
                self._app_rss = message.app_rss
                yield from self._divide()
                yield from self._judge(message, now)
            case Ready(worker, pid):
                self._pids[worker] = pid
            case Progress(worker, in_flight):
                self._in_flight[worker] = sum(in_flight.values())
            case WorkerLost(worker):
                self._pids.pop(worker, None)
                self._in_flight.pop(worker, None)
            case TryRelease() if self._ladder.held:
                # Resuming at once would need even more memory, so log when the run may be resumed.
                at = self._ladder.warning or "the run is paused for memory"
                text = f"{at}: it resumes below {100 * ITEMS_AGAIN:.0f} %, or with a higher memory limit"
                yield Tell("WARNING", text)
            case ChangeMaxMemory(limit):
                yield self._change(limit)

    @property
    def _worker_count(self) -> int:
        return 0 if self._in_process else self._workers.size

    def _change(self, limit: int | str | None) -> Tell:
        bound = memory_bound(limit)
        if complaint := too_little(bound, self._worker_count, self._app_rss):
            return Tell("WARNING", f"memory: {complaint}; the limit stays as it is")
        self.limit = bound
        return Tell("INFO", "memory: no limit" if bound is None else f"memory: {size(bound)} at most")

    def _divide(self) -> Iterable[ShareMemory]:
        """Yield the workers' new share of memory. Yield nothing if it hardly differs from the last one sent.

        The share changes with the memory of tui-runner itself.
        """
        if self._in_process:
            return
        share, before = worker_share(self.limit, self._worker_count, self._app_rss), self._share
        if before is None or share is None or abs(share - before) > _WORTH_SENDING * before:
            self._share = share
            if share != before:
                yield ShareMemory(share)

    def _judge(self, memory: MemoryMeasured, now: float) -> Iterable[Answer]:
        """Yield the messages for the steps that the ladder takes after a measurement."""
        by_number = {number: memory.by_pid[pid] for number, pid in self._pids.items() if pid in memory.by_pid}
        # The process of a worker that is starting or ending is not in `_pids`. Its memory counts as tui-runner's own.
        rest = memory.app_rss + memory.workers_rss - sum(by_number.values())
        in_flight = sum(self._in_flight.values())
        figures = Figures(rest, by_number, in_flight, self._workers.threads, len(self._statements))
        for step in self._ladder.judge(figures, self.limit, now):
            match step:
                case Recycle(worker, at_once=True) if self._in_flight.get(worker) == 1:
                    # Blame an item only if it is the only one in flight: among several, the cause is unknown.
                    yield replace(step, blamed=True)
                case EndStatements(text):
                    if self._statements.end(f"the run needs the memory, {text}"):
                        yield Tell("WARNING", f"{text}: open queries were ended")
                case GiveUp(text, needed):
                    self.needed = needed
                    yield StopRun(RunState.FAILED, text)
                case _:
                    yield step


FEWER_THREADS, NO_ITEMS, KILL = 0.70, 0.80, 0.95
"""Shares of the limit at which the three kinds of steps begin, see the table at the head of the module."""
_MORE_THREADS, ITEMS_AGAIN = 0.60, 0.70
"""Shares of the limit below which the first two kinds of steps are undone. They are lower than the bounds of the steps,
so that memory near a bound does not cause frequent changes."""
_STEP_SECONDS = 5.0
"""Seconds between two steps, and seconds without items in flight before a step. Freed memory is returned to the system
within a few seconds, so the effect of the last step shows by then."""
_CALM_SECONDS = 10.0
"""Seconds below `_MORE_THREADS` before the number of threads is doubled again, so that each doubling shows in the
memory before the next one."""
_AT_REST_SECONDS = 10.0
"""Seconds without a possible step after which the run ends, because its limit is too low. Before that, freed memory may
not have been returned to the system yet."""
_ENDING_SECONDS = 30.0
"""Seconds for which no worker is replaced while queries end. Computing one value of 2 GB took 8 s at low priority."""
_LAST_KILLS = 9
"""Kills of workers with one item each after which the run fails, if memory was never low between them. By then three
items were recorded as failed, after three kills each, and the next item would end the same way."""
_ENOUGH = 2
"""After a run has failed because of its memory limit, the limit that is recommended is this multiple of the memory
used. The true need is unknown, because the run ended at the limit."""
_WORTH = 64 << 20
"""Least growth in bytes of a worker that is replaced. `memory_limit` allows each worker to grow by that much."""
_WORTH_AT_REST = 4 << 20
"""Least growth in bytes of a worker that is replaced while nothing is in flight. Draining a worker without items costs
little, and the run waits for its memory."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Memory of a run in bytes, and the figures that explain it.

    Attributes:
        app: bytes of the tui-runner process and all other processes of the run that are not workers.
        workers: bytes of each worker with its child processes, by number.
        in_flight: number of items being executed.
        threads: items executed at once, as the user has set it.
        statements: number of open queries of users.
    """

    app: int
    workers: Mapping[int, int]
    in_flight: int
    threads: int
    statements: int = 0

    @property
    def total(self) -> int:
        """The bytes of the whole run."""
        return self.app + sum(self.workers.values())


@dataclass(frozen=True, slots=True)
class EndStatements:
    """A step that ends the open queries of users. `text` is the reason that is shown."""

    text: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A step that fails the run, because it cannot continue within its memory limit.

    `text` is the reason that is shown. With `needed` bytes, the run could probably continue.
    """

    text: str
    needed: int


Step = DivideThreads | Hold | Release | Recycle | EndStatements | GiveUp


class MemoryLadder:
    """The rules for the steps at the head of the module, applied to figures that the caller passes.

    Times are monotonic seconds.

    Attributes:
        warning: text to show while memory is above `FEWER_THREADS`; otherwise empty.
        held: True while no new items start.
    """

    def __init__(self) -> None:
        self.warning = ""
        self.held = False
        self._divisor = 1
        self._stepped_at = float("-inf")
        self._calm_since: float | None = None
        self._at_rest_since: float | None = None
        self._ending_since: float | None = None
        self._baselines: dict[int, int] = {}
        self._replaced: set[int] = set()
        self._kills = 0

    def judge(self, figures: Figures, limit: int | None, now: float) -> list[Step]:
        """Return the steps to take for the `figures` measured at `now`."""
        self._know(figures)
        share = 0.0 if limit is None else figures.total / limit
        of_limit = "" if limit is None else f"memory is at {100 * share:.0f} % of {size(limit)}"
        self.warning = of_limit if share >= FEWER_THREADS else ""
        steps: list[Step] = [*self._items(share, of_limit)]
        if share >= NO_ITEMS:
            self._calm_since = None
            steps += self._statements(figures, of_limit, now) or self._replacement(figures, share, of_limit, now)
        elif self.held:
            self._ending_since = None
            steps += self._rest(figures, share, of_limit, now)
        else:
            self._at_rest_since = self._ending_since = None
            steps += self._threads(figures, share, of_limit, now)
        return steps

    def _know(self, figures: Figures) -> None:
        for worker, rss in figures.workers.items():
            self._baselines[worker] = min(rss, self._baselines.get(worker, rss))
        for gone in self._baselines.keys() - figures.workers.keys():
            del self._baselines[gone]
        self._replaced &= figures.workers.keys()

    def _items(self, share: float, of_limit: str) -> list[Step]:
        if share >= NO_ITEMS and not self.held:
            self.held = True
            return [Hold(PauseCause.MEMORY, f"{of_limit}: no new items until it is below {100 * ITEMS_AGAIN:.0f} %")]
        if share < ITEMS_AGAIN and self.held:
            self.held = False
            return [Release(PauseCause.MEMORY)]
        return []

    def _statements(self, figures: Figures, of_limit: str, now: float) -> list[Step]:
        if not figures.statements:
            self._ending_since = None
            return []
        self._at_rest_since = None
        if self._ending_since is None:
            self._ending_since = now
        return [EndStatements(of_limit)] if now - self._ending_since < _ENDING_SECONDS else []

    def _threads(self, figures: Figures, share: float, of_limit: str, now: float) -> list[Step]:
        """Halve the threads at `FEWER_THREADS`, or double them again after `_CALM_SECONDS` of low memory."""
        calm = share < _MORE_THREADS
        self._calm_since = (now if self._calm_since is None else self._calm_since) if calm else None
        if share >= FEWER_THREADS and self._can_divide(figures) and self._may_step(now):
            return self._fewer_threads(figures, of_limit)
        if self._calm_since is not None and self._divisor > 1 and now - self._calm_since >= _CALM_SECONDS:
            self._calm_since = now
            self._kills = 0
            self._divisor //= 2
            words = "all threads continue" if self._divisor == 1 else f"one in {self._divisor} threads continues"
            return [DivideThreads(self._divisor, f"{of_limit or 'memory is unlimited'}: {words}")]
        return []

    def _replacement(self, figures: Figures, share: float, of_limit: str, now: float) -> list[Step]:
        """Replace the worker that has grown most, or kill it at `KILL`; `_rest` if none is worth it."""
        at_once = share >= KILL
        grown = self._grown(figures)
        worth = [worker for worker, more in grown.items() if more >= _WORTH]
        due = worth if at_once else [worker for worker in worth if worker not in self._replaced]
        if not due:
            return self._rest(figures, share, of_limit, now)
        self._at_rest_since = None
        if not self._may_step(now):
            return []
        recycle = self._recycle(max(due, key=lambda number: grown[number]), figures, of_limit, at_once=at_once)
        return [recycle, *(self._after_kill(figures, of_limit) if at_once else ())]

    def _rest(self, figures: Figures, share: float, of_limit: str, now: float) -> list[Step]:
        """Return the steps for a held run.

        There are none while an item is in flight or a worker is being replaced, because memory may still fall by
        itself.
        """
        if figures.in_flight or self._replaced:
            self._at_rest_since = None
            return []
        if self._at_rest_since is None:
            self._at_rest_since = now
        rested = now - self._at_rest_since
        if rested < _STEP_SECONDS:
            return []
        grown = self._grown(figures)
        worth = {worker: more for worker, more in grown.items() if more >= _WORTH_AT_REST}
        if worth and share * (1 - sum(worth.values()) / figures.total) < NO_ITEMS:
            if not self._may_step(now):
                return []
            return [self._recycle(max(worth, key=lambda number: grown[number]), figures, of_limit, at_once=False)]
        if share < NO_ITEMS:
            self.held, self._at_rest_since = False, None
            return [Release(PauseCause.MEMORY)]
        if rested < _AT_REST_SECONDS:
            return []
        self._at_rest_since = now
        workers = "1 worker" if len(figures.workers) == 1 else f"{len(figures.workers)} workers"
        used = f"tui-runner uses {size(figures.app)}, {workers} {size(figures.total - figures.app)}"
        text = f"{of_limit} with no item in flight ({used}): raise --max-memory or use fewer workers"
        return [GiveUp(text, _ENOUGH * figures.total)]

    def _grown(self, figures: Figures) -> dict[int, int]:
        return {worker: rss - self._baselines[worker] for worker, rss in figures.workers.items()}

    def _recycle(self, worker: int, figures: Figures, of_limit: str, *, at_once: bool) -> Recycle:
        self._replaced.add(worker)
        return Recycle(worker, f"{of_limit}, {size(figures.workers[worker])} of it in this worker", at_once)

    def _after_kill(self, figures: Figures, of_limit: str) -> list[Step]:
        """Halve the threads after a kill, or give up after `_LAST_KILLS` kills with at most one item a worker.

        The killed worker's items run again. If as many of them ran at once, they would need as much memory again.
        """
        if 0 < figures.in_flight <= len(figures.workers):
            self._kills += 1
            if self._kills >= _LAST_KILLS:
                text = f"{of_limit} with one item a worker: raise --max-memory or make the items smaller"
                return [GiveUp(text, _ENOUGH * figures.total)]
        return self._fewer_threads(figures, of_limit)

    def _can_divide(self, figures: Figures) -> bool:
        return figures.threads // self._divisor > 1

    def _fewer_threads(self, figures: Figures, of_limit: str) -> list[Step]:
        if not self._can_divide(figures):
            return []
        self._divisor *= 2
        return [DivideThreads(self._divisor, f"{of_limit}: one in {self._divisor} threads continues")]

    def _may_step(self, now: float) -> bool:
        if now - self._stepped_at < _STEP_SECONDS:
            return False
        self._stepped_at = now
        return True
