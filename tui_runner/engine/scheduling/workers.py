"""The workers of a run as the scheduler sees them: their states, chunks, shares of threads and rate, and deadlines.

This module is part of the scheduler, so it does no I/O and takes the time from the step.

A worker reports several times a second whatever its items do, because its reporter is a thread of its own. A worker
that does not report was stopped, or native code in it holds the interpreter lock and never returns. Nothing within the
process can end such code, so the process is killed.

| state      | meaning                                    | leaves it                                                |
| ---------- | ------------------------------------------ | -------------------------------------------------------- |
| `STARTING` | its process starts and loads the job       | it reports that it is ready; it is drained or killed     |
| `READY`    | it takes chunks                            | it is drained or killed                                  |
| `DRAINING` | it finishes what is in flight, then ends   | it is killed when its deadline passes, or on request     |
| `KILLED`   | its process has the order to end at once   | its loss is reported                                     |

The loss of a worker may be reported in every state; the worker is then removed from `Workers`. If the loss was expected
(`Worker.is_expected_to_end`), no item is blamed for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tui_runner.engine import protocol
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.step import Step
from tui_runner.engine.states import check_transition


class WorkerState(StrEnum):
    """The states of a worker; the table at the head of the module explains them."""

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
"""Allowed next states for each state of a worker."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker as the scheduler sees it.

    Attributes:
        number: unique number; the replacement of a worker has a new number.
        slot: index of the worker's share of the threads; the replacement of a worker has the same slot. None for the
            worker that runs suspects one at a time.
        state: current state; only `become` changes it.
        deadline: monotonic time at which a worker that still runs is killed; None for a worker whose end is not
            expected, even if it was killed.
        fault: reason why the worker was killed, if an item may be to blame or it did not report; otherwise empty.
        open: numbers of the worker's chunks in which items have not started, without paused and cancelled chunks.
        chunks: numbers of all chunks of the worker.
        waiting: True if items wait to be started, by the worker's last report.
        in_flight: number of items in flight by chunk, by the worker's last report.
        executes: number of items in flight that do not wait for their host.
        waits: reasons why chunks wait, by chunk; only chunks with no item in execution have one.
        rate: items per second that the worker may start, by the last order; None for no limit.
    """

    number: int
    slot: int | None
    state: WorkerState = WorkerState.STARTING
    deadline: float | None = None
    fault: str = ""
    open: set[int] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    waiting: bool = False
    in_flight: Mapping[int, int] = field(default_factory=dict)
    executes: int = 0
    waits: Mapping[int, protocol.ChunkWait] = field(default_factory=dict)
    rate: float | None = None

    def become(self, state: WorkerState) -> None:
        """Change to `state`. Raise `ValueError` if the transition is not allowed."""
        check_transition(WORKER_TRANSITIONS, self.state, state)
        self.state = state

    @property
    def ready(self) -> bool:
        """True if the worker can take chunks."""
        return self.state is WorkerState.READY

    @property
    def killed(self) -> bool:
        """True if the worker was ordered to end at once."""
        return self.state is WorkerState.KILLED

    @property
    def is_expected_to_end(self) -> bool:
        """True if the worker has an order to end by its deadline. Another worker may take its slot."""
        return self.deadline is not None


_IDLE_RATE = 1e-3
"""Fraction of the run's rate that a worker without items to start gets. Its first new item can start at once, and after
its next report it gets a full share. With a rate of 0, it would never start an item. The fraction is small, because it
comes on top of the shares of the other workers, which are the whole rate."""


class Workers:
    """The workers of a run. Owned by the scheduler.

    Args:
        most: number of workers if there are enough threads; `ChangeWorkers` changes it.
        threads: items executed at once, over all workers.
        rate: items started per second, over all workers; None for no limit.
        max_memory: bytes that each worker may use; None for no limit.
    """

    def __init__(self, most: int, threads: int, *, rate: float | None = None, max_memory: int | None = None) -> None:
        self.most = most
        self.threads = threads
        self.rate = rate
        self.max_memory = max_memory
        self.divisor = 1
        """Only one in `divisor` of the threads is used; above 1 while memory is short."""
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
        """The number of workers to run now: at most one per thread.

        A worker without a thread would only hold chunks.
        """
        return max(1, min(self.most, self._threads_used))

    @property
    def surplus(self) -> list[Worker]:
        """The workers whose slots no longer exist. Workers with an order to end are left out."""
        return [
            worker
            for worker in self
            if worker.slot is not None and worker.slot >= self.size and not worker.is_expected_to_end
        ]

    def get(self, number: int) -> Worker | None:
        """Return the worker with this number, or None if it has been removed."""
        return self._workers.get(number)

    def __getitem__(self, number: int) -> Worker:
        return self._workers[number]

    def remove(self, number: int) -> None:
        """Remove a worker that has ended."""
        del self._workers[number]

    def recruit(self, *, alone: bool) -> list[Worker]:
        """Add and return a new worker for each free slot. Workers that are expected to end hold no slot.

        Args:
            alone: True to add the worker for suspects as well, if there is none.
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
        """Return the number of threads of a worker, at least one. Together, the slots get all threads in use."""
        if worker.slot is None:
            return 1
        each, rest = divmod(self._threads_used, self.size)
        return each + (worker.slot < rest)

    @property
    def rate_share(self) -> float | None:
        """An equal share of the rate, in items per second; None for no limit."""
        return None if self.rate is None else self.rate / self.size

    def rate_shares(self) -> dict[Worker, float | None]:
        """Return the items per second that each worker may start; None for no limit.

        Workers with items to start get equal shares, the other workers get `_IDLE_RATE` of the rate. If no worker has
        items to start, all get equal shares.
        """
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
        """True while at least one worker is starting, not counting the worker for suspects."""
        return any(worker.state is WorkerState.STARTING and worker.slot is not None for worker in self)

    @property
    def ready(self) -> list[Worker]:
        """The workers that can take chunks, without the worker for suspects."""
        return [worker for worker in self if worker.ready and worker.slot is not None]

    @property
    def alone(self) -> Worker | None:
        """The worker that runs suspects one at a time; None if no such worker exists or it is expected to end."""
        return next((worker for worker in self if worker.slot is None and not worker.is_expected_to_end), None)

    def open_limit(self, open_chunks: int) -> int:
        """Return the number of chunks to have open: `open_chunks`, but at least two per worker if there are several.

        With two, each worker has a chunk in reserve.
        """
        return open_chunks if self.size == 1 else max(open_chunks, 2 * self.size)


