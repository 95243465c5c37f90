"""Cutting an input into chunks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tui_runner.inputs.source import Source
from tui_runner.keys import KeyMaker

_PATIENCE = 1.0
"""Seconds that an item waits for more of its chunk: longer, and a person thinks that nothing happens."""


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Consecutive items of an input.

    Attributes:
        number: position among the chunks, from 0.
        first_item: position in the input of its first item, from 0.
        values: the items.
        keys: the key of each, from `KeyMaker`.
    """

    number: int
    first_item: int
    values: list[object]
    keys: list[str]


def cut(source: Source, chunk_size: int, *, limit: int | None = None) -> Iterator[InputChunk]:
    """The chunks of an input, read as they are asked for.

    When the input breaks off with an error, the items before it come first, in a shorter chunk. Nor do items wait long
    for others that are slow to come: what there is is a chunk then. So chunks are no others when the same input is cut
    again, unless it `may_wait`.

    Args:
        source: the input.
        chunk_size: items a chunk; the last one may have fewer.
        limit: take only the first so many items.

    Raises:
        UserError: the input is broken.
    """
    if chunk_size < 1:
        raise ValueError(f"a chunk of {chunk_size} items")
    key = KeyMaker(unique=source.unique).key
    items = islice(source, limit)
    first_item = number = 0
    failure: BaseException | None = None
    while failure is None:
        values: list[object] = []
        try:
            _fill(values, items, source, chunk_size)
        except Exception as error:
            failure = error
        if not values:
            break
        yield InputChunk(number, first_item, values, [key(value) for value in values])
        number += 1
        first_item += len(values)
    if failure is not None:
        raise failure


def _fill(values: list[object], items: Iterator[object], source: Source, size: int) -> None:
    """Add items to `values` until there are `size`; what was taken is in there also when the iterator raises."""
    if not source.may_wait:
        values.extend(islice(items, size))
        return
    until = math.inf
    for value in islice(items, size):
        values.append(value)
        until = min(until, time.monotonic() + _PATIENCE)
        if len(values) == size or not source.comes_within(until - time.monotonic()):
            return
