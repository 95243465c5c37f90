"""The thread that executes a console's statements: interruptible, and during a run at low priority.

DuckDB executes a statement in the calling thread. If that is a separate thread, it can get a lower priority than the
thread that writes results, and the thread that waits for the statement can interrupt it. Without a run its priority is
not lowered: on a machine with other work, low priority made a statement take twice as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tui_runner.system.process import give_way

T = TypeVar("T")

_INTERRUPT_SECONDS = 0.005
"""Seconds between two interrupts. An interrupt before the statement has begun is lost, so interrupts are repeated until
the statement has ended."""
_JOIN_SECONDS = 5.0
"""Seconds for which `close` waits for the thread. A call that ignores the interrupt must not keep the program from
ending."""


class QueryThread:
    """A thread that executes one call at a time. Thread-safe: `run` waits until the previous call has ended.

    Args:
        yields: returns True if calls must leave processor time to other threads of the process. Called before each
            call. After it has returned True once, the priority stays low, because only a privileged process may raise
            it again.
    """

    def __init__(self, yields: Callable[[], bool]) -> None:
        self._yields = yields
        self._changed = threading.Condition()
        """Protects the fields below. Notified when a call starts, must end, or has ended."""
        self._run_lock = threading.Lock()
        """Held for the duration of a call, so that a second caller waits for the first one."""
        # Protected by `_changed`: the call to execute; True if it is running; its outcome; and True if it must end.
        self._call: Callable[[], Any] | None = None
        self._busy = False
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """True while a call is running."""
        return self._busy

    def run(self, call: Callable[[], T], interrupt: Callable[[], None]) -> T:
        """Execute `call` in the thread and wait for it.

        Args:
            call: the function to call.
            interrupt: asks the call to end. It is called repeatedly after `cancel`, or after a Ctrl-C in the waiting
                thread.

        Returns:
            The result of `call`. An exception of `call` is raised here.

        Raises:
            RuntimeError: the thread was closed.
        """
        with self._run_lock, self._changed:
            if self._closing:
                raise RuntimeError("the console is closed")
            if self._thread is None:
                # a daemon thread, because a call that cannot be interrupted must not keep the program from exiting
                self._thread = threading.Thread(target=self._work, name="tui-runner-query", daemon=True)
                self._thread.start()
            self._call, self._busy, self._cancelled = call, True, False
            self._changed.notify_all()
            try:
                while self._busy:
                    self._wait(interrupt)
            # Ctrl-C has interrupted the waiting thread. End the call first, because it uses objects that the caller is
            # about to release.
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
        """Ask the current call to end. Do not wait. Return True if a call was running."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
            return self._busy

    def close(self) -> None:
        """End the current call and the thread. Repeated calls do nothing."""
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
        """Execute calls until `close`. The main function of the thread."""
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
            except BaseException as caught:  # `run` raises it in the thread that waits for the call
                error = caught
            with self._changed:
                self._outcome, self._error, self._busy = outcome, error, False
                # Delete all references: this thread may now wait for hours, and a reader of rows holds memory.
                call = outcome = error = None  # type: ignore[assignment]
                self._changed.notify_all()
