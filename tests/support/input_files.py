"""Files as inputs of tests: written, read whole, and the errors of broken ones."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tui_runner.engine.packed_items import unpack
from tui_runner.engine.planning.cutting import CutByPosition, ItemsRead
from tui_runner.errors import UserError
from tui_runner.inputs import Source, open_source


def written(name: str, content: str | bytes) -> str:
    """Return the name of a file with this content in the current folder; compressed if it ends in .gz."""
    raw = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return name


def read(text: str, **options: Any) -> list[object]:
    source = open_source(text, **options)
    items = list(source)
    assert source.total in (None, len(items))
    return items


@dataclass(frozen=True)
class Cut:
    """A chunk as it is cut from an input, with its items unpacked."""

    number: int
    first_item: int
    values: list[object]
    byte_offset: int | None


def cut(source: Source, size: int, *, limit: int | None = None) -> Iterator[Cut]:
    """Yield the chunks of a new run."""
    cutter = CutByPosition(source, limit=limit)
    while (read := cutter.next(size)) is not None:
        assert isinstance(read, ItemsRead)
        chunk = read.chunk
        assert read.pending == chunk.positions
        yield Cut(chunk.number, chunk.positions[0], unpack(chunk.packed), chunk.byte_offset)


def refusal(text: str, **options: Any) -> str:
    """Return the error of opening or reading an input."""
    with pytest.raises(UserError) as caught:
        list(open_source(text, **options))
    assert str(caught.value).isprintable()
    return str(caught.value)
