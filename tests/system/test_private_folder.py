"""The private folder of a process: closed to other users, and removed with the process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_runner.system import private_folder as module
from tui_runner.system.private_folder import discard, is_private, private_folder

HOLD = """
import sys
from tui_runner.system.private_folder import private_folder
folder = private_folder()
(folder / "left").touch()
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def another_process(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """Return a process, and the folder that it has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()
    assert process.returncode == 0


def test_private_folder_may_be_entered_by_its_user_only(temporary: Path) -> None:
    folder = private_folder()
    assert private_folder() == private_folder(for_sockets=True) == folder
    assert temporary in folder.parents
    assert stat.S_IMODE(folder.parent.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_private_folder_goes_with_its_process(temporary: Path) -> None:
    process, folder = another_process(temporary)
    assert (folder / "left").exists()
    end(process)
    assert not any(temporary.iterdir())


def test_private_folder_of_a_killed_process_is_removed_by_the_next_one(temporary: Path) -> None:
    killed, stale = another_process(temporary)
    living, used = another_process(temporary)
    (stale.parent / "notes.txt").touch()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (stale / "left").exists()
    private_folder()
    assert not stale.exists()
    assert (used / "left").exists()
    assert (stale.parent / "notes.txt").exists()
    end(living)


def test_a_long_path_is_no_place_for_sockets(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = temporary / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setattr(module, "_short_folders", lambda: [str(temporary)])
    assert deep in private_folder().parents
    sockets = private_folder(for_sockets=True)
    assert sockets.parent.parent == temporary
    monkeypatch.setattr(module, "_short_folders", list)
    assert private_folder(for_sockets=True) == private_folder()


def test_a_folder_that_others_may_enter_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_of_last_resort", [])
    taken = temporary / f"tui-runner-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o755)
    folder = private_folder()
    assert taken not in folder.parents
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    discard(folder)
    assert list(temporary.iterdir()) == [taken]


def test_one_that_was_taken_away_is_made_again() -> None:
    first = private_folder()
    first.rmdir()
    assert private_folder().is_dir()


def test_nothing_else_is_discarded(temporary: Path) -> None:
    (temporary / "1-abcdef").mkdir()
    discard(temporary / "1-abcdef")
    discard(temporary)
    assert (temporary / "1-abcdef").exists()


def test_a_file_in_the_folder_of_a_living_process_is_private(temporary: Path) -> None:
    process, folder = another_process(temporary)
    assert is_private(folder / "left") and is_private(private_folder() / "queries")
    assert not is_private(folder) and not is_private(folder / "below" / "left")
    process.kill()
    process.communicate()
    assert (folder / "left").exists() and not is_private(folder / "left")


def test_the_folder_of_last_resort_is_private(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_of_last_resort", [])
    (temporary / f"tui-runner-{os.getuid()}").touch()
    assert is_private(private_folder() / "queries")


def test_a_folder_that_only_looks_like_ours_is_not_private(temporary: Path) -> None:
    """As an archive that was unpacked, or a repository that was cloned, has it."""
    folder = temporary / "clone" / f"tui-runner-{os.getuid()}" / "1-abcdef"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    (folder / "queries").touch(mode=0o600)
    assert not is_private(folder / "queries")


@pytest.mark.parametrize("loose", ["folder", "root"])
def test_a_folder_that_others_may_enter_is_not_private(temporary: Path, loose: str) -> None:
    folder = private_folder()
    changed = folder if loose == "folder" else folder.parent
    changed.chmod(0o710)
    assert not is_private(folder / "queries")
    changed.chmod(0o700)
    assert is_private(folder / "queries")


def test_a_link_to_the_folder_is_not_private(temporary: Path) -> None:
    folder = private_folder()
    link = folder.parent / "1-abcdef"
    link.symlink_to(folder)
    assert not is_private(link / "queries")


def test_a_path_that_is_no_place_is_not_private(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = private_folder()
    monkeypatch.chdir(temporary)
    assert not is_private((folder / "queries").relative_to(temporary))
    for path in ("", "/", "\0", f"{folder.parent}/1-abcdef/x", f"{temporary}\0/tui-runner-0/1-abcdef/x", "/\ud800/x"):
        assert not is_private(Path(path))
