from __future__ import annotations

import struct
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.file_check import check_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database that ends with the blocks of its tables: DuckDB would open it without them."""
    path = tmp_path_factory.mktemp("whole") / "x.duckdb"
    with Database.open(path) as database:
        cursor = database.cursor()
        for number in range(3):  # each checkpoint writes the other header
            cursor.execute(f"CREATE TABLE t{number} AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(40000)")
            cursor.execute("CHECKPOINT")
    return path.read_bytes()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_database_that_lost_its_end_is_refused_and_left_as_it_is(
    whole: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "cut.duckdb"
    size = data.draw(st.integers(1, len(whole) - 1))
    path.write_bytes(whole[:size])
    with pytest.raises(DatabaseError, match=r"is truncated|is not a DuckDB database") as caught:
        Database.open(path)
    assert caught.value.exit_code == 4
    assert str(caught.value).isprintable()
    assert path.read_bytes() == whole[:size]
    assert {file.name for file in tmp_path.iterdir()} <= {"cut.duckdb"}


def test_whole_databases_of_both_formats_are_taken(whole: bytes, tmp_path: Path) -> None:
    for version in ("v1.2.0", "latest"):
        path = tmp_path / f"{version}.duckdb"
        with duckdb.connect(str(path), config={"storage_compatibility_version": version}) as connection:
            connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(100000)")
        check_file(path, path)
    (tmp_path / "x.duckdb").write_bytes(whole)
    with Database.open(tmp_path / "x.duckdb") as database:
        assert database.cursor().sql("SELECT count(*) FROM t2").fetchall() == [(40_000,)]


@pytest.mark.parametrize("block_size", [16_384, 262_144])
def test_free_blocks_that_were_cut_off_the_end_are_not_missed(tmp_path: Path, block_size: int) -> None:
    path = tmp_path / "x.duckdb"
    cut_off = 0
    for turn in range(8):
        with duckdb.connect(str(path), config={"default_block_size": block_size}) as connection:
            # With small blocks, the free list continues in other blocks.
            connection.execute("CREATE OR REPLACE TABLE t AS SELECT random() AS a FROM range(300000)")
            if turn % 2:
                connection.execute("DROP TABLE t")
        check_file(path, path)
        head = path.read_bytes()[: 3 * 4096]
        counted = max(struct.unpack_from("<8xQ16xQ", head, start) for start in (4096, 8192))[1]
        cut_off += path.stat().st_size < 3 * 4096 + counted * block_size
    assert cut_off, "DuckDB counts what it has cut off"
    path.write_bytes(path.read_bytes()[:-block_size])
    with pytest.raises(DatabaseError, match=r"is truncated|is not a DuckDB database"):
        check_file(path, path)


def test_a_layout_that_is_not_known_is_left_to_duckdb(whole: bytes, tmp_path: Path) -> None:
    strange = bytearray(whole[:20_000])
    for start in (4096, 8192):
        strange[start + 40 : start + 48] = (12345).to_bytes(8, "little")
    path = tmp_path / "x.duckdb"
    path.write_bytes(whole[:20_000])
    with pytest.raises(DatabaseError):
        check_file(path, path)
    path.write_bytes(strange)
    check_file(path, path)  # raises nothing, although as much is missing


def test_a_database_that_lost_everything_is_no_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    path.touch()
    with pytest.raises(DatabaseError, match="is empty; restore a copy"):
        Database.open(path, create=False)
    wal = tmp_path / "x.duckdb.wal"
    wal.write_bytes(b"what was written last")
    with pytest.raises(DatabaseError, match="is empty; restore a copy"):
        Database.open(path)
    assert path.read_bytes() == b"" and wal.read_bytes() == b"what was written last"
    assert {file.name for file in tmp_path.iterdir()} == {"x.duckdb", "x.duckdb.wal"}
    wal.unlink()
    Database.open(path).close()  # as `mktemp` makes it
