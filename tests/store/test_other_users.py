"""Databases in folders that several users may write to: what they may do to each other, tried with real users."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.other_users import ALICE, BOB, TEAM, command, options, run_as

pytestmark = pytest.mark.slow

JOB = """
from tui_runner import job

@job(threads=2)
def double(n: int):
    return {"n": n, "twice": 2 * n}

@double.items
def items(*, count: int = 20):
    return range(count)
"""
HOLDER = """
import sys
from pathlib import Path
from tui_runner.store.database import Database
database = Database.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
database.close()
"""
FLOCK = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("open", flush=True)
sys.stdin.read()
"""
PRECIOUS = "precious\n" * 200


@contextlib.contextmanager
def shared_folder(mode: int) -> Iterator[Path]:
    """Give a folder of root's with this mode, in the group of both users, that both can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tr-shared-"))
    try:
        os.chown(folder, 0, TEAM)
        folder.chmod(mode)
        (folder / "double.py").write_text(JOB)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def team_folder() -> Iterator[Path]:
    with shared_folder(0o2775) as folder:
        yield folder


@pytest.fixture(params=[0o1777, 0o777], ids=["sticky", "open"])
def public_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    with shared_folder(request.param) as folder:
        yield folder


@contextlib.contextmanager
def held(uid: int, folder: Path, script: str, *arguments: str) -> Iterator[int]:
    """Let a user's process hold something during the block. Yield its process id."""
    process = subprocess.Popen(
        command("-c", script, *arguments),
        **options(uid, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # type: ignore[call-overload]  # fmt: skip
    with process:
        assert process.stdout.readline() == "open\n"
        yield process.pid


def put(path: Path, uid: int, text: str = PRECIOUS, mode: int = 0o600) -> Path:
    path.write_text(text)
    os.chown(path, uid, TEAM)
    path.chmod(mode)
    return path


def link(path: Path, target: Path, uid: int) -> None:
    path.symlink_to(target)
    os.lchown(path, uid, TEAM)


def alices_database(folder: Path) -> Path:
    """Let Alice run a job into a database in the folder."""
    ran = run_as(ALICE, folder, "run", "double.py", "--headless", "--quiet")
    assert ran.returncode == 0, ran.stderr
    return folder / "double.duckdb"


def test_query_of_another_users_database_reads_it_and_writes_nothing(team_folder: Path) -> None:
    database = alices_database(team_folder)
    names, content = sorted(team_folder.iterdir()), database.read_bytes()
    asked = run_as(BOB, team_folder, "query", "double.duckdb", "SELECT sum(twice) AS s FROM double", "--format", "csv")
    assert (asked.returncode, asked.stdout) == (0, "s\n380\n"), asked.stderr
    assert run_as(BOB, team_folder, "runs", "double.duckdb").returncode == 0
    assert (sorted(team_folder.iterdir()), database.read_bytes()) == (names, content)


def test_query_reads_what_a_killed_run_of_another_user_left_in_the_write_ahead_log(team_folder: Path) -> None:
    database = alices_database(team_folder)
    script = (
        "import duckdb, os, sys; connection = duckdb.connect(sys.argv[1]);"
        "connection.execute('INSERT INTO double (n) VALUES (1000)'); os._exit(0)"
    )
    subprocess.run(command("-c", script, str(database)), **options(ALICE, team_folder), check=True)  # type: ignore[call-overload]
    assert database.with_name("double.duckdb.wal").exists()
    asked = run_as(BOB, team_folder, "query", "double.duckdb", "SELECT max(n) AS n FROM double", "--format", "csv")
    assert (asked.returncode, asked.stdout) == (0, "n\n1000\n"), asked.stderr


def test_query_of_a_database_that_another_user_has_open_names_that_user(team_folder: Path) -> None:
    database = alices_database(team_folder)
    with held(ALICE, team_folder, HOLDER, str(database)) as pid:
        asked = run_as(BOB, team_folder, "query", "double.duckdb", "SELECT 1")
    assert asked.returncode == 4
    assert f"in use by a program of uid {ALICE} (pid {pid})" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_lock_cannot_be_opened_by_a_user_who_may_only_read_the_database(team_folder: Path) -> None:
    database = alices_database(team_folder)
    with held(ALICE, team_folder, HOLDER, str(database)):
        tried = subprocess.run(
            command("-c", FLOCK, f"{database}.lock"), **options(BOB, team_folder), capture_output=True, text=True
        )  # type: ignore[call-overload]
    assert "PermissionError" in tried.stderr


def test_a_lock_of_an_earlier_version_held_by_another_user_excludes_no_one(team_folder: Path) -> None:
    database = alices_database(team_folder)
    lock = put(database.with_name("double.duckdb.lock"), ALICE, "", mode=0o644)
    with held(BOB, team_folder, FLOCK, str(lock)):
        ran = run_as(ALICE, team_folder, "run", "double.py", "--headless", "--new")
    assert ran.returncode == 0, ran.stderr
    assert not lock.exists()


def test_stale_lock_of_another_user_is_replaced_by_who_may_write_the_database(team_folder: Path) -> None:
    database = alices_database(team_folder)
    database.chmod(0o664)
    put(database.with_name("double.duckdb.lock"), ALICE)
    ran = run_as(BOB, team_folder, "run", "double.py", "--headless", "--new")
    assert ran.returncode == 0, ran.stderr
    assert "warning" not in ran.stderr
    asked = run_as(ALICE, team_folder, "query", "double.duckdb", "SELECT count(*) AS n FROM double", "--format", "csv")
    assert asked.stdout == "n\n40\n", asked.stderr


def test_lock_squatted_in_a_sticky_folder_is_left_alone_and_reported() -> None:
    with shared_folder(0o1777) as folder:
        squatted = put(folder / "double.duckdb.lock", BOB)
        ran = run_as(ALICE, folder, "run", "double.py", "--headless")
        assert ran.returncode == 0, ran.stderr
        assert "double.duckdb.lock belongs to another user" in ran.stderr
        assert squatted.read_text() == PRECIOUS


@pytest.mark.parametrize("ending", [".wal", ".log"])
def test_link_beside_a_database_is_refused_and_its_target_left_alone(public_folder: Path, ending: str) -> None:
    target = put(public_folder / "mine", ALICE)
    link(public_folder / f"double.duckdb{ending}", target, BOB)
    ran = run_as(ALICE, public_folder, "run", "double.py", "--headless")
    assert ran.returncode == 4
    assert ran.stderr.count("\n") == 1 and f"double.duckdb{ending} stands in the way (it is a link)" in ran.stderr
    assert target.read_text() == PRECIOUS
    assert not (public_folder / "double.duckdb").exists()


def test_write_ahead_log_of_a_stranger_is_not_read(public_folder: Path) -> None:
    database = alices_database(public_folder)
    put(database.with_name("double.duckdb.wal"), BOB, mode=0o644)
    ran = run_as(ALICE, public_folder, "query", "double.duckdb", "FROM double")
    assert ran.returncode == 4
    assert f"it belongs to uid {BOB}" in ran.stderr


def test_database_of_a_stranger_takes_no_run_but_can_be_read(public_folder: Path) -> None:
    database = alices_database(public_folder)
    database.chmod(0o666)
    ran = run_as(BOB, public_folder, "run", "double.py", "--headless", "--new")
    assert ran.returncode == 4
    assert f"belongs to uid {ALICE}, in a folder that every user can write to" in ran.stderr
    assert run_as(BOB, public_folder, "query", "double.duckdb", "FROM double").returncode == 0


def test_link_of_a_stranger_to_a_database_is_not_followed(public_folder: Path) -> None:
    with shared_folder(0o755) as elsewhere:
        os.chown(elsewhere, ALICE, TEAM)
        target = alices_database(elsewhere)
        link(public_folder / "double.duckdb", target, BOB)
        content = target.read_bytes()
        for arguments in (["query", "double.duckdb", "FROM double"], ["run", "double.py", "--headless"]):
            ran = run_as(ALICE, public_folder, *arguments)
            assert ran.returncode == 4
            assert f"is a link of uid {BOB} in a folder that others write to" in ran.stderr
        assert target.read_bytes() == content


def test_a_link_planted_during_a_run_ends_it_before_the_next_transaction(team_folder: Path) -> None:
    target = put(team_folder / "mine", ALICE)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tui_runner.store.database import Database\n"
        "database = Database.open(Path(sys.argv[1]), for_run=True)\n"
        "database.check_in_place()\nprint('open', flush=True)\nsys.stdin.readline()\n"
        "try:\n    database.check_in_place()\nexcept Exception as error:\n    print(error, flush=True)\n"
        "database.close()\n"
    )
    path = team_folder / "x.duckdb"
    process = subprocess.Popen(
        command("-c", script, str(path)),
        **options(ALICE, team_folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # type: ignore[call-overload]  # fmt: skip
    with process:
        assert process.stdout.readline() == "open\n"
        link(team_folder / "x.duckdb.wal", target, BOB)
        said, _ = process.communicate("\n", timeout=30)
    assert "x.duckdb.wal stands in the way (it is a link)" in said
    assert target.read_text() == PRECIOUS


def test_empty_file_of_a_stranger_in_the_place_of_a_database_is_named() -> None:
    with shared_folder(0o3770) as folder:
        put(folder / "j.duckdb", BOB, "", mode=0o664)
        ran = run_as(ALICE, folder, "run", "double.py", "--headless", "--db", "j.duckdb")
        assert ran.returncode == 4
        assert ran.stderr.count("\n") == 1 and "j.duckdb: is empty, and cannot be removed" in ran.stderr


def test_log_stands_beside_the_database_that_a_link_leads_to(team_folder: Path) -> None:
    with shared_folder(0o755) as elsewhere:
        os.chown(elsewhere, ALICE, TEAM)
        database = alices_database(elsewhere)
        link(team_folder / "double.duckdb", database, ALICE)
        stranger = put(team_folder / "double.duckdb.log", BOB)
        job = JOB.replace("    return {", "    print('hello')\n    return {")
        (team_folder / "double.py").write_text(job)
        ran = run_as(ALICE, team_folder, "run", "double.py", "--headless", "--new")
        assert ran.returncode == 0, ran.stderr
        assert "hello" in database.with_name("double.duckdb.log").read_text()
        assert stranger.read_text() == PRECIOUS
