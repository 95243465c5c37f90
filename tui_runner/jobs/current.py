"""Defines `current`, from which a job's function learns about the item that it is executing.

The function runs in many threads (or asyncio tasks) at once. In each of them `current` stands for the item of that
thread or task. Threads that the function starts itself have no current item.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class ItemContext(Protocol):
    """An item that is being executed, with the functions that the engine offers for it."""

    @property
    def value(self) -> Any:
        """The item, as it came from the input."""

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""

    @property
    def deadline(self) -> float | None:
        """Time at which the attempt times out, by `time.monotonic()`; None for no timeout."""

    @property
    def cancelled(self) -> bool:
        """True if the result is no longer needed."""

    reserved_host: str
    """Host for which the item has a reservation, because it waited for the host before it began: its first request to
    the host need not wait. Empty without a reservation."""

    def log(self, level: str, text: str) -> None:
        """Add a line to the run's log."""

    def add(self, items: tuple[object, ...]) -> None:
        """Add items to the run. They are recorded only if this item succeeds."""

    def begin_wait(self, host: str) -> None:
        """Record that the item waits for `host`. Another item runs meanwhile, and the item's timeout is suspended."""

    def end_wait(self, seconds: float) -> None:
        """Record that the item has waited for `seconds`, which count neither for its duration nor for its timeout."""


CONTEXT: ContextVar[ItemContext | None] = ContextVar("tui_runner_item", default=None)
"""The item of the current thread or task. The engine sets it around every call of a job's function."""


class ItemLog:
    """The log of the run. Each line that is added names the current item. Without a current item, lines are printed."""

    __slots__ = ()

    def __call__(self, text: object, level: str = "INFO") -> None:
        """Add `text` to the log with a level: DEBUG, INFO, WARNING, ERROR or CRITICAL."""
        context = CONTEXT.get()
        if context is None:
            print(text)
        else:
            context.log(level, str(text))

    def debug(self, text: object) -> None:
        """Add `text` to the log with the level DEBUG."""
        self(text, "DEBUG")

    def info(self, text: object) -> None:
        """Add `text` to the log with the level INFO."""
        self(text, "INFO")

    def warning(self, text: object) -> None:
        """Add `text` to the log with the level WARNING."""
        self(text, "WARNING")

    def error(self, text: object) -> None:
        """Add `text` to the log with the level ERROR."""
        self(text, "ERROR")


class Current:
    """The item that the calling thread or task is executing.

    Attributes:
        log: adds lines to the run's log: `current.log("…")`, `current.log.warning("…")`.
    """

    __slots__ = ()

    log = ItemLog()

    @property
    def item(self) -> Any:
        """The item as it came from the input.

        Raises:
            LookupError: the calling thread or task executes no item.
        """
        context = CONTEXT.get()
        if context is None:
            raise LookupError("current.item is known only while tui-runner executes an item")
        return context.value

    @property
    def attempt(self) -> int:
        """Number of this attempt at the item, from 1. Without a current item, 1."""
        context = CONTEXT.get()
        return 1 if context is None else context.attempt

    @property
    def deadline(self) -> float | None:
        """Time at which the attempt times out, by `time.monotonic()`; None without a timeout or a current item."""
        context = CONTEXT.get()
        return None if context is None else context.deadline

    @property
    def cancelled(self) -> bool:
        """True if the result is not needed any more (timeout, cancelled, run stopped), so the function should end."""
        context = CONTEXT.get()
        return context is not None and context.cancelled

    def add(self, *items: object) -> None:
        """Add items to the run of a job declared with `frontier=True`. Do nothing without a current item.

        The items are recorded in the transaction that records this item as done, so a failed attempt adds nothing. An
        item that the run already has is not added again. Items run in the order in which they were added.

        Args:
            items: values that JSON preserves: text, integers, finite floats, truth values, None, lists, dicts.

        Raises:
            TypeError: an item is not such a value.
            RuntimeError: the job is declared without `frontier=True`.
        """
        context = CONTEXT.get()
        if context is not None and items:
            context.add(items)


current = Current()
