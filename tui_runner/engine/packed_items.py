"""Pickles items to send them to a worker, and unpickles them there. If an item cannot be sent, only that item fails."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence

from tui_runner.system.process import no_exit_at_once
from tui_runner.text.items import Refused

_PLAIN = frozenset({str, int, float, bool, bytes, type(None), dict, list, tuple})
"""Types of items that can be sent without a test. Items of other types are pickled and unpickled once as a test."""


def pack(values: Sequence[object]) -> bytes:
    """Return items pickled for `OpenChunk.values`. An item that cannot be pickled and unpickled becomes `Refused`."""
    with no_exit_at_once():
        try:
            packed = pickle.dumps(list(values), protocol=pickle.HIGHEST_PROTOCOL)
            if not _PLAIN.issuperset(map(type, values)):
                unpack(packed)  # fails, for example, for an exception whose `__init__` takes other arguments
        except (Exception, SystemExit):  # pickle each item alone, to find the items that cannot be sent
            return pickle.dumps([_sendable(value) for value in values], protocol=pickle.HIGHEST_PROTOCOL)
        return packed


def _sendable(value: object) -> object:
    try:
        unpack(pickle.dumps([value], protocol=pickle.HIGHEST_PROTOCOL))
    except (Exception, SystemExit) as error:  # `__reduce__` of a user's class may raise anything
        kind = type(value).__name__
        return Refused("TypeError", f"an item of type {kind} cannot be sent to a worker: {type(error).__name__}", kind)
    return value


class PackedAgain(list["bytes | Refused"]):
    """Items that failed in a worker, each as the worker has pickled it.

    The worker may run on another machine, so the program never unpickles its data. The next worker unpickles the items.
    """


def pack_again(values: Iterable[bytes | Refused]) -> bytes:
    """Combine items that workers have pickled into one value for `unpack`, without unpickling any of them."""
    return pickle.dumps(PackedAgain(values), protocol=pickle.HIGHEST_PROTOCOL)


def unpack(packed: bytes) -> list[object]:
    """Return the items from the result of `pack` or `pack_again`.

    Raises:
        Exception: any error of unpickling a result of `pack`. If an item from `pack_again` cannot be unpickled,
            `Refused` takes its place.
    """
    values: list[object] = pickle.loads(packed)  # noqa: S301 - made by our own parent process
    if isinstance(values, PackedAgain):
        return [_unpacked_again(value) for value in values]
    return values


def _unpacked_again(value: bytes | Refused) -> object:
    if isinstance(value, Refused):
        return value
    try:
        with no_exit_at_once():
            return pickle.loads(value)  # noqa: S301 - packed by a worker, and only workers execute this line
    except (Exception, SystemExit) as error:  # unpickling runs code of the user's classes, which may raise anything
        return Refused("TypeError", f"the item cannot be unpickled: {type(error).__name__}")
