"""The thread that a console's statements run in: of low priority beside a run, and stoppable.

DuckDB works in the thread that asks. In a thread of its own a heavy statement can be given less of the processor
than the thread that writes results, and the thread that waits for it is free to end it. Where nothing is written it has
the priority of the process: on a machine that has other work, a low one made a statement take twice as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tui_runner.system.process import give_way

T = TypeVar("T")

_INTERRUPT_SECONDS = 0.005
"""Between two interrupts: one that comes before the statement has begun is lost, so it is repeated until it ended."""
_JOIN_SECONDS = 5.0


class QueryThread:
    """Runs one call at a time. `run` and `cancel` may be called from any thread; `run` waits its turn.

    Args:
        yields: whether the calls are to give way to other threads of the process. Asked before each; from the first
            yes on they always do: only a privileged process may raise a priority again.
    """

    def __init__(self, yields: Callable[[], bool]) -> None:
        self._yields = yields
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        # Under `_changed`: the call to make, whether it is made, what came of it, and whether it must end.
        self._call: Callable[[], Any] | None = None
        self._busy = False
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """True if a call is being made."""
        return self._busy

    def run(self, call: Callable[[], T], interrupt: Callable[[], None]) -> T:
        """Make `call` in the thread and wait for it.

        Args:
            call: what to do.
            interrupt: asks it to end; called again and again after `cancel`, and when the waiting itself is
                interrupted (by Ctrl-C).

        Returns:
            What `call` returned; what it raised is raised here.
        """
        with self._turn, self._changed:
            if self._closing:
                raise RuntimeError("the console is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tui-runner-query", daemon=True)
                self._thread.start()
            self._call, self._busy, self._cancelled = call, True, False
            self._changed.notify_all()
            try:
                while self._busy:
                    self._wait(interrupt)
            except BaseException:
                self._cancelled = True
                while self._busy:
                    self._wait(interrupt)
                self._outcome = self._error = None
                raise
            outcome, error = self._outcome, self._error
            self._outcome = self._error = None
        if error is not None:
            raise error
        return outcome  # type: ignore[no-any-return]  # the thread stores what `call` returned

    def cancel(self) -> bool:
        """Ask the call that is being made to end; returns at once, whether there was one."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
            return self._busy

    def close(self) -> None:
        """End what runs, and the thread. Calling it again does nothing."""
        with self._changed:
            self._closing = self._cancelled = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _wait(self, interrupt: Callable[[], None]) -> None:
        if self._cancelled:
            interrupt()
        self._changed.wait(_INTERRUPT_SECONDS if self._cancelled else None)

    def _work(self) -> None:
        low = False
        while True:
            with self._changed:
                while self._call is None:
                    if self._closing:
                        return
                    self._changed.wait()
                call, self._call = self._call, None
            if not low and self._yields():
                low = True
                give_way()
            outcome, error = None, None
            try:
                outcome = call()
            except BaseException as caught:  # handed to the thread that waits in `run`
                error = caught
            with self._changed:
                self._outcome, self._error, self._busy = outcome, error, False
                # Nothing of the call may live on in this thread: a reader, for one.
                call = outcome = error = None  # type: ignore[assignment]
                self._changed.notify_all()
