"""An open DuckDB file: locked by this process, restricted to this file, and used with one cursor per thread.

`connection.py` opens the file in DuckDB and restricts the instance.
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
"""Prefix of the spill folder of a process that reads beside this one, by which `_remove_spill` recognises it."""
_CHECKPOINT_ROOM = 64 << 20
"""Bytes that must be free, in addition to the length of the log, before a checkpoint that is not necessary. A flush
requires the same number."""
_NO_CHECKPOINT = "1000TiB"
"""Length of the write-ahead log at which DuckDB makes a checkpoint by itself; so large that it is never reached."""
_LONG_LOG_SECONDS = 10.0
"""Seconds for which a process that wants to read beside this one waits for other readers to end, if the log is too
long."""
_CACHE_BYTES = 32 << 20
"""Bytes of cached blocks that `trim_cache` leaves in memory. DuckDB caches every block it has read or written, up to
its memory limit: a run that writes a file of 760 MB would keep all of it in memory. Trimming takes 10 ms."""
_CLOSE_SECONDS = 10.0
"""Seconds for which `close` keeps interrupting running queries. A query ended within 0.2 s, but a reader with unread
rows never ends."""
PATIENCE_SECONDS = 3.0
"""Seconds for which the start of a run waits until another process has closed the database after a query. Most queries
end within that time. A query whose result is open on a screen may never end, so a user should not wait longer for the
error. `open_access` waits longer, because what it waits for ends by itself."""
_TRY_SECONDS = 0.05
"""Seconds between two attempts to open a file that another process has open for a short statement."""


class Database:
    """An open DuckDB file; created by `open` or `open_beside`. Thread-safe.

    Attributes:
        path: path of the file as the user named it.
        read_only: why the file can only be read, for example because it belongs to another user; empty if it can be
            written.
        run_id: number of the run that uses the database; None if no run does.
        writing: lock that is held during each transaction of a run.
        statements: the statements of users that are being executed.
    """

    def __init__(self, path: Path, opening: Opening, lock: LockFile, connection: OpenConnection) -> None:
        self.path = path
        self.read_only = opening.read_only
        self._real = opening.real
        self._spill = opening.spill
        self._memory_limit = opening.memory_limit
        self._root, self._catalog = connection
        self._name = self._catalog or self._root.execute("SELECT current_database()").fetchall()[0][0]
        """Name of the database in DuckDB. `_guard` must be held when the root connection is used, because it is not
        thread-safe."""
        self._lock_file = lock
        self._guard = threading.Lock()
        """Protects `_cursors`, `_closed`, the root connection and the number of readers beside this process."""
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._closed = False
        self.run_id: int | None = None
        self.writing = threading.Lock()
        """Held during each transaction of a run, and while a process that reads beside this one is being admitted."""
        self._readers_beside = 0
        self._reader_ended = threading.Condition(self._guard)
        """Notified when a process that read beside this one has ended. The admission of a new reader may wait for that.
        """
        self._checkpoint_threshold = ""
        """Value of DuckDB's setting while no process reads beside this one."""
        self.statements = OpenStatements()
        self._threads_guard = threading.Lock()
        """Held while DuckDB's threads are replaced. The writing thread never waits for it."""
        self._usual_threads = 0
        """DuckDB's usual number of threads while `lower_thread_priority` has reduced it; 0 otherwise."""
        self._identity: tuple[int, int] | None = None
        """Device and inode of the file when it was first checked."""
        self._last_size = path.stat().st_size
        self._damage = ""
        """The damage that the file got while it was open, as part of a message; empty if no damage is known."""
        # Closing any descriptor of the file releases DuckDB's lock on it, so this descriptor stays open until DuckDB
        # has closed the file.
        self._file = os.open(self._real, os.O_RDONLY | os.O_CLOEXEC)
        self._headers = whole_headers(self._file)
        self.made = False
        """True if the file did not exist before. Determined while the lock is held, so that no other process can have
        created the file meanwhile."""

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
            memory_limit: bytes of memory that DuckDB may use before it writes temporary data to the disk; None for a
                quarter of the memory.
            patience: seconds to wait for another process that has the file open without a run, for example for a query.
            for_run: True if a run will write to the file.

        Raises:
            DatabaseError: the file cannot be opened. The message says why, and what to do.
        """
        path = path.absolute()
        # symbolic links are resolved, so that all names of a file have the same lock file
        real = check_place(path, create=create)
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
                # a program that does not use our lock file has it open, such as DuckDB's own shell
                except HeldElsewhere:
                    if time.monotonic() > until:
                        raise
                time.sleep(_TRY_SECONDS)
            if not (lock.is_held or read_only):
                lock = lock.taken_over()
        except BaseException as error:  # whatever the error, remove the lock and the spill folder
            if made and isinstance(error, DiskFull):  # remove the incomplete file
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
        """Open a database for reading while another process of this program writes to it.

        Args:
            moment: state of the database to read. The other process makes no checkpoint until this database is closed.
            memory_limit: bytes of memory that DuckDB may use before it writes temporary data to the disk.
            spill: empty folder for temporary data; None if there is none.

        Raises:
            DatabaseError: the database cannot be read.
        """
        opening = Opening(
            moment.file, moment.file, spill, shown_limit(memory_limit), "another process writes to it", moment
        )
        return cls(moment.file, opening, LockFile.without_file(moment.file), opening.connect())

    @contextlib.contextmanager
    def hold_checkpoints(self, long_log: int, *, patience: float = _LONG_LOG_SECONDS) -> Iterator[Moment]:
        """Make no checkpoint within the `with` block, in which another process reads the file. Yield the state to read.

        The current transaction is completed first.

        A reader must first replay the log in its memory. DuckDB makes checkpoints only at a commit without a reader. If
        readers overlap or quickly follow each other, that never happens, and the log grows. So if the log is long when
        a reader starts and there is no other reader, a checkpoint is made then.

        Args:
            long_log: bytes of the log above which the new reader waits until the other readers have ended.
            patience: seconds to wait for other readers at most.

        Raises:
            UserError: the log has more than twice `long_log` bytes, because other readers prevented checkpoints.
            DatabaseError: this database is closed.
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
        """Create a folder for the temporary data of a process that reads beside this one. Yield None if that fails."""
        folder = None if self._spill is None else self._spill / f"{_SPILL_BESIDE}{os.urandom(4).hex()}"
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True)
            except OSError:  # without a folder, the reader has to do without temporary data on disk
                folder = None
        try:
            yield folder
        finally:
            _remove_spill(folder)

    def _count_readers_beside(self, more: int) -> None:
        """Change the number of processes that read beside this one. While there are any, DuckDB makes no checkpoint."""
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
        """Move the log into the file after a run, so that `size_bytes` is final.

        Do nothing if that may fill the disk, or while another process reads the file.

        A log of 0.3 MB became a file of 2.1 MB.
        """
        log = companion(self._real, WRITE_AHEAD_LOGS[0])
        with self.writing:
            # If the disk becomes full during a checkpoint, DuckDB's instance ends, and the user could not query the
            # rows any more.
            if not self._readers_beside and self.free_bytes() > _length(log) + _CHECKPOINT_ROOM:
                self._checkpoint()

    def _checkpoint(self) -> None:
        """Move the log into the file. If that fails, the rows are still in the log, which is as safe."""
        # Use a new cursor, because another thread may be about to fetch a result of the root connection. The suppressed
        # errors are a full disk, and Ctrl-C, which DuckDB converts to a `RuntimeError`.
        with contextlib.suppress(duckdb.Error, RuntimeError), self._root.cursor() as cursor:
            cursor.execute("CHECKPOINT" if self._catalog is None else f"CHECKPOINT {quote(self._catalog)}")

    @property
    def is_closed(self) -> bool:
        """True as soon as `close` was called."""
        return self._closed

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor for the calling thread, with times in UTC. Close it with `close_cursor`.

        Raises:
            DatabaseError: this database is closed.
        """
        with self._guard:
            if self._closed:
                raise DatabaseError("is closed", str(self.path))
            cursor = self._root.cursor()
            cursor.execute("SET TimeZone = 'UTC'")  # times must look the same in every process, even if its TZ differs
            if self._catalog is not None:
                cursor.execute(f"USE {quote(self._catalog)}")
            self._cursors.append(cursor)
            return cursor

    def close_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Interrupt the query of a cursor and close the cursor. May be called after `close`."""
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
        """Release the memory of cached blocks, unless another cursor is open, whose query might need them.

        Called by the writing thread, which has one cursor itself.
        """
        with self._guard:
            if self._closed or len(self._cursors) > 1:
                return
            try:
                self._root.execute(f"SET memory_limit = '{_CACHE_BYTES >> 20}MiB'")
            except duckdb.OutOfMemoryException:
                return  # more memory than the limit is in use by other things than the cache
            finally:
                self._root.execute(f"SET memory_limit = '{self._memory_limit}'")

    def lower_thread_priority(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB's threads help with a user's statement during a run, at low priority.

        DuckDB has one pool of threads for all statements. At the priority of the run, a heavy aggregate that was
        repeated in a loop took a third of the run's rate, on two cores. At low priority, beside programs that use all
        processors, the run's own transactions wait for a thread that gets no time: 20 s instead of 8. So the pool has
        low priority only while a user's statement is executed, and then has only as many threads as processors are
        idle.

        Args:
            cursor: cursor of the calling thread. Threads that DuckDB starts inherit the priority of the thread whose
                statement starts them.
        """
        if self.run_id is None:
            return
        with self._threads_guard:
            if not self._usual_threads:
                self._usual_threads = int(cursor.execute("SELECT current_setting('threads')").fetchall()[0][0])
                _restart_threads(cursor, max(1, round(self._usual_threads - os.getloadavg()[0])))

    def restore_thread_priority(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Give DuckDB's threads the priority of the calling thread again, unless a user's statement is being executed.

        Called by the writing thread before each transaction.
        """
        # Do not wait for the guard: the thread that holds it has low priority and is starting a statement. The next
        # transaction tries again.
        if not self._usual_threads or self.statements or not self._threads_guard.acquire(blocking=False):
            return
        try:
            _restart_threads(cursor, self._usual_threads)
            self._usual_threads = 0
        finally:
            self._threads_guard.release()

    @property
    def is_announced(self) -> bool:
        """True if the lock file names this process and its address for queries."""
        return self._lock_file.is_held

    @property
    def unannounced_because(self) -> str:
        """The reason why the lock file does not name this process; empty if it does."""
        return self._lock_file.why

    def note_run(self, run_id: int) -> None:
        """Write the number of the run that uses the database into the lock file, for processes that try to open it."""
        self.run_id = run_id
        self._lock_file.note_run(run_id)

    def note_pause(self, cause: str) -> None:
        """Write the cause of a pause into the lock file; see `LockFile.note_pause`."""
        self._lock_file.note_pause(cause)

    def note_socket(self, socket: str | None) -> None:
        """Write the address for queries into the lock file; None if queries of other processes are not answered."""
        self._lock_file.note_socket(socket)

    def size_bytes(self) -> int:
        """Return the bytes of the file and its write-ahead logs. Open no file: closing one would release the lock."""
        total = 0
        for file in (self._real, *(companion(self._real, ending) for ending in WRITE_AHEAD_LOGS)):
            with contextlib.suppress(FileNotFoundError):  # this log does not exist now
                total += file.stat().st_size
        return total

    def free_bytes(self) -> int:
        """Return the free bytes on the disk of the database."""
        return shutil.disk_usage(self.path.resolve().parent).free

    def check_in_place(self) -> None:
        """Check before a transaction that the file is still in its place, because a removed file would accept all rows.

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
        # The file counts as truncated only if it is shorter than at the last check and than DuckDB's count of blocks.
        # One condition is not enough: DuckDB counts some blocks before it writes them, and it cuts free blocks off the
        # end.
        shrunk, self._last_size = found.st_size < self._last_size, found.st_size
        do = "restore a copy of it, then resume the run; the file was left as it is"
        if shrunk and found.st_size < self._whole_size():
            self._damage = "has lost its end"
        # A header whose checksum was wrong when the file was opened is from a DuckDB that computes checksums
        # differently.
        if any(before and not now for before, now in zip(self._headers, whole_headers(self._file), strict=True)):
            self._damage = self._damage or "was overwritten by another program"
        if self._damage:
            raise DatabaseError(f"{self._damage} while it was open", str(self.path), do)
        check_in_use(self._real, self._spill)

    def _whole_size(self) -> int:
        """Return the bytes that the file must have for all blocks that DuckDB counts."""
        sizes = "SELECT total_blocks, block_size FROM pragma_database_size() WHERE database_name = current_database()"
        with self.opened_cursor() as cursor:
            blocks, block_size = cursor.execute(sizes).fetchall()[0]
        return size_of_blocks(blocks, block_size)

    def close(self, *, remove: bool = False) -> None:
        """Interrupt running queries, close every cursor, write the log into the file, close it and unlock.

        The log is not written into a file that was damaged while it was open.

        The order of these steps matters: in another order, DuckDB aborts the process. Repeated calls do nothing.
        Readers of Arrow batches must be closed by their owners. While a reader with unread rows exists, DuckDB waits
        for it when this process opens the file again.

        Args:
            remove: True to delete the file before it is unlocked.
        """
        # Release the guard before the cursors are ended, which may take `_CLOSE_SECONDS`: `close_cursor` needs it
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
    cursor.execute("SET threads = 1")  # ends all other threads; a running thread would keep its priority
    cursor.execute(f"SET threads = {count}")


def _lock(real: Path, until: float) -> LockFile:
    """Acquire the lock file.

    If another process holds it without a run, wait until the monotonic time `until` for that process to release it.
    """
    while True:
        try:
            return LockFile.acquire(real)
        except DatabaseInUse as error:  # wait if another process has it for a short statement
            record = error.record
            is_short = record is None or (record.run is None and record.pid != os.getpid())
            if not is_short or time.monotonic() > until:
                raise
        time.sleep(_TRY_SECONDS)


def _only_readable(real: Path) -> str:
    """Return why a database can only be read; empty if it belongs to this user and can be written."""
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
    """Close a cursor, and interrupt its query if one is running.

    The interrupt is repeated, because one that arrives between two statements is lost. If the query does not end before
    `deadline`, in monotonic seconds, the cursor stays open.
    """
    while True:
        with contextlib.suppress(duckdb.Error):  # the cursor is closed already
            cursor.interrupt()
        try:
            cursor.close()
        except duckdb.ResourceInUseException:  # another thread is executing a call of this cursor
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)  # short, because an interrupted query ends within 0.2 s
        else:
            return


def _remove(real: Path) -> None:
    for file in (real, *(companion(real, ending) for ending in WRITE_AHEAD_LOGS)):
        file.unlink(missing_ok=True)


def _spill_elsewhere() -> Path | None:
    """Return a folder for temporary data elsewhere than beside the database; None if no folder can be written."""
    try:
        return private_folder() / f"spill-{os.urandom(4).hex()}"
    except OSError:  # no temporary folder can be written
        return None


def _remove_spill(folder: Path | None) -> None:
    """Remove DuckDB's temporary files, including those of a killed process. Leave files that DuckDB did not create."""
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
    """An object whose statement can be ended, for example a console."""

    def end(self, reason: str) -> bool:
        """Interrupt the statement. Do not wait for its end. Return True unless it was already interrupted."""


class OpenStatements:
    """The statements of users that are being executed or still hold resources. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        """Protects `_open`, because statements start and end in many threads."""
        self._open: set[Endable] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, owner: Endable) -> None:
        """Add the owner of a statement that starts."""
        with self._guard:
            self._open.add(owner)

    def remove(self, owner: Endable) -> None:
        """Remove the owner of a statement that has released all of its resources."""
        with self._guard:
            self._open.discard(owner)

    def end(self, reason: str) -> int:
        """Interrupt all statements.

        Do not wait for their end. Return the number of statements that had not been interrupted before.

        Args:
            reason: the reason that the users are told, such as "the run needs the memory".
        """
        with self._guard:
            owners = list(self._open)
        return sum([owner.end(reason) for owner in owners])


def _length(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
