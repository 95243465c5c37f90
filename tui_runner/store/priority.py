"""Threads that give way to the one that writes results.

On Linux each thread has a priority of its own, and a thread that it starts begins with the same one. Elsewhere only a
whole process has, so nothing is done there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_NICENESS = 10
"""About a tenth of the processor's time when others of this process want all of it."""


def give_way() -> None:
    """Lower the priority of the calling thread for good: only a privileged process may raise one again."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def starting_low(start: Callable[[], T]) -> T:
    """Call `start` so that threads which it starts give way, and return what it returns or raise what it raises."""
    returned: list[T] = []
    raised: list[BaseException] = []

    def call() -> None:
        give_way()
        try:
            returned.append(start())
        except BaseException as error:  # handed to the caller
            raised.append(error)

    thread = threading.Thread(target=call, name="tui-runner-start-low")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return returned[0]
