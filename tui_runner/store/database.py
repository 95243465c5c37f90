"""An open DuckDB file: locked by this process, with restricted access to everything else, one cursor per thread.

`connection.py` connects to the file and restricts access.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import duckdb

from tui_runner.errors import DatabaseError, DiskFull, UserError
from tui_runner.store.connection import HeldElsewhere, OpenConnection, Opening, fault_of_file, shown_limit
from tui_runner.store.file_check import (
    SPILL,
    WRITE_AHEAD_LOGS,
    check_companions,
    check_file,
    check_in_use,
    check_place,
    companion,
    own_spill,
    size_of_blocks,
    whole_headers,
)
from tui_runner.store.lock import DatabaseInUse, LockFile
from tui_runner.store.records import Moment
from tui_runner.store.sql import literal, quote
from tui_runner.system.files import user_name
from tui_runner.system.private_folder import private_folder
from tui_runner.text.numbers import size

_SPILL_BESIDE = "beside-"
"""Prefix of the spill folder of a process that reads beside this one, so that `_remove_spill` recognises it."""
_CHECKPOINT_ROOM = 64 << 20
"""Bytes that must be free, in addition to the length of the log, before a checkpoint that could be postponed. The same
is required for a flush."""
_NO_CHECKPOINT = "1000TiB"
"""Length of the write-ahead log at which DuckDB makes a checkpoint by itself; so long that it never does."""
_LONG_LOG_SECONDS = 10.0
"""Seconds that a new reader beside this process waits for other readers to end, if the log is too long for the new
reader."""
_CACHE_BYTES = 32 << 20
"""Bytes of cached blocks that `trim_cache` leaves in memory. DuckDB keeps every block it has read or written, up to its
memory limit: a run that writes a file of 760 MB would keep all of it in memory. Releasing takes 10 ms."""
_CLOSE_SECONDS = 10.0
"""Seconds for which `close` keeps interrupting running queries. A query ended within 0.2 s, but a reader with unread
rows never ends."""
PATIENCE_SECONDS = 3.0
"""Seconds that the start of a run waits for a query of another process to end. Most queries end within that time; one
whose result is open on a screen may never end, so a user should not wait longer for the error. `Access` waits longer,
because what it waits for ends by itself."""
_TRY_SECONDS = 0.05
"""Seconds between two attempts to open a file that another process has open for a short statement."""


class Database:
    """An open DuckDB file; created by `open`. Thread-safe.

    Attributes:
        path: path of the file as the user named it.
        read_only: why the file can only be read, for example because it is another user's; empty if it can be written.
        run_id: number of the run that uses it; None for none.
        writing: lock that is held during each transaction of a run.
        statements: open statements of users.
    """

    def __init__(self, path: Path, opening: Opening, lock: LockFile, connection: OpenConnection) -> None:
        self.path = path
        self.read_only = opening.read_only
        self._real = opening.real
        self._spill = opening.spill
        self._memory_limit = opening.memory_limit
        self._root, self._catalog = connection
        self._name = self._catalog or self._root.execute("SELECT current_database()").fetchall()[0][0]
        """Name of the database in DuckDB. The root connection is used under `_guard` only: it is not thread-safe."""
        self._lock_file = lock
        self._guard = threading.Lock()
        """Guards `_cursors`, `_closed` and the number of readers beside this process."""
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._closed = False
        self.run_id: int | None = None
        self.writing = threading.Lock()
        """Held during each transaction of a run, and while a reader beside this process starts between two of them."""
        self._readers_beside = 0
        self._reader_ended = threading.Condition(self._guard)
        """Notified when a reader beside this process has ended; a reader with a long log waits for that."""
        self._checkpoint_threshold = ""
        """Value of the setting while no process reads beside this one."""
        self.statements = OpenStatements()
        self._threads_guard = threading.Lock()
        """Held while DuckDB's threads are replaced. The writing thread never waits for it."""
        self._usual_threads = 0
        """DuckDB's usual number of threads while `lower_thread_priority` has lowered it; 0 otherwise."""
        self._identity: tuple[int, int] | None = None
        """Device and inode of the file when it was first checked."""
        self._last_size = path.stat().st_size
        self._damage = ""
        """Damage that the file has suffered while it was open, as part of a message; empty if none is known."""
        # Closing any descriptor of the file drops DuckDB's lock on it, so this one stays open until DuckDB has closed
        # it.
        self._file = os.open(self._real, os.O_RDONLY | os.O_CLOEXEC)
        self._headers = whole_headers(self._file)
        self.made = False
        """True if the file did not exist before. Determined under the lock, so that no other process can have created
        it meanwhile."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = True,
        memory_limit: int | None = None,
        patience: float = 0.0,
        for_run: bool = False,
    ) -> Database:
        """Open the DuckDB file `path`. If it does not exist, create it, unless `create` is False.

        Args:
            path: the file. A file that is not a DuckDB file is refused and not changed.
            create: True to create a missing file.
            memory_limit: bytes that DuckDB may use before it spills to disk; None for a quarter of the memory.
            patience: seconds to wait for another process that has it open without a run, for example for a query.
            for_run: True if a run will write to it.

        Raises:
            DatabaseError: it cannot be opened; the message has the reason and advice.
        """
        path = path.absolute()
        real = check_place(path, create=create)  # symbolic links are resolved, so that all of them share one lock file
        read_only = "" if create or for_run else _only_readable(real)
        check_companions(real, read_only=bool(read_only), for_run=for_run)
        until = time.monotonic() + patience
        lock = LockFile.without_file(real) if read_only else _lock(real, until)
        made = not real.exists()
        try:
            check_file(path, real, create=create, write=not read_only)
            if lock.is_held:
                _remove_spill(companion(real, SPILL))
            spill = (None if read_only else own_spill(real)) or _spill_elsewhere()
            opening = Opening(path, real, spill, shown_limit(memory_limit), read_only)
            while True:
                try:
                    connection = opening.connect()
                    break
                except HeldElsewhere:  # a program without our lock file has it, such as DuckDB's own shell
                    if time.monotonic() > until:
                        raise
                time.sleep(_TRY_SECONDS)
            if not (lock.is_held or read_only):
                lock = lock.taken_over()
        except BaseException as error:  # the lock and the spill folder must be removed
            if made and isinstance(error, DiskFull):  # removes the incomplete file
                _remove(real)
            if lock.is_held:
                _remove_spill(companion(real, SPILL))
            lock.release()
            raise
        opened = cls(path, opening, lock, connection)
        opened.made = made
        return opened

    @classmethod
    def open_beside(cls, moment: Moment, *, memory_limit: int, spill: Path | None) -> Database:
        """Open for reading, as it is at `moment`, a database that another process of this program writes.

        Args:
            moment: state from the other process, which makes no checkpoints until this is closed.
            memory_limit: bytes that DuckDB may use before it spills to disk.
            spill: empty folder for spilling; None if there can be none.

        Raises:
            DatabaseError: it cannot be read.
        """
        opening = Opening(
            moment.file, moment.file, spill, shown_limit(memory_limit), "another process writes to it", moment
        )
        return cls(moment.file, opening, LockFile.without_file(moment.file), opening.connect())

    @contextlib.contextmanager
    def hold_checkpoints(self, long_log: int, *, patience: float = _LONG_LOG_SECONDS) -> Iterator[Moment]:
        """Make no checkpoint until the `with` block ends, because another process reads the file in it.

        Wait for the current transaction first.

        A reader replays the log in memory before it starts. If readers follow or overlap each other, there is never a
        commit without a reader, at which DuckDB would make a checkpoint. So a checkpoint is made here if the log is
        long when a reader starts.

        Args:
            long_log: if the log has more bytes, wait for other readers to end.
            patience: seconds to wait for them at most.

        Raises:
            UserError: other readers have kept the log longer than twice that.
        """
        log = companion(self._real, WRITE_AHEAD_LOGS[0])
        with self._reader_ended:
            self._reader_ended.wait_for(
                lambda: not self._readers_beside or self._closed or _length(log) <= long_log, patience
            )
        with self.writing:
            if _length(log) > long_log and not self._readers_beside:
                self._checkpoint()
            if (nbytes := _length(log)) > 2 * long_log:
                raise UserError(
                    f"other statements keep {size(nbytes)} of new rows from being moved into the file",
                    do="try again when they have ended",
                )
            self._count_readers_beside(+1)
            moment = Moment(self._real, self._name, log, nbytes)
        try:
            yield moment
        finally:
            with contextlib.suppress(DatabaseError):  # the database was closed meanwhile
                self._count_readers_beside(-1)

    @contextlib.contextmanager
    def reader_spill(self) -> Iterator[Path | None]:
        """Create a folder for spilling by a process that reads beside this one. Yield None if that is not possible."""
        folder = None if self._spill is None else self._spill / f"{_SPILL_BESIDE}{os.urandom(4).hex()}"
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True)
            except OSError:  # without a folder, the reader cannot spill
                folder = None
        try:
            yield folder
        finally:
            _remove_spill(folder)

    def _count_readers_beside(self, more: int) -> None:
        """Change the number of readers beside this process. While there are any, DuckDB makes no checkpoints."""
        with self._guard:
            if self._closed:
                raise DatabaseError("is closed", str(self.path))
            if not self._readers_beside:
                setting = "SELECT current_setting('checkpoint_threshold')"
                self._checkpoint_threshold = self._root.execute(setting).fetchall()[0][0]
            self._readers_beside += more
            threshold = _NO_CHECKPOINT if self._readers_beside else self._checkpoint_threshold
            self._root.execute(f"SET checkpoint_threshold = {literal(threshold)}")
            self._reader_ended.notify_all()

    def shorten_log(self) -> None:
        """Move the log into the file after a run, so that `size_bytes` is final. Do nothing if that may fail.

        A log of 0.3 MB became a file of 2.1 MB.
        """
        log = companion(self._real, WRITE_AHEAD_LOGS[0])
        with self.writing:
            # If the disk is full in a checkpoint, DuckDB's instance ends, and the user could not query the rows any
            # more.
            if not self._readers_beside and self.free_bytes() > _length(log) + _CHECKPOINT_ROOM:
                self._checkpoint()

    def _checkpoint(self) -> None:
        """Move the log into the file. If that fails, the rows stay in the log, which is safe."""
        # Use a new cursor, because other threads may be about to fetch results of the root connection. The suppressed
        # errors are a full disk, and Ctrl-C, which DuckDB turns into a `RuntimeError`.
        with contextlib.suppress(duckdb.Error, RuntimeError), self._root.cursor() as cursor:
            cursor.execute("CHECKPOINT" if self._catalog is None else f"CHECKPOINT {quote(self._catalog)}")

    @property
    def is_closed(self) -> bool:
        """Return True from the call of `close` on."""
        return self._closed

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor for the calling thread, with times in UTC. Give it back with `close_cursor`."""
        with self._guard:
            if self._closed:
                raise DatabaseError("is closed", str(self.path))
            cursor = self._root.cursor()
            cursor.execute("SET TimeZone = 'UTC'")  # moments look the same in every process, whatever its TZ
            if self._catalog is not None:
                cursor.execute(f"USE {quote(self._catalog)}")
            self._cursors.append(cursor)
            return cursor

    def close_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Close a cursor and interrupt the query that runs in it. Safe after `close`."""
        with self._guard:
            if cursor in self._cursors:
                self._cursors.remove(cursor)
        _end(cursor, time.monotonic() + _CLOSE_SECONDS)

    @contextlib.contextmanager
    def opened_cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a new cursor for the calling thread, which is closed at the end of the `with` block."""
        cursor = self.cursor()
        try:
            yield cursor
        finally:
            self.close_cursor(cursor)

    def trim_cache(self) -> None:
        """Release the memory of cached blocks, unless a reader is open, whose query might need them.

        Called by the writing thread. Any cursor besides that thread's own counts as a reader.
        """
        with self._guard:
            if self._closed or len(self._cursors) > 1:
                return
            try:
                self._root.execute(f"SET memory_limit = '{_CACHE_BYTES >> 20}MiB'")
            except duckdb.OutOfMemoryException:
                return  # no cached block can be released, because more memory than that is in use
            finally:
                self._root.execute(f"SET memory_limit = '{self._memory_limit}'")

    def lower_thread_priority(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB's threads help with a user's statement beside a run, at low priority.

        DuckDB has one pool of threads for all statements. At the priority of the run, a heavy aggregate in a loop would
        take a third of the run's rate, on two cores. At low priority, beside programs that use all processors, the
        run's own transactions would wait for a thread that gets no time: 20 s instead of 8. So the pool has low
        priority only while a statement is open, and then only as many threads as processors are idle.

        Args:
            cursor: cursor of the calling thread. Threads that DuckDB starts inherit the priority of the thread that
                causes it.
        """
        if self.run_id is None:
            return
        with self._threads_guard:
            if not self._usual_threads:
                self._usual_threads = int(cursor.execute("SELECT current_setting('threads')").fetchall()[0][0])
                _restart_threads(cursor, max(1, round(self._usual_threads - os.getloadavg()[0])))

    def restore_thread_priority(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Give DuckDB's threads the priority of the calling thread again, unless a user's statement is open.

        Called by the writing thread before each transaction.
        """
        # Never wait for the guard: its holder has low priority and starts a statement. The next transaction tries
        # again.
        if not self._usual_threads or self.statements or not self._threads_guard.acquire(blocking=False):
            return
        try:
            _restart_threads(cursor, self._usual_threads)
            self._usual_threads = 0
        finally:
            self._threads_guard.release()

    @property
    def is_announced(self) -> bool:
        """Return True if the lock file names this process and its address for queries."""
        return self._lock_file.is_held

    @property
    def unannounced_because(self) -> str:
        """Return the reason for which the lock file does not name this process; empty if it does."""
        return self._lock_file.why

    def note_run(self, run_id: int) -> None:
        """Write the number of the current run into the lock file, for other processes that try to open the database."""
        self.run_id = run_id
        self._lock_file.note_run(run_id)

    def note_pause(self, cause: str) -> None:
        """Write the cause of a pause into the lock file; see `LockFile.note_pause`."""
        self._lock_file.note_pause(cause)

    def note_socket(self, socket: str | None) -> None:
        """Write the address for queries into the lock file; None if queries are not answered."""
        self._lock_file.note_socket(socket)

    def size_bytes(self) -> int:
        """Return the bytes of the file and its write-ahead logs. Opens no file: closing it would drop DuckDB's lock."""
        total = 0
        for file in (self._real, *(companion(self._real, ending) for ending in WRITE_AHEAD_LOGS)):
            with contextlib.suppress(FileNotFoundError):  # there is no such log now
                total += file.stat().st_size
        return total

    def free_bytes(self) -> int:
        """Return the free bytes on the disk of the database."""
        return shutil.disk_usage(self.path.resolve().parent).free

    def check_in_place(self) -> None:
        """Check before a transaction that the file is still in its place; a removed file would accept all rows.

        Raises:
            DatabaseError: the file was removed, replaced or truncated, or a file of another user is where DuckDB will
                write.
        """
        do = "resume the run once the file is back in its place, or start a new one"
        try:
            found = self.path.stat()
        except OSError as error:
            raise DatabaseError(f"is gone ({(error.strerror or str(error)).lower()})", str(self.path), do) from error
        if self._identity is None:
            self._identity = (found.st_dev, found.st_ino)
        if (found.st_dev, found.st_ino) != self._identity:
            raise DatabaseError("is no longer the file that was opened", str(self.path), do)
        # The file is truncated only if it is shorter than at the last check and than DuckDB's count of blocks. One
        # condition alone proves nothing: DuckDB counts some blocks before it writes them, and it cuts free blocks off
        # the end.
        shrunk, self._last_size = found.st_size < self._last_size, found.st_size
        do = "restore a copy of it, then resume the run; the file was left as it is"
        if shrunk and found.st_size < self._whole_size():
            self._damage = "has lost its end"
        # A header whose checksum was wrong at the start comes from a DuckDB that computes it differently.
        if any(before and not now for before, now in zip(self._headers, whole_headers(self._file), strict=True)):
            self._damage = self._damage or "was overwritten by another program"
        if self._damage:
            raise DatabaseError(f"{self._damage} while it was open", str(self.path), do)
        check_in_use(self._real, self._spill)

    def _whole_size(self) -> int:
        """Return the bytes of the file with all blocks that DuckDB counts."""
        sizes = "SELECT total_blocks, block_size FROM pragma_database_size() WHERE database_name = current_database()"
        with self.opened_cursor() as cursor:
            blocks, block_size = cursor.execute(sizes).fetchall()[0]
        return size_of_blocks(blocks, block_size)

    def close(self, *, remove: bool = False) -> None:
        """Interrupt running queries, close every cursor, write the log into the file, close it and unlock.

        In another order, DuckDB aborts the process. Repeated calls do nothing. The owner of an Arrow reader with unread
        rows must close the reader: while it exists, DuckDB waits for it when this process opens the file again.

        Args:
            remove: True to delete the file as well, before it is unlocked.
        """
        # Not under the guard: ending the cursors may take `_CLOSE_SECONDS`, and `close_cursor` needs the guard
        # meanwhile.
        with self._guard:
            if self._closed:
                return
            self._closed = True
            cursors, self._cursors = self._cursors, []
        deadline = time.monotonic() + _CLOSE_SECONDS
        for cursor in cursors:
            _end(cursor, deadline)
        try:
            if not self._damage:
                self._checkpoint()
            self._root.close()
            os.close(self._file)
            if remove:
                _remove(self._real)
        finally:
            _remove_spill(self._spill)
            self._lock_file.release()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, duckdb.Error) and (fault := fault_of_file(error, self.path)) is not None:
            raise fault from error


