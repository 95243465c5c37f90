"""`current`: what a job's function may ask about the item it is working on.

The function runs in many threads (or asyncio tasks) at once; `current` answers for the one that asks. Threads
that the function starts itself do not inherit the answer.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class ItemContext(Protocol):
    """The engine's knowledge of an item while it is executed."""

    @property
    def value(self) -> Any:
        """Return the item."""

    @property
    def attempt(self) -> int:
        """Return the number of this attempt, from 1."""

    @property
    def deadline(self) -> float | None:
        """Return when the attempt times out, by `time.monotonic()`; None for never."""

    @property
    def cancelled(self) -> bool:
        """Return True if the result is not waited for any more."""

    reserved_host: str
    """The host that may be asked once without waiting, because the item waited for it before it began; else empty."""

    def log(self, level: str, text: str) -> None:
        """Add a line to the run's log."""

    def add(self, items: tuple[object, ...]) -> None:
        """Add items that will run once this one has ended well."""

    def begin_wait(self, host: str) -> None:
        """Record that the item waits for `host`: another item takes its place, and its timeout is suspended."""

    def end_wait(self, seconds: float) -> None:
        """Record that the item has waited for `seconds`, which count neither as its time nor for its timeout."""


CONTEXT: ContextVar[ItemContext | None] = ContextVar("tui_runner_item", default=None)
"""Set by the engine around every call of a job's function."""


class ItemLog:
    """Adds lines to the run's log, with the item they belong to; prints them outside of a run."""

    __slots__ = ()

    def __call__(self, text: object, level: str = "INFO") -> None:
        """Add `text` with this level: DEBUG, INFO, WARNING, ERROR or CRITICAL."""
        context = CONTEXT.get()
        if context is None:
            print(text)
        else:
            context.log(level, str(text))

    def debug(self, text: object) -> None:
        """Add `text` with the level DEBUG."""
        self(text, "DEBUG")

    def info(self, text: object) -> None:
        """Add `text` with the level INFO."""
        self(text, "INFO")

    def warning(self, text: object) -> None:
        """Add `text` with the level WARNING."""
        self(text, "WARNING")

    def error(self, text: object) -> None:
        """Add `text` with the level ERROR."""
        self(text, "ERROR")


class Current:
    """The item being executed by the thread or task that asks.

    Attributes:
        log: adds lines to the run's log: `current.log("…")`, `current.log.warning("…")`.
    """

    __slots__ = ()

    log = ItemLog()

    @property
    def item(self) -> Any:
        """Return the item as it came from the input.

        Raises:
            LookupError: asked outside of a run, where there is no item.
        """
        context = CONTEXT.get()
        if context is None:
            raise LookupError("current.item is known only while tui-runner executes an item")
        return context.value

    @property
    def attempt(self) -> int:
        """Return the number of this attempt at the item, from 1; 1 outside of a run."""
        context = CONTEXT.get()
        return 1 if context is None else context.attempt

    @property
    def deadline(self) -> float | None:
        """Return the moment at which the attempt times out, by `time.monotonic()`; None when it never does."""
        context = CONTEXT.get()
        return None if context is None else context.deadline

    @property
    def cancelled(self) -> bool:
        """Return True if the result is no longer wanted (timed out, cancelled, run stopped): return soon."""
        context = CONTEXT.get()
        return context is not None and context.cancelled

    def add(self, *items: object) -> None:
        """Add items to the run, for a job that is declared with `frontier=True`; outside of a run nothing happens.

        They are recorded in the transaction that records this item as done: an attempt that fails adds nothing. An item
        that the run has had before is not added again. They run in the order in which they were added.

        Args:
            items: what JSON brings back as it was: text, integers, finite floats, truth values, None, lists, dicts.

        Raises:
            TypeError: an item is something else.
            RuntimeError: the job is declared without `frontier=True`.
        """
        context = CONTEXT.get()
        if context is not None and items:
            context.add(items)


current = Current()
