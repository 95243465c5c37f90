"""The limit of open files in a worker."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import resource
from tui_runner.system.process import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 2_000))
assert raise_file_limit() == 2_000 == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
assert raise_file_limit() == 2_000
"""


def test_soft_limit_becomes_the_hard_one() -> None:
    assert subprocess.run([sys.executable, "-c", CODE]).returncode == 0
