"""Processes of other users: real uids, for what one user may do to another in folders that they share.

Only root can start them; and they must be able to read an interpreter of this version and the packages. Where that is
not so, the tests are skipped.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ALICE, BOB = 61_001, 61_002
TEAM = 61_000
"""The group of both."""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
_PROJECT = Path(__file__).parents[2]


@functools.cache
def _interpreter() -> tuple[str, str] | None:
    """Return an interpreter that other users may start, and its PYTHONPATH; None if there is none."""
    if os.geteuid() != 0:
        return None
    path = os.pathsep.join([str(_PROJECT), *(each for each in sys.path if "site-packages" in each)])
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            tried = subprocess.run(
                [python, "-c", "import duckdb, tui_runner"],
                user=ALICE, group=TEAM, extra_groups=[], cwd="/", env={"PYTHONPATH": path}, capture_output=True,
            )  # fmt: skip
        except OSError:
            continue
        if tried.returncode == 0:
            return python, path
    return None


def command(*arguments: str) -> list[str]:
    """Return the command line of a Python program that another user can run; skips the test where none can."""
    found = _interpreter()
    if found is None:
        pytest.skip("needs root, and an interpreter that other users may start")
    return [found[0], *arguments]


def options(uid: int, folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return what `subprocess` needs to run a `command` as a user, in a folder."""
    found = _interpreter()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": found[1] if found else "",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(environ or {}),
    }
    return {"user": uid, "group": TEAM, "extra_groups": [], "umask": 0o022, "cwd": folder, "env": environment}


def run_as(uid: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tui-runner` as a user."""
    return subprocess.run(
        command("-m", "tui_runner", *arguments), **options(uid, folder), capture_output=True, text=True, timeout=60
    )  # type: ignore[call-overload]
