"""A query screen that stays open follows the database from process to process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_owner import run_of_another_process

from tui_runner.errors import UserError
from tui_runner.store.access import FollowingAccess
from tui_runner.store.database import Database
from tui_runner.store.query.errors import QueryError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # The folders of pytest are too deep for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        with Database.open(tmp_path / "x.duckdb") as database, database.opened_cursor() as cursor:
            cursor.execute("CREATE TABLE x AS SELECT range AS n FROM range(50000)")
        yield tmp_path / "x.duckdb"


def count(access: FollowingAccess) -> int:
    with access.console() as console:
        return int(console.query("SELECT count(*) FROM x").read_all().column(0)[0].as_py())


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_statements_follow_the_file_from_run_to_run(path: Path, killed: bool) -> None:
    with run_of_another_process(path, 3, killed=killed):
        access = FollowingAccess(path)
        console = access.console()
        assert access.run == 3 and "run 3" in access.describe and not access.news()
        assert len(console.query("FROM x").read_all()) == 50_000
    assert len(console.query("FROM x").read_all()) == 50_000
    assert "has closed it" in access.news() and access.run is None and access.describe == "x.duckdb"
    assert not access.news(), "said once"
    assert count(access) == 50_000 and not access.news()
    with run_of_another_process(path, 4):  # it can start, because no statement is running
        assert len(console.query("FROM x").read_all()) == 50_000
        assert access.news().startswith("Run 4 (pid ") and access.run == 4
    console.close()


@pytest.mark.slow
def test_one_run_after_another_is_followed_without_a_statement_in_between(path: Path) -> None:
    with run_of_another_process(path, 3):
        access = FollowingAccess(path)
    with run_of_another_process(path, 4):
        assert count(access) == 50_000
        assert access.news().startswith("Run 4")


def test_the_file_is_open_only_while_a_statement_needs_it(path: Path) -> None:
    access = FollowingAccess(path)
    with access.console() as one, access.console() as other:
        rows = one.query("FROM x")
        assert len(other.query("FROM x").read_all()) == 50_000
        assert access._access is not None
        with pytest.raises(QueryError):
            other.query("FROM nowhere")
        assert access._access is not None, "the rows of the first statement were not read yet"
        assert len(rows.read_all()) == 50_000
        assert access._access is None
        rows = one.query("FROM x")
    assert rows.closed and access._access is None


def test_a_file_that_nobody_has_written_to_is_unchanged(path: Path) -> None:
    with run_of_another_process(path, 3):
        access = FollowingAccess(path)
        assert not access.is_unchanged()
    assert not access.is_unchanged()
    assert count(access) == 50_000 and access.is_unchanged()
    assert count(access) == 50_000 and access.is_unchanged()
    with access.console() as console:
        rows = console.query("FROM x")
        assert not access.is_unchanged()
        rows.close()
    assert access.is_unchanged()
    with Database.open(path) as database, database.opened_cursor() as cursor:
        cursor.execute("CREATE TABLE y (i INT)")
        assert not access.is_unchanged(), "the table is in the log of the file"
    assert not access.is_unchanged()


@pytest.mark.slow
def test_write_mode_keeps_the_file(path: Path) -> None:
    access = FollowingAccess(path)
    with access.console() as console:
        console.write = True
        console.query("DELETE FROM x WHERE n >= 10").read_all()
        assert access._access is not None and count(access) == 10
        console.write = False
        assert access._access is None
        with pytest.raises(UserError, match="only"):
            console.query("DELETE FROM x")
    with run_of_another_process(path, 3), access.console() as console:
        with pytest.raises(UserError, match="has this database open"):
            count(access)
            console.write = True
        assert not console.write and not access.can_write
    assert count(access) == 10
