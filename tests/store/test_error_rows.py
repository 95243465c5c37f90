"""Failed attempts in the ledger: what the view returns is what was written, and equal tracebacks are stored once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.errors import add_errors

from tui_runner.store.database import Database
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.sql import literal

FRAMES = "Traceback (most recent call last):\n  File 'books.py', line 9, in books\nValueError: "


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Database.open(tmp_path / "x.duckdb") as database:
        cursor = database.cursor()
        ensure_ledger(cursor, create=True)
        yield cursor


def add(cursor: duckdb.DuckDBPyConnection, *written: tuple[str, str | None]) -> None:
    values = ", ".join(
        f"(1, {item}, 0, 1, 'ValueError', {literal(message)}, {'NULL' if traceback is None else literal(traceback)},"
        " now(), true, 'x', 'x')"
        for item, (message, traceback) in enumerate(written)
    )
    add_errors(cursor, f"VALUES {values}")


def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None]]:
    return cursor.execute("SELECT message, traceback FROM runner.errors ORDER BY item").fetchall()


def count_tracebacks(cursor: duckdb.DuckDBPyConnection) -> int:
    return int(cursor.execute("SELECT count(*) FROM runner.tracebacks").fetchall()[0][0])


def test_tracebacks_that_differ_in_their_message_are_stored_once(cursor: duckdb.DuckDBPyConnection) -> None:
    written = [(f"page {number}", f"{FRAMES}page {number}\n") for number in range(100)]
    add(cursor, *written)
    add(cursor, *written[:3])
    assert read(cursor) == sorted([*written, *written[:3]], key=lambda row: int(row[0][5:]))
    assert count_tracebacks(cursor) == 1


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(TEXTS, st.none() | TEXTS).map(
            lambda pair: (pair[0], None if pair[1] is None else pair[1] + pair[0] + "\n")
        )
        | st.tuples(TEXTS, st.none() | TEXTS),
        min_size=1,
        max_size=6,
    )
)
def test_view_returns_every_traceback_as_it_was_written(
    cursor: duckdb.DuckDBPyConnection, written: list[tuple[str, str | None]]
) -> None:
    cursor.execute("DELETE FROM runner.failed_attempts; DELETE FROM runner.tracebacks")
    add(cursor, *written)
    assert read(cursor) == written
    assert count_tracebacks(cursor) <= len({traceback for _, traceback in written} - {None})
