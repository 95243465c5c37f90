"""Keeps the user's code from ending the process at once, and gives threads a low priority.

On Linux each thread has a priority of its own, and a thread that it starts begins with the same one. Elsewhere only a
whole process has, so nothing is done there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

_exit_at_once = os._exit
_EVERY_THREAD = 0
_guarded: list[tuple[int, int]] = []
"""Process and thread of each piece of the user's code that is at work."""
_changing = threading.Lock()


def _exit(status: int = 0) -> None:
    """`os._exit` meanwhile: raises `SystemExit`, but in another thread, or in a process that was forked since."""
    if any((os.getpid(), thread) in _guarded for thread in (_EVERY_THREAD, threading.get_ident())):
        raise SystemExit(status)
    _exit_at_once(status)


@contextlib.contextmanager
def no_exit_at_once(*, every_thread: bool = False) -> Iterator[None]:
    """Have `os._exit` raise `SystemExit` within. A crash in native code still ends the program.

    Loading the job in a process of its own first would catch that too, but every start would take an import longer.

    Args:
        every_thread: also in threads that are started within; otherwise in the thread that calls alone, so that the
            program itself can end at once meanwhile.
    """
    mine = (os.getpid(), _EVERY_THREAD if every_thread else threading.get_ident())
    with _changing:
        _guarded.append(mine)
        os._exit = _exit  # type: ignore[assignment] # it raises where the original does not return: the same to callers
    try:
        yield
    finally:
        with _changing:
            _guarded.remove(mine)
            if not _guarded:
                os._exit = _exit_at_once


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
