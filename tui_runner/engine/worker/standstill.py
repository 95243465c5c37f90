"""Notices that the whole process stood still: a suspended machine, `docker pause`, SIGSTOP.

Monotonic clocks advance meanwhile (on Linux not while the machine sleeps, but in a frozen container), and every item
would be past its deadline at once. Time in which nothing of the run was executed belongs to no item.

A thread looks four times a second and does nothing else, so it is late only when the process did not run, or when
native code kept the interpreter for itself; then the process used its processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tui_runner.system.clock import time

_LOOK_SECONDS = 0.25
STANDSTILL_SECONDS = 2.0
"""Between two looks, from which the process stood still: a machine that swaps delays a thread by less."""
_BUSY_SHARE = 0.1
"""Of a processor, from which the process did not stand still."""


class Standstill:
    """Looks at the clock, in a thread of its own and whenever it is asked to.

    Args:
        postpone: called with the seconds that the process stood still.
        clock: monotonic seconds.
        cpu: processor seconds that this process has used.
    """

    def __init__(
        self,
        postpone: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._postpone = postpone
        self._clock = clock
        self._cpu = cpu
        self._lock = threading.Lock()
        self._last = clock(), cpu()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standstill", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> None:
        """Postpone deadlines if the process stood still; called before they are compared with the clock."""
        with self._lock:
            now, cpu = self._clock(), self._cpu()
            seconds, used = now - self._last[0], cpu - self._last[1]
            self._last = now, cpu
            if seconds >= STANDSTILL_SECONDS and used < _BUSY_SHARE * seconds:
                self._postpone(seconds)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.look()
