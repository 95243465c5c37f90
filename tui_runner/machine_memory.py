"""How much memory there is: that of the machine, or what the container or slice that we are in may use of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

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