DRAIN_SLACK = 5.0
"""Seconds after the grace time in which a draining worker can send its last rows, before it is killed. The end of a
stopped run is delayed by at most this time if a worker hangs."""
RECYCLE_GRACE = 3600.0
"""Seconds that items in flight may take when their worker is replaced. A long time does no harm, because the worker
starts no more items. With a short time, long items would start again at each replacement and never end."""


class WorkerControl:
    """The scheduler's orders to workers, and its supervision of workers that do not end or report in time.

    Args:
        workers: the workers; only this object changes their states.
        step: the current step, which collects the orders.
        grace: seconds that items in flight have to finish when their worker drains.
        timeout: seconds an item may take; None for no limit.
    """

    def __init__(self, workers: Workers, step: Step, grace: float, timeout: float | None) -> None:
        self._workers = workers
        self._step = step
        self._grace = grace
        self._silence = Liveness(timeout)

    def all(self, order: protocol.Order) -> None:
        """Send the same order to every worker."""
        for worker in self._workers:
            self._step.do(events.SendOrder(worker.number, order))

    def share_threads(self) -> None:
        """Send every worker its number of threads, and drain the workers whose slot no longer exists."""
        for worker in self._workers.surplus:
            self._step.tell("INFO", f"worker {worker.number} ends, because there are fewer threads than workers")
            self.drain(worker, grace=RECYCLE_GRACE)
        for worker in self._workers:
            if not worker.is_expected_to_end:
                self._step.do(events.SendOrder(worker.number, protocol.SetThreads(self._workers.share(worker))))

    def share_rate(self) -> None:
        """Send its share of the rate to each worker whose share has changed."""
        if self._workers.rate is None:
            return
        shares = self._workers.rate_shares()
        changed = [worker for worker, rate in shares.items() if rate != worker.rate]
        # Lower shares first, because the sum of all shares must not exceed the rate in between.
        for worker in sorted(changed, key=lambda worker: shares[worker] or 0.0):
            worker.rate = shares[worker]
            self._step.do(events.SendOrder(worker.number, protocol.SetRate(worker.rate)))

    def drain(self, worker: Worker, *, grace: float | None = None, slack: float | None = None) -> None:
        """Order a worker to start no more items and to end when its items in flight have ended.

        Args:
            worker: the worker.
            grace: seconds that the items in flight may take; by default the grace time of a stopped run.
            slack: further seconds until the worker is killed; by default `DRAIN_SLACK`.
        """
        grace = self._grace if grace is None else grace
        slack = DRAIN_SLACK if slack is None else slack
        worker.deadline = self._step.now + grace + slack
        if worker.state in (WorkerState.STARTING, WorkerState.READY):
            worker.become(WorkerState.DRAINING)
        self._step.do(events.SendOrder(worker.number, protocol.Drain(grace)))

    def kill(self, worker: Worker) -> None:
        """Kill a worker. The backend reports its end as a `WorkerLost`."""
        if not worker.killed:
            worker.become(WorkerState.KILLED)
            self._step.do(events.KillWorker(worker.number))

    def recycle(self, event: events.Recycle) -> None:
        """Replace a worker: drain it, or kill it if the event is `at_once` or `blamed`."""
        worker = self._workers.get(event.worker)
        if worker is None or worker.killed:
            return
        if event.blamed:
            worker.fault = f"killed: {event.reason}"
            self.kill(worker)
        elif event.at_once:
            worker.deadline = self._step.now  # makes its end expected, so that no item is blamed
            self._step.tell("WARNING", f"worker {worker.number} is killed: {event.reason}; its items run again")
            self.kill(worker)
        elif not worker.is_expected_to_end:
            self._step.tell("INFO", f"worker {worker.number} is replaced: {event.reason}")
            self.drain(worker, grace=RECYCLE_GRACE)

    def mark_ready(self, worker: Worker) -> None:
        """Mark a worker as ready to take chunks. A worker that got an order to end while it started stays as it is."""
        if worker.state is WorkerState.STARTING:
            worker.become(WorkerState.READY)
        self.record_report(worker)

    def record_report(self, worker: Worker) -> None:
        """Record that a worker has reported just now."""
        self._silence.record_report(worker.number, self._step.now)

    def remove_ended(self, worker: Worker) -> None:
        """Remove a worker that has ended."""
        self._workers.remove(worker.number)
        self._silence.forget(worker.number)

    def record_progress(self, progress: protocol.Progress) -> None:
        """Record a worker's progress, and replace it if too many of its threads hang in items that never return."""
        worker = self._workers.get(progress.worker)
        if worker is None or worker.killed:
            return
        self.record_report(worker)
        worker.waiting = progress.waiting
        worker.in_flight = progress.in_flight
        worker.executes, worker.waits = progress.in_flight_now, progress.waits
        if progress.stuck and not worker.is_expected_to_end:
            text = f"worker {worker.number} has {progress.stuck} items that never return: it is replaced"
            self._step.tell("WARNING", text)
            self.drain(worker)

    def kill_overdue(self) -> None:
        """Kill workers that have passed their deadline, and workers that have stopped reporting.

        Items in flight in a silent worker become suspects, unless the worker was expected to end.
        """
        for worker in self._workers:
            if worker.deadline is not None and self._step.now > worker.deadline and not worker.killed:
                self._step.tell("WARNING", f"worker {worker.number} did not end in time and was killed")
                self.kill(worker)
        for number in self._silence.silent(self._step.now):
            self._silence.forget(number)
            silent = self._workers.get(number)
            if silent is None or silent.killed:
                continue
            silent.fault = f"killed because it did not report for {self._silence.patience:g} s"
            if silent.is_expected_to_end:  # a draining worker may have an hour left, but only while it reports
                self._step.tell("WARNING", f"worker {silent.number}, which was to be replaced, is {silent.fault}")
            self.kill(silent)


