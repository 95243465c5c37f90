"""Entry point of a worker process. The process that starts it imports this, and nothing else of a worker."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.fork_server import forget_safe_path

if TYPE_CHECKING:
    from tui_runner.engine.protocol import WorkerConfig


class Descriptor:
    """A file descriptor that can be an argument of a process."""

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
        connection: orders come from it, reports go to it.
        config: what to run and how.
        output: takes what is written to descriptors 1 and 2.
        memory: of its `FlightRecorder`.
    """
    # For a worker that was spawned; the fork server has done both.
    forget_safe_path()
    prepare_arrow()
    from tui_runner.engine.worker.worker import run_process

    run_process(connection, config, output.number, memory.number)
