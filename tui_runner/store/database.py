"""An open DuckDB file: locked for this process, locked down, one cursor a thread.

The instance is locked down because it runs statements that a person typed and holds text of any origin: no file
can be read or written through it, no extension loaded, no setting changed but those of `_CHANGEABLE_SETTINGS`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import psutil

from tui_runner.errors import DatabaseError, DiskFull, UserError
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
from tui_runner.system.memory import machine_memory
from tui_runner.system.private_folder import private_folder
from tui_runner.text.numbers import size

STORAGE_VERSION = "v1.2.0"
"""New files can be opened by every DuckDB from this one on; DuckDB 2's own default shuts all 1.x out."""

_CHANGEABLE_SETTINGS = (
    "TimeZone", "enable_progress_bar", "enable_progress_bar_print", "memory_limit", "threads", "checkpoint_threshold",
)  # fmt: skip
"""Settings that may still change: the zone times are shown in, progress of a query, and what `trim_cache`,
`lend_threads` and `hold_checkpoints` set."""
_SPILL_BESIDE = "beside-"
_LOG_LENGTH = "32MiB"
"""Write-ahead log after which DuckDB makes a checkpoint. With its own 16 MB a checkpoint rewrites the last row group of
a table twice as often, and 7.5 M rows took a third longer to write; 64 MB are no gain."""
_NO_CHECKPOINT = "1000TiB"
"""Of write-ahead log, after which DuckDB would make a checkpoint by itself."""
_LONG_LOG_SECONDS = 10.0
"""Seconds that a reader beside this process waits for others to end whose log is too long for it."""
_MEMORY_SHARE = 0.25
"""Of the machine's memory, for DuckDB; the rest is for the workers."""
_MEMORY_LEAST = 512 << 20
_CACHE_BYTES = 32 << 20
"""Memory that `trim_cache` leaves. DuckDB keeps the blocks of the file it has seen, those it wrote too, up to its
limit: a run that writes a file of 760 MB holds 760 MB of it, unless it is told to let go. Doing so takes 10 ms."""
_CLOSE_SECONDS = 10.0
"""Seconds in which `close` interrupts running queries. Ending one took up to 0.2 s; a reader that is not drained never
ends."""
_NO_SPACE = "No space left on device"
"""Text of DuckDB's error of a disk that is full; it has no type for that."""
PATIENCE_SECONDS = 3.0
"""Seconds that the start of a run waits for another user's query to end; one on a screen may take for ever."""
_TRY_SECONDS = 0.05
"""Seconds between two tries to open a file that another process has open for a short statement."""
_AMBIGUOUS_NAME = "runner"
"""DuckDB names a database after its file. In `runner.duckdb` the ledger's `runner.items` would mean two things."""


