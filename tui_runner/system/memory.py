"""Measures how much memory this process may use, and makes it return freed memory to the system.

glibc keeps freed memory in arenas, one or more per thread. Blocks above a threshold are mapped directly and returned
when they are freed, but glibc raises the threshold each time such a block is freed. So a worker whose threads create
and drop tables of some MB never shrinks. Once a program sets the thresholds, glibc does not change them (mallopt(3)).
Measured with 200 scraped tables in 16 threads, peak/end in MB: 290/206 without set thresholds, 192/63 with those below.
A loop that only allocates takes 10 to 35 % longer; for other functions no difference was noticeable.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

_M_TRIM_THRESHOLD = -1
"""Parameter of `mallopt`, from glibc's `<malloc.h>`: if more bytes at the end of the heap are free, they are returned.
"""
_M_MMAP_THRESHOLD = -3
"""Parameter of `mallopt`: bytes from which a block is mapped by itself, so that it is returned when it is freed."""
_M_ARENA_MAX = -8
"""Parameter of `mallopt`: the maximal number of arenas. By default almost every thread gets an arena, and each arena
keeps what was freed in it."""


def return_freed_memory() -> bool:
    """Make glibc return freed memory to the system. Call it before threads start, because each would get an arena.

    Return False if the process does not use glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt, and no arenas that would need it
        return False
    # 131,072 is glibc's initial value of both thresholds; setting it keeps glibc from raising it.
    mallopt(_M_MMAP_THRESHOLD, 131_072)
    mallopt(_M_TRIM_THRESHOLD, 131_072)
    mallopt(_M_ARENA_MAX, 2)
    return True


_CGROUPS = Path("/sys/fs/cgroup")
"""Folder at which Linux mounts the control groups."""
_OWN_CGROUPS = Path("/proc/self/cgroup")
"""File that lists the control groups of this process (Linux)."""


def machine_memory(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Return the bytes of memory that this process and its children may use together.

    That is the minimum of the machine's memory and the limits of all control groups of this process, version 1 or 2.
    The limits of enclosing groups apply as well.

    Args:
        cgroups: folder at which control groups are mounted.
        own: file that lists the control groups of this process.
    """
    return min([psutil.virtual_memory().total, *_cgroup_limits(cgroups, own)])


def memory_bound(setting: int | str | None) -> int | None:
    """Convert the setting `max_memory` to bytes: `80%` is a share of `machine_memory`; None means no limit."""
    if isinstance(setting, str):
        return int(machine_memory() * float(setting.removesuffix("%")) / 100)
    return setting


def _cgroup_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Yield the memory limits of this process' control groups, in bytes; nothing if no group has a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux, or no /proc
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2; where version 1 is also mounted, it has no memory controller
            base, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            base, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path of the group is often that of the host, while the container's own group is mounted at
        # the root.
        inner = base / group.lstrip("/")
        for folder in {base, inner, *inner.parents}:
            if folder.is_relative_to(base):
                yield from _limit(folder / file)


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:  # a controller without this limit
        return
    if text.isdigit():  # without a limit, version 2 says "max" and version 1 a number larger than any machine
        yield int(text)
