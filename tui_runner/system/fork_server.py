"""The server that worker processes are forked from: how it is started, and what it is shown of this process.

It is started before anything else that a run needs (`start_early`), so that it loads what workers need while this
process loads what it needs itself.
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
_BLOCKED = (signal.SIGHUP, signal.SIGINT)
_STARTING = threading.Lock()

_OWN_PATH = tuple(sys.path)
"""Places of modules before any job was loaded: loading one puts its folder before those of installed packages."""
SAFE_PATH = "PYTHONSAFEPATH"
"""The environment variable that has `python -c` not look for modules in the current folder."""
OURS = "tui-runner"
"""Its value when tui-runner has set it: any text but an empty one means yes."""


def process_context() -> ForkServerContext | SpawnContext:
    """Return what makes worker processes: the fork server, or, where there is none, new interpreters."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        return context
    return multiprocessing.get_context("spawn")


def start_early() -> None:
    """Start the fork server, if there can be one, before this process has threads; returns at once.

    Where that is safe, the server is a copy of this process, with which it shares what is loaded so far: a run of one
    empty item takes a quarter less of the processor's time, and 20 MB less, than with a server that loads all of it
    again. It ends with this process. Where it cannot be started, the start of a worker tries again and says what is
    wrong.
    """
    if isinstance(process_context(), ForkServerContext):
        with contextlib.suppress(OSError), plain_surroundings():
            if sys.platform == "linux" and sys.version_info < (3, 14) and threading.active_count() == 1:
                _fork_server()
            else:
                forkserver.ensure_running()


def _fork_server() -> None:
    """Do what `ensure_running` of multiprocessing does, without a new interpreter."""
    server: Any = forkserver._forkserver
    TERMINAL_GUARD.remember()
    resource_tracker.ensure_running()
    gc.freeze()  # what is loaded is shared as long as no collection of garbage looks through it
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
    """Be the server until the process that was forked, and all workers, have ended."""
    try:
        # As in a new interpreter: a job may start processes, too.
        _STARTING.release()
        forkserver.set_forkserver_preload(["__main__"])
        leave_to_parent()
        import_module(_PRELOAD[0])
        forkserver.main(listener, alive, [])
    finally:
        end_workers()
        TERMINAL_GUARD.put_back()
        discard(address.parent)
        os._exit(0)


def end_workers() -> None:
    """Kill the workers that are left when their server ends, because the program was killed, and what items started.

    A worker that hears of it does so itself; one whose function keeps the interpreter to itself does not.
    """
    with contextlib.suppress(psutil.Error):
        for worker in psutil.Process().children():
            with contextlib.suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)  # each has a session of its own


@contextlib.contextmanager
def plain_surroundings() -> Iterator[None]:
    """Show multiprocessing a process as it expects it while it starts another one.

    It would run the program's main module again in the worker. A worker loads the job by its own name, so that is of no
    use there; it would cost its imports, and a script that calls `tui_runner.run` without an
    `if __name__ == "__main__"` would run again. It asks `sys.stderr` for its file descriptor, which Textual's
    stand-in does not have. And it would put the socket of the fork server into a folder of its own, whose path may be
    too long and which stays when the program is killed. And Python would look for what that process imports in the
    current folder first, where a file of the user's may be called like a module of the standard library.
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
        undo.enter_context(_undisturbed())
        yield


def apart_from_jobs(
    function: Callable[..., object], *arguments: object
) -> tuple[Callable[..., None], tuple[str, ...], bytes]:
    """Return what a new process calls, with a connection, to call `function` with that and `arguments`.

    It finds our own modules, and those that we need, also where the folder of a job has a file `duckdb.py`.
    multiprocessing shows a new process the places of modules of this one, folders of jobs included, and imports what it
    is to call; so it is given something that is loaded already.
    """
    return _call, _OWN_PATH, pickle.dumps((function, arguments))


def _call(connection: Connection, path: Sequence[str], packed: bytes) -> None:
    sys.path[:] = path
    function, arguments = pickle.loads(packed)  # noqa: S301 - from the process that has started this one
    function(connection, *arguments)


def forget_safe_path() -> None:
    """Unset the variable unless it is the user's own: a program that a job starts is to find what it would find."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]


def take_signals_again() -> None:
    """Unblock in a worker what was blocked for the server: what a job starts would have it blocked as well."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Start processes that neither a terminal which goes away nor a Ctrl-C ends: both are told to all that it started.

    Without the server that they were forked from, workers would be taken for lost, and their items would run again.
    While it still loads, a Ctrl-C would end it with a traceback on the terminal.
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
    """Have multiprocessing use this folder, here and in the processes it starts meanwhile."""
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
    except (AttributeError, OSError, ValueError):
        return False
