"""Ends the process, keeps the user's code from ending it at once, and gives threads a low priority.

On Linux each thread has a priority of its own, and a thread that it starts begins with the same one. Elsewhere only a
whole process has, so nothing is done there.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

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


def end_without_teardown(code: int, *, if_interrupted: int, last: Callable[[], None]) -> None:
    """Wait for the threads that Python waits for, and have it end with `code` after the last exit handler.

    What Python does after that is left out. It takes modules apart under daemon threads that still run, one that waits
    for standard input or an item that hangs, say: these crash in native code, and DuckDB's bindings complain on
    standard error about objects that are still in use.

    The caller returns, so that a profiler or a debugger that has called the program can finish its work.

    An interrupt meanwhile ends the process: during the wait after the exit handlers, and while these run at once. An
    interrupt that is ignored stays so.

    Args:
        code: the exit code.
        if_interrupted: the exit code after an interrupt.
        last: called after the last exit handler.
    """

    def on_interrupt(action: Callable[[], object]) -> None:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda number, frame: action())

    def end(code: int) -> NoReturn:
        on_interrupt(lambda: _exit_at_once(if_interrupted))
        try:
            atexit.unregister(end)
            atexit._run_exitfuncs()
            last()
        finally:
            _exit_at_once(code)

    on_interrupt(lambda: end(if_interrupted))
    # Both functions are private; `multiprocessing` ends its processes with them, too. Exit handlers that were
    # registered before the program began (`coverage` has one) run after all others, so `end` has to call them. Those
    # that a thread registers run before `end` is called, so it is registered when there are no more threads. Checked
    # with CPython 3.11, 3.12 and 3.13.
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    finally:
        atexit.register(end, code)


def flush_files() -> None:
    """Write what is left in the buffers of all open files; Python does that when it takes modules apart."""
    found = gc.get_objects()
    # Text first: it goes through a buffer of bytes.
    for kind in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
        for file in found:
            if isinstance(file, kind):
                with contextlib.suppress(Exception):  # it is closed, or takes nothing
                    file.flush()


_NICENESS = 10
"""About a tenth of the processor's time when others of this process want all of it."""


def give_way() -> None:
    """Lower the priority of the calling thread for good: only a privileged process may raise one again."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def available_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_NATIVE_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables that native libraries read when they are loaded."""


def limit_native_threads(threads: int) -> None:
    """Have BLAS and OpenMP use at most `threads` threads each in this process, unless the user has said otherwise.

    Each of them starts as many as there are processors, in every process: four workers on two processors had eight, and
    took a third longer for the same products of matrices.
    """
    if any(os.environ.get(name) for name in _NATIVE_THREADS):
        return
    os.environ.update(dict.fromkeys(_NATIVE_THREADS, str(threads)))
    if "numpy" in sys.modules:  # it is loaded with pyarrow, and with it its BLAS
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)


_MOST_FILES = 1 << 20
"""Descriptors to ask for where the hard limit is none: Linux's own default bound (`fs.nr_open`)."""


def raise_file_limit() -> int:
    """Let this process open as many files and connections as it may; return the number.

    The soft limit is 1,024 on most Linux systems and 256 on macOS, for the sake of programs that use `select`; the hard
    limit is what the system allows (systemd's author, "File Descriptor Limits", 0pointer.net).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # the system has a bound of its own; the program runs with what it has
            return soft
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
