"""Makes blocking calls in separate threads. The screen awaits their results, so it never blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import duckdb
from textual.worker import NoActiveWorker, get_current_worker

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")


async def read(
    database: Database | None,
    query: Callable[Concatenate[duckdb.DuckDBPyConnection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """Return the result of `query(cursor, …)`; None if there is no open database or the query fails."""

    def work() -> T | None:
        if database is None:
            return None
        try:
            cursor = database.cursor()
        except DatabaseError:  # the database is closed
            return None
        try:
            return query(cursor, *args, **kwargs)
        except duckdb.Error:  # the file was closed or lost meanwhile; the run itself reports that
            return None
        finally:
            database.close_cursor(cursor)

    return await in_thread(work, "tui-runner-read")


R = TypeVar("R")


async def in_thread(call: Callable[[], R], name: str) -> R:
    """Call `call` in a daemon thread. Return its result or raise its error.

    `asyncio.to_thread` is not used: its pool is small and shared, and leaving the application waits for calls that hang
    in it.

    Args:
        call: the work. It continues if the caller is cancelled.
        name: name of the thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(outcome: R | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(outcome)  # type: ignore[arg-type]  # what the call returned, None included
        else:
            future.set_exception(error)

    def work() -> None:
        outcome, error = None, None
        try:
            outcome = call()
        except BaseException as caught:  # raised again where it is awaited
            error = caught
        try:
            loop.call_soon_threadsafe(settle, outcome, error)
        except RuntimeError:
            # The application has ended meanwhile, so no coroutine waits.
            return

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await future
    finally:
        if _is_left():
            raise asyncio.CancelledError


def _is_left() -> bool:
    """Return True if the current worker belongs to a widget that is being removed.

    Textual cancels such a worker only after the widget's children are gone. Code that resumed in between would query
    children that no longer exist, and the exception would end the application.
    """
    try:
        worker = get_current_worker()
    except NoActiveWorker:  # called outside of a worker
        return False
    return not worker.is_finished and worker.node._pruning
