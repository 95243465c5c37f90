"""Stand-ins for an item's value, used by inputs, the engine and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tui_runner.text.numbers import size

MAX_INPUT_BYTES = 16_000_000
"""Default of the setting `max_input_bytes`: bytes of an item of the input at most. A thousand such items fill the
memory of a machine."""
UNREADABLE = "InputUnreadable"
"""Type of the error of an item that cannot be read."""
MEND = "; mend the line, then retry the run"
"""Advice at the end of such an error's message."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Replaces an item that cannot be read: it fails at once and is not retried.

    Attributes:
        type: type of the error, like the name of an exception.
        message: reason for which the item cannot be read.
        text: the item as a short text.
    """

    type: str
    message: str
    text: str = ""

    def __str__(self) -> str:
        return self.text


class WideRow(dict[str, Any]):
    """A row with several members, although all rows of the input's sample had a single one. It is passed by name."""


def too_large(place: str, limit: int) -> Refused:
    """Return a stand-in for an item with more bytes than the setting allows.

    Args:
        place: the item's place in the input, `file:line`.
        limit: the value of `max_input_bytes`.
    """
    message = f"{place}: the item is larger than {size(limit)}; raise max_input_bytes to have it run"
    return Refused("InputTooLarge", message, place)


def unreadable_item(place: str, reason: str) -> Refused:
    """Return a stand-in for an item that cannot be read although later ones can.

    Args:
        place: the item's place in the input, `file:line`.
        reason: reason for which it cannot be read.
    """
    return Refused(UNREADABLE, f"{place}: {reason}{MEND}", place)
