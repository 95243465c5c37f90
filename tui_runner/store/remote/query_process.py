"""One statement in a process of its own, beside a run.

DuckDB looks whether a statement is to end between two vectors of 2,048 values: `repeat('x', 10_000_000)` has made 20 GB
by then, in the process that schedules and writes. A process of its own has a bound of memory that the kernel keeps, can
be killed at any moment, and takes neither the run's interpreter nor DuckDB's threads from it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from tui_runner.errors import UserError
from tui_runner.store.database import Database, describe
from tui_runner.store.query.console import Console
from tui_runner.store.records import Moment
from tui_runner.store.remote.answer import Say, answer
from tui_runner.store.remote.wire import (
    END,
    FAILED,
    FRAME_BYTES,
    PROGRESS,
    pack_error,
    receive_frame,
    send_frame,
    unpack_request,
)
from tui_runner.system.fork_server import apart_from_jobs, forget_safe_path, plain_surroundings, process_context
from tui_runner.system.memory import machine_memory
from tui_runner.text.numbers import size

LEAST_BYTES = 512 << 20
"""Of memory for a statement. DuckDB takes a part of it for the log of the database; with half as much it could not
group 8 million rows by 100 keys."""
_SHARE = 0.25
"""Of what a run may use, for each statement beside it."""
_DUCKDB_SHARE = 0.6
"""Of those bytes, for DuckDB before it spills to disk; the rest is for values that it makes and does not count."""
_LONG_LOG = 64 << 20
"""Bytes of write-ahead log, which DuckDB replays in its memory before a statement begins; at most twice as many. That
takes a second or two. Without a bound, clients that asked one thing after the other made it 465 MB long in a minute,
and statements failed for it."""
_LONGEST_LOG = 2 << 30
"""Bytes of write-ahead log, after which a statement is ended: as long as it runs there is no checkpoint."""
_NICENESS = 10
"""The run goes first: beside it a process of this niceness gets about a tenth of a processor that both want."""
_LOOK_SECONDS = 0.25
_END_SECONDS = 5.0
_MEMORY_EXIT = 86
"""Exit code of a process that was refused memory in Python. Native code aborts, or reads where nothing is; the kernel,
where the machine has none left, kills."""
_MEMORY_EXITS = (_MEMORY_EXIT, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL)


def memory_beside(bound: int | None) -> int:
    """Return the bytes that a statement beside a run may use.

    Args:
        bound: bytes that the run may use; None for what the machine has.
    """
    return max(int((bound or machine_memory()) * _SHARE), LEAST_BYTES)


class QueryProcess:
    """A process that answers one request, seen from the process that has the database open.

    Args:
        database: the open database.
        memory: bytes that the process may use.
    """

    def __init__(self, database: Database, memory: int) -> None:
        self._database = database
        self._memory = memory
        self._guard = threading.Lock()
        self._process: Any = None
        self._cancelled = False
        self._ended = ""
        self._progress: float | None = None

    def answer(self, request: bytes, say: Say) -> None:
        """Have the request answered; blocks until all of it was sent.

        Args:
            request: the content of its frame.
            say: takes the frames of the answer.

        Raises:
            UserError: the statement was ended, for what it takes or in favour of the run.
            EOFError: `cancel` was called.
            OSError: the client is gone, or no process can be started.
        """
        self._database.statements.add(self)
        try:
            with (
                self._database.hold_checkpoints(_LONG_LOG) as moment,
                self._database.spill_beside() as spill,
                self._started(moment, request, spill) as link,
            ):
                self._relay(link, say, moment)
        except duckdb.Error as error:
            raise describe(error, self._database.path) from error
        finally:
            self._database.statements.remove(self)

    def cancel(self) -> None:
        """End the process. From any thread; returns at once."""
        with self._guard:
            self._cancelled = True
            self._kill()

    def end(self, reason: str) -> bool:
        """End the statement in favour of the run; returns at once. True if it was not yet being ended."""
        with self._guard:
            if self._ended:
                return False
            self._ended = reason
            self._kill()
        return True

    def progress(self) -> float | None:
        """Return how far the statement has come, 0.0 to 1.0; None while that is not known."""
        return self._progress

    def _relay(self, link: socket.socket, say: Say, moment: Moment) -> None:
        while True:
            try:
                kind, content = receive_frame(link, FRAME_BYTES)
            except (EOFError, OSError):
                raise self._lost() from None
            if kind == PROGRESS:
                self._progress = int(content) / 1000 if content else None
                if moment.log.exists() and moment.log.stat().st_size > _LONGEST_LOG:
                    self.end("the run has written too much since it began")
                continue
            say(kind, content)
            if kind in (END, FAILED):
                return

    def _lost(self) -> Exception:
        """Say why the process is gone."""
        if self._cancelled:
            return EOFError()
        if not self._ended:
            self._process.join(_END_SECONDS)
            code = self._process.exitcode
            if code not in _MEMORY_EXITS:
                return UserError(f"the process of the statement ended (exit code {code})", do="try it again")
        what = self._ended or f"it needs more than {size(self._memory)}, the bound of a query beside a run"
        return UserError(f"the statement was ended: {what}", do="ask for less at once, or when the run has ended")

    @contextlib.contextmanager
    def _started(self, moment: Moment, request: bytes, spill: Path | None) -> Iterator[socket.socket]:
        """Start the process; the socket that it answers at."""
        context = process_context()
        ours, theirs = context.Pipe()
        with ours, socket.socket(fileno=os.dup(ours.fileno())) as link:
            with theirs, plain_surroundings():
                call, *packed = apart_from_jobs(main, moment, request, self._memory, spill)
                process = context.Process(target=call, args=(theirs, *packed), daemon=True)
                try:
                    process.start()
                except OSError as error:
                    what = f"no process can be started for the statement ({error.strerror or error})"
                    raise UserError(what, do="try again when the machine has more room") from error
            with self._guard:
                self._process = process
                if self._cancelled or self._ended:
                    self._kill()
            try:
                yield link
            finally:
                with self._guard:
                    self._kill()
                process.join(_END_SECONDS)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def main(connection: Connection, moment: Moment, request: bytes, memory: int, spill: Path | None) -> None:
    """Be the process: never returns.

    Args:
        connection: takes the frames of the answer.
        moment: the state of the database that is asked.
        request: the content of its frame.
        memory: bytes that this process may use more than it does now.
        spill: folder for what does not fit into memory; None where there can be none.
    """
    os.setsid()
    forget_safe_path()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(_NICENESS)
    link = socket.socket(fileno=os.dup(connection.fileno()))
    sending = threading.Lock()

    def say(kind: bytes, content: bytes | memoryview = b"") -> None:
        with sending:
            send_frame(link, kind, content)

    try:
        _bound_memory(memory)
        with Database.open_beside(moment, memory_limit=int(memory * _DUCKDB_SHARE), spill=spill) as database:
            console = Console(database)
            over = threading.Event()
            threading.Thread(target=_tell_progress, args=(console, say, over), daemon=True).start()
            answer(console, unpack_request(request), say)
            over.set()
    except MemoryError:
        os._exit(_MEMORY_EXIT)
    except UserError as error:
        say(FAILED, pack_error(error))
    except Exception as error:
        say(FAILED, pack_error(UserError(f"the process of the statement failed ({error!r})", do="report it")))
    finally:
        os._exit(0)


def _tell_progress(console: Console, say: Say, over: threading.Event) -> None:
    """Tell how far the statement is, again and again: the other side looks at the log each time."""
    with contextlib.suppress(OSError):
        while not over.wait(_LOOK_SECONDS):
            progress = console.progress()
            say(PROGRESS, b"" if progress is None else str(round(progress * 1000)).encode())


def _bound_memory(memory: int) -> None:
    """Let the kernel refuse this process more than `memory` bytes; on systems that count no others, all it maps."""
    used = 0
    with contextlib.suppress(OSError), open("/proc/self/status") as status:  # noqa: PTH123
        used = next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData:")), 0)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
