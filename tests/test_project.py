"""Promises of the repository: the README's commands, the wheel, the constraints."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def quick_start() -> list[str]:
    """Return the command lines of the README's quick start."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Quick start")[2].partition("\n## ")[0]
    return re.findall(r"^(python3 -m venv .*)$", section, re.MULTILINE)


def test_the_quick_start_is_two_commands_and_ci_runs_the_second() -> None:
    start, test = quick_start()
    assert "tui-runner run" in start
    assert test in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_wheel_carries_themes_and_sample_jobs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (("themes", "*.toml"), ("sample_jobs", "*.py")):
        files = {path.name for path in (ROOT / folder).glob(pattern)}
        assert files
        assert {f"tui_runner/_bundled/{folder}/{name}" for name in files} <= names
    assert {"tui_runner/py.typed", "tui_runner/tui/styles/runner.tcss"} <= names


def test_an_installed_package_finds_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_runner.system import files

    package = tmp_path / "tui_runner"
    (package / "_bundled" / "themes").mkdir(parents=True)
    monkeypatch.setattr(files, "_PACKAGE", package)
    assert files.bundled("themes") == package / "_bundled" / "themes"
    (tmp_path / "sample_jobs").mkdir()
    assert files.bundled("sample_jobs") == tmp_path / "sample_jobs"
    with pytest.raises(FileNotFoundError, match="install it again"):
        files.bundled("pictures")


def test_the_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)


def test_no_benchmark_takes_the_place_of_a_module_of_python() -> None:
    # Python puts the folder of a script first: beside `benchmarks/http.py` no other script could import `http`.
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert names and not names & sys.stdlib_module_names
