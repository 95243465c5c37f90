"""Files that may be beside a database, and links that lead to one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.other_users import BOB, TEAM, as_root

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.file_check import COMPANIONS, LOGS, companion
from tui_runner.system.files import foreign_link
from tui_runner.system.private_folder import private_folder

PRECIOUS = "precious\n" * 200


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "mine"
    target.write_text(PRECIOUS)
    return target


@pytest.mark.parametrize("ending", COMPANIONS)
@pytest.mark.parametrize("kind", ["link", "link to nothing", "hard link", "pipe"])
def test_database_is_refused_when_a_companion_is_no_file_of_ours(
    path: Path, target: Path, ending: str, kind: str
) -> None:
    beside = companion(path, ending)
    match kind:
        case "link":
            beside.symlink_to(target)
        case "link to nothing":
            beside.symlink_to(path.parent / "nothing")
        case "hard link":
            beside.hardlink_to(target)
        case "pipe":
            os.mkfifo(beside)
    with pytest.raises(DatabaseError, match="stands in the way") as caught:
        Database.open(path, for_run=True)
    assert beside.name in str(caught.value) and "\n" not in str(caught.value)
    assert target.read_text() == PRECIOUS
    assert sorted(path.parent.iterdir()) == sorted([target, beside] if target.parent == path.parent else [beside])


@pytest.mark.parametrize("ending", LOGS)
def test_query_does_not_care_for_logs_which_it_does_not_open(path: Path, target: Path, ending: str) -> None:
    Database.open(path).close()
    companion(path, ending).symlink_to(target)
    Database.open(path, create=False).close()
    assert target.read_text() == PRECIOUS


def test_log_that_is_a_link_to_dev_null_is_thrown_away(path: Path) -> None:
    companion(path, ".log").symlink_to(os.devnull)
    Database.open(path, for_run=True).close()
    assert path.stat().st_size > 0 and companion(path, ".log").is_symlink()


@as_root
@pytest.mark.parametrize("ending", [".wal", ".wal.checkpoint", ".wal.recovery"])
def test_write_ahead_log_of_another_user_is_refused(path: Path, ending: str) -> None:
    Database.open(path).close()
    beside = companion(path, ending)
    beside.touch()
    os.chown(beside, BOB, BOB)
    with pytest.raises(DatabaseError, match=f"belongs to uid {BOB}"):
        Database.open(path, create=False)


@as_root
def test_folder_of_another_user_is_not_spilled_into(path: Path) -> None:
    beside = companion(path, ".tmp")
    beside.mkdir()
    os.chown(beside, BOB, BOB)
    with Database.open(path) as database:
        (folder,) = database.cursor().execute("SELECT current_setting('temp_directory')").fetchone()
        assert Path(folder).parent == private_folder()
    assert list(beside.iterdir()) == []


@as_root
def test_write_ahead_log_of_who_may_write_the_database_is_read(path: Path) -> None:
    Database.open(path).close()
    beside = companion(path, ".wal")
    beside.touch()
    os.chown(beside, BOB, BOB)
    path.chmod(0o666)
    with Database.open(path, create=False) as database:
        assert database.cursor().execute("SELECT 1").fetchall() == [(1,)]


def test_link_to_a_place_without_a_database_makes_none_there(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    path.symlink_to(elsewhere)
    for there in (False, True):
        if there:
            elsewhere.touch()
        with pytest.raises(DatabaseError, match=r"is a link to .*elsewhere, which does not exist"):
            Database.open(path)
    assert elsewhere.read_bytes() == b""


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "followed"),
    [(0o755, BOB, True), (0o775, BOB, False), (0o1777, BOB, False), (0o1777, 0, True), (0o777, BOB, False)],
)
@pytest.mark.parametrize("where", ["last", "folder"])
def test_a_link_of_another_user_is_followed_only_where_no_one_else_may_put_one(
    tmp_path: Path, mode: int, owner: int, followed: bool, where: str
) -> None:
    shared, real = tmp_path / "shared", tmp_path / "real"
    shared.mkdir()
    real.mkdir()
    shared.chmod(mode)
    (real / "x.duckdb").touch()
    link = shared / ("x.duckdb" if where == "last" else "folder")
    link.symlink_to(real / "x.duckdb" if where == "last" else real)
    os.lchown(link, owner, owner)
    named = link if where == "last" else link / "x.duckdb"
    assert (foreign_link(named) is None) is followed


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert foreign_link(tmp_path / "a" / "x.duckdb") is None


def test_relative_links_are_followed_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    assert foreign_link(tmp_path / "a" / "b" / "up" / "a" / "b" / "up") is None


@as_root
def test_a_link_below_a_missing_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    link = tmp_path / "shared" / "d"
    link.symlink_to(tmp_path / "real")
    os.lchown(link, BOB, BOB)
    named = tmp_path / "shared" / "x" / "missing" / ".." / ".." / "d" / "new.duckdb"
    assert named.resolve().parent == tmp_path / "real"
    assert foreign_link(named) == link
    with pytest.raises(DatabaseError, match=f"is a link of uid {BOB}"):
        Database.open(named)
    assert list((tmp_path / "real").iterdir()) == []


@as_root
@pytest.mark.parametrize(
    ("setgid", "everybody", "trusted"), [(False, False, True), (True, False, True), (True, True, False)]
)
def test_write_ahead_log_of_a_member_without_a_name_is_read(
    tmp_path: Path, setgid: bool, everybody: bool, trusted: bool
) -> None:
    # In a container users have no entries in the system's list: the group of the file tells that BOB is a member.
    os.chown(tmp_path, 0, TEAM)
    tmp_path.chmod(0o2775 if setgid else 0o775)
    path = tmp_path / "x.duckdb"
    Database.open(path).close()
    os.chown(path, 0, TEAM)
    path.chmod(0o664)
    beside = companion(path, ".wal")
    beside.touch()
    os.chown(beside, BOB, TEAM)
    if everybody:
        tmp_path.chmod(0o2777)
    if trusted:
        Database.open(path, create=False).close()
    else:
        with pytest.raises(DatabaseError, match=f"belongs to uid {BOB}"):
            Database.open(path, create=False)


@as_root
def test_no_message_advises_to_remove_the_log_of_another_users_run(path: Path) -> None:
    Database.open(path).close()
    beside = companion(path, ".wal")
    beside.touch()
    os.chown(beside, BOB, BOB)
    with pytest.raises(DatabaseError, match="ask that user, or wait for their run to end"):
        Database.open(path, create=False)


@as_root
def test_folder_that_is_put_in_the_place_of_ours_ends_a_run(path: Path) -> None:
    path.parent.chmod(0o2775)
    beside = companion(path, ".tmp")
    with Database.open(path, for_run=True) as database:
        database.check_in_place()
        beside.rename(path.parent / "away")
        database.check_in_place()  # it is made again
        beside.rename(path.parent / "away again")
        beside.mkdir()
        os.chown(beside, BOB, BOB)
        with pytest.raises(DatabaseError, match=f"books.duckdb.tmp was replaced by a folder of uid {BOB}"):
            database.check_in_place()


def test_empty_file_that_cannot_be_removed_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()

    def unlink(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(DatabaseError, match=r"is empty, and cannot be removed \(operation not permitted\)"):
        Database.open(path)
