"""Jobs that do nothing, or wait, over many items, so that the time of a run is that of the engine."""

import time

from tui_runner import job


@job(chunk_size=5_000, threads=16)
def nothing(number: int) -> None:
    """Do nothing."""


@nothing.items
def numbers(*, count: int = 200_000) -> range:
    """Return the numbers of the items."""
    return range(count)


@job
def wait(seconds: float) -> None:
    """Wait, as an item that waits for a server."""
    time.sleep(seconds)


@job(chunk_size=50, threads=16)
def then_slow(number: int, *, quick: int = 1_000_000) -> None:
    """Return at once for the first `quick` items, then wait. The run soon has many chunks, and is still active.

    The first chunk that waits takes some seconds, so that its number appears on the screen.
    """
    if number >= quick:
        time.sleep(1.0 if number < quick + 50 else 0.1)


@then_slow.items
def endless(*, quick: int = 1_000_000) -> range:
    """Return more items than run during the measurement."""
    return range(quick * 10)
