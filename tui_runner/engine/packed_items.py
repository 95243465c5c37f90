"""Pickles items to send them to a worker, and unpickles them there. If an item cannot be sent, only that item fails."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence

from tui_runner.system.process import no_exit_at_once
from tui_runner.text.items import Refused

_PLAIN = frozenset({str, int, float, bool, bytes, type(None), dict, list, tuple})
"""Types whose values always survive pickling. Values of other types are unpickled to test that."""


def pack(values: Sequence[object]) -> bytes:
    """Return items pickled for `OpenChunk.values`. An item that cannot be unpickled again becomes `Refused`."""
    with no_exit_at_once():
        try:
            packed = pickle.dumps(list(values), protocol=pickle.HIGHEST_PROTOCOL)
            if not _PLAIN.issuperset(map(type, values)):
                unpack(packed)  # an exception with its own arguments, for example, cannot be unpickled
        except (Exception, SystemExit):  # pickling each item alone shows which one failed
            return pickle.dumps([_sendable(value) for value in values], protocol=pickle.HIGHEST_PROTOCOL)
        return packed


def _sendable(value: object) -> object:
    try:
        unpack(pickle.dumps([value], protocol=pickle.HIGHEST_PROTOCOL))
    except (Exception, SystemExit) as error:  # a __reduce__ of the user's may raise anything
        kind = type(value).__name__
        return Refused("TypeError", f"an item of type {kind} cannot be sent to a worker: {type(error).__name__}", kind)
    return value


class PackedAgain(list["bytes | Refused"]):
    """Items that failed in a worker, each as that worker has packed it.

    They may come from another machine, so the program never unpickles them; the next worker does.
    """


def pack_again(values: Iterable[bytes | Refused]) -> bytes:
    """Return values that workers packed in the form that `unpack` reads, without unpickling any of them."""
    return pickle.dumps(PackedAgain(values), protocol=pickle.HIGHEST_PROTOCOL)


def unpack(packed: bytes) -> list[object]:
    """Return the items from the result of `pack` or `pack_again`.

    Raises:
        Exception: any error of unpickling a result of `pack`. An item from `pack_again` that cannot be unpickled
            becomes `Refused` instead.
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
            return pickle.loads(value)  # noqa: S301 - packed by a worker, and only a worker comes here
    except (Exception, SystemExit) as error:  # unpickling runs code of the user's classes, which may raise anything
        return Refused("TypeError", f"the item cannot be unpickled: {type(error).__name__}")
