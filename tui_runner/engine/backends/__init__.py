"""What a backend is: where workers live (processes of this machine, or this process), and how messages travel."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the fork server, which loads this package, is in a hurry
    from tui_runner.engine.protocol import Order, Report, WorkerConfig

Deliver: TypeAlias = "Callable[[Report], None]"
"""Takes the reports of all workers, from several threads; never blocks."""


class Backend(Protocol):
    """Starts workers, passes orders on and delivers reports, those of one worker in their order.

    Each worker that was started is followed by exactly one `WorkerLost`, after its last report.
    No method blocks on a worker.
    """

    def start_worker(self, config: WorkerConfig) -> None:
        """Start the worker `config.worker`; `Ready` or `WorkerLost` tells what became of it."""

    def send(self, worker: int, order: Order) -> None:
        """Pass an order on; dropped when the worker is gone."""

    def kill_worker(self, worker: int) -> None:
        """End a worker at once; nothing that it has not reported is kept."""

    def pids(self) -> Collection[int]:
        """Process ids of the workers that are alive; empty where workers are not processes."""

    def close(self) -> None:
        """Kill what is left and give up everything the backend holds."""
