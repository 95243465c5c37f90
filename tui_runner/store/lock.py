"""The lock file beside a database: who has it open, and which run is going on in it.

DuckDB's own lock is a POSIX record lock on the database file, which the system drops as soon as anything in the
owning process opens and closes that file. So tui-runner holds `flock` on a file of its own, `<database>.lock`, for as
long as it has the database open. The lock goes with the process, however it ends; a file that was left behind
by a killed process locks nobody out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from tui_runner.errors import DatabaseError

_NOTE_BYTES = 1024
"""The note is padded to this, so that one write replaces it whole and a reader never sees half of it."""
_LARGEST_PID = (1 << 31) - 1
"""A `pid_t` has 32 bits and a sign everywhere."""
_LARGEST_RUN = (1 << 63) - 1
"""The number of a run is a BIGINT in the ledger."""
_LATEST_START = float(1 << 40)
"""Seconds since the epoch, far beyond any clock; a larger whole number may not fit into a float."""
_SAME_START_SECONDS = 2.0
"""Two readings of when a process started differ by less; two processes of one number by more."""


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What the owner of a lock notes in it for others.

    Attributes:
        pid: number of the owning process.
        started: when that process started, in seconds since the epoch.
        run: number of the run that is going on, None without one.
        socket: where it answers queries, None when it does not.
    """

    pid: int
    started: float
    run: int | None
    socket: str | None

    @property
    def is_current(self) -> bool:
        """Whether that very process still lives, and not another one that was given its number."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < _SAME_START_SECONDS
        except psutil.Error:
            return False

    @property
    def is_stopped(self) -> bool:
        """True if that very process lives and a signal (Ctrl-Z, SIGSTOP) or a debugger has stopped it."""
        try:
            return self.is_current and psutil.Process(self.pid).status() in (
                psutil.STATUS_STOPPED,
                psutil.STATUS_TRACING_STOP,
            )
        except psutil.Error:
            return False


class DatabaseInUse(DatabaseError):
    """Another tui-runner has the database open, or another part of this one.

    Attributes:
        record: what is known of the owner, None when its note cannot be read.
    """

    def __init__(self, what: str, where: str, do: str, record: LockRecord | None) -> None:
        super().__init__(what, where, do)
        self.record = record


class LockFile:
    """A held lock on one database; made by `acquire`, ended by `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._run: int | None = None
        self._socket: str | None = None

    @classmethod
    def acquire(cls, database: Path) -> LockFile:
        """Lock `database` for this process.

        Raises:
            DatabaseError: another process has it, this one has it already, or no lock file can be made there.
        """
        path = database.with_name(database.name + ".lock")
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise DatabaseError(
                    f"the lock file {path.name} cannot be written ({_reason(error)})",
                    str(database),
                    "put the database in a folder that you may write to",
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                note = os.pread(descriptor, _NOTE_BYTES, 0)
                os.close(descriptor)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise DatabaseError(
                        f"files in this folder cannot be locked ({_reason(error)})",
                        str(database),
                        "put the database on a local disk",
                    ) from error
                raise _in_use(database, note) from error
            if _same_file(descriptor, path):
                break
            # Its last owner removed the file between our open and our lock: this is a lock on nothing.
            os.close(descriptor)
        lock = cls(path, descriptor)
        lock._note()
        return lock

    def note_run(self, run_id: int | None) -> None:
        """Tell other processes which run is going on; None when there is none."""
        self._run = run_id
        self._note()

    def note_socket(self, path: str | None) -> None:
        """Tell other processes where queries are answered; None when they are not."""
        self._socket = path
        self._note()

    def _note(self) -> None:
        note = {
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "run": self._run,
            "socket": self._socket,
        }
        # On a full disk there is no room for it. The lock holds without a note, and reading is to be possible there.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, json.dumps(note).encode().ljust(_NOTE_BYTES), 0)

    def release(self) -> None:
        """Remove the lock file and unlock. Removing it while it is locked lets nobody lock the removed file."""
        # A disk that has become read-only keeps it. It locks nothing then: whoever comes next can.
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _in_use(database: Path, note: bytes) -> DatabaseInUse:
    """The message about the owner of the lock, as far as its note can be read."""
    record = _record(note)
    if record is None:
        return DatabaseInUse("in use by another tui-runner", str(database), "wait for it to end, or stop it", None)
    if record.pid == os.getpid():
        return DatabaseInUse("already open in this process", str(database), "close it there first", record)
    what = f"in use by tui-runner (pid {record.pid})"
    if record.run is not None:
        return DatabaseInUse(f"{what}, run {record.run}", str(database), "wait for that run to end, or stop it", record)
    return DatabaseInUse(what, str(database), "wait for it to end, or stop it", record)


def _record(note: bytes) -> LockRecord | None:
    """Return what a note says, None if no tui-runner wrote it. Any process that can write the file may have."""
    try:
        content = json.loads(note)
        pid, started, run, socket = (content[key] for key in ("pid", "started", "run", "socket"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # NaN is within no bounds, and `True` is an `int` for `isinstance`.
    if type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        return None
    if type(started) not in (int, float) or not 0 <= started <= _LATEST_START:
        return None
    return LockRecord(
        pid=pid,
        started=float(started),
        run=run if type(run) is int and 0 < run <= _LARGEST_RUN else None,
        socket=socket if isinstance(socket, str) else None,
    )
