"""The protocol of backends, which start workers and carry messages between the workers and the program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the fork server loads this package too, and each import delays the first worker
    from tui_runner.engine.protocol import Order, Report, WorkerConfig

Deliver: TypeAlias = "Callable[[Report], None]"
"""Called with the reports of all workers, by several threads; must not block."""


class Backend(Protocol):
    """Starts workers, sends them orders and delivers their reports, those of one worker in order.

    For each started worker exactly one `WorkerLost` is delivered, after its last report. No method waits for a worker.
    """

    def start_worker(self, config: WorkerConfig) -> None:
        """Start the worker `config.worker`, which then reports `Ready` or `WorkerLost`."""

    def send(self, worker: int, order: Order) -> None:
        """Send an order to a worker; ignored if the worker has ended."""

    def kill_worker(self, worker: int) -> None:
        """Kill a worker. What it has not reported is lost."""

    def pids(self) -> Collection[int]:
        """Return the ids of local processes whose memory is that of workers; empty for threads and other machines."""

    def close(self) -> None:
        """Kill the remaining workers and release all resources of the backend."""
