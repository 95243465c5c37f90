"""Checks a database before it is opened: its place, the files beside it, and that it is complete.

A database has companions, files whose names every user can guess: DuckDB's write-ahead log and folder for temporary
data, our lock file, the log of its runs. A symbolic link with such a name would make DuckDB or us write into the file
it points to. From a write-ahead log that another user put there, DuckDB would take rows. So companions are checked
before anything is opened.

In a folder that other users may write to (a group's, or `/tmp`) they can create such names at any moment. So the check
is repeated before each transaction of a run (`Database.check_in_place`). Between two checks only the kernel can help,
with `fs.protected_symlinks` in folders like `/tmp`.

DuckDB may write to a file as soon as it opens it. So a file that is not a database, or is truncated, is refused before
that. The format is: three blocks of 4,096 bytes, then blocks of the size that the headers name. The first block has the
magic word. The second and third are headers. The header with the higher iteration is valid. A header consists of
checksum, iteration, first metadata block, free list, number of blocks, block size.

DuckDB cuts free blocks off the end of a file after it has written the header, so the header still counts these blocks.
Therefore the free list is read as well. A pointer to it is the number of a block and, in its highest byte, the index of
a 64th of that block. The list starts there with the pointer to the next 64th and the number of free blocks.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from tui_runner.errors import DatabaseError
from tui_runner.system.files import OTHERS_WRITE, NotOwnFile, check_links, check_own, is_thrown_away, user_name
from tui_runner.text.messages import plain

LOCK = ".lock"
"""Extension of our lock file, appended to the whole name of the database."""
SPILL = ".tmp"
"""Extension of the folder in which DuckDB stores data that does not fit into memory. DuckDB chooses this name."""
WRITE_AHEAD_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""Extensions of DuckDB's write-ahead logs. The last two exist beside the first during a checkpoint, and after a crash
in a checkpoint."""
LOGS = (".log", ".log.1")
"""Extensions of the log of runs: of the current file, and of the older one, to which a long log is renamed."""
COMPANIONS = (LOCK, SPILL, *WRITE_AHEAD_LOGS, *LOGS)
"""Extensions that are appended to a database's name for the files that belong to it."""


def companion(database: Path, ending: str) -> Path:
    """Return the path of a companion of a database. `ending` is one of `COMPANIONS`."""
    return database.with_name(database.name + ending)


def check_place(path: Path, *, create: bool) -> Path:
    """Return the path of the database `path` with all symbolic links resolved. Nothing is written.

    A link to an existing database is allowed. A link to an empty file, or to a path where no file exists, is refused,
    because a run would create a database there.

    Args:
        path: path of the database.
        create: True if the file need not exist.

    Raises:
        DatabaseError: no database can be at this path.
    """
    try:
        check_links(path, DatabaseError)
        real = path.resolve(strict=False)
        if real.is_dir():
            raise DatabaseError("is a folder", str(path), "name a file in it")
        if path.is_symlink() and (not real.exists() or (real.is_file() and not real.stat().st_size)):
            what = f"is a link to {plain(real)}, which does not exist"
            raise DatabaseError(what, str(path), "remove the link, or name the file itself")
        if not real.exists():
            if not create:
                raise DatabaseError("no such database", str(path), "check the path")
            if not real.parent.is_dir():
                raise DatabaseError("its folder does not exist", str(path), "create the folder first")
        elif not stat.S_ISREG(real.stat().st_mode):
            raise DatabaseError("is not a regular file", str(path), "choose another path")
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, a cycle of links, a NUL character
        raise DatabaseError(f"cannot be opened ({error})", str(path), "choose another path") from error
    return real


def check_companions(real: Path, *, read_only: bool = False, for_run: bool = False) -> None:
    """Refuse a database if one of its companions must not be opened.

    Args:
        real: path of the database with links resolved; it need not exist.
        read_only: True if the database is only read. Then its write-ahead logs are the only companions that are opened
            and checked.
        for_run: True if a run will write to the database, and therefore to its log.

    Raises:
        DatabaseError: a companion is a symbolic link, is not a regular file, has several hard links, or belongs to a
            user who may not write to the database. Or a run would write to another user's database in a folder where
            every user may create files. Nothing was opened.
    """
    try:
        database = real.stat()
    except FileNotFoundError:  # the database will be created
        database = None
    opened = WRITE_AHEAD_LOGS if read_only else (*WRITE_AHEAD_LOGS, LOCK, SPILL, *(LOGS if for_run else ()))
    for ending in opened:
        _check_companion(companion(real, ending), ending, database)
    if for_run and database is not None:
        _check_owner(real, database)


