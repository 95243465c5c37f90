"""Starts the fork server, from which worker processes are forked, and controls what it inherits from this process.

The server is started before everything else that a run needs (`start_early`), so that it loads the modules of workers
while this process loads its own.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import current_process
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tui_runner.system.private_folder import discard, leave_to_parent, private_folder
from tui_runner.system.terminal_guard import TERMINAL_GUARD

_PRELOAD = ["tui_runner.engine.backends.preload"]
"""Modules that the fork server imports, so that forked workers need not load them."""
_BLOCKED = (signal.SIGHUP, signal.SIGINT)
"""Signals that a terminal sends to all of its processes but that must not end the server; see `_block_signals`."""
_STARTING = threading.Lock()
"""Held while a process is started, because `prepare_child_start` temporarily changes global state."""

_OWN_PATH = tuple(sys.path)
"""`sys.path` from before a job was loaded. Loading a job inserts the job's folder before the folders of installed
packages."""
SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable that keeps `python -c` from searching the current folder for modules."""
OURS = "tui-runner"
"""Value by which tui-runner recognises that it has set `SAFE_PATH` itself. Python accepts any value but an empty one.
"""


def process_context() -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context for workers: a fork server, or spawning on systems without fork servers."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        return context
    return multiprocessing.get_context("spawn")


def start_early() -> None:
    """Start the fork server before this process has threads, if the system has one. Do not wait until it is ready.

    On Linux before Python 3.14, the server is a fork of this process if this process has a single thread. It then
    shares the modules loaded so far. A run of one empty item takes a quarter less processor time and 20 MB less memory
    than with a server that loads everything again. The server ends with this process. If it cannot be started, starting
    a worker tries again and reports the error.
    """
    if isinstance(process_context(), ForkServerContext):
        with contextlib.suppress(OSError), prepare_child_start():  # the start of a worker reports what is wrong
            if sys.platform == "linux" and sys.version_info < (3, 14) and threading.active_count() == 1:
                _fork_server()
            else:
                forkserver.ensure_running()


def _fork_server() -> None:
    """Start the server like multiprocessing's `ensure_running`, but fork this process instead of a new interpreter."""
    server: Any = forkserver._forkserver
    TERMINAL_GUARD.remember()
    resource_tracker.ensure_running()
    gc.freeze()  # a garbage collection would write to the loaded objects, so that their memory is no longer shared
    with socket.socket(socket.AF_UNIX) as listener:
        address = str(private_folder(for_sockets=True) / "workers")
        listener.bind(address)
        listener.listen()
        alive_r, alive_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive_w)
            _serve(listener.detach(), alive_r, Path(address))
        os.close(alive_r)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, alive_w, pid


def _serve(listener: int, alive: int, address: Path) -> NoReturn:
    """Run the fork server in a forked process until its parent has ended, then kill remaining workers and exit.

    Workers do not keep the server alive (`_let_parent_end` in `engine/worker/worker.py`).
    """
    try:
        # Reset state that the fork has inherited and a new interpreter would not have: a job may start processes
        # itself.
        _STARTING.release()
        forkserver.set_forkserver_preload(["__main__"])
        leave_to_parent()
        import_module(_PRELOAD[0])
        forkserver.main(listener, alive, [])
    finally:
        end_workers()
        TERMINAL_GUARD.put_back()
        discard(address.parent)
        os._exit(0)  # the exit handlers belong to the parent, from which this process was forked


def end_workers() -> None:
    """Kill the remaining workers and the child processes of their items, because the program was killed.

    A worker notices the program's end by itself, unless its function holds the interpreter lock.
    """
    with contextlib.suppress(psutil.Error):  # this process or a worker has just ended
        for worker in psutil.Process().children():
            with contextlib.suppress(OSError):  # it has ended already
                os.killpg(worker.pid, signal.SIGKILL)  # each worker leads a session of its own


@contextlib.contextmanager
def prepare_child_start() -> Iterator[None]:
    """Prepare this process for starting another one by multiprocessing, for the duration of a `with` block.

    This prevents four effects:

    * multiprocessing would run the program's main module again in the worker. Workers load the job by name and do not
      need it. A script that calls `tui_runner.run` without `if __name__ == "__main__"` would run twice.
    * multiprocessing would call `sys.stderr.fileno()`, which fails for Textual's replacement of `sys.stderr`.
    * The fork server's socket would be in a folder whose path may be too long, and that remains after a kill.
    * Python would first search the current folder for modules, where a user's file may have the name of a standard
      module.
    """
    with _STARTING, contextlib.ExitStack() as undo:
        main, stderr = sys.modules["__main__"], sys.stderr
        undo.callback(setattr, sys, "stderr", stderr)
        undo.callback(sys.modules.__setitem__, "__main__", main)
        sys.modules["__main__"] = types.ModuleType("__main__")
        if not _has_descriptor(stderr):
            sys.stderr = sys.__stderr__
        undo.enter_context(_temporary_folder(str(private_folder(for_sockets=True))))
        if not os.environ.get(SAFE_PATH):
            os.environ[SAFE_PATH] = OURS
            undo.callback(forget_safe_path)
        undo.enter_context(_block_signals())
        yield


def apart_from_jobs(
    function: Callable[..., object], *arguments: object
) -> tuple[Callable[..., None], tuple[str, ...], bytes]:
    """Return a function and its arguments for a new process, which then calls `function(connection, *arguments)`.

    The new process finds our modules and their dependencies, even if a job's folder contains a file such as
    `duckdb.py`. multiprocessing copies `sys.path` to the new process, including folders of jobs, and then imports the
    function that it calls. So it is given `_call` of this module, which is already loaded there and restores the path
    first.
    """
    return _call, _OWN_PATH, pickle.dumps((function, arguments))


def _call(connection: Connection, path: Sequence[str], packed: bytes) -> None:
    """Restore `sys.path` in a new process, then unpickle and call the function."""
    sys.path[:] = path
    function, arguments = pickle.loads(packed)  # noqa: S301 - the bytes come from the process that started this one
    function(connection, *arguments)


def forget_safe_path() -> None:
    """Unset `SAFE_PATH` unless the user has set it: programs started by a job must see the user's environment."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]


def unblock_signals() -> None:
    """Unblock in a worker the signals that the server blocks; otherwise programs of a job would inherit the block."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


@contextlib.contextmanager
def _block_signals() -> Iterator[None]:
    """Block SIGHUP and SIGINT within the `with` block, so that processes started in it inherit the block.

    A terminal sends both signals to all of its processes, when it closes or when Ctrl-C is pressed. If the server
    ended, its workers would count as lost and their items would run again. During the server's start, a Ctrl-C would
    also print a traceback on the terminal.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _temporary_folder(path: str) -> Iterator[None]:
    """Make multiprocessing use `path` as temporary folder within the `with` block, also in processes started in it."""
    config: dict[str, Any] = getattr(current_process(), "_config")  # noqa: B009 - the type stubs do not know it
    before = config.get("tempdir")
    config["tempdir"] = path
    try:
        yield
    finally:
        if before is None:
            del config["tempdir"]
        else:
            config["tempdir"] = before


def _has_descriptor(stream: Any) -> bool:
    try:
        return bool(stream.fileno() >= 0)
    except (AttributeError, OSError, ValueError):  # a replacement without a file, or one that is closed
        return False