_SLACK = 30.0
"""Seconds beyond the timeout of an item for which a worker may send no report, before it is killed. Swapping, or a
gigabyte of rows, may delay a report that long."""
_PATIENCE_WITHOUT_TIMEOUT = 1800.0
"""Seconds without a report after which a worker is killed if items have no timeout. Native code that holds the
interpreter lock prevents reports, and rarely takes half an hour. A job with such items needs a longer `timeout`."""
_OWN_ABSENCE = 5.0
"""Seconds between two checks beyond which tui-runner itself must have been stopped (a suspended machine, Ctrl-Z). In
that case reports wait unread, and no worker is to blame."""


class Liveness:
    """Times of the last report of each worker (heartbeats). Times are monotonic seconds.

    Args:
        timeout: seconds an item may take; None for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self.patience = _PATIENCE_WITHOUT_TIMEOUT if timeout is None else timeout + _SLACK
        self._reported_at: dict[int, float] = {}
        self._looked_at = 0.0

    def record_report(self, worker: int, now: float) -> None:
        """Record a report of a worker."""
        self._reported_at[worker] = now

    def forget(self, worker: int) -> None:
        """Stop expecting reports of a worker."""
        self._reported_at.pop(worker, None)

    def silent(self, now: float) -> list[int]:
        """Return the workers whose last report is older than `patience`. Workers that never reported are left out.

        After a time in which tui-runner itself was stopped, the patience with every worker begins anew.
        """
        if now - self._looked_at > _OWN_ABSENCE:
            self._reported_at = dict.fromkeys(self._reported_at, now)
        self._looked_at = now
        return [worker for worker, reported_at in self._reported_at.items() if now - reported_at > self.patience]
