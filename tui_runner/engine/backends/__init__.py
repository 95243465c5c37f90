"""The protocol of backends: they start workers somewhere and carry the messages between them and the program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the fork server loads this package too, and each import delays the first worker
    from tui_runner.engine.protocol import Order, Report, WorkerConfig

Deliver: TypeAlias = "Callable[[Report], None]"
"""Takes the reports of all workers, from several threads; never blocks."""


class Backend(Protocol):
    """Starts workers, passes orders on and delivers reports, those of one worker in their order.

    Each worker that was started is followed by exactly one `WorkerLost`, after its last report.
    No method blocks on a worker.
    """

    def start_worker(self, config: WorkerConfig) -> None:
        """Start the worker `config.worker`; it reports `Ready`, or else `WorkerLost`."""

    def send(self, worker: int, order: Order) -> None:
        """Pass an order on; dropped when the worker is gone."""

    def kill_worker(self, worker: int) -> None:
        """End a worker at once; nothing that it has not reported is kept."""

    def pids(self) -> Collection[int]:
        """Return the processes of this machine that are workers, or have them; none for threads and other machines."""

    def close(self) -> None:
        """Kill the workers that are left and release everything the backend holds."""
