"""Tell how much memory there is, and give freed memory of this process back.

glibc keeps freed memory in per-thread arenas, and raises the size from which it asks the kernel directly each time
such a block is freed; a worker whose threads build and drop tables of some MB then never shrinks. Setting the
thresholds ends that adaptation (mallopt(3)). Measured on 200 scraped tables in 16 threads, peak/end in MB: 290/206
without, 157/60 with. The price, 10 to 35 % on a loop that does nothing but allocate, is not felt by real functions.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def return_freed_memory() -> bool:
    """Set glibc's thresholds for this process; call before its threads start. False where there is no glibc."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt, and no arenas that would need it
        return False
    mallopt(_M_MMAP_THRESHOLD, 131_072)
    mallopt(_M_TRIM_THRESHOLD, 131_072)
    mallopt(_M_ARENA_MAX, 2)
    return True


_GARBAGE_THRESHOLD = 100_000
"""Objects made since the last look for cycles, and still there: more than the unreported items of a worker have. With
Python's 700 it looks every few hundred items, which took a quarter of the time of an empty function; with 10,000 an
eighth of that of a small one. Garbage is looked for by its size besides, see `memory_limit`."""
_YOUNG_GENERATIONS = 5
"""Looks at the youngest objects for one at those that outlived them: it stops every thread, 90 ms for 200,000."""
_OLD_GENERATIONS = 80
"""Those looks for one at everything, which so comes as rarely as with 20 and 20."""


def settle_garbage_collection() -> None:
    """Leave what is loaded so far out of the search for cycles; call when all that stays is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, _YOUNG_GENERATIONS, _OLD_GENERATIONS)


_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def machine_memory(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Bytes of memory that this process and its children may use together.

    The least of the machine's memory and of the limits of every control group that we are in, version 1 or 2: a limit
    of an outer group holds for the inner ones too.

    Args:
        cgroups: where control groups are mounted.
        own: the file that says in which of them this process is.
    """
    return min([psutil.virtual_memory().total, *_cgroup_limits(cgroups, own)])


def memory_bound(setting: int | str | None) -> int | None:
    """The bytes that the setting `max_memory` stands for, which may be a share such as `80%`; None for no bound."""
    if isinstance(setting, str):
        return int(machine_memory() * float(setting.removesuffix("%")) / 100)
    return setting


def _cgroup_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Limits of the groups we are in; no such files, no limits."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2; beside version 1 it is mounted below `unified`, without this controller
            base, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            base, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Inside a container the group's path is often that of the host, and the mount shows our own group at its root.
        inner = base / group.lstrip("/")
        for folder in {base, inner, *inner.parents}:
            if folder.is_relative_to(base):
                yield from _limit(folder / file)


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():  # version 2 says "max" for no limit, version 1 a number beyond any machine
        yield int(text)
