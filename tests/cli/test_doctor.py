"""The doctor: does what a run does, and leaves nothing."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.other_users import as_root, command, options

import tui_runner.cli.doctor


def test_a_sound_machine_passes_and_nothing_is_left(
    cli: CommandLine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "tables").mkdir()  # of the same name as the sample that it runs
    temporary = tmp_path_factory.mktemp("temporary")
    done = cli("doctor", cwd=tmp_path, environ={"TMPDIR": str(temporary)})
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert all(line.startswith("✔ ") for line in lines)
    assert "duckdb 2" in lines[1]
    assert lines[-1].endswith("rows through a worker process into DuckDB and back")
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]
    assert [path for path in temporary.iterdir() if path.name.startswith("tui-runner")] == []


def test_a_failing_check_is_named_and_the_others_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Path:
        raise FileNotFoundError(f"no folder {name}\x1b[2J")

    monkeypatch.setattr(tui_runner.cli.doctor, "bundled", broken)
    out = io.StringIO()
    assert tui_runner.cli.doctor.examine(out) == 2
    marks = {line.split(":")[0]: line for line in out.getvalue().splitlines()}
    assert marks["✘ bundled files"].endswith("FileNotFoundError: no folder themes␛[2J")
    assert "✔ machine" in marks
    assert "✘ a run" in marks


def test_settings_and_themes_that_are_left_out_are_named(cli: CommandLine, tmp_path: Path) -> None:
    themes = tmp_path / "config" / "tui-runner" / "themes"
    themes.mkdir(parents=True)
    for name in ("one", "two"):
        (themes / f"{name}.toml").write_text("name = 'x'", encoding="utf-8")
    (themes.parent / "config.toml").write_text("notify = 3\n[keys]\npause_run = 'x'\n", encoding="utf-8")
    done = cli("doctor", cwd=tmp_path, environ={"XDG_CONFIG_HOME": str(tmp_path / "config")})
    line = next(line for line in done.out.splitlines() if "your settings" in line)
    # Runs work without them, but all is not well.
    assert done.code == 0 and line.startswith("⚠ your settings: 4 left out: ")
    assert all(part in line for part in ("one.toml", "two.toml", "notify", "pause_run"))


@pytest.mark.slow
def test_with_standard_output_closed_the_doctor_speaks_on_standard_error(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m tui_runner doctor >&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
    assert "✔ a run: " in done.stderr


@pytest.mark.slow
@as_root
def test_a_user_without_a_home_folder_can_run_jobs() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        surroundings = options(61_009, folder, {"TMPDIR": name})
        del surroundings["env"]["HOME"]  # type: ignore[attr-defined]
        done = subprocess.run(
            command("-m", "tui_runner", "doctor"), **surroundings, capture_output=True, text=True, timeout=120
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr
        assert "✔ your settings: all of them can be used" in done.stdout
        assert "✔ a run: " in done.stdout
        assert not (folder / "~").exists()
