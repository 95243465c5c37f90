"""A worker for the scheduler that does what a real one does, one small step at a time, without threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tui_runner.engine.protocol import (
    Cancel,
    ChunkExhausted,
    ChunkFinished,
    Counts,
    Drain,
    Drained,
    MemoryFull,
    OpenChunk,
    Order,
    Pause,
    Probe,
    Progress,
    Ready,
    Report,
    ResultBatch,
    Resume,
    SetThreads,
    Trials,
    WorkerFailed,
    ranges_of,
)
from tui_runner.engine.scheduling.scheduler import Scheduler


def flush(
    worker: int,
    ended: dict[int, Sequence[int]],
    failed: dict[int, dict[int, int]] | None = None,
    counts: dict[int, Counts] | None = None,
    trials: Trials | None = None,
    retried: dict[int, dict[int, int]] | None = None,
) -> ResultBatch:
    """Return a flush without rows; counts are worked out when every item ended well or failed.

    Its `ended` has positions, see `by_index`.
    """
    failed = failed or {}
    if counts is None:
        counts = {
            number: Counts(done=len(positions) - len(failed.get(number, {})), failed=len(failed.get(number, {})))
            for number, positions in ended.items()
        }
    return ResultBatch(worker, (), b"", b"", ended, failed, retried or {}, counts, {}, 0, 0, trials or Trials())


def by_index(report: ResultBatch, scheduler: Scheduler) -> ResultBatch:
    """Return the flush with ranges of indexes instead of positions, as a worker with these chunks reports it."""
    chunks = {number: scheduler.chunks.open.get(number) for number in report.ended}
    ended = {
        number: ranges_of(sorted(chunk.left.indexes_of(report.ended[number]).values()))
        for number, chunk in chunks.items()
        if chunk is not None
    }
    return replace(report, ended=ended)


def chosen(order: OpenChunk) -> list[int]:
    """Return positions of the items that an order has run."""
    return list(order.positions) if order.run is None else [order.positions[index] for index in order.run]


@dataclass
class _HeldChunk:
    """A chunk as a simulated worker has it.

    `unsent` are outcomes that no flush has carried yet, `again` attempts likewise that are followed by another.
    """

    positions: Sequence[int]
    unstarted: deque[int]
    unended: int
    paused: bool
    cancelled: bool = False
    in_flight: list[int] = field(default_factory=list)
    unsent: dict[int, str] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)
    refused: Collection[int] = ()
    retried: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)


class SimulatedWorker:
    """Behaves as `engine.worker` does, without threads; the test decides what happens next."""

    def __init__(
        self, number: int, threads: int, paused: bool, *, alone: bool = False, permanent: bool = False
    ) -> None:
        self.number = number
        self.alone = alone
        self.threads = threads
        self.paused = paused
        self.passes = 0
        self.permanent = permanent
        """True if failures are permanent."""
        self.trials = Trials()
        self.attempts: dict[int, int] = {}
        """Attempts made of each item, those of other workers too, and the one that is being made."""
        self.full = False
        self.blamed = False
        """True if it was killed for a fault, not because it was not needed."""
        self.ready = False
        self.draining = False
        self.killed = False
        self.drained = False
        self.orders: deque[Order] = deque()
        self.reports: deque[Report] = deque()
        self.chunks: dict[int, _HeldChunk] = {}
        self.late: deque[ChunkExhausted] = deque()
        """Reports of threads that still wait for the pipe: others may end the chunk before."""

    def steps(self) -> list[str]:
        """Return the possible next steps of this worker."""
        if self.drained or self.killed:
            return []
        if not self.ready:
            return ["get ready"]
        steps = ["obey"] if self.orders and not self.draining else []
        if self._startable():
            steps.append("start")
        if any(chunk.in_flight for chunk in self.chunks.values()):
            steps += ["succeed", "fail", "retry"]
        if any(chunk.unsent or chunk.again for chunk in self.chunks.values()):
            steps.append("collect")
        if self.late:
            steps.append("get the pipe")
        steps.append("progress")
        if not self.full and not self.draining:
            steps.append("fill up")
        if self.draining:
            steps.append("leave")
        return steps

    def do(self, step: str, which: int = 0) -> None:
        """Do one of `steps`; `which` chooses among the items that it could be done to."""
        match step:
            case "get ready":
                self.ready = True
                self.reports.append(Ready(self.number, 1000 + self.number))
            case "obey":
                self._obey(self.orders.popleft())
            case "start":
                startable = self._startable()
                self._start(startable[which % len(startable)])
            case "collect":
                self._collect()
            case "get the pipe":
                self.reports.append(self.late.popleft())
            case "progress":
                self.reports.append(self.progress())
            case "fill up":
                self.full = which % 20 == 0  # not too often
                if self.full:
                    self.reports.append(MemoryFull(self.number, 1 << 30))
            case "fail to start":
                self.drained = True
                self.reports.append(WorkerFailed(self.number, "setup raised KeyError: no"))
            case "leave":
                self._collect()
                stuck = sum(len(chunk.in_flight) for chunk in self.chunks.values())
                self.reports.append(Drained(self.number, stuck))
                self.drained = True
            case _:
                flying = [(chunk, item) for chunk in self.chunks.values() for item in chunk.in_flight]
                self._end(*flying[which % len(flying)], step)

    def end_all(self, failing: Collection[int]) -> None:
        """Let everything in flight end: with success, except at the positions in `failing`."""
        for chunk in self.chunks.values() if not (self.drained or self.killed) else ():
            for position in list(chunk.in_flight):
                self._end(chunk, position, "fail" if position in failing else "succeed")

    @property
    def in_flight(self) -> list[int]:
        """Items that are being executed."""
        return [item for chunk in self.chunks.values() for item in chunk.in_flight if item not in chunk.refused]

    def progress(self, stuck: int = 0) -> Progress:
        """Return the report that it would send now."""
        in_flight = {number: len(chunk.in_flight) for number, chunk in self.chunks.items() if chunk.in_flight}
        return Progress(self.number, in_flight, (), self.threads, 0, False, stuck)

    @property
    def drains(self) -> bool:
        """Return True if it was told to drain."""
        return self.draining or any(isinstance(order, Drain) for order in self.orders)

    @property
    def sent_home(self) -> bool:
        """Return True if it was told to end."""
        return self.killed or self.drains

    def _startable(self) -> list[int]:
        if (self.paused and not self.passes) or self.draining or self.full or (self.alone and self.in_flight):
            return []
        return [number for number, chunk in self.chunks.items() if chunk.unstarted and not chunk.paused]

    def _start(self, number: int) -> None:
        chunk = self.chunks[number]
        position = chunk.unstarted.popleft()
        self.attempts[position] = self.attempts.get(position, 0) + 1
        chunk.in_flight.append(position)
        self.passes = 0
        if not chunk.unstarted:
            self.late.append(ChunkExhausted(self.number, number))

    def _end(self, chunk: _HeldChunk, position: int, step: str) -> None:
        chunk.in_flight.remove(position)
        if position in chunk.refused:
            step = "fail"
        if step == "succeed":
            self.trials += Trials(ok=1)
        elif position not in chunk.retried:
            chunk.retried.add(position)
            self.trials += Trials(transient=not self.permanent, permanent=self.permanent)
        if step == "retry" and not chunk.cancelled:
            chunk.again[position] = self.attempts[position]
            return
        chunk.unsent[position] = "ok" if step == "succeed" else "failed"

    def _obey(self, order: Order) -> None:
        match order:
            case OpenChunk():
                assert order.chunk not in self.chunks, "a chunk was sent to a worker that has it"
                run = deque(chosen(order))
                self.chunks[order.chunk] = _HeldChunk(
                    order.positions, run, len(run), order.paused, refused=set(order.refusals)
                )
            case Pause(None) | Resume(None):
                self.paused = isinstance(order, Pause)
                self.passes = 0
            case Probe():
                self.passes = int(self.paused)
            case Pause(number) | Resume(number) if number in self.chunks:
                self.chunks[number].paused = isinstance(order, Pause)
            case Cancel(number) if number in self.chunks:
                chunk = self.chunks[number]
                chunk.cancelled = True
                if chunk.unstarted:
                    self.late.append(ChunkExhausted(self.number, number))
                chunk.unsent.update(dict.fromkeys(chunk.unstarted, "cancelled"))
                chunk.unstarted.clear()
                chunk.unsent.update(dict.fromkeys(chunk.again, "failed"))  # the reporter has not granted these yet
                chunk.again.clear()
            case SetThreads(threads):
                self.threads = threads
            case Drain():
                self.draining = True

    def _collect(self) -> None:
        touched = {number: chunk for number, chunk in self.chunks.items() if chunk.unsent or chunk.again}
        for chunk in touched.values():
            states = list(chunk.unsent.values())
            chunk.counts += Counts(
                states.count("ok"),
                states.count("failed"),
                states.count("cancelled"),
                retries=len(chunk.again),
                rows=states.count("ok"),
            )
            chunk.unended -= len(states)
        if touched:
            failed = {
                number: {
                    position: self.attempts.get(position, 0)
                    for position, state in chunk.unsent.items()
                    if state != "ok"
                }
                for number, chunk in touched.items()
            }
            ended = {
                number: ranges_of(sorted(map(chunk.positions.index, chunk.unsent)))
                for number, chunk in touched.items()
                if chunk.unsent
            }
            counts = {number: chunk.counts for number, chunk in touched.items()}
            self.reports.append(SimulatedFlush.of(self, ended, failed, counts, touched))
            self.trials = Trials()
        for number, chunk in touched.items():
            chunk.unsent = {}
            chunk.unstarted.extend(chunk.again)  # only now: no flush has two attempts at an item
            chunk.again = {}
            if not chunk.unended:
                del self.chunks[number]
                self.reports.append(ChunkFinished(self.number, number))


@dataclass(frozen=True)
class SimulatedFlush:
    """A flush, and the final states that its ledger rows would carry."""

    flush: ResultBatch
    states: dict[int, str]

    @classmethod
    def of(cls, worker, ended, failed, counts, chunks) -> SimulatedFlush:  # type: ignore[no-untyped-def]
        """The flush of what `chunks` have not sent yet."""
        states = {position: state for chunk in chunks.values() for position, state in chunk.unsent.items()}
        retried = {number: dict(chunk.again) for number, chunk in chunks.items() if chunk.again}
        report = flush(worker.number, ended, failed, counts, worker.trials, retried)
        out_of_attempts = {
            number: lost
            for number, chunk in chunks.items()
            if (lost := [place for place, state in chunk.unsent.items() if state == "failed"]) and not worker.permanent
        }
        return cls(replace(report, out_of_attempts=out_of_attempts), states)
