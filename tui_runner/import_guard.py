"""Keeps a module that is being imported from ending the program at once, without a word."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_exit_at_once = os._exit
_importing: list[int] = []
"""Process ids, one for each import that goes on."""


def _exit(status: int = 0) -> None:
    """`os._exit` while a job is imported: raises `SystemExit`, but in a process that was forked meanwhile."""
    if os.getpid() in _importing:
        raise SystemExit(status)
    _exit_at_once(status)


@contextlib.contextmanager
def no_exit_at_once() -> Iterator[None]:
    """Have `os._exit` raise `SystemExit` within. A crash in native code still ends the program.

    Loading the job in a process of its own first would catch that too, but every start would take an import longer.
    """
    _importing.append(os.getpid())
    os._exit = _exit  # type: ignore[assignment] # it raises where the original does not return: the same to its caller
    try:
        yield
    finally:
        _importing.pop()
        if not _importing:
            os._exit = _exit_at_once
