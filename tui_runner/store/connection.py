"""Connects to a DuckDB file with the settings that tui-runner needs, and explains failures to connect.

The DuckDB instance executes statements that users type, and contains text of any origin. So it is restricted: it can
neither read nor write other files, nor load extensions, nor change settings except `_CHANGEABLE_SETTINGS`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psutil

from tui_runner.errors import DatabaseError, DiskFull
from tui_runner.store.records import Moment
from tui_runner.store.sql import literal, quote
from tui_runner.system.files import user_name
from tui_runner.system.memory import machine_memory

STORAGE_VERSION = "v1.2.0"
"""Oldest version of DuckDB that can open new files. With DuckDB 2's own default, no DuckDB 1 could open them."""

_CHANGEABLE_SETTINGS = (
    "TimeZone", "enable_progress_bar", "enable_progress_bar_print", "memory_limit", "threads", "checkpoint_threshold",
)  # fmt: skip
"""Settings that may still be changed: the time zone of results, the progress of a query, and what `trim_cache`,
`lower_thread_priority` and `hold_checkpoints` set."""
_LOG_LENGTH = "32MiB"
"""Length of the write-ahead log at which DuckDB makes a checkpoint. With DuckDB's default of 16 MB, the last row group
of a table is rewritten twice as often, and writing 7.5 M rows took a third longer. 64 MB was no faster than 32 MB."""
_MEMORY_SHARE = 0.25
"""Share of the machine's memory that DuckDB may use. The other memory is for the workers."""
_MEMORY_LEAST = 512 << 20
"""Smallest memory limit for DuckDB in bytes. With half as much, DuckDB could not group 8 million rows by 100 keys. The
limit is lower only if the memory limit of the run is less than twice this."""
_NO_SPACE = "No space left on device"
"""Part of DuckDB's error message for a full disk, which has no exception type of its own."""
_INVALIDATED = "has been invalidated"
"""Part of DuckDB's error message when it stops using an attached database. That error is not a `FatalException`."""
_AMBIGUOUS_NAME = "runner"
"""Name of the ledger's schema. DuckDB names a database after its file, so in `runner.duckdb` the name `runner.items`
would be ambiguous. Such a file is attached under another name."""


class HeldElsewhere(DatabaseError):
    """Raised if another process holds DuckDB's own lock on the file."""


