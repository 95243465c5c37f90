"""Executes one statement in a separate process while a run is active.

DuckDB checks for an interrupt only between vectors of 2,048 values. In that time, `repeat('x', 10_000_000)` allocates
20 GB, which must not happen in the process that schedules and writes. The kernel limits the memory of the separate
process, and that process can be killed at any time. It also uses neither the run's interpreter lock nor its DuckDB
threads.
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
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.arrow_batches import pieces
from tui_runner.store.connection import describe
from tui_runner.store.database import Database
from tui_runner.store.query.console import Console
from tui_runner.store.records import Moment
from tui_runner.store.remote.wire import (
    ARROW,
    END,
    FAILED,
    FRAME_BYTES,
    PROGRESS,
    FrameSink,
    Request,
    pack_error,
    receive_frame,
    send_frame,
    unpack_request,
)
from tui_runner.system.fork_server import apart_from_jobs, forget_safe_path, prepare_child_start, process_context
from tui_runner.system.memory import machine_memory
from tui_runner.text.numbers import size

LEAST_BYTES = 512 << 20
"""Least memory for a statement, in bytes. DuckDB uses a part of it for the database's log. With half as much, DuckDB
could not group 8 million rows by 100 keys."""
_SHARE = 0.25
"""Share of the run's memory limit for each statement during the run. Several may run at once, and the run needs the
remaining memory."""
_DUCKDB_SHARE = 0.6
"""Share of a statement's memory that DuckDB may use before it writes temporary data to the disk. The other part is for
values that DuckDB does not count."""
_LONG_LOG = 64 << 20
"""Length of the write-ahead log in bytes above which a statement waits for a checkpoint before it starts. It is refused
if the log is twice as long. DuckDB replays the log in memory, which takes a second or two for this length. Without this
limit, clients that sent one query after another made the log 465 MB long in a minute, and statements failed because of
it."""
_LONGEST_LOG = 2 << 30
"""Length of the write-ahead log in bytes at which a statement is ended, because there is no checkpoint while it runs.
"""
_NICENESS = 10
"""Niceness of the process. When run and statement compete for a processor, the statement gets about a tenth of it."""
_LOOK_SECONDS = 0.25
"""Seconds between two reports of progress. At each report, the other side checks the length of the log."""
_END_SECONDS = 5.0
"""Seconds to wait for the end of the process after it was killed or its connection broke. A process that waits for a
disk ends later."""
_MEMORY_EXIT = 86
"""Exit code of a process in which Python code was refused memory: it has no memory for a message. The number is an
arbitrary one that neither Python nor a shell uses. If native code is refused memory, it aborts or
crashes, and if the machine has no memory left, the kernel kills the process."""
_MEMORY_EXITS = (_MEMORY_EXIT, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL)
"""Exit codes that mean "out of memory"."""


def memory_beside(bound: int | None) -> int:
    """Return the bytes that a statement may use while a run is active.

    Args:
        bound: memory limit of the run in bytes; None for the memory of the machine.
    """
    return max(int((bound or machine_memory()) * _SHARE), LEAST_BYTES)


class Say(Protocol):
    """A function that sends one frame to the client."""

    def __call__(self, kind: bytes, content: bytes | memoryview = b"") -> None:
        """Send a frame. Raise `OSError` if the other side is gone."""


def answer(console: Console, request: Request, say: Say) -> None:
    """Execute the statement. Send its rows as an Arrow IPC stream, then END; if it fails at any point, send FAILED.

    The schema is sent before the first rows, so that the client knows that the statement is running.

    Raises:
        OSError: the client is gone or accepts no data.
    """
    try:
        with console.query(request.sql, request.parameters) as result:
            sink = FrameSink(lambda content: say(ARROW, content))
            with pa.ipc.new_stream(sink, result.schema) as writer:
                sink.flush()
                for piece in pieces(result):
                    writer.write_batch(piece)
                    sink.flush()
            sink.flush()
    except UserError as error:  # the client gets the message instead of rows
        say(FAILED, pack_error(error))
    else:
        say(END)


class QueryProcess:
    """A process that executes one request, controlled by the process that has the database open.

    Args:
        database: the open database.
        memory: bytes that the process may use.
    """

    def __init__(self, database: Database, memory: int) -> None:
        self._database = database
        self._memory = memory
        self._guard = threading.Lock()
        """Protects `_process` and the reasons to end it, because it may be cancelled while it is being started."""
        self._process: Any = None
        self._cancelled = False
        self._ended = ""
        self._progress: float | None = None

    def answer(self, request: bytes, say: Say) -> None:
        """Start the process and forward its answer to the client. Blocks until the whole answer was sent.

        Args:
            request: content of the frame with the request.
            say: sends a frame to the client.

        Raises:
            UserError: the statement was ended, because it needs too much memory or because the run needs the memory; or
                no process can be started, or the log is too long (`Database.hold_checkpoints`).
            EOFError: `cancel` was called.
            OSError: the client is gone, or this process has no free file descriptor.
        """
        self._database.statements.add(self)
        try:
            with (
                self._database.hold_checkpoints(_LONG_LOG) as moment,
                self._database.reader_spill() as spill,
                self._started(moment, request, spill) as link,
            ):
                self._relay(link, say, moment)
        except duckdb.Error as error:
            raise describe(error, self._database.path) from error
        finally:
            self._database.statements.remove(self)

    def cancel(self) -> None:
        """Kill the process. Do not wait. Thread-safe."""
        with self._guard:
            self._cancelled = True
            self._kill()

    def end(self, reason: str) -> bool:
        """Kill the process because the run needs its resources.

        Do not wait. Return True unless it was already ended.
        """
        with self._guard:
            if self._ended:
                return False
            self._ended = reason
            self._kill()
        return True

    def progress(self) -> float | None:
        """Return the progress of the statement, 0.0 to 1.0; None if unknown."""
        return self._progress

    def _relay(self, link: socket.socket, say: Say, moment: Moment) -> None:
        """Forward the frames of the process to the client, up to the last one, except the progress, which is stored.

        Raises:
            UserError: the process has ended too early.
            EOFError: the statement was cancelled.
        """
        while True:
            try:
                kind, content = receive_frame(link, FRAME_BYTES)
            except (EOFError, OSError):  # the process has ended
                raise self._lost() from None
            if kind == PROGRESS:
                self._progress = int(content) / 1000 if content else None
                if moment.log.exists() and moment.log.stat().st_size > _LONGEST_LOG:
                    self.end("the run has written too much since the statement began")
                continue
            say(kind, content)
            if kind in (END, FAILED):
                return

    def _lost(self) -> Exception:
        """Return an error that says why the process has ended; an `EOFError` after a cancel."""
        if self._cancelled:
            return EOFError()
        if not self._ended:
            self._process.join(_END_SECONDS)
            code = self._process.exitcode
            if code not in _MEMORY_EXITS:
                return UserError(f"the process of the statement ended (exit code {code})", do="try it again")
        what = self._ended or f"it needs more than {size(self._memory)}, the limit of a query beside a run"
        return UserError(f"the statement was ended: {what}", do="ask for less at once, or when the run has ended")

    @contextlib.contextmanager
    def _started(self, moment: Moment, request: bytes, spill: Path | None) -> Iterator[socket.socket]:
        """Start the process, and kill it at the end. Yield the socket on which it sends its answer.

        Raises:
            UserError: the system refuses a process.
        """
        context = process_context()
        ours, theirs = context.Pipe()
        with ours, socket.socket(fileno=os.dup(ours.fileno())) as link:
            with theirs, prepare_child_start():
                call, *packed = apart_from_jobs(main, moment, request, self._memory, spill)
                # a daemon process is ended together with this process
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
                    self._kill()  # the reader may have left in the middle of a result, which the process would complete
                process.join(_END_SECONDS)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def main(connection: Connection, moment: Moment, request: bytes, memory: int, spill: Path | None) -> None:
    """Execute a request and exit. The main function of the process.

    Args:
        connection: connection for the frames of the answer.
        moment: state of the database to query.
        request: content of the frame with the request.
        memory: bytes that this process may use in addition to those it uses now.
        spill: folder for temporary data that does not fit into memory; None if there is none.
    """
    os.setsid()  # Ctrl-C in the terminal must not reach this process
    forget_safe_path()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # in place of the handler of the program, which was inherited
    os.nice(_NICENESS)  # the run comes first
    link = socket.socket(fileno=os.dup(connection.fileno()))
    # Two threads send the answer and the progress, and their frames must not be interleaved.
    sending = threading.Lock()

    def say(kind: bytes, content: bytes | memoryview = b"") -> None:
        with sending:
            send_frame(link, kind, content)

    try:
        _bound_memory(memory)
        with Database.open_beside(moment, memory_limit=int(memory * _DUCKDB_SHARE), spill=spill) as database:
            console = Console(database)
            over = threading.Event()
            # daemon: after an error `over` is never set, and `os._exit` below ends the thread
            threading.Thread(target=_tell_progress, args=(console, say, over), daemon=True).start()
            answer(console, unpack_request(request), say)
            over.set()
    except MemoryError:  # there is no memory for a message; the exit code tells the other process
        os._exit(_MEMORY_EXIT)
    except UserError as error:
        say(FAILED, pack_error(error))
    except Exception as error:  # a bug: the client must get an answer nevertheless
        say(FAILED, pack_error(UserError(f"the process of the statement failed ({error!r})", do="report it")))
    finally:
        os._exit(0)  # exit after any error, also if `say` failed because the other side is gone


def _tell_progress(console: Console, say: Say, over: threading.Event) -> None:
    """Send the progress of the statement repeatedly. The other side checks the log's length with each frame."""
    with contextlib.suppress(OSError):  # the other side is gone, which the answering thread notices, too
        while not over.wait(_LOOK_SECONDS):
            progress = console.progress()
            say(PROGRESS, b"" if progress is None else str(round(progress * 1000)).encode())


def _bound_memory(memory: int) -> None:
    """Make the kernel refuse this process more than `memory` additional bytes. Linux counts only private memory."""
    used = 0  # without /proc, which only Linux has; only there, the kernel enforces the limit
    with contextlib.suppress(OSError), open("/proc/self/status") as status:  # noqa: PTH123
        used = next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData:")), 0)
    # the system does not support this limit, so only DuckDB's own limit applies
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
