"""Keeps a run within its memory: gives each worker its share, and takes steps as the whole comes near to its limit.

A share is what is left of 70 % of the limit, divided by one more than there are workers: while one is being replaced,
both of them are there.

| of the limit | what is done | undone below |
| --- | --- | --- |
| 70 % | half the threads, then a quarter … | 60 % |
| 80 % | queries end; no new items; the largest worker is replaced | 70 % |
| 95 % | the largest worker is killed; its items run again, half as many at once | 60 % |

Each worker keeps to a share of 70 % by itself (`memory_brake`), so that the ladder is for what workers do not see: the
memory of their child processes, that of tui-runner itself, items that are larger than a share.

Queries end first: they can be asked again, and a single value of one may take gigabytes that DuckDB does not count.
Workers are left alone until the memory of those queries is back, which takes as long as DuckDB computes that value.

A worker that is killed with one item in flight was killed by that item: like one that crashes its worker it runs alone
then, and fails when that kills its worker again and again. The others continue.

A worker that is hardly larger than it was before its first item is neither replaced nor killed: its successor would be
as large. Once no new items start and nothing is in flight, memory falls no more by itself. Then workers that have grown
by less are replaced, too, one after another, if that brings it below 80 %, and the run continues. If that does not, the
limit is too low for this job. It is, too, when workers are killed again and again although they have one item each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
"""Bytes of a worker that has loaded a small job: Python, Arrow and an HTTP client take 60 to 90 MB."""
_WORTH_TELLING = 0.1
"""Change of a share, of what it was, that workers are told of."""


def too_little(limit: int | None, workers: int, app_rss: int) -> str:
    """Return why a run with `workers` workers cannot do with `limit`; empty when it perhaps can."""
    needed = app_rss + workers * _WORKER
    if limit is None or limit >= needed:
        return ""
    each = f", {size(_WORKER)} for each worker" if workers else ""
    return f"{size(limit)} is too little memory: tui-runner itself has {size(app_rss)} now{each}"


def worker_share(limit: int | None, workers: int, app_rss: int) -> int | None:
    """Return the bytes that each worker may have.

    Args:
        limit: bytes that the run may use; None for no bound.
        workers: how many share it; one more is counted, for the one that takes the place of another.
        app_rss: bytes that tui-runner itself has.
    """
    if limit is None or not workers:
        return None
    return max(0, int(FEWER_THREADS * limit) - app_rss) // (workers + 1)


Message = MemoryMeasured | ChangeMaxMemory | TryRelease | Ready | Progress | WorkerLost
Answer = DivideThreads | Hold | Recycle | Release | ShareMemory | StopRun | Tell


class MemoryGuard:
    """Memory's part in a run.

    Args:
        limit: bytes that the run may use; None for no bound.
        crew: the workers; read only.
        statements: the queries of people, which end before the run suffers.
        app_rss: bytes that tui-runner itself has.
        in_process: True if no worker is a process of this machine but a thread of this process, or on another machine:
            then the limit has no share for them, and none of them is replaced.

    Attributes:
        limit: bytes that the run may use; None for no bound.
        needed: bytes with which the run probably could continue, once it was given up.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(
        self, limit: int | None, crew: Workers, statements: OpenStatements, app_rss: int, *, in_process: bool = False
    ) -> None:
        self.limit = limit
        self.needed: int | None = None
        self._crew = crew
        self._statements = statements
        self._app_rss = app_rss
        self._in_process = in_process
        self._share = crew.max_memory
        self._pids: dict[int, int] = {}
        self._in_flight: dict[int, int] = {}
        """Items that each worker executes."""
        self._ladder = MemoryLadder()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings to show, a few words each."""
        return (self._ladder.warning,) if self._ladder.warning else ()

    def handle(self, message: Message, now: float) -> Iterable[Answer]:
        """Take in what was measured, and what workers do; return what follows for the run."""
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
                # More items would take more memory.
                at = self._ladder.warning or "the run is held"
                text = f"{at}: it resumes below {100 * ITEMS_AGAIN:.0f} %, or with a higher memory limit"
                yield Tell("WARNING", text)
            case ChangeMaxMemory(limit):
                yield self._change(limit)

    @property
    def _workers(self) -> int:
        return 0 if self._in_process else self._crew.size

    def _change(self, limit: int | str | None) -> Tell:
        bound = memory_bound(limit)
        if complaint := too_little(bound, self._workers, self._app_rss):
            return Tell("WARNING", f"memory: {complaint}; the limit stays as it is")
        self.limit = bound
        return Tell("INFO", "memory: no bound" if bound is None else f"memory: {size(bound)} at most")

    def _divide(self) -> Iterable[ShareMemory]:
        """Give the workers their shares of what tui-runner itself leaves."""
        if self._in_process:
            return
        share, before = worker_share(self.limit, self._workers, self._app_rss), self._share
        if before is None or share is None or abs(share - before) > _WORTH_TELLING * before:
            self._share = share
            if share != before:
                yield ShareMemory(share)

    def _judge(self, memory: MemoryMeasured, now: float) -> Iterable[Answer]:
        by_number = {number: memory.by_pid[pid] for number, pid in self._pids.items() if pid in memory.by_pid}
        # Workers that are not yet known by number, or any more, belong to no worker but count all the same.
        rest = memory.app_rss + memory.workers_rss - sum(by_number.values())
        in_flight = sum(self._in_flight.values())
        figures = Figures(rest, by_number, in_flight, self._crew.threads, len(self._statements))
        for step in self._ladder.judge(figures, self.limit, now):
            match step:
                case FewerThreads(divisor, text):
                    yield DivideThreads(divisor, text)
                case HoldItems(text):
                    yield Hold(PauseCause.MEMORY, text)
                case ReleaseItems():
                    yield Release(PauseCause.MEMORY)
                case ReplaceWorker(worker, at_once, text):
                    # With several items in flight it is unknown which of them it is; alone it is killed three times.
                    yield Recycle(worker, text, at_once, blamed=at_once and self._in_flight.get(worker) == 1)
                case EndStatements(text):
                    if self._statements.end(f"the run needs the memory, {text}"):
                        yield Tell("WARNING", f"{text}: queries that were open are ended")
                case GiveUp(text, needed):
                    self.needed = needed
                    yield StopRun(RunState.FAILED, text)


FEWER_THREADS, NO_ITEMS, KILL = 0.70, 0.80, 0.95
"""Shares of the limit at which the rungs begin."""
_MORE_THREADS, ITEMS_AGAIN = 0.60, 0.70
"""Shares below which the first two are undone: a figure that wavers about a bound must not change anything twice."""
_STEP_SECONDS = 5.0
"""Between two steps, and without an item in flight before one: memory comes back within a few seconds."""
_CALM_SECONDS = 10.0
"""Below the first rung, before there are more threads again."""
_AT_REST_SECONDS = 10.0
"""Without anything that could be done, before the limit is called too low."""
_ENDING_SECONDS = 30.0
"""That workers are left alone while queries end. Making one value of 2 GB took 8 s at low priority."""
_LAST_KILLS = 9
"""Workers killed with one item in flight each, and never calm between: three items that were given up one after the
other, each after three kills. The next one would be given up as well."""
_ENOUGH = 2
"""Times what a run had when it was given up: what it is advised to be given."""
_WORTH = 64 << 20
"""Bytes that a worker must have grown by for its replacement to be of use: what `memory_brake` lets each grow by."""
_WORTH_AT_REST = 4 << 20
"""Likewise where nothing is in flight: there is nothing to drain, and the run stands still until memory is back."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Memory of a run, bytes.

    Attributes:
        app: the tui-runner process, and what else is not a worker.
        workers: each worker with its children, by number.
        in_flight: items being executed.
        threads: items executed at once, as a person wants it.
        statements: queries of people that are open.
    """

    app: int
    workers: Mapping[int, int]
    in_flight: int
    threads: int
    statements: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.app + sum(self.workers.values())


@dataclass(frozen=True, slots=True)
class FewerThreads:
    """Execute one in `divisor` of the items at once that a person wants."""

    divisor: int
    text: str


@dataclass(frozen=True, slots=True)
class HoldItems:
    """Start no new items."""

    text: str


@dataclass(frozen=True, slots=True)
class ReleaseItems:
    """Start items again."""


@dataclass(frozen=True, slots=True)
class ReplaceWorker:
    """Have a new worker take the place of this one, `at_once` without waiting for its items."""

    worker: int
    at_once: bool
    text: str


@dataclass(frozen=True, slots=True)
class EndStatements:
    """End the queries of people."""

    text: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run cannot continue within its limit; with `needed` bytes it probably could."""

    text: str
    needed: int