def _restart_threads(cursor: duckdb.DuckDBPyConnection, count: int) -> None:
    """End DuckDB's threads and start new ones. `count` includes the thread that executes the statement."""
    cursor.execute("SET threads = 1")  # ends all others; a running thread would keep its priority
    cursor.execute(f"SET threads = {count}")


def _lock(real: Path, until: float) -> LockFile:
    """Acquire the lock file.

    If a process holds it without a run, wait for that process until the monotonic time `until`.
    """
    while True:
        try:
            return LockFile.acquire(real)
        except DatabaseInUse as error:  # a short statement of another process is waited for
            record = error.record
            is_short = record is None or (record.run is None and record.pid != os.getpid())
            if not is_short or time.monotonic() > until:
                raise
        time.sleep(_TRY_SECONDS)


def _only_readable(real: Path) -> str:
    """Return the reason for which a database is only read; empty if it is this user's and can be written."""
    owner = real.stat().st_uid
    if owner != os.geteuid():
        return f"it belongs to {user_name(owner)}"
    try:
        if not (os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)):
            return "the file or its folder is not writable"
    except OSError as error:  # `access` itself failed, for example on a network disk
        return (error.strerror or str(error)).lower()
    return ""


def _end(cursor: duckdb.DuckDBPyConnection, deadline: float) -> None:
    """Close a cursor.

    Interrupt its query repeatedly, because an interrupt that arrives between two statements is lost.
    """
    while True:
        with contextlib.suppress(duckdb.Error):  # it is closed already
            cursor.interrupt()
        try:
            cursor.close()
        except duckdb.ResourceInUseException:  # another thread is still in a call with this cursor
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)  # short, because an interrupted query ends within 0.2 s
        else:
            return


