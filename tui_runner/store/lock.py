"""The lock file beside a database: which process has it open, and which run uses it.

DuckDB's own lock is a POSIX record lock on the database file. The system releases it as soon as any code in the owning
process opens and closes that file. So tui-runner also holds a `flock` on its own file, `<database>.lock`, while it has
the database open. This lock ends with the process, even if it is killed. The file remains then, but locks nothing. The
file contains a note, one JSON object about the owner of the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from tui_runner.errors import DatabaseError
from tui_runner.store.file_check import LOCK, companion
from tui_runner.system.files import NotOwnFile, is_same_file, open_own
from tui_runner.text.messages import plain

_NOTE_BYTES = 1024
"""Size of the note in bytes, reached by padding. So one write replaces the whole note, and a reader never sees parts of
two notes."""
_LARGEST_PID = (1 << 31) - 1
"""Largest process id: a `pid_t` is a signed number of 32 bits on every system."""
_LARGEST_RUN = (1 << 63) - 1
"""Largest number of a run, which is a BIGINT in the ledger."""
_LATEST_START = float(1 << 40)
"""Latest start of a process, in seconds since the epoch, that a note may have; no clock reaches it. A larger integer in
a forged note might not fit into a float."""
_LONGEST_PAUSE = 20
"""Largest length of the word for the cause of a pause. tui-runner's own words have up to eight letters; a longer one
than this is forged."""
_SAME_START_SECONDS = 2.0
"""Seconds by which two readings of the start time of one process may differ. The start times of two processes that had
the same id differ by more."""


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The note in a lock file, with facts about the owner for other processes.

    Attributes:
        pid: process id of the owner.
        started: when the owner started, in seconds since the epoch.
        run: number of the run that uses the database; None if no run does.
        socket: address at which the owner answers queries (`remote.endpoint`); None if the owner answers no queries.
        pause: one word for the cause of a pause that the user has not made. During such a pause the ledger says that
            the run is running. Empty if there is none.
    """

    pid: int
    started: float
    run: int | None
    socket: str | None
    pause: str = ""

    @property
    def is_current(self) -> bool:
        """True if the process still lives. A later process with the same id does not count."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < _SAME_START_SECONDS
        except psutil.Error:  # the process has ended
            return False

    @property
    def is_stopped(self) -> bool:
        """True if the process lives, but was stopped by a signal (Ctrl-Z, SIGSTOP) or a debugger."""
        try:
            return self.is_current and psutil.Process(self.pid).status() in (
                psutil.STATUS_STOPPED,
                psutil.STATUS_TRACING_STOP,
            )
        except psutil.Error:  # the process has ended
            return False


class DatabaseInUse(DatabaseError):
    """Raised if another tui-runner process, or another part of this one, has the database open.

    Attributes:
        record: the owner's note; None if it cannot be read.
    """

    def __init__(self, what: str, where: str, do: str, record: LockRecord | None) -> None:
        super().__init__(what, where, do)
        self.record = record


class LockFile:
    """A lock on one database, created by `acquire` or `without_file` and released by `release`.

    Attributes:
        path: path of the lock file.
        is_held: False if there is no lock file of this user. Then only DuckDB's own lock protects the database.
        why: why there is no lock file; empty if there is one.
    """

    _guard = threading.Lock()
    """Protects `_unlocked`, which all databases of this process share."""
    _unlocked: ClassVar[set[Path]] = set()
    """Databases that this process has open without a lock file. If it opened one a second time, DuckDB's own lock would
    be released."""

    def __init__(self, database: Path, descriptor: int | None, why: str = "") -> None:
        self.why = why
        self.path = companion(database, LOCK)
        self._database = database
        self._descriptor = descriptor
        self._run: int | None = None
        self._socket: str | None = None
        self._pause = ""

    @classmethod
    def acquire(cls, database: Path) -> LockFile:
        """Lock `database` for this process. `database` must be a path without symbolic links.

        Return a lock without a file, as from `without_file`, if the file belongs to another user, if another user may
        have locked it, or if the disk does not support such locks.

        Raises:
            DatabaseError: another process or this one already has the database open, or no lock file can be created.
        """
        path = companion(database, LOCK)
        while True:
            shared = _others_may_open(path)
            try:
                descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
            except NotOwnFile as error:
                # The lock file of another user cannot be replaced, but DuckDB's own lock still protects the database.
                # A link or a folder in its place may be a trap.
                if error.owner is None:
                    raise _unwritable(database, error) from error
                return cls.without_file(database, _others(database))
            except OSError as error:  # for example, the folder is read-only
                raise _unwritable(database, error) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    # Some network file systems do not support `flock`. DuckDB's kind of lock may work there.
                    lock = cls(database, descriptor)
                    lock.release()
                    return cls.without_file(database, f"files beside it cannot be locked ({_reason(error)})")
                owner = _record(os.pread(descriptor, _NOTE_BYTES, 0)) or _holder(descriptor)
                os.close(descriptor)
                if shared:
                    return cls.without_file(database, _others(database))
                raise _in_use(database, owner) from error
            if is_same_file(descriptor, path):
                if not shared:
                    break
                # Another user may have opened the file before it became private, and could lock it as soon as this
                # process releases the lock.
                path.unlink(missing_ok=True)
            # Between opening and locking, the last owner or this process has removed the file. Then the lock protects
            # nothing.
            os.close(descriptor)
        lock = cls(database, descriptor)
        lock._note()
        return lock

    @classmethod
    def without_file(cls, database: Path, why: str = "") -> LockFile:
        """Return a lock without a file, which only keeps this process from opening `database` a second time.

        Args:
            database: path without symbolic links.
            why: why there is no lock file, for messages.

        Raises:
            DatabaseError: this process already has the database open.
        """
        with cls._guard:
            if database in cls._unlocked:
                raise _open_here(database, None)
            cls._unlocked.add(database)
        return cls(database, None, why)

    @property
    def is_held(self) -> bool:
        """True if this process holds a lock file of its own."""
        return self._descriptor is not None

    def taken_over(self) -> LockFile:
        """Replace a lock file of another user by our own. Call it while DuckDB's own lock is held.

        Returns:
            The lock to use from now on. It is this object if the file cannot be replaced, as in a folder like `/tmp`.
        """
        try:
            self.path.unlink(missing_ok=True)
            taken = self.acquire(self._database)
        # the other user's file cannot be replaced, so only DuckDB's lock protects the database
        except (OSError, DatabaseError):
            return self
        self.release()
        return taken

    def note_run(self, run_id: int | None) -> None:
        """Write the number of the run that uses the database into the note; None if no run does."""
        self._run = run_id
        self._note()

    def note_socket(self, path: str | None) -> None:
        """Write the address for queries into the note; None if the owner answers no queries."""
        self._socket = path
        self._note()

    def note_pause(self, cause: str) -> None:
        """Write the cause of a pause into the note, as one word; empty if there is no pause."""
        self._pause = cause
        self._note()

    def _note(self) -> None:
        """Write the note: which process has the database, which run uses it, and the address for queries."""
        if self._descriptor is None:
            return
        note = {
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "run": self._run,
            "socket": self._socket,
            "pause": self._pause,
        }
        # Writing fails on a full disk. The lock works without a note, and the user must still be able to read the
        # database.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, json.dumps(note).encode().ljust(_NOTE_BYTES), 0)

    def release(self) -> None:
        """Remove the lock file, then unlock. In this order, no process can lock a file that is removed afterwards.

        Without a lock file, only allow this process to open the database again.
        """
        if self._descriptor is None:
            with self._guard:
                self._unlocked.discard(self._database)
            return
        # On a disk that has become read-only, the file cannot be removed. It locks nothing, and the next process uses
        # it.
        with contextlib.suppress(OSError):
            if is_same_file(self._descriptor, self.path):
                self.path.unlink()
        os.close(self._descriptor)


def _others_may_open(path: Path) -> bool:
    """Return True if an earlier version has created the file, because that made it readable for all users."""
    try:
        return bool(path.lstat().st_mode & 0o077)
    except OSError:  # there is no such file yet
        return False


def _others(database: Path) -> str:
    return f"{plain(companion(database, LOCK).name)} belongs to another user and cannot be replaced"


def _unwritable(database: Path, error: OSError) -> DatabaseError:
    return DatabaseError(
        f"the lock file {plain(companion(database, LOCK).name)} cannot be written ({_reason(error)})",
        str(database),
        "put the database in a folder that you may write to",
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _in_use(database: Path, record: LockRecord | None) -> DatabaseInUse:
    """Return the error that the lock is taken. It names the owner as far as the owner is known."""
    if record is None:
        return DatabaseInUse("in use by another tui-runner", str(database), "wait for it to end, or stop it", None)
    if record.pid == os.getpid():
        return _open_here(database, record)
    if record.is_stopped:
        return DatabaseInUse(*silent_owner(record, str(database)), record)
    what = f"in use by tui-runner (pid {record.pid})"
    if record.run is not None:
        return DatabaseInUse(f"{what}, run {record.run}", str(database), "wait for that run to end, or stop it", record)
    return DatabaseInUse(what, str(database), "wait for it to end, or stop it", record)


def silent_owner(record: LockRecord, where: str) -> tuple[str, str, str]:
    """Return (what, where, do) of the error about an owner that lives but does not respond."""
    how, do = (
        ("is stopped and ", "continue it (fg) or end it")
        if record.is_stopped
        else ("", "wait until it does, or end it")
    )
    return f"in use by tui-runner (pid {record.pid}), which {how}does not answer", where, do


def _open_here(database: Path, record: LockRecord | None) -> DatabaseInUse:
    return DatabaseInUse("already open in this process", str(database), "close it there first", record)


def _holder(descriptor: int) -> LockRecord | None:
    """Return a record of the process that holds the lock of a file; None if it is unknown. Only Linux has such a list.

    Used if the note has no owner yet, because the owner has just taken the lock, or the disk is full.
    """
    file = os.fstat(descriptor)
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            match line.split():
                # 3: FLOCK  ADVISORY  WRITE 19994 fe:00:2196448 0 EOF
                case [_, "FLOCK", _, "WRITE", pid, locked, *_] if locked == place:
                    return LockRecord(int(pid), psutil.Process(int(pid)).create_time(), None, None)
    except (OSError, ValueError, psutil.Error):  # the process has just ended, or is in another container
        pass
    return None


def _record(note: bytes) -> LockRecord | None:
    """Return the content of a note; None if it is not valid. Any process that can write the file may have forged it."""
    try:
        content = json.loads(note)
        pid, started, run, socket = (content[key] for key in ("pid", "started", "run", "socket"))
    except (ValueError, KeyError, TypeError, RecursionError):  # empty while its owner writes it, or forged
        return None
    pause = content.get("pause")  # missing in notes of earlier versions
    # The comparisons with a range are False for NaN. `type(...) is` excludes `True`, which is an instance of `int`.
    if type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        return None
    if type(started) not in (int, float) or not 0 <= started <= _LATEST_START:
        return None
    return LockRecord(
        pid=pid,
        started=float(started),
        run=run if type(run) is int and 0 < run <= _LARGEST_RUN else None,
        socket=socket if isinstance(socket, str) else None,
        pause=pause if isinstance(pause, str) and len(pause) <= _LONGEST_PAUSE else "",
    )