OpenConnection = tuple[duckdb.DuckDBPyConnection, str | None]
"""A DuckDB connection, and the name of the attached database that its cursors must select; None for the main database.
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """The options with which a file is opened. `connect` adds DuckDB's settings and opens it.

    Attributes:
        path: path as it appears in messages.
        real: path of the file itself.
        spill: folder for data that does not fit into memory; None if DuckDB must not write such data.
        memory_limit: DuckDB's memory limit, in its own notation.
        read_only: why the file is only read; empty if it may also be written.
        moment: state of the file that is read while another process writes to the file. None if no other process has it
            open.
    """

    path: Path
    real: Path
    spill: Path | None
    memory_limit: str
    read_only: str
    moment: Moment | None = None

    def connect(self) -> OpenConnection:
        """Open the file in a new DuckDB instance and restrict the instance.

        Raises:
            HeldElsewhere: another process has the file open.
            DatabaseError: the file cannot be opened.
        """
        config: dict[str, str | bool | int | float | list[str]] = {
            "storage_compatibility_version": STORAGE_VERSION,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            # With this optimizer DuckDB 2.0.0 returns wrong sums for an ordered aggregate over `WHERE x = (SELECT …)`.
            "disabled_optimizers": "compressed_materialization",
            # Without this, a batch of rows is refused if its texts or blobs have more than 2 GB together.
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
                    from tui_runner.store.reader_files import OtherFiles  # imported here, because fsspec takes 0.1 s

                    root.register_filesystem(OtherFiles(self.moment))
                if catalog:
                    mode = " (READ_ONLY)" if read_only else ""
                    root.execute(f"ATTACH {literal(address)} AS {quote(catalog)}{mode}")
                # `Database.close` makes the checkpoint itself, unless the file must not be changed any more.
                root.execute("PRAGMA disable_checkpoint_on_shutdown")
                # From here on, statements can neither reach other files nor change these settings.
                root.execute("SET allowed_directories = []")
                root.execute("SET enable_external_access = false")
                root.execute(f"SET allowed_configs = [{', '.join(map(literal, _CHANGEABLE_SETTINGS))}]")
                root.execute("SET lock_configuration = true")
            except BaseException:  # a half-configured instance must not stay open, because it holds DuckDB's lock
                root.close()
                raise
        except (duckdb.Error, UnicodeError, ValueError, RuntimeError) as error:  # for example a name that is not UTF-8
            raise self._refused(error) from error
        return root, catalog

    def _refused(self, error: Exception) -> DatabaseError:
        """Return an error that explains why DuckDB did not open the file."""
        message = first_line(error)
        if _NO_SPACE in message:
            return DiskFull("the disk is full", str(self.path), "make room on it")
        if "Could not set lock" in message:
            owner = re.search(r"\(PID (\d+)\)", message)
            return HeldElsewhere(
                f"in use by {_holder(owner and int(owner[1]))}", str(self.path), "close it there first"
            )
        return DatabaseError(f"cannot be opened ({message})", str(self.path), "choose another path")


def _holder(pid: int | None) -> str:
    """Describe the process that holds DuckDB's lock, with its user if that is another user."""
    if pid is None:
        return "another program"
    try:
        uid = psutil.Process(pid).uids().effective
    except psutil.Error:  # the process has just ended, or may not be examined
        uid = os.geteuid()
    whose = "another program" if uid == os.geteuid() else f"a program of {user_name(uid)}"
    return f"{whose} (pid {pid})"


def shown_limit(memory_limit: int | None) -> str:
    """Return a number of bytes in DuckDB's notation; for None, the default share of the machine's memory."""
    return f"{max((memory_limit if memory_limit is not None else memory_share()) >> 20, 1)}MiB"


def memory_share(bound: int | None = None) -> int:
    """Return DuckDB's memory limit in bytes: a share of `bound` (a run's limit), or of the machine's memory.

    It is at least `_MEMORY_LEAST`, or half of `bound` if that is less.
    """
    whole = machine_memory()
    if bound is None or bound >= whole:
        return max(int(whole * _MEMORY_SHARE), _MEMORY_LEAST)
    return max(int(bound * _MEMORY_SHARE), min(_MEMORY_LEAST, bound // 2))


def describe(error: duckdb.Error, path: Path) -> DatabaseError:
    """Convert an error of DuckDB to a message of one line, with advice.

    It is a `DiskFull` if the disk is full, unless DuckDB has given up on the file.
    """
    full = _NO_SPACE in str(error)
    if isinstance(error, duckdb.FatalException) or _INVALIDATED in str(error):
        do = "make room on the disk, then resume the run" if full else "resume the run"
        return DatabaseError(f"DuckDB gave up on the file ({first_line(error)})", str(path), do)
    if full:
        return DiskFull("the disk is full", str(path), "make room on it, then resume the run")
    return DatabaseError(first_line(error), str(path))


def fault_of_file(error: duckdb.Error, path: Path) -> DatabaseError | None:
    """Return `describe(error)` if the file or its disk has caused the error; None for any other error."""
    is_files = isinstance(error, duckdb.FatalException | duckdb.IOException) or _NO_SPACE in str(error)
    return describe(error, path) if is_files else None


def first_line(error: BaseException) -> str:
    """Return the message of an error without the excerpt from the statement and the stack trace that DuckDB appends."""
    message = str(error).split("\n\nLINE ", 1)[0].strip()
    return message.split("\nStack Trace", 1)[0].strip() or type(error).__name__
