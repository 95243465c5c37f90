"""The parts of a run. The runner's thread passes messages to them.

A *part* has one method, `handle(message, now) -> answers`, and lists in `takes` the types of messages that it handles.

All parts receive a message in one fixed order. The items of a chunk are stored before the scheduler sends the chunk.
The scheduler decides before the guards. Then the recorder, the log and at last the snapshot receive the message.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tui_runner.engine.backends import Backend
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.guards import Monitor
from tui_runner.engine.guards.disk import DiskGuard
from tui_runner.engine.guards.hung_workers import HungWorkerGuard
from tui_runner.engine.guards.memory import MemoryGuard
from tui_runner.engine.input_reader import InputReader, PendingItems
from tui_runner.engine.logs.log_file import LogFile, RunLog
from tui_runner.engine.planning.open_run import OpenedRun
from tui_runner.engine.progress.snapshot_builder import SnapshotBuilder
from tui_runner.engine.protocol import WorkerConfig
from tui_runner.engine.recorder import Recorder
from tui_runner.engine.scheduling.events import StartWorker
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.store.remote.server import QueryServer


class Part(Protocol):
    """A part of a run; only the runner's thread uses it."""

    @property
    def takes(self) -> frozenset[type]:
        """Types of the messages that `handle` takes."""

    def handle(self, message: Any, now: float, /) -> Iterable[object]:
        """Process a message at `now` (monotonic seconds). Return the messages that follow from it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All objects that execute one run; built by `assembly.open_runner`.

    Attributes:
        opened: the run in its database.
        inbox: queue of messages from all threads.
        items: the items of open chunks.
        scheduler: decides what runs where.
        memory: pauses the run or replaces workers when memory is short.
        disk: pauses the run while the disk is full.
        hung_workers: kills workers that make no progress and send no reports.
        reader: cuts the input into chunks.
        recorder: writes results and ledger.
        output: captured native output of this process and its children; None if it is not captured.
        log: writes the run's log.
        snapshots: builds snapshots.
        backend: starts workers and communicates with them.
        new_worker: returns the configuration of a worker that the scheduler wants to start.
        monitor: measures memory and disk.
        log_file: the file of `log`.
        server: answers queries of other processes; None if the user does not allow such queries.
    """

    opened: OpenedRun
    inbox: queue.SimpleQueue[Any]
    items: PendingItems
    scheduler: Scheduler
    memory: MemoryGuard
    disk: DiskGuard
    hung_workers: HungWorkerGuard
    reader: InputReader
    recorder: Recorder
    output: CapturedOutput | None
    log: RunLog
    snapshots: SnapshotBuilder
    backend: Backend
    new_worker: Callable[[StartWorker], WorkerConfig]
    monitor: Monitor
    log_file: LogFile
    server: QueryServer | None

    def in_order(self) -> tuple[Part, ...]:
        """Return the parts that handle messages, in the order in which they receive a message."""
        decide: tuple[Part, ...] = (self.items, self.scheduler, self.memory, self.disk, self.hung_workers)
        output: tuple[Part, ...] = () if self.output is None else (self.output,)
        return (*decide, self.reader, self.recorder, *output, self.log, self.snapshots)
