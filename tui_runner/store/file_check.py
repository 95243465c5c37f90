"""Check a database before it is opened: where it is, what stands beside it, whether it is whole.

A database has companions whose names everybody can guess: DuckDB's write-ahead log, its folder for what it spills, our
lock, the log of its runs. A link under such a name would have DuckDB or us write into the file that it points to, and
rows would be read out of a write-ahead log that another user put there. So what stands there is looked at before
anything is opened.

A folder that other users may write to (a group's, or `/tmp`) is one where they can put such names at any moment. What
is checked here is checked again before each transaction of a run (`Database.check_in_place`); between the two only the
kernel can help, with `fs.protected_symlinks` in folders like `/tmp`.

DuckDB may write to a file as soon as it has opened it. What is no database, or has lost its end, is therefore refused
before. A file is three blocks of 4,096 bytes, then blocks of the size that the headers name. The first has the magic
word; the other two are headers of which the newer one, by its iteration, counts: checksum, iteration, first metadata
block, free list, number of blocks, block size.

DuckDB cuts free blocks off the end of a file after it has written the header, which still counts them. So the free list
is read, too. A pointer to it is the number of a block and, in its topmost byte, which 64th of that block; there the
list begins with the pointer to the 64th that it goes on in, and how many blocks are free.
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
SPILL = ".tmp"
WRITE_AHEAD_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""The latter two stand beside the first during a checkpoint, and after a crash in one."""
LOGS = (".log", ".log.1")
COMPANIONS = (LOCK, SPILL, *WRITE_AHEAD_LOGS, *LOGS)
"""Endings, behind a database's name, of the files that belong to it."""


def companion(database: Path, ending: str) -> Path:
    """Return the path of what stands beside a database under one of the `COMPANIONS`."""
    return database.with_name(database.name + ending)


def check_place(path: Path, *, create: bool) -> Path:
    """Return where the database `path` really is, behind links. Nothing is written, not even a lock file.

    A link may lead to a database, but not to a place where none is: a run would make one there.

    Args:
        path: the file.
        create: whether it need not exist.

    Raises:
        DatabaseError: it can be told from the outside that no database can be there.
    """
    try:
        check_links(path, DatabaseError)
        real = path.resolve(strict=False)
        if real.is_dir():
            raise DatabaseError("is a folder", str(path), "name a file in it")
        if path.is_symlink() and (not real.exists() or (real.is_file() and not real.stat().st_size)):
            what = f"is a link to {plain(real)}, where no database is"
            raise DatabaseError(what, str(path), "remove the link, or name the file itself")
        if not real.exists():
            if not create:
                raise DatabaseError("no such database", str(path), "check the path")
            if not real.parent.is_dir():
                raise DatabaseError("its folder does not exist", str(path), "create the folder first")
        elif not stat.S_ISREG(real.stat().st_mode):
            raise DatabaseError("is not a regular file", str(path), "choose another path")
    except (OSError, RuntimeError, ValueError) as error:
        raise DatabaseError(f"cannot be opened ({error})", str(path)) from error
    return real


def check_companions(real: Path, *, read_only: bool = False, for_run: bool = False) -> None:
    """Refuse a database beside which stands what must not be opened under the name that it has.

    Args:
        real: the database, behind links; it need not exist.
        read_only: whether it is only read; then nothing is opened beside it but what was left of its last transactions.
        for_run: whether a run is to write to it, and so to its log.

    Raises:
        DatabaseError: a companion is a link, no regular file, one of several hard links, or another user's whom the
            database does not trust; nothing was opened.
    """
    try:
        database = real.stat()
    except FileNotFoundError:
        database = None
    opened = WRITE_AHEAD_LOGS if read_only else (*WRITE_AHEAD_LOGS, LOCK, SPILL, *(LOGS if for_run else ()))
    for ending in opened:
        _check_companion(companion(real, ending), ending, database)
    if for_run and database is not None:
        _check_owner(real, database)


