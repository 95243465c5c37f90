"""Reads the ledger for a screen, in a thread, through a cursor of its own: the screen never waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import duckdb

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.tui.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")


async def read(
    database: Database | None,
    query: Callable[Concatenate[duckdb.DuckDBPyConnection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """What `query(cursor, …)` returns; None when there is no database (any more) or it gives no answer."""

    def work() -> T | None:
        if database is None:
            return None
        try:
            cursor = database.cursor()
        except DatabaseError:
            return None
        try:
            return query(cursor, *args, **kwargs)
        except duckdb.Error:  # the file was closed or lost meanwhile; the run itself says so
            return None
        finally:
            database.close_cursor(cursor)

    return await in_thread(work, "tui-runner-read")
