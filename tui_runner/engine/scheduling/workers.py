"""The workers of a run as the scheduler sees them: who is there, what they have, when they end, when they are silent.

Part of the scheduler, like `chunks`: it decides by what it is told and by the time of the turn, and does nothing
itself.

A worker reports several times a second, whatever its items do, because its collector is a thread of its own. One that
does not was stopped, or native code in it keeps the interpreter for itself and never comes back. No deadline can end
that, so the process must.

| state      | meaning                                    | leaves it                                                |
| ---------- | ------------------------------------------ | -------------------------------------------------------- |
| `STARTING` | its process starts and loads the job       | it says that it is ready; it is drained or killed        |
| `READY`    | it takes chunks                            | it is drained or killed                                  |
| `DRAINING` | it finishes what is in flight, then ends   | it is killed when its deadline passes, or on request     |
| `KILLED`   | its process was told to end at once        | its loss is reported                                     |

From every state its loss may be reported; then it is no member of the crew any more. A loss that was expected
(`Worker.is_expected_to_end`) is blamed on no item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tui_runner.engine import protocol
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.step import Turn
from tui_runner.engine.states import check_transition


class WorkerState(StrEnum):
    """The states of a worker."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    KILLED = "killed"


WORKER_TRANSITIONS: Mapping[WorkerState, frozenset[WorkerState]] = {
    WorkerState.STARTING: frozenset({WorkerState.READY, WorkerState.DRAINING, WorkerState.KILLED}),
    WorkerState.READY: frozenset({WorkerState.DRAINING, WorkerState.KILLED}),
    WorkerState.DRAINING: frozenset({WorkerState.KILLED}),
    WorkerState.KILLED: frozenset(),
}
"""From each state of a worker, the states that may follow."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker as the scheduler sees it; `slot` says which share of the threads it has.

    Attributes:
        number: its number; every worker that is started has a new one.
        slot: its place in the crew; a worker that takes a lost one's place has the same. None for the worker that runs
            suspects alone.
        state: what it does; changed by `become` alone.
        deadline: when it is killed unless it has ended by then; None when it was not told to end.
        fault: why it was killed, when that was its own fault.
        open: chunks that still have items for it to start.
        chunks: all chunks it has.
        waiting: whether it said that items wait to be started.
        rate: items per second that it may start, as it was told; None for no bound.
    """

    number: int
    slot: int | None
    state: WorkerState = WorkerState.STARTING
    deadline: float | None = None
    fault: str = ""
    open: set[int] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    waiting: bool = False
    rate: float | None = None

    def become(self, state: WorkerState) -> None:
        """Go to `state`; raises `ValueError` when that cannot follow."""
        check_transition(WORKER_TRANSITIONS, self.state, state)
        self.state = state

    @property
    def ready(self) -> bool:
        """Return True if it can take chunks."""
        return self.state is WorkerState.READY

    @property
    def killed(self) -> bool:
        """Return True if it was told to end at once."""
        return self.state is WorkerState.KILLED

    @property
    def is_expected_to_end(self) -> bool:
        """Return True if it was told to drain, or to make room for another: then it holds no slot of the crew."""
        return self.deadline is not None


_IDLE_RATE = 1e-3
"""Of the rate, for a worker that has nothing to start: its first item may start at once, and it has a share then."""


