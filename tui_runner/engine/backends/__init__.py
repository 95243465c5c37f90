"""The protocol of backends, which start workers and carry messages between the workers and the program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the fork server loads this package too, and each import delays the first worker
    from tui_runner.engine.protocol import Order, Report, WorkerConfig

Deliver: TypeAlias = "Callable[[Report], None]"
"""Function that gets the reports of all workers. Several threads call it, and it must not block."""


class Backend(Protocol):
    """An object that starts workers, sends them orders and delivers their reports.

    The reports of one worker are delivered in order. For each started worker exactly one `WorkerLost` is delivered,
    after its last report. No method waits for a worker, except `close`, which may wait some seconds.
    """

    def start_worker(self, config: WorkerConfig) -> None:
        """Start the worker `config.worker`.

        Its first report is `Ready`, `WorkerFailed` or `WorkerLost`, besides log lines.
        """

    def send(self, worker: int, order: Order) -> None:
        """Send an order to a worker. The order is ignored if the worker has ended."""

    def kill_worker(self, worker: int) -> None:
        """Kill a worker. Results that the worker has not reported are lost."""

    def pids(self) -> Collection[int]:
        """Return the ids of local processes whose memory counts as memory of workers.

        The collection is empty if workers are threads of this process or run on other machines.
        """

    def close(self) -> None:
        """Kill the remaining workers and release all resources of the backend."""
