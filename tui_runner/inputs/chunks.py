"""Cutting an input into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tui_runner.inputs.source import Source
from tui_runner.keys import KeyMaker


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

    When the input breaks off with an error, the items before it come first, in a shorter chunk.

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
            # `extend` keeps what it has taken when the iterator raises.
            values.extend(islice(items, chunk_size))
        except Exception as error:
            failure = error
        if not values:
            break
        yield InputChunk(number, first_item, values, [key(value) for value in values])
        number += 1
        first_item += len(values)
    if failure is not None:
        raise failure
