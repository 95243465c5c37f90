"""Memory of Python objects during an action."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(nbytes: int) -> Iterator[None]:
    """Fail when Python objects that are made within take more than `nbytes` together at any moment."""
    tracemalloc.start(1)
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= nbytes
    finally:
        tracemalloc.stop()
