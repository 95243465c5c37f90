"""Jobs that do nothing, or wait, over many items: what is left is the cost of the engine."""

import time

from tui_runner import job


@job(chunk_size=5_000, threads=16)
def nothing(number: int) -> None:
    """Do nothing."""


@nothing.items
def numbers(*, count: int = 200_000) -> range:
    """So many items."""
    return range(count)


@job
def wait(seconds: float) -> None:
    """Wait, as for a server."""
    time.sleep(seconds)