def check_in_use(real: Path, spill: Path | None) -> None:
    """Check the companions again before DuckDB writes. This takes a few microseconds.

    Args:
        real: path of the open database.
        spill: folder for DuckDB's temporary data; None if it has none.

    Raises:
        DatabaseError: see `check_companions`; or the spill folder beside the database now belongs to another user.
    """
    database = real.stat()
    for ending in WRITE_AHEAD_LOGS:
        _check_companion(companion(real, ending), ending, database)
    if spill is not None and spill == companion(real, SPILL):
        _check_companion(spill, SPILL, database)
        if own_spill(real) is None:
            what = f"{plain(spill.name)} was replaced by a folder of {user_name(spill.lstat().st_uid)}"
            raise DatabaseError(what, str(real.parent), "put the database in a folder that others may not write to")


def own_spill(real: Path) -> Path | None:
    """Return the folder beside a database for DuckDB's temporary data; None if it belongs to another user.

    In a folder where other users may create files, this folder is created at once. DuckDB would create it only when it
    is needed, and would use a folder that another user has created by then.
    """
    spill = companion(real, SPILL)
    if real.parent.stat().st_mode & OTHERS_WRITE:
        # it exists; or the disk is full, which DuckDB reports when it needs the folder
        with contextlib.suppress(OSError):
            spill.mkdir(mode=0o700)
    try:
        return spill if spill.lstat().st_uid == os.geteuid() else None
    except FileNotFoundError:  # DuckDB creates it when it is needed
        return spill


def _check_companion(path: Path, ending: str, database: os.stat_result | None) -> None:
    """Raise `DatabaseError` if neither tui-runner nor DuckDB may open a companion."""
    try:
        if ending == SPILL:
            _check_spill(path)
        elif not (ending in LOGS and is_thrown_away(path)):
            check_own(path)
    except FileNotFoundError:  # most companions do not exist
        return
    except NotOwnFile as error:
        do = "look at its content, then remove it; nothing was opened"
        if error.owner is not None:
            # Another user's lock or log is not used, so it does no harm. DuckDB would take rows from a write-ahead log.
            if ending not in WRITE_AHEAD_LOGS or _may_write(database, error, path.parent):
                return
            # The log may belong to a run that is still active and contain rows that exist nowhere else. So do not
            # advise to remove it.
            do = "ask that user, or wait for their run to end; nothing was opened"
        raise DatabaseError(f"{plain(path.name)} stands in the way ({error.strerror})", str(path.parent), do) from error
    except OSError as error:
        raise DatabaseError(f"cannot be checked ({error.strerror})", str(path)) from error


