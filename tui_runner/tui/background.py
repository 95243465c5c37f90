"""Makes blocking calls in separate threads. The screen awaits their results, so that it never blocks."""

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
    """Return the result of `query(cursor, *args, **kwargs)`, or None if the database is not open or the query fails."""

    def work() -> T | None:
        if database is None:
            return None
        try:
            cursor = database.cursor()
        except DatabaseError:  # the database was closed just now
            return None
        try:
            return query(cursor, *args, **kwargs)
        except duckdb.Error:  # the file was closed or lost during the query; the run itself reports that
            return None
        finally:
            database.close_cursor(cursor)

    return await in_thread(work, "tui-runner-read")


R = TypeVar("R")


async def in_thread(call: Callable[[], R], name: str) -> R:
    """Call `call` in a daemon thread. Return its result or raise its error.

    `asyncio.to_thread` would not do: its threads are few and shared by all callers, and the application could not end
    while a call hangs in one of them.

    Args:
        call: the work. It continues to its end even if the caller is cancelled.
        name: name of the thread.

    Raises:
        asyncio.CancelledError: the widget whose worker has called this function is being removed.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(outcome: R | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(outcome)  # type: ignore[arg-type]  # None only if `call` returns None
        else:
            future.set_exception(error)

    def work() -> None:
        outcome, error = None, None
        try:
            outcome = call()
        except BaseException as caught:  # raised again in the coroutine that awaits the call
            error = caught
        try:
            loop.call_soon_threadsafe(settle, outcome, error)
        except RuntimeError:
            # The event loop was closed during the call, because the application has ended. No coroutine waits.
            return

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await future
    finally:
        if _is_left():
            raise asyncio.CancelledError


def _is_left() -> bool:
    """Return True if the current worker belongs to a widget that is being removed.

    Textual first removes the widget's children, and cancels its workers after that. A worker that resumes in between
    would look for children that no longer exist, and the exception would end the application.
    """
    try:
        worker = get_current_worker()
    except NoActiveWorker:  # called outside of a worker
        return False
    return not worker.is_finished and worker.node._pruning
