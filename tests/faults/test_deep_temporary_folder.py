"""A temporary folder whose path is too long for sockets: workers start nevertheless."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

JOB = """
    def work(n: int):
        return {"n": n}
"""
ELSEWHERE = "import runpy; runpy.run_module('tui_runner', run_name='__main__')"
NOWHERE = f"import tui_runner.system.private_folder as folders; folders._short_folders = list; {ELSEWHERE}"


@pytest.mark.parametrize("program", [ELSEWHERE, NOWHERE], ids=["short one elsewhere", "none anywhere"])
def test_workers_start_and_nothing_is_left(tmp_path: Path, program: str) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB), encoding="utf-8")
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "run",
            "work.py:work",
            "--input",
            "range:0:20",
            "--headless",
            "--db",
            "x.duckdb",
        ],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(deep), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, "20 done" in ran.stderr) == (0, True), ran.stderr
    assert list(deep.iterdir()) == []
