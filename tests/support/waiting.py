"""Waiting for what happens in threads and other processes, without sleeping longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WAIT_SECONDS = 60.0
"""Longest wait for something that takes moments: only a test that fails waits so long."""


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until `condition` is true, and return what it returned."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {WAIT_SECONDS:g} s")
