"""What other threads of tui-runner tell the runner's thread, besides the reports of workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Committed:
    """These batches are in the database; their tickets are (worker, bytes)."""

    tickets: list[Any]


@dataclass(frozen=True, slots=True)
class LogFailed:
    """The log file takes no more lines."""

    reason: str


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The database did not take a flush."""

    error: BaseException
