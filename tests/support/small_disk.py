"""A small real file system that tests may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]


class SmallDisk:
    """A mounted file system; `fill` leaves a number of bytes free, `empty` frees all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.path).free

    def fill(self, leave: int) -> None:
        with (self.path / "ballast").open("ab") as ballast:
            os.posix_fallocate(ballast.fileno(), ballast.tell(), self.free - leave)

    def empty(self) -> None:
        (self.path / "ballast").unlink()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a tmpfs, or skip the test with the reason why that is not allowed here."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(path)]
    try:
        made = subprocess.run([*_SUDO, *mount], capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        pytest.skip(f"no file system can be mounted: {error}")
    if made.returncode:
        pytest.skip(f"no file system can be mounted: {made.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run([*_SUDO, "umount", "-l", str(path)], check=True, timeout=30)