def _remove(real: Path) -> None:
    for file in (real, *(companion(real, ending) for ending in WRITE_AHEAD_LOGS)):
        file.unlink(missing_ok=True)


def _spill_elsewhere() -> Path | None:
    """Return a folder for spilling that is elsewhere than the database; None if no folder can be written."""
    try:
        return private_folder() / f"spill-{os.urandom(4).hex()}"
    except OSError:  # no temporary folder can be written
        return None


def _remove_spill(folder: Path | None) -> None:
    """Remove DuckDB's spill files, also those of a killed process. Keep files that DuckDB did not create."""
    if folder is None:
        return
    with contextlib.suppress(OSError):  # there is no folder, it has other files, or the disk has become read-only
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            for file in folder.glob("duckdb_temp_*"):
                file.unlink(missing_ok=True)
            for beside in folder.glob(f"{_SPILL_BESIDE}*"):
                _remove_spill(beside)
            folder.rmdir()


class Endable(Protocol):
    """An object with an open statement, for example a console."""

    def end(self, reason: str) -> bool:
        """Interrupt the statement and return at once. Return True unless it was interrupted before."""


class OpenStatements:
    """The open statements of users, from their start until all of their resources are released. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        """Guards `_open`: statements start and end in many threads."""
        self._open: set[Endable] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, owner: Endable) -> None:
        """Add an owner whose statement starts."""
        with self._guard:
            self._open.add(owner)

    def remove(self, owner: Endable) -> None:
        """Remove an owner whose statement has released everything."""
        with self._guard:
            self._open.discard(owner)

    def end(self, reason: str) -> int:
        """Interrupt all statements and return at once. Return how many were not interrupted before.

        Args:
            reason: reason that their clients are given, such as "the run needs the memory".
        """
        with self._guard:
            owners = list(self._open)
        return sum([owner.end(reason) for owner in owners])


def _length(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
