"""Whether a file is a whole DuckDB database, told from its first bytes, before DuckDB is let near it.

DuckDB may write to a file as soon as it has opened it. What is no database, or has lost its end, is therefore refused
before. A file is three blocks of 4,096 bytes, then blocks of the size that the headers name. The first has the magic
word; the other two are headers of which the newer one, by its iteration, counts: checksum, iteration, first metadata
block, free list, number of blocks, block size.

DuckDB cuts free blocks off the end of a file after it has written the header, which still counts them. So the free list
is read, too. A pointer to it is the number of a block and, in its topmost byte, which 64th of that block; there the
list begins with the pointer to the 64th that it goes on in, and how many blocks are free.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from tui_runner.errors import DatabaseError
from tui_runner.store.place import WRITE_AHEAD_LOGS, companion

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
    """Refuse a file that is no DuckDB file, or is not whole. Only while our lock is held: see the head of `lock.py`.

    An empty file, such as `mktemp` makes, is removed where a database is to be made: DuckDB would refuse it. Where one
    is to be there already, or what was written to it last still is, it has lost what was in it.

    Args:
        path: as it is named in messages.
        real: the file itself; it need not exist.
        create: whether a database is to be made where there is none.
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
            raise DatabaseError("is empty", str(path), "bring back a copy of it or choose another path")
        real.unlink()
    elif head[_MAGIC] != b"DUCK":
        raise DatabaseError("is not a DuckDB database", str(path), "choose another path; the file was left as it is")
    elif size < whole_size:
        raise DatabaseError(
            f"has lost its end: {size:,} of {whole_size:,} bytes are there",
            str(path),
            "bring back a copy of it or choose another path; the file was left as it is",
        )


def _is_full(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except OSError:
        return False


def size_of_blocks(blocks: int, block_size: int) -> int:
    """Bytes of a file with so many blocks."""
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
