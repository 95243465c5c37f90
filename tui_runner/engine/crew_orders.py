"""Orders to workers, and when one has to go: it is replaced, does not drain, or says nothing any more.

Part of the scheduler, like `chunks`: it decides by what it is told and by the time of the turn, and does nothing
itself.
"""

from __future__ import annotations

from tui_runner.engine import events, protocol
from tui_runner.engine.crew import Crew, WorkerState
from tui_runner.engine.silence import Silence
from tui_runner.engine.turn import Turn

DRAIN_SLACK = 5.0
"""Seconds beyond the grace time after which a worker that does not drain is killed."""
RECYCLE_GRACE = 3600.0
"""Seconds that items in flight have when their worker is replaced. It starts no more, so there is no hurry; and items
that take long would never end if each replacement made them begin again."""


class CrewOrders:
    """Tells workers what to do.

    Args:
        crew: the workers; this alone marks them as draining or killed.
        turn: takes the orders.
        grace: seconds that items in flight have to finish when their worker drains.
        timeout: seconds an item may take, None for no bound.
    """

    def __init__(self, crew: Crew, turn: Turn, grace: float, timeout: float | None) -> None:
        self._crew = crew
        self._turn = turn
        self._grace = grace
        self._silence = Silence(timeout)

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
            if worker.draining_until is None:
                self._turn.do(events.SendOrder(worker.number, protocol.SetThreads(self._crew.share(worker))))

    def drain(self, worker: WorkerState, *, grace: float | None = None, slack: float | None = None) -> None:
        """Have a worker start nothing more and end when its items have.

        Args:
            worker: which.
            grace: seconds that its items have, unless they are those of a stopped run.
            slack: seconds beyond that after which it is killed; `DRAIN_SLACK` unless given.
        """
        grace = self._grace if grace is None else grace
        slack = DRAIN_SLACK if slack is None else slack
        worker.draining_until = self._turn.now + grace + slack
        worker.ready = False
        self._turn.do(events.SendOrder(worker.number, protocol.Drain(grace)))

    def kill(self, worker: WorkerState) -> None:
        """End a worker at once; that it is gone is reported like any loss."""
        if not worker.killed:
            worker.killed = True
            worker.ready = False
            self._turn.do(events.KillWorker(worker.number))

    def recycle(self, event: events.Recycle) -> None:
        """Have another worker take the place of one, which finishes what it has in flight unless it is killed."""
        worker = self._crew.get(event.worker)
        if worker is None or worker.killed:
            return
        if event.at_once:
            worker.draining_until = self._turn.now  # its death is no surprise, and no item's fault
            self._turn.tell("WARNING", f"worker {worker.number} is killed: {event.reason}; its items run again")
            self.kill(worker)
        elif worker.draining_until is None:
            self._turn.tell("INFO", f"worker {worker.number} is replaced: {event.reason}")
            self.drain(worker, grace=RECYCLE_GRACE)

    def heard(self, worker: WorkerState) -> None:
        """A worker has said something."""
        self._silence.heard(worker.number, self._turn.now)

    def gone(self, worker: WorkerState) -> None:
        """A worker is there no more."""
        self._crew.remove(worker.number)
        self._silence.forget(worker.number)

    def look_after(self, progress: protocol.Progress) -> None:
        """A worker with too many threads that never come back is replaced by another."""
        worker = self._crew.get(progress.worker)
        if worker is None or worker.killed:
            return
        self.heard(worker)
        if progress.stuck and worker.draining_until is None:
            text = f"worker {worker.number} has {progress.stuck} items that never return: another takes its place"
            self._turn.tell("WARNING", text)
            self.drain(worker)

    def kill_overdue(self) -> None:
        """Kill workers that have not drained in time, and those that do not report any more.

        What the latter have in flight is suspected of it, unless they were to go anyway.
        """
        for worker in self._crew:
            if worker.draining_until is not None and self._turn.now > worker.draining_until and not worker.killed:
                self._turn.tell("WARNING", f"worker {worker.number} did not end in time and was killed")
                self.kill(worker)
        for number in self._silence.silent(self._turn.now):
            self._silence.forget(number)
            silent = self._crew.get(number)
            if silent is None or silent.killed:
                continue
            silent.fault = f"killed because it did not report for {self._silence.patience:g} s"
            if silent.draining_until is not None:  # its items may have an hour, but only if it executes them
                self._turn.tell("WARNING", f"worker {silent.number}, which was to be replaced, is {silent.fault}")
            self.kill(silent)
