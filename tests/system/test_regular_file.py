"""Files of the user's own: opened without following a link, made private, replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support.other_users import BOB, as_root

from tui_runner.system.files import NotOwnFile, open_own, replaced

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def test_open_own_makes_a_private_file(tmp_path: Path) -> None:
    os.close(open_own(tmp_path / "own", WRITE))
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600


def test_open_own_takes_the_rights_of_others_away(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("text")
    (tmp_path / "own").chmod(0o666)
    os.close(open_own(tmp_path / "own", os.O_RDONLY))
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    assert (tmp_path / "own").read_text() == "text"


@pytest.mark.parametrize("kind", ["link", "link to nothing", "hard link", "folder", "pipe"])
def test_open_own_writes_nothing_into_a_foreign_file(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "own"
    target.write_text("precious")
    match kind:
        case "link":
            path.symlink_to(target)
        case "link to nothing":
            path.symlink_to(tmp_path / "nothing")
        case "hard link":
            path.hardlink_to(target)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(NotOwnFile):
        open_own(path, WRITE)
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@as_root
def test_open_own_names_the_user_that_a_file_belongs_to(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("precious")
    os.chown(tmp_path / "own", BOB, BOB)
    with pytest.raises(NotOwnFile, match=f"it belongs to uid {BOB}") as caught:
        open_own(tmp_path / "own", WRITE)
    assert caught.value.owner == BOB
    assert (tmp_path / "own").read_text() == "precious"


def test_open_own_says_that_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_own(tmp_path / "own", os.O_RDONLY)


def test_replaced_takes_the_place_of_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "own"
    target.write_text("precious")
    path.symlink_to(target)
    with replaced(path) as stream:
        stream.write(b"new")
    assert (path.read_text(), path.is_symlink(), target.read_text()) == ("new", False, "precious")


def test_replaced_leaves_the_file_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("old")
    with pytest.raises(ZeroDivisionError), replaced(tmp_path / "own") as stream:
        stream.write(b"new")
        raise ZeroDivisionError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("own", "old")]