class Database:
    """An open DuckDB file; made by `open`.

    Attributes:
        path: the file.
        read_only: why it can only be read, another user's database, say; empty when it can be written, too.
        run_id: number of the run that is going on in it, None without one.
        writing: held during each transaction of a run.
        statements: those that people have open in it.
    """

    def __init__(self, path: Path, opening: _Opening, lock: LockFile, connection: _Connection) -> None:
        self.path = path
        self.read_only = opening.read_only
        self._real = opening.real
        self._spill = opening.spill
        self._memory_limit = opening.memory_limit
        self._root, self._catalog = connection
        self._lock_file = lock
        self._guard = threading.Lock()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._closed = False
        self.run_id: int | None = None
        self.writing = threading.Lock()
        self._readers_beside = 0
        self._reader_ended = threading.Condition(self._guard)
        self._checkpoint_threshold = ""
        """Its value while no process reads beside this one."""
        self.statements = OpenStatements()
        self._threads_guard = threading.Lock()
        self._threads_lent = 0
        """Threads that DuckDB had before some of a low priority took their place; 0 while none have."""
        self._identity: tuple[int, int] | None = None
        """Device and inode of the file, when it was first seen."""
        self._last_size = path.stat().st_size
        self._damage = ""
        """Fate of the file while it was open, as a part of a message."""
        # Closing any descriptor of the file drops DuckDB's lock on it: this one is kept until DuckDB has closed it.
        self._file = os.open(self._real, os.O_RDONLY | os.O_CLOEXEC)
        self._headers = whole_headers(self._file)
        self.made = False
        """True if there was no such file before; told under the lock, so no other process can have made it
        meanwhile."""

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
        """Open the DuckDB file `path`, and make it when it does not exist and `create` is true.

        Args:
            path: the file. One that is no DuckDB file is refused and not touched.
            create: whether a missing file is made.
            memory_limit: bytes DuckDB may use before it spills to disk; None for a quarter of the memory there is.
            patience: seconds to wait for another process that has it open without a run: a query, say.
            for_run: whether a run is to write to it.

        Raises:
            DatabaseError: it cannot be opened; says why and what to do.
        """
        path = path.absolute()
        real = check_place(path, create=create)  # a link and its target must meet in one lock file
        read_only = "" if create or for_run else _only_readable(real)
        check_companions(real, read_only=bool(read_only), for_run=for_run)
        until = time.monotonic() + patience
        lock = LockFile.without_file(real) if read_only else _lock(real, until)
        made = not real.exists()
        try:
            check_file(path, real, create=create, write=not read_only)
            if lock.is_believed:
                _remove_spill(companion(real, SPILL))
            spill = (None if read_only else own_spill(real)) or _spill_elsewhere()
            opening = _Opening(path, real, spill, _shown_limit(memory_limit), read_only)
            while True:
                try:
                    connection = opening.connect()
                    break
                except _HeldElsewhere:
                    if time.monotonic() > until:
                        raise
                time.sleep(_TRY_SECONDS)
            if not (lock.is_believed or read_only):
                lock = lock.taken_over()
        except BaseException as error:
            if made and isinstance(error, DiskFull):  # as far as DuckDB came with it
                _remove(real)
            if lock.is_believed:
                _remove_spill(companion(real, SPILL))
            lock.release()
            raise
        opened = cls(path, opening, lock, connection)
        opened.made = made
        return opened

    @classmethod
    def open_beside(cls, moment: Moment, *, memory_limit: int, spill: Path | None) -> Database:
        """Open a database for reading that another process of this program has open, as it is at `moment`.

        Args:
            moment: from the other process, which holds checkpoints until this has been closed.
            memory_limit: bytes DuckDB may use before it spills to disk.
            spill: an empty folder of its own; None if there can be none.

        Raises:
            DatabaseError: it cannot be read.
        """
        opening = _Opening(
            moment.file, moment.file, spill, _shown_limit(memory_limit), "another process writes to it", moment
        )
        return cls(moment.file, opening, LockFile.without_file(moment.file), opening.connect())

    @contextlib.contextmanager
    def hold_checkpoints(self, long_log: int, *, patience: float = _LONG_LOG_SECONDS) -> Iterator[Moment]:
        """Make no checkpoint while another process reads the file as it is now; waits for the transaction under way.

        A reader replays the log in its memory before it begins. Where readers follow or overlap each other no commit
        would ever find the moment for a checkpoint, so one is made here before a log that has become long.

        Args:
            long_log: bytes of log from which on it waits for other readers to end.
            patience: seconds that it waits at most.

        Raises:
            UserError: others have kept the log twice as long.
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
                    f"other statements keep {size(nbytes)} of new rows from their place in the file",
                    do="try again when they have ended",
                )
            self._count_readers_beside(+1)
            name = self._catalog or self._root.execute("SELECT current_database()").fetchall()[0][0]
            moment = Moment(self._real, name, log, nbytes)
        try:
            yield moment
        finally:
            with contextlib.suppress(DatabaseError):  # closed meanwhile
                self._count_readers_beside(-1)

    @contextlib.contextmanager
    def spill_beside(self) -> Iterator[Path | None]:
        """Make a folder that a process which reads beside this one may spill into; None where there can be none."""
        folder = None if self._spill is None else self._spill / f"{_SPILL_BESIDE}{os.urandom(4).hex()}"
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True)
            except OSError:
                folder = None
        try:
            yield folder
        finally:
            _remove_spill(folder)

    def _count_readers_beside(self, more: int) -> None:
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

    def _checkpoint(self) -> None:
        """Write what is in the log to its place in the file. Where that is impossible it stays in the log."""
        # A cursor of its own: other threads may be about to fetch what they have asked the root for.
        # What may go wrong is a full disk, and a Ctrl-C, of which DuckDB makes a `RuntimeError`.
        with contextlib.suppress(duckdb.Error, RuntimeError), self._root.cursor() as cursor:
            cursor.execute("CHECKPOINT" if self._catalog is None else f"CHECKPOINT {quote(self._catalog)}")

    @property
    def is_closed(self) -> bool:
        """True from when `close` is called."""
        return self._closed

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own for the calling thread; times are UTC in it. Give it back with `close_cursor`."""
        with self._guard:
            if self._closed:
                raise DatabaseError("is closed", str(self.path))
            cursor = self._root.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
            if self._catalog is not None:
                cursor.execute(f"USE {quote(self._catalog)}")
            self._cursors.append(cursor)
            return cursor

    def close_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Close a cursor, ending the query that runs in it. Safe after `close`."""
        with self._guard:
            if cursor in self._cursors:
                self._cursors.remove(cursor)
        _end(cursor, time.monotonic() + _CLOSE_SECONDS)

    def trim_cache(self) -> None:
        """Give back the memory of blocks that are in the file; not while anybody reads, whose query might need it.

        Called by the one thread that writes. "Anybody" is any cursor besides that thread's.
        """
        with self._guard:
            if self._closed or len(self._cursors) > 1:
                return
            try:
                self._root.execute(f"SET memory_limit = '{_CACHE_BYTES >> 20}MiB'")
            except duckdb.OutOfMemoryException:
                return  # more than that is in use: nothing to give back
            finally:
                self._root.execute(f"SET memory_limit = '{self._memory_limit}'")

    def lend_threads(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Have DuckDB's own threads help with a statement of a person beside a run, at a low priority.

        DuckDB has one pool of threads for all statements. With the priority of the run it would take a third of its
        rate for a heavy aggregate in a loop, on two cores. At a low one, beside programs that want all processors, the
        run's own transactions wait for a thread that gets no time: 20 s where they take 8. So the pool has a low
        priority only while a statement is open, and then only as many threads as processors are idle.

        Args:
            cursor: of the calling thread; threads that DuckDB starts have the priority of the thread that makes it
                start them.
        """
        if self.run_id is None:
            return
        with self._threads_guard:
            if not self._threads_lent:
                self._threads_lent = int(cursor.execute("SELECT current_setting('threads')").fetchall()[0][0])
                _restart_threads(cursor, max(1, round(self._threads_lent - os.getloadavg()[0])))

    def take_threads_back(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Give DuckDB's own threads the priority of the calling thread, unless a person has a statement open.

        Called by the one thread that writes, before it does.
        """
        # The thread that holds the guard has a low priority, and a statement to begin: the next transaction will do.
        if not self._threads_lent or self.statements or not self._threads_guard.acquire(blocking=False):
            return
        try:
            _restart_threads(cursor, self._threads_lent)
            self._threads_lent = 0
        finally:
            self._threads_guard.release()

    @property
    def is_announced(self) -> bool:
        """True if others are told who has it open, and where its queries are answered."""
        return self._lock_file.is_believed

    @property
    def unannounced_because(self) -> str:
        """The reason why other processes are not told of this one."""
        return self._lock_file.why

    def note_run(self, run_id: int) -> None:
        """Tell other processes that try to open the database that this run is going on in it."""
        self.run_id = run_id
        self._lock_file.note_run(run_id)

    def note_socket(self, socket: str | None) -> None:
        """Tell other processes where the owner of the database answers queries; None when it does not."""
        self._lock_file.note_socket(socket)

    def size_bytes(self) -> int:
        """Bytes of the file and of its write-ahead logs. No file is opened: that would drop DuckDB's lock."""
        total = 0
        for file in (self._real, *(companion(self._real, ending) for ending in WRITE_AHEAD_LOGS)):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def free_bytes(self) -> int:
        """Bytes that are free on the disk of the database."""
        return shutil.disk_usage(self.path.resolve().parent).free

    def check_in_place(self) -> None:
        """Make sure that what is written goes where it is looked for: an open file that was removed still takes it all.

        Raises:
            DatabaseError: the file was removed, replaced or cut, or something else is where DuckDB will write.
        """
        do = "resume the run once the file is back in its place, or start a new one"
        try:
            found = self.path.stat()
        except OSError as error:
            raise DatabaseError(f"is gone ({(error.strerror or str(error)).lower()})", str(self.path), do) from error
        if self._identity is None:
            self._identity = (found.st_dev, found.st_ino)
        if (found.st_dev, found.st_ino) != self._identity:
            raise DatabaseError("is another file now than the one that was opened", str(self.path), do)
        # DuckDB counts some blocks before they are written, so the count alone says nothing; it cuts free ones off the
        # end, so neither does the size.
        shrunk, self._last_size = found.st_size < self._last_size, found.st_size
        do = "restore a copy of it, then resume the run; the file was left as it is"
        if shrunk and found.st_size < self._whole_size():
            self._damage = "has lost its end"
        # A header that was not right to begin with is of a DuckDB that sums up in another way.
        if any(before and not now for before, now in zip(self._headers, whole_headers(self._file), strict=True)):
            self._damage = self._damage or "was written over by another program"
        if self._damage:
            raise DatabaseError(f"{self._damage} while it was open", str(self.path), do)
        check_in_use(self._real, self._spill)

    def _whole_size(self) -> int:
        """Bytes of the file with all blocks that DuckDB counts."""
        cursor = self.cursor()
        try:
            sizes = (
                "SELECT total_blocks, block_size FROM pragma_database_size() WHERE database_name = current_database()"
            )
            blocks, block_size = cursor.execute(sizes).fetchall()[0]
            return size_of_blocks(blocks, block_size)
        finally:
            self.close_cursor(cursor)

    def close(self, *, remove: bool = False) -> None:
        """Interrupt what runs, close every cursor, write the log into the file, close it and unlock.

        In this order, or DuckDB ends the process; calling it again does nothing. An Arrow reader that still has rows
        must be closed by its owner: as long as it lives DuckDB waits for it when this process opens the file again.

        Args:
            remove: whether to delete the file as well, before it is unlocked.
        """
        # Ending the cursors may take `_CLOSE_SECONDS`, and a thread in `close_cursor` needs the lock meanwhile.
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
    """End DuckDB's own threads, and start others; `count` is with the one that has a statement executed."""
    cursor.execute("SET threads = 1")
    cursor.execute(f"SET threads = {count}")


def _lock(real: Path, until: float) -> LockFile:
    while True:
        try:
            return LockFile.acquire(real)
        except DatabaseInUse as error:
            record = error.record
            is_short = record is None or (record.run is None and record.pid != os.getpid())
            if not is_short or time.monotonic() > until:
                raise
        time.sleep(_TRY_SECONDS)


def describe(error: duckdb.Error, path: Path) -> DatabaseError:
    """Return what DuckDB raised as one line for the person at the keyboard."""
    full = _NO_SPACE in str(error)
    if isinstance(error, duckdb.FatalException):
        do = "make room on the disk, then resume the run" if full else "resume the run"
        return DatabaseError(f"DuckDB gave up on the file ({first_line(error)})", str(path), do)
    if full:
        return DiskFull("the disk is full", str(path), "make room on it, then resume the run")
    return DatabaseError(first_line(error), str(path))


def fault_of_file(error: duckdb.Error, path: Path) -> DatabaseError | None:
    """Like `describe`, for what is wrong with the file or its disk; None for anything else, a fault of our own."""
    is_files = isinstance(error, duckdb.FatalException | duckdb.IOException) or _NO_SPACE in str(error)
    return describe(error, path) if is_files else None


def first_line(error: BaseException) -> str:
    """The message of an error without DuckDB's picture of the statement below it."""
    message = str(error).split("\n\nLINE ", 1)[0].strip()
    return message.split("\nStack Trace", 1)[0].strip() or type(error).__name__


class _HeldElsewhere(DatabaseError):
    """DuckDB's own lock on the file is held by another process."""


_Connection = tuple[duckdb.DuckDBPyConnection, str | None]
"""DuckDB's instance, and the name of the database in it when cursors must be told to use that."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """A file to open; `connect` holds every setting that DuckDB opens it with.

    Attributes:
        path: as it is named in messages.
        real: the file itself.
        spill: folder for what does not fit into memory; None where there can be none.
        memory_limit: as DuckDB takes it.
        read_only: why it is only read; empty when it is written, too.
        moment: the state in which it is read beside the process that writes it; None if it is this one's own.
    """

    path: Path
    real: Path
    spill: Path | None
    memory_limit: str
    read_only: str
    moment: Moment | None = None

    def connect(self) -> _Connection:
        """Connect and lock the instance down.

        Raises:
            _HeldElsewhere: another process has the file open.
            DatabaseError: it cannot be opened.
        """
        config: dict[str, str | bool | int | float | list[str]] = {
            "storage_compatibility_version": STORAGE_VERSION,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            # With it DuckDB 2.0.0 sums up wrongly, in silence: an ordered aggregate over `WHERE x = (SELECT …)`.
            "disabled_optimizers": "compressed_materialization",
            # Without it the texts, or blobs, of a batch of rows are refused when they have more than 2 GB together.
            "arrow_large_buffer_size": "true",
            "checkpoint_threshold": _LOG_LENGTH,
            "memory_limit": self.memory_limit,
            "temp_directory": "" if self.spill is None else str(self.spill),
        }
        stem = self.real.name.split(".")[0].lower()
        catalog = f"{_AMBIGUOUS_NAME}_db" if stem == _AMBIGUOUS_NAME else None
        address = str(self.real)
        if self.moment is not None:
            catalog, address = self.moment.name, self.moment.address
        read_only = bool(self.read_only)
        try:
            file = ":memory:" if catalog else str(self.real)
            root = duckdb.connect(file, config=config, read_only=read_only and not catalog)
            try:
                if self.moment is not None:
                    from tui_runner.store.beside import OtherFiles  # fsspec takes a tenth of a second to load

                    root.register_filesystem(OtherFiles(self.moment))
                if catalog:
                    mode = " (READ_ONLY)" if read_only else ""
                    root.execute(f"ATTACH {literal(address)} AS {quote(catalog)}{mode}")
                # `close` makes the checkpoint, unless the file must be left as it is.
                root.execute("PRAGMA disable_checkpoint_on_shutdown")
                root.execute("SET allowed_directories = []")
                root.execute("SET enable_external_access = false")
                root.execute(f"SET allowed_configs = [{', '.join(map(literal, _CHANGEABLE_SETTINGS))}]")
                root.execute("SET lock_configuration = true")
            except BaseException:
                root.close()
                raise
        except (duckdb.Error, UnicodeError, ValueError, RuntimeError) as error:  # a name that is no UTF-8, say
            raise self._refused(error) from error
        return root, catalog

    def _refused(self, error: Exception) -> DatabaseError:
        """Say why DuckDB did not open the file."""
        message = first_line(error)
        if _NO_SPACE in message:
            return DiskFull("the disk is full", str(self.path), "make room on it")
        if "Could not set lock" in message:
            owner = re.search(r"\(PID (\d+)\)", message)
            return _HeldElsewhere(
                f"in use by {_holder(owner and int(owner[1]))}", str(self.path), "close it there first"
            )
        return DatabaseError(f"cannot be opened ({message})", str(self.path), "choose another path")


def _holder(pid: int | None) -> str:
    """Name the process that has DuckDB's lock, and its user if that is another one."""
    if pid is None:
        return "another program"
    try:
        uid = psutil.Process(pid).uids().effective
    except psutil.Error:  # it has just ended, or is none that we may see
        uid = os.geteuid()
    whose = "another program" if uid == os.geteuid() else f"a program of {user_name(uid)}"
    return f"{whose} (pid {pid})"


def _only_readable(real: Path) -> str:
    """Say why a database is opened for reading only; empty if it is ours and can be written."""
    owner = real.stat().st_uid
    if owner != os.geteuid():
        return f"it belongs to {user_name(owner)}"
    try:
        if not (os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)):
            return "neither it nor its folder may be changed"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _shown_limit(memory_limit: int | None) -> str:
    """Write a number of bytes as DuckDB takes it; a share of the machine's for None."""
    return f"{max((memory_limit if memory_limit is not None else memory_share()) >> 20, 1)}MiB"


