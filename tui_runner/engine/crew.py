"""The workers of a run as the scheduler sees them: who is there, what they have, who gets the next chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class WorkerState:
    """A worker; `slot` says which share of the threads it has.

    Attributes:
        number: its number; every worker that is started has a new one.
        slot: its place in the crew; a worker that takes a lost one's place has the same. None for the worker that runs
            suspects alone.
        ready: whether it can take chunks.
        draining_until: when it is killed unless it has ended by then; None when it was not told to drain.
        killed: whether it was told to end at once.
        fault: why it was killed, when that was its own fault.
        open: chunks of which it still has items to start.
        chunks: all chunks it has.
    """

    number: int
    slot: int | None
    ready: bool = False
    draining_until: float | None = None
    killed: bool = False
    fault: str = ""
    open: set[int] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)


class Crew:
    """The workers of a run. Owned by the scheduler.

    Args:
        most: how many there are to be when there are threads enough.
        threads: items executed at once, over all of them.
    """

    def __init__(self, most: int, threads: int) -> None:
        self._most = most
        self.threads = threads
        self.divisor = 1
        """Of the threads one in so many is used."""
        self._workers: dict[int, WorkerState] = {}
        self._next_number = 0

    def __iter__(self) -> Iterator[WorkerState]:
        return iter(self._workers.values())

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def _threads_used(self) -> int:
        return max(1, self.threads // self.divisor)

    @property
    def size(self) -> int:
        """How many workers there are to be now: one without a thread would only sit on its chunks."""
        return max(1, min(self._most, self._threads_used))

    @property
    def surplus(self) -> list[WorkerState]:
        """Workers that are more than there are to be."""
        return [
            worker
            for worker in self
            if worker.slot is not None and worker.slot >= self.size and worker.draining_until is None
        ]

    def get(self, number: int) -> WorkerState | None:
        """The worker with this number, None when it is not there any more."""
        return self._workers.get(number)

    def __getitem__(self, number: int) -> WorkerState:
        return self._workers[number]

    def remove(self, number: int) -> None:
        """The worker is gone."""
        del self._workers[number]

    def recruit(self, *, alone: bool) -> list[WorkerState]:
        """New workers for the slots that nobody has; those that drain do not count.

        Args:
            alone: whether there is to be a worker for suspects, too.
        """
        slots: list[int | None] = list(range(self.size))
        if alone:
            slots.append(None)
        taken = {worker.slot for worker in self if worker.draining_until is None}
        recruits = []
        for slot in slots:
            if slot not in taken:
                worker = WorkerState(self._next_number, slot)
                self._next_number += 1
                self._workers[worker.number] = worker
                recruits.append(worker)
        return recruits

    def share(self, worker: WorkerState) -> int:
        """Threads of a worker that is to be there; each has at least one, all of them no more than there are."""
        if worker.slot is None:
            return 1
        each, rest = divmod(self._threads_used, self.size)
        return each + (worker.slot < rest)

    @property
    def ready(self) -> list[WorkerState]:
        """Those that can take chunks."""
        return [worker for worker in self if worker.ready and worker.slot is not None]

    @property
    def alone(self) -> WorkerState | None:
        """The worker that runs suspects alone, unless it drains."""
        return next((worker for worker in self if worker.slot is None and worker.draining_until is None), None)

    def open_limit(self, open_chunks: int) -> int:
        """Chunks to keep open when `open_chunks` are asked for; several workers need one to spare, or run dry."""
        return open_chunks if self.size == 1 else max(open_chunks, 2 * self.size)