def check_in_use(real: Path, spill: Path | None) -> None:
    """Raise an error when something else stands where DuckDB is about to write; a few microseconds.

    Args:
        real: the database, open.
        spill: the folder that DuckDB spills into, if there is one.

    Raises:
        DatabaseError: as `check_companions`; or the folder beside the database is another user's now.
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
    """Return the folder beside a database of ours that DuckDB may spill into; None if it is another user's.

    Where other users may put files, it is made at once: DuckDB makes it when it needs it, and would take what stands
    there by then.
    """
    spill = companion(real, SPILL)
    if real.parent.stat().st_mode & OTHERS_WRITE:
        with contextlib.suppress(OSError):  # it is there; or there is no room, and DuckDB says so when it needs it
            spill.mkdir(mode=0o700)
    try:
        return spill if spill.lstat().st_uid == os.geteuid() else None
    except FileNotFoundError:
        return spill


def _check_companion(path: Path, ending: str, database: os.stat_result | None) -> None:
    try:
        if ending == SPILL:
            _check_spill(path)
        elif not (ending in LOGS and is_thrown_away(path)):
            check_own(path)
    except FileNotFoundError:
        return
    except NotOwnFile as error:
        do = "look at it and remove it; nothing was opened"
        if error.owner is not None:
            # Another user's lock and log are left alone; what is in a write-ahead log becomes rows.
            if ending not in WRITE_AHEAD_LOGS or _may_write(database, error, path.parent):
                return
            # It may be that of a live run, with rows that are nowhere else.
            do = "ask that user, or wait for their run to end; nothing was opened"
        raise DatabaseError(f"{plain(path.name)} stands in the way ({error.strerror})", str(path.parent), do) from error
    except OSError as error:
        raise DatabaseError(f"cannot be looked at ({error.strerror})", str(path)) from error


def _check_spill(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise NotOwnFile("it is a link" if stat.S_ISLNK(mode) else "it is no folder")


def _may_write(database: os.stat_result | None, log: NotOwnFile, folder: Path) -> bool:
    """Return True if the owner of a write-ahead log may write to the database anyway, so that it can do no more."""
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
        # Without an entry for the user, in a container say, the group of the file tells: it is one of its owner's, or
        # that of the folder (mode 2775), where only its members can put files. Where everybody can, it tells nothing.
        return log.group == database.st_gid and not folder.stat().st_mode & stat.S_IWOTH


def _check_owner(real: Path, database: os.stat_result) -> None:
    """Refuse a database that another user has put where all users may put files, as `fs.protected_regular` does."""
    folder = real.parent.stat()
    if folder.st_mode & stat.S_IWOTH and database.st_uid not in (os.geteuid(), folder.st_uid):
        what = f"belongs to {user_name(database.st_uid)}, in a folder where everybody may put files"
        raise DatabaseError(what, str(real), "choose another path; your rows would be in that user's hands")


_MAGIC = slice(8, 12)
"""Where a DuckDB file says `DUCK`, after the checksum of its first block."""
_HEADER_SIZE = 4096
_HEADS = 3 * _HEADER_SIZE
_HEADER = struct.Struct("<8xQqqQQ")
_CHECKSUM_SIZE = 8
_PARTS = 64
_BLOCK_NUMBER = (1 << 56) - 1
_BLOCK_SIZES = range(16 << 10, (256 << 10) + 1)
"""Anything else is a layout that we do not know: DuckDB may judge it itself."""


def check_file(path: Path, real: Path, *, create: bool = True, write: bool = True) -> None:
    """Refuse a file that is no DuckDB file, or is not whole. Not while this process has it open: see `lock.py`.

    An empty file, such as `mktemp` makes, is removed where a database can be made: DuckDB would refuse it. Where one
    must be there already, or what was written to it last still is, it has lost what was in it.

    Args:
        path: as it is named in messages.
        real: the file itself; it need not exist.
        create: True if a database may be made where there is none.
        write: whether it must be possible to write to it.

    Raises:
        DatabaseError: it is refused; nothing in it was changed.
    """
    try:
        with real.open("rb+" if write else "rb") as file:
            head = file.read(_HEADS)
            size = real.stat().st_size
            whole_size = _whole_size(file, head)
    except FileNotFoundError:
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
    """Return for each of the three blocks at the head of an open database whether its checksum is right.

    DuckDB writes a header at the end of each checkpoint; not while this is called.
    """
    head = os.pread(descriptor, _HEADS, 0)
    blocks = [head[start : start + _HEADER_SIZE] for start in range(0, _HEADS, _HEADER_SIZE)]
    main, one, other = (len(block) == _HEADER_SIZE and _sums_up(block) for block in blocks)
    return main, one, other


_CHECKSUM_SEED = 5381
_CHECKSUM_FACTOR = 0xBF58476D1CE4E5B9


def _sums_up(block: bytes) -> bool:
    """Return True if a block begins with its checksum: `Checksum` in DuckDB's `common/checksum.cpp`."""
    found, *words = struct.unpack(f"<{len(block) // 8}Q", block)
    checksum = _CHECKSUM_SEED
    for word in words:
        checksum ^= word * _CHECKSUM_FACTOR & 0xFFFF_FFFF_FFFF_FFFF
    return bool(found == checksum)


def _remove_empty(path: Path, real: Path) -> None:
    try:
        real.unlink()
    except OSError as error:  # another user's file in a folder like `/tmp`, say
        what = f"is empty, and cannot be removed ({(error.strerror or str(error)).lower()})"
        raise DatabaseError(what, str(path), "choose another path") from error


def _is_full(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except OSError:
        return False


def size_of_blocks(blocks: int, block_size: int) -> int:
    """Return the bytes of a file with `blocks` blocks."""
    return _HEADS + blocks * block_size


def _whole_size(file: BinaryIO, head: bytes) -> int:
    """Bytes that a file with this beginning has at least."""
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
    """Numbers of the blocks in the free list at `pointer`, as far as it is there."""
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