def memory_share(bound: int | None = None) -> int:
    """Bytes for DuckDB: a share of `bound`, which all of a run may use, or of what the machine or container has."""
    whole = machine_memory()
    if bound is None or bound >= whole:
        return max(int(whole * _MEMORY_SHARE), _MEMORY_LEAST)
    return max(int(bound * _MEMORY_SHARE), min(_MEMORY_LEAST, bound // 2))


def _end(cursor: duckdb.DuckDBPyConnection, deadline: float) -> None:
    """Close a cursor whatever it does. An interrupt that comes while it is between statements is lost: repeat it."""
    while True:
        with contextlib.suppress(duckdb.Error):
            cursor.interrupt()
        try:
            cursor.close()
        except duckdb.ResourceInUseException:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        else:
            return


def _remove(real: Path) -> None:
    for file in (real, *(companion(real, ending) for ending in WRITE_AHEAD_LOGS)):
        file.unlink(missing_ok=True)


def _spill_elsewhere() -> Path | None:
    """Return a folder to spill into that is not beside the database; None where nothing can be written at all."""
    try:
        return private_folder() / f"spill-{os.urandom(4).hex()}"
    except OSError:
        return None


def _remove_spill(folder: Path | None) -> None:
    """Remove what DuckDB spilled, also that of a process that was killed; nothing that it did not make for us."""
    if folder is None:
        return
    with contextlib.suppress(OSError):  # there is none; it has other files; or the disk has become read-only
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            for file in folder.glob("duckdb_temp_*"):
                file.unlink(missing_ok=True)
            for beside in folder.glob(f"{_SPILL_BESIDE}*"):
                _remove_spill(beside)
            folder.rmdir()


class Endable(Protocol):
    """Whatever has a statement open: a console."""

    def end(self, reason: str) -> bool:
        """End the statement; returns at once, whether it was not yet being ended."""


class OpenStatements:
    """Count statements that are open, from their begin until nothing of them is held any more. From any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: set[Endable] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, owner: Endable) -> None:
        """Its statement begins."""
        with self._guard:
            self._open.add(owner)

    def remove(self, owner: Endable) -> None:
        """Its statement holds nothing any more."""
        with self._guard:
            self._open.discard(owner)

    def end(self, reason: str) -> int:
        """End all of them; returns at once, how many were not yet being ended.

        Args:
            reason: what their clients are told, such as "the run needs the memory".
        """
        with self._guard:
            owners = list(self._open)
        return sum([owner.end(reason) for owner in owners])


def _length(path: Path) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