def _check_spill(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise NotOwnFile("it is a link" if stat.S_ISLNK(mode) else "it is not a folder")


def _may_write(database: os.stat_result | None, log: NotOwnFile, folder: Path) -> bool:
    """Return True if the owner of a write-ahead log may write to the database anyway, so that the log adds no risk."""
    if log.owner == 0:
        return True
    if database is None or log.owner is None:
        return False
    if log.owner == database.st_uid or database.st_mode & stat.S_IWOTH:
        return True
    if not database.st_mode & stat.S_IWGRP:
        return False
    try:
        user = pwd.getpwuid(log.owner)
        return user.pw_gid == database.st_gid or user.pw_name in grp.getgrgid(database.st_gid).gr_mem
    except KeyError:
        # The user has no entry, for example in a container, so the group of the log decides. It is a group of the log's
        # owner, or that of a setgid folder (mode 2775), in which only members of the group can create files. In a
        # folder where every user can create files, the group proves nothing.
        return log.group == database.st_gid and not folder.stat().st_mode & stat.S_IWOTH


def _check_owner(real: Path, database: os.stat_result) -> None:
    """Refuse another user's database in a folder where every user may create files, as `fs.protected_regular` does."""
    folder = real.parent.stat()
    if folder.st_mode & stat.S_IWOTH and database.st_uid not in (os.geteuid(), folder.st_uid):
        what = f"belongs to {user_name(database.st_uid)}, in a folder that every user can write to"
        raise DatabaseError(what, str(real), "choose another path; that user would control your rows")


_MAGIC = slice(8, 12)
"""Place of the magic word `DUCK`, after the checksum of the first block."""
_HEADER_SIZE = 4096
"""Bytes of each of the first three blocks; `Storage::FILE_HEADER_SIZE` in DuckDB."""
_HEADS = 3 * _HEADER_SIZE
"""Bytes before the ordinary blocks: the header of the file and two headers of the database."""
_HEADER = struct.Struct("<8xQqqQQ")
"""Fields of a header after its checksum: iteration, first metadata block, free list, number of blocks, block size."""
_CHECKSUM_SIZE = 8
"""Bytes of the checksum at the start of each block."""
_PARTS = 64
"""Number of parts into which a block with metadata, such as the free list, is divided."""
_BLOCK_NUMBER = (1 << 56) - 1
"""Mask for the block number in a pointer. The highest byte of a pointer is the index of the part."""
_BLOCK_SIZES = range(16 << 10, (256 << 10) + 1)
"""Valid block sizes. With any other size the format is unknown to this module, and DuckDB must check the file."""


def check_file(path: Path, real: Path, *, create: bool = True, write: bool = True) -> None:
    """Refuse a file that is truncated or not a DuckDB file. Do not call this while this process has the file open.

    If this process had the file open, closing it after the check would release DuckDB's lock, see `lock.py`. An empty
    file, as `mktemp` creates it, is removed if a database may be created, because DuckDB refuses empty files. The empty
    file itself is refused if a database must exist, or if a write-ahead log shows that the file has lost its content.

    Args:
        path: path for messages.
        real: path of the file itself; it need not exist.
        create: True if a database may be created.
        write: True if the file must be writable.

    Raises:
        DatabaseError: the file is refused. Nothing in it was changed.
    """
    try:
        with real.open("rb+" if write else "rb") as file:
            head = file.read(_HEADS)
            size = real.stat().st_size
            whole_size = _whole_size(file, head)
    except FileNotFoundError:  # the file will be created
        return
    except OSError as error:
        may_not = "may not be read and written" if write else "may not be read"
        raise DatabaseError(
            f"{may_not} ({(error.strerror or str(error)).lower()})",
            str(path),
            "change its permissions or choose another path",
        ) from error
    if not head:
        if not create or _is_full(companion(real, WRITE_AHEAD_LOGS[0])):
            raise DatabaseError("the file is empty", str(path), "restore a copy or choose another path")
        _remove_empty(path, real)
    elif head[_MAGIC] != b"DUCK":
        raise DatabaseError("this is not a DuckDB database; it was not changed", str(path), "choose another path")
    elif size < whole_size:
        raise DatabaseError(
            f"the file is truncated: {size:,} of {whole_size:,} bytes are there; it was not changed",
            str(path),
            "restore a copy or choose another path",
        )


def whole_headers(descriptor: int) -> tuple[bool, bool, bool]:
    """Return, for each of the three header blocks of an open database, True if its checksum is right.

    DuckDB writes a header at the end of a checkpoint, so the caller must ensure that none is running.
    """
    head = os.pread(descriptor, _HEADS, 0)
    blocks = [head[start : start + _HEADER_SIZE] for start in range(0, _HEADS, _HEADER_SIZE)]
    main, one, other = (len(block) == _HEADER_SIZE and _sums_up(block) for block in blocks)
    return main, one, other


_CHECKSUM_SEED = 5381
"""Initial value in the function `Checksum` of DuckDB's `common/checksum.cpp`."""
_CHECKSUM_FACTOR = 0xBF58476D1CE4E5B9
"""Factor for each word in the same function."""


def _sums_up(block: bytes) -> bool:
    """Return True if a block begins with the checksum of its other bytes, as computed by DuckDB's `Checksum`."""
    found, *words = struct.unpack(f"<{len(block) // 8}Q", block)
    checksum = _CHECKSUM_SEED
    for word in words:
        checksum ^= word * _CHECKSUM_FACTOR & 0xFFFF_FFFF_FFFF_FFFF
    return bool(found == checksum)


def _remove_empty(path: Path, real: Path) -> None:
    try:
        real.unlink()
    except OSError as error:  # for example another user's file in a folder like `/tmp`
        what = f"is empty, and cannot be removed ({(error.strerror or str(error)).lower()})"
        raise DatabaseError(what, str(path), "choose another path") from error


def _is_full(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except OSError:  # there is no log
        return False


def size_of_blocks(blocks: int, block_size: int) -> int:
    """Return the size in bytes of a file that has `blocks` blocks after its headers."""
    return _HEADS + blocks * block_size


def _whole_size(file: BinaryIO, head: bytes) -> int:
    """Return the smallest size in bytes that a complete file with the headers `head` can have."""
    if len(head) < _HEADS:
        return _HEADS
    headers = [_HEADER.unpack_from(head, start) for start in (_HEADER_SIZE, 2 * _HEADER_SIZE)]
    _, _, free_list, blocks, block_size = max(headers)
    if block_size not in _BLOCK_SIZES:
        return _HEADS
    if file.seek(0, 2) < size_of_blocks(blocks, block_size):
        free = _free_blocks(file, free_list, block_size)
        while blocks - 1 in free:
            blocks -= 1
    return size_of_blocks(blocks, block_size)


def _free_blocks(file: BinaryIO, pointer: int, block_size: int) -> set[int]:
    """Return the numbers of the free blocks from the free list at `pointer`, as far as the file contains the list."""
    part_size = (block_size - _CHECKSUM_SIZE) // _PARTS // 8 * 8
    numbers: list[int] = []
    seen: set[int] = set()
    while pointer >= 0 and pointer not in seen:
        seen.add(pointer)
        file.seek(size_of_blocks(pointer & _BLOCK_NUMBER, block_size) + _CHECKSUM_SIZE + (pointer >> 56) * part_size)
        part = file.read(part_size)
        if len(part) < part_size:
            break
        pointer, *rest = struct.unpack(f"<{part_size // 8}q", part)
        numbers.extend(rest)
        if len(numbers) > numbers[0]:
            break
    return set(numbers[1 : 1 + numbers[0]]) if numbers else set()
