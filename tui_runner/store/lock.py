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
from pathlib import Path

import psutil

from tui_runner.errors import DatabaseError

_NOTE_BYTES = 256
"""The note is padded to this, so that one write replaces it whole and a reader never sees half of it."""


class LockFile:
    """A held lock on one database; made by `acquire`, ended by `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

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
        lock.note(None)
        return lock

    def note(self, run_id: int | None) -> None:
        """Tell other processes which run is going on; None when there is none."""
        note = {"pid": os.getpid(), "started": psutil.Process().create_time(), "run": run_id}
        os.pwrite(self._descriptor, json.dumps(note).encode().ljust(_NOTE_BYTES), 0)

    def release(self) -> None:
        """Remove the lock file and unlock. Removing it while it is locked lets nobody lock the removed file."""
        with contextlib.suppress(FileNotFoundError):
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


def _in_use(database: Path, note: bytes) -> DatabaseError:
    """The message about the owner of the lock, as far as its note can be read."""
    try:
        content = json.loads(note)
        pid, run = int(content["pid"]), content["run"]
    except (ValueError, KeyError, TypeError):
        return DatabaseError("in use by another tui-runner", str(database), "wait for it to end, or stop it")
    if pid == os.getpid():
        return DatabaseError("already open in this process", str(database), "close it there first")
    what = f"in use by tui-runner (pid {pid})"
    if isinstance(run, int):
        return DatabaseError(f"{what}, run {run}", str(database), "wait for that run to end, or stop it")
    return DatabaseError(what, str(database), "wait for it to end, or stop it")
