"""Detects that the whole process was stopped: a suspended machine, `docker pause`, SIGSTOP.

Monotonic clocks advance while a process is stopped. (On Linux this is true for a frozen container, but not for a
sleeping machine.) So every item would be past its deadline when the process continues. Time in which nothing was
executed must not count for any item.

A thread checks four times a second and does nothing else. If it is late, the process either did not run, or native code
in it held the interpreter lock. Native code has used a processor, which tells the two cases apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tui_runner.system.clock import time

_LOOK_SECONDS = 0.25
"""Seconds between two checks. It is far less than `SUSPENDED_SECONDS`, so that a small delay does not look like a stop
of the process."""
SUSPENDED_SECONDS = 2.0
"""Least seconds between two checks that show that the process was stopped. On a machine that swaps, a thread is delayed
by less."""
_BUSY_SHARE = 0.1
"""If the process has used more than this share of a processor between two late checks, it was not stopped: native code
has kept the watching thread from running."""


class Suspension:
    """A watch for stops of the process, which compares two clocks in its own thread and at each call of `check`.

    Args:
        extend_deadlines: called with the seconds that the process was stopped.
        clock: returns monotonic seconds.
        cpu: returns the processor seconds that this process has used.
    """

    def __init__(
        self,
        extend_deadlines: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._extend_deadlines = extend_deadlines
        self._clock = clock
        self._cpu = cpu
        self._lock = threading.Lock()
        """Held during a check, because the watching thread and the reporter both check, and a stop must count once."""
        self._last = clock(), cpu()
        self._ended = threading.Event()
        """Set by `end`; ends the wait for the next check at once."""
        # daemon: the thread waits for its next check when the process ends
        self._thread = threading.Thread(target=self._run, name="suspension", daemon=True)

    def start(self) -> None:
        """Start the watching thread."""
        self._thread.start()

    def end(self) -> None:
        """End the watching thread."""
        self._ended.set()

    def check(self) -> None:
        """Postpone deadlines if the process was stopped. Call it before comparing deadlines with the clock."""
        with self._lock:
            now, cpu = self._clock(), self._cpu()
            seconds, used = now - self._last[0], cpu - self._last[1]
            self._last = now, cpu
            if seconds >= SUSPENDED_SECONDS and used < _BUSY_SHARE * seconds:
                self._extend_deadlines(seconds)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.check()
