"""Placeholders for items that cannot be passed on as they are; used by inputs, the engine and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tui_runner.text.numbers import size

MAX_INPUT_BYTES = 16_000_000
"""Default of the setting `max_input_bytes`: the largest item that is accepted. A thousand such items are 16 GB, as much
as the memory of many machines."""
UNREADABLE = "InputUnreadable"
"""Type of the error of an item that cannot be read, as stored in the ledger."""
MEND = "; correct the line, then retry the run"
"""Advice at the end of the message for an unreadable item."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A mark for an item that cannot be read or is too large. The item fails at once and is not retried.

    Attributes:
        type: type of the error, like the name of an exception.
        message: why the item cannot be used.
        text: short text that is shown as the item.
    """

    type: str
    message: str
    text: str = ""

    def __str__(self) -> str:
        return self.text


class WideRow(dict[str, Any]):
    """A row with several members in an input whose sampled rows all had one. Its members become keyword arguments."""


def too_large(place: str, limit: int) -> Refused:
    """Return a placeholder for an item with more bytes than the setting allows."""
    message = f"{place}: the item is larger than {size(limit)}; raise max_input_bytes to have it run"
    return Refused("InputTooLarge", message, place)


def unreadable_item(place: str, reason: str) -> Refused:
    """Return a placeholder for an item that cannot be read although later ones can.

    Args:
        place: the item's place in the input, `file:line`.
        reason: why the item cannot be read.
    """
    return Refused(UNREADABLE, f"{place}: {reason}{MEND}", place)
