"""A fork of a worker must not go on with the worker's items.

A function that calls `os.fork` returns twice: once in the worker, and once in a copy of it that has its queue, its
pipe and one of its threads. The copy ends there; what it was forked for, it has done.
"""

from __future__ import annotations

import os

copied: list[int] = []
"""Not empty in a copy: a list, so that a thread has it at hand and its look at it costs nothing an item."""

os.register_at_fork(after_in_child=lambda: copied.append(os.getpid()))


def this_is_no_copy() -> None:
    """This process, forked from a fork server as it may be, is a worker of its own."""
    copied.clear()