class Workers:
    """The workers of a run. Owned by the scheduler.

    Args:
        most: their number when there are threads enough; a cluster that grows changes it.
        threads: items executed at once, over all of them.
        rate: items started per second, over all of them; None for no bound.
        max_memory: bytes that each may have; None for no bound.
    """

    def __init__(self, most: int, threads: int, *, rate: float | None = None, max_memory: int | None = None) -> None:
        self.most = most
        self.threads = threads
        self.rate = rate
        self.max_memory = max_memory
        self.divisor = 1
        """Use one in `divisor` threads."""
        self._workers: dict[int, Worker] = {}
        self._next_number = 0

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def _threads_used(self) -> int:
        return max(1, self.threads // self.divisor)

    @property
    def size(self) -> int:
        """Number of workers to have now: one without a thread would only sit on its chunks."""
        return max(1, min(self.most, self._threads_used))

    @property
    def surplus(self) -> list[Worker]:
        """Return surplus workers."""
        return [
            worker
            for worker in self
            if worker.slot is not None and worker.slot >= self.size and not worker.is_expected_to_end
        ]

    def get(self, number: int) -> Worker | None:
        """The worker with this number, None when it is not there any more."""
        return self._workers.get(number)

    def __getitem__(self, number: int) -> Worker:
        return self._workers[number]

    def remove(self, number: int) -> None:
        """The worker is gone."""
        del self._workers[number]

    def recruit(self, *, alone: bool) -> list[Worker]:
        """Return new workers for free slots; those that drain do not hold one.

        Args:
            alone: True for a worker for suspects, too.
        """
        slots: list[int | None] = list(range(self.size))
        if alone:
            slots.append(None)
        taken = {worker.slot for worker in self if not worker.is_expected_to_end}
        recruits = []
        for slot in slots:
            if slot not in taken:
                worker = Worker(self._next_number, slot)
                self._next_number += 1
                self._workers[worker.number] = worker
                recruits.append(worker)
        return recruits

    def share(self, worker: Worker) -> int:
        """Return the threads of a worker; each has at least one, all of them no more than there are."""
        if worker.slot is None:
            return 1
        each, rest = divmod(self._threads_used, self.size)
        return each + (worker.slot < rest)

    @property
    def rate_share(self) -> float | None:
        """Items per second that each worker may start; None for no bound."""
        return None if self.rate is None else self.rate / self.size

    def rate_shares(self) -> dict[Worker, float | None]:
        """Return the items per second that each worker may start: those with items to start share all of it."""
        if self.rate is None:
            return dict.fromkeys(self, None)
        busy = [worker for worker in self if worker.open or worker.waiting]
        if not busy:
            return dict.fromkeys(self, self.rate_share)
        return {
            worker: self.rate / len(busy) if worker.open or worker.waiting else self.rate * _IDLE_RATE
            for worker in self
        }

    @property
    def is_starting(self) -> bool:
        """True while a worker, other than the one for suspects, is not ready yet."""
        return any(worker.state is WorkerState.STARTING and worker.slot is not None for worker in self)

    @property
    def ready(self) -> list[Worker]:
        """Those that can take chunks."""
        return [worker for worker in self if worker.ready and worker.slot is not None]

    @property
    def alone(self) -> Worker | None:
        """The worker that runs suspects alone, unless it drains."""
        return next((worker for worker in self if worker.slot is None and not worker.is_expected_to_end), None)

    def open_limit(self, open_chunks: int) -> int:
        """Chunks to keep open when `open_chunks` are asked for; several workers need one to spare, or run dry."""
        return open_chunks if self.size == 1 else max(open_chunks, 2 * self.size)


DRAIN_SLACK = 5.0
"""Seconds beyond the grace time after which a draining worker is killed: it needs some to send its last rows."""
RECYCLE_GRACE = 3600.0
"""Seconds that items in flight have when their worker is replaced. It starts no more, so there is no hurry; and items
that take long would never end if each replacement made them begin again."""


class WorkerControl:
    """Tells workers what to do.

    Args:
        crew: the workers; this alone changes their states.
        turn: takes the orders.
        grace: seconds that items in flight have to finish when their worker drains.
        timeout: seconds an item may take, None for no bound.
    """

    def __init__(self, crew: Workers, turn: Turn, grace: float, timeout: float | None) -> None:
        self._crew = crew
        self._turn = turn
        self._grace = grace
        self._silence = Liveness(timeout)

    def all(self, order: protocol.Order) -> None:
        """The same order to every worker."""
        for worker in self._crew:
            self._turn.do(events.SendOrder(worker.number, order))

    def share_threads(self) -> None:
        """Tell every worker how many threads it has now, and send those home for which there is none."""
        for worker in self._crew.surplus:
            self._turn.tell("INFO", f"worker {worker.number} goes: there are fewer threads than workers")
            self.drain(worker, grace=RECYCLE_GRACE)
        for worker in self._crew:
            if not worker.is_expected_to_end:
                self._turn.do(events.SendOrder(worker.number, protocol.SetThreads(self._crew.share(worker))))

    def share_rate(self) -> None:
        """Tell workers what they have of the rate, where that has changed; lower shares first."""
        if self._crew.rate is None:
            return
        shares = self._crew.rate_shares()
        changed = [worker for worker, rate in shares.items() if rate != worker.rate]
        for worker in sorted(changed, key=lambda worker: shares[worker] or 0.0):
            worker.rate = shares[worker]
            self._turn.do(events.SendOrder(worker.number, protocol.SetRate(worker.rate)))

    def drain(self, worker: Worker, *, grace: float | None = None, slack: float | None = None) -> None:
        """Have a worker start nothing more and end when its items have.

        Args:
            worker: which.
            grace: seconds that its items have, unless they are those of a stopped run.
            slack: seconds beyond that after which it is killed; `DRAIN_SLACK` unless given.
        """
        grace = self._grace if grace is None else grace
        slack = DRAIN_SLACK if slack is None else slack
        worker.deadline = self._turn.now + grace + slack
        if worker.state in (WorkerState.STARTING, WorkerState.READY):
            worker.become(WorkerState.DRAINING)
        self._turn.do(events.SendOrder(worker.number, protocol.Drain(grace)))

    def kill(self, worker: Worker) -> None:
        """End a worker at once; that it is gone is reported like any loss."""
        if not worker.killed:
            worker.become(WorkerState.KILLED)
            self._turn.do(events.KillWorker(worker.number))

    def recycle(self, event: events.Recycle) -> None:
        """Have another worker take the place of one, which finishes what it has in flight unless it is killed."""
        worker = self._crew.get(event.worker)
        if worker is None or worker.killed:
            return
        if event.blamed:
            worker.fault = f"killed: {event.reason}"
            self.kill(worker)
        elif event.at_once:
            worker.deadline = self._turn.now  # its death is no surprise, and no item's fault
            self._turn.tell("WARNING", f"worker {worker.number} is killed: {event.reason}; its items run again")
            self.kill(worker)
        elif not worker.is_expected_to_end:
            self._turn.tell("INFO", f"worker {worker.number} is replaced: {event.reason}")
            self.drain(worker, grace=RECYCLE_GRACE)

    def is_ready(self, worker: Worker) -> None:
        """Have a worker take chunks, unless it was told to end before it could."""
        if worker.state is WorkerState.STARTING:
            worker.become(WorkerState.READY)
        self.heard(worker)

    def heard(self, worker: Worker) -> None:
        """A worker has said something."""
        self._silence.heard(worker.number, self._turn.now)

    def gone(self, worker: Worker) -> None:
        """A worker is there no more."""
        self._crew.remove(worker.number)
        self._silence.forget(worker.number)

    def look_after(self, progress: protocol.Progress) -> None:
        """A worker with too many threads that never come back is replaced by another."""
        worker = self._crew.get(progress.worker)
        if worker is None or worker.killed:
            return
        self.heard(worker)
        worker.waiting = progress.waiting
        if progress.stuck and not worker.is_expected_to_end:
            text = f"worker {worker.number} has {progress.stuck} items that never return: another takes its place"
            self._turn.tell("WARNING", text)
            self.drain(worker)

    def kill_overdue(self) -> None:
        """Kill workers that have not drained in time, and those that do not report any more.

        What the latter have in flight is suspected of it, unless they were to go anyway.
        """
        for worker in self._crew:
            if worker.deadline is not None and self._turn.now > worker.deadline and not worker.killed:
                self._turn.tell("WARNING", f"worker {worker.number} did not end in time and was killed")
                self.kill(worker)
        for number in self._silence.silent(self._turn.now):
            self._silence.forget(number)
            silent = self._crew.get(number)
            if silent is None or silent.killed:
                continue
            silent.fault = f"killed because it did not report for {self._silence.patience:g} s"
            if silent.is_expected_to_end:  # its items may have an hour, but only if it executes them
                self._turn.tell("WARNING", f"worker {silent.number}, which was to be replaced, is {silent.fault}")
            self.kill(silent)


_SLACK = 30.0
"""Seconds beyond the timeout of an item: a machine that swaps, or a gigabyte of rows, may hold up a report for some."""
_PATIENCE_WITHOUT_TIMEOUT = 1800.0
"""Seconds without a report after which a worker is killed where items have no timeout. Native code that holds the
interpreter reports nothing, and half an hour of that is rare. Where it is not, give the job a longer `timeout`."""
_OWN_ABSENCE = 5.0
"""Seconds between two looks after which it was tui-runner itself that stood still, and no worker is to blame."""


class Liveness:
    """Heartbeats of workers. Times are monotonic seconds.

    Args:
        timeout: seconds an item may take, None for no bound.
    """

    def __init__(self, timeout: float | None) -> None:
        self.patience = _PATIENCE_WITHOUT_TIMEOUT if timeout is None else timeout + _SLACK
        self._heard_at: dict[int, float] = {}
        self._looked_at = 0.0

    def heard(self, worker: int, now: float) -> None:
        """A worker has reported."""
        self._heard_at[worker] = now

    def forget(self, worker: int) -> None:
        """Nothing is expected of a worker any more."""
        self._heard_at.pop(worker, None)

    def silent(self, now: float) -> list[int]:
        """Return workers that have reported once, and not for longer than `patience`."""
        if now - self._looked_at > _OWN_ABSENCE:
            self._heard_at = dict.fromkeys(self._heard_at, now)
        self._looked_at = now
        return [worker for worker, heard_at in self._heard_at.items() if now - heard_at > self.patience]
