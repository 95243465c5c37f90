"""Entry point of a worker process. It imports little, because the process that starts workers imports it too."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.fork_server import forget_safe_path

if TYPE_CHECKING:
    from tui_runner.engine.protocol import WorkerConfig


class Descriptor:
    """A file descriptor that can be passed as an argument of a process; it is duplicated into the new process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        return _duplicated, (DupFd(self.number),)


def _duplicated(duplicate: Any) -> Descriptor:
    return Descriptor(duplicate.detach())


def main(connection: Connection, config: WorkerConfig, output: Descriptor, memory: Descriptor) -> None:
    """Run a worker process; never returns.

    Args:
        connection: pipe to the program, for orders and reports.
        config: what to run and how.
        output: descriptor that receives what is written to descriptors 1 and 2.
        memory: descriptor of the memory for the worker's `FlightRecorder`.
    """
    # Both calls are needed in a spawned worker. For a forked worker, the fork server has made them before.
    forget_safe_path()
    prepare_arrow()
    from tui_runner.engine.worker.worker import run_process

    run_process(connection, config, output.number, memory.number)
