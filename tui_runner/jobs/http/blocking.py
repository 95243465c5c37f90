"""One text for threads and for event loops: coroutines that a thread executes without a loop.

Theory of operation. What waits at a gate or speaks HTTP is written once, as coroutines. All that they wait for are the
methods of a few small classes that come in two kinds. Those for a task suspend it, so others run meanwhile. Those for a
thread are coroutines, too, but block and never suspend: `completed` executes a coroutine that awaits no others, and has
its result after one step. That costs a thread a fifth of a microsecond for each coroutine on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def completed(coroutine: Coroutine[Any, Any, T]) -> T:
    """Execute a coroutine that blocks instead of suspending, and return its result.

    Raises:
        RuntimeError: it suspended, so it is for an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine for an event loop was executed by a thread")


def iterated(pieces: AsyncIterator[T]) -> Iterator[T]:
    """Yield what an asynchronous iterator does that blocks instead of suspending."""
    while True:
        try:
            piece = completed(_next(pieces))
        except StopAsyncIteration:
            return
        yield piece


async def _next(pieces: AsyncIterator[T]) -> T:
    return await anext(pieces)
