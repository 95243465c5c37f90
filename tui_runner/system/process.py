"""Ends the process, keeps user code from ending it, lowers the priority of threads, and sets limits of the process.

On Linux each thread has its own priority, which the threads that it starts inherit. Other systems know only priorities
of whole processes, so the priority is not changed there.
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
from dis import opmap
from typing import NoReturn

_exit_at_once = os._exit
"""The real `os._exit`, because `no_exit_at_once` temporarily replaces it."""
_EVERY_THREAD = 0
"""Stands for all threads in `_guarded`. No real thread has the id 0."""
_guarded: list[tuple[int, int]] = []
"""(process id, thread id) of each `no_exit_at_once` block that is being executed."""
_changing = threading.Lock()
"""Held while `os._exit` is replaced or restored."""


def _exit(status: int = 0) -> None:
    """Raise `SystemExit` if this thread is in a `no_exit_at_once` block, otherwise exit at once. Replaces `os._exit`.

    A process that was forked from this one exits at once, too.
    """
    if any((os.getpid(), thread) in _guarded for thread in (_EVERY_THREAD, threading.get_ident())):
        raise SystemExit(status)
    _exit_at_once(status)


@contextlib.contextmanager
def no_exit_at_once(*, every_thread: bool = False) -> Iterator[None]:
    """Make `os._exit` raise `SystemExit` within a `with` block. A crash in native code still ends the process.

    Loading the job in another process first would also catch a crash, but would delay every start by an import.

    Args:
        every_thread: True if it applies to all threads. False to protect only against the calling thread, so that other
            threads can still exit the program.
    """
    mine = (os.getpid(), _EVERY_THREAD if every_thread else threading.get_ident())
    with _changing:
        _guarded.append(mine)
        os._exit = _exit  # type: ignore[assignment] # it raises where the original never returns
    try:
        yield
    finally:
        with _changing:
            _guarded.remove(mine)
            if not _guarded:  # another thread may still be in such a block
                os._exit = _exit_at_once


def is_ctrl_c(error: BaseException) -> bool:
    """Return True if a `KeyboardInterrupt` was raised by the handler of SIGINT, and not by a `raise` in user code."""
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False  # Python handles signals in the main thread alone
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Python calls signal handlers between two instructions, so a `raise` is never the innermost one then.
    return trace is None or trace.tb_frame.f_code.co_code[trace.tb_lasti] != opmap["RAISE_VARARGS"]


def end_without_teardown(code: int, *, if_interrupted: int, last: Callable[[], None]) -> None:
    """Wait for the threads that Python waits for, and make Python exit with `code` after the last exit handler.

    The rest of Python's shutdown is skipped. It destroys modules while daemon threads still run, for example a thread
    that reads standard input or executes an item that hangs. Such threads then crash in native code, and DuckDB's
    bindings print complaints about objects in use.

    The function returns before Python exits, so that a profiler or debugger that called the program can finish its
    work.

    A Ctrl-C while it waits ends the process after the exit handlers; a Ctrl-C during the exit handlers ends the process
    at once. An ignored SIGINT is still ignored.

    Args:
        code: the exit code.
        if_interrupted: the exit code after Ctrl-C.
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
    # Both functions are private; `multiprocessing` uses them too. Handlers that were registered before the program
    # started, such as coverage's, would run after `end`, so `end` calls all handlers itself. It is registered when all
    # threads have ended, because a handler that a thread registers later would run before it. Checked with CPython
    # 3.11, 3.12 and 3.13.
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    finally:
        atexit.register(end, code)


def flush_files() -> None:
    """Flush the buffers of all open files, as the skipped part of Python's shutdown would do."""
    found = gc.get_objects()
    # Flush text streams first, because they write into the byte buffers.
    for kind in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
        for file in found:
            if isinstance(file, kind):
                with contextlib.suppress(Exception):  # the file is closed or accepts no data
                    file.flush()


_NICENESS = 10
"""Niceness of a thread with low priority. It gets about a tenth of the processor time when other threads compete for
it."""


def give_way() -> None:
    """Lower the priority of the calling thread permanently; only a privileged process could raise it again."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the thread then keeps its priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def available_processors() -> int:
    """Return the number of processors that this process may use."""
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
"""Environment variables that limit the threads of native libraries, which read them when they are loaded."""


def limit_native_threads(threads: int) -> None:
    """Make BLAS and OpenMP use at most `threads` threads each in this process, unless the user has set such a limit.

    By default, each library starts one thread per processor in every process. Four workers on two processors then had
    eight threads, and took a third longer for the same matrix products.
    """
    if any(os.environ.get(name) for name in _NATIVE_THREADS):
        return
    os.environ.update(dict.fromkeys(_NATIVE_THREADS, str(threads)))
    if "numpy" in sys.modules:  # pyarrow has loaded numpy and its BLAS, which reads the variables only once
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)


_MOST_FILES = 1 << 20
"""File descriptors to ask for if the process has no hard limit: the default of Linux's system-wide limit
(`fs.nr_open`)."""


def raise_file_limit() -> int:
    """Raise this process' soft limit of open files to its hard limit. Return the limit that applies then.

    Without a hard limit, the soft limit becomes `_MOST_FILES`. If the system refuses, the old limit is returned.

    The soft limit is 1,024 on most Linux systems and 256 on macOS, for the sake of programs that use `select`; the hard
    limit is what the system allows (Lennart Poettering, "File Descriptor Limits", 0pointer.net).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # the system has another limit; the program runs with the current one
            return soft
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