Step = FewerThreads | HoldItems | ReleaseItems | ReplaceWorker | EndStatements | GiveUp


class MemoryLadder:
    """The rungs of one run.

    Attributes:
        warning: what to show while it is above the first one; else empty.
        held: whether no new items start.
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
        """Return the steps to take for these figures at `now`, monotonic seconds."""
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
            return [HoldItems(f"{of_limit}: no new items until it is below {100 * ITEMS_AGAIN:.0f} %")]
        if share < ITEMS_AGAIN and self.held:
            self.held = False
            return [ReleaseItems()]
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
        calm = share < _MORE_THREADS
        self._calm_since = (now if self._calm_since is None else self._calm_since) if calm else None
        if share >= FEWER_THREADS and self._can_divide(figures) and self._may_step(now):
            return self._fewer_threads(figures, of_limit)
        if self._calm_since is not None and self._divisor > 1 and now - self._calm_since >= _CALM_SECONDS:
            self._calm_since = now
            self._kills = 0
            self._divisor //= 2
            words = "all threads go on" if self._divisor == 1 else f"one in {self._divisor} threads goes on"
            return [FewerThreads(self._divisor, f"{of_limit or 'memory has no bound'}: {words}")]
        return []

    def _replacement(self, figures: Figures, share: float, of_limit: str, now: float) -> list[Step]:
        at_once = share >= KILL
        grown = self._grown(figures)
        worth = [worker for worker, more in grown.items() if more >= _WORTH]
        due = worth if at_once else [worker for worker in worth if worker not in self._replaced]
        if not due:
            return self._rest(figures, share, of_limit, now)
        self._at_rest_since = None
        if not self._may_step(now):
            return []
        replace = self._replace(max(due, key=lambda number: grown[number]), figures, of_limit, at_once=at_once)
        return [replace, *(self._after_kill(figures, of_limit) if at_once else ())]

    def _rest(self, figures: Figures, share: float, of_limit: str, now: float) -> list[Step]:
        """The run is held: once nothing is in flight or on its way out, what is there now stays."""
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
            return [self._replace(max(worth, key=lambda number: grown[number]), figures, of_limit, at_once=False)]
        if share < NO_ITEMS:
            self.held, self._at_rest_since = False, None
            return [ReleaseItems()]
        if rested < _AT_REST_SECONDS:
            return []
        self._at_rest_since = now
        workers = "1 worker" if len(figures.workers) == 1 else f"{len(figures.workers)} workers"
        used = f"tui-runner has {size(figures.app)}, {workers} {size(figures.total - figures.app)}"
        text = f"{of_limit} with no item in flight ({used}): give it more --max-memory, or fewer workers"
        return [GiveUp(text, _ENOUGH * figures.total)]

    def _grown(self, figures: Figures) -> dict[int, int]:
        return {worker: rss - self._baselines[worker] for worker, rss in figures.workers.items()}

    def _replace(self, worker: int, figures: Figures, of_limit: str, *, at_once: bool) -> ReplaceWorker:
        self._replaced.add(worker)
        return ReplaceWorker(worker, at_once, f"{of_limit}, {size(figures.workers[worker])} of it in this worker")

    def _after_kill(self, figures: Figures, of_limit: str) -> list[Step]:
        """Its items run again, and would take as much again if they were as many at once."""
        if 0 < figures.in_flight <= len(figures.workers):
            self._kills += 1
            if self._kills >= _LAST_KILLS:
                text = f"{of_limit} with one item a worker: give it more --max-memory, or smaller items"
                return [GiveUp(text, _ENOUGH * figures.total)]
        return self._fewer_threads(figures, of_limit)

    def _can_divide(self, figures: Figures) -> bool:
        return figures.threads // self._divisor > 1

    def _fewer_threads(self, figures: Figures, of_limit: str) -> list[Step]:
        if not self._can_divide(figures):
            return []
        self._divisor *= 2
        return [FewerThreads(self._divisor, f"{of_limit}: one in {self._divisor} threads goes on")]

    def _may_step(self, now: float) -> bool:
        if now - self._stepped_at < _STEP_SECONDS:
            return False
        self._stepped_at = now
        return True
