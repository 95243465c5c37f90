"""What the cells of a result look like: short, safe text, made for the rows in sight alone.

Text of any length costs no more than what is shown of it: strings and blobs are cut by Arrow before they become Python
values, and a nested value of many bytes is only named.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.store.export.cells import is_number, text_cells
from tui_runner.store.query.result import TYPE_KEY
from tui_runner.text.numbers import size
from tui_runner.text.safe_text import safe_text

SHOWN = 200
"""Characters of a cell that a table shows at most; the viewer shows more."""
VIEWED = 100_000
"""Characters that the viewer shows at most."""
_NESTED_BYTES = 200_000
"""A nested value of more bytes than this is named, not shown, in a table."""


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column of a result.

    Attributes:
        name: safe to show.
        type: DuckDB's name of its type, safe to show.
        right: whether its values stand at the right.
    """

    name: str
    type: str
    right: bool


def columns_of(schema: pa.Schema) -> list[ColumnView]:
    """The columns of a result, as a table's heading shows them."""
    return [
        ColumnView(safe_text(field.name, limit=SHOWN), safe_text(type_name(field), limit=SHOWN), is_number(field.type))
        for field in schema
    ]


def type_name(field: pa.Field) -> str:
    """DuckDB's name of a column's type."""
    kind = (field.metadata or {}).get(TYPE_KEY)
    return str(field.type) if kind is None else kind.decode()


def shown_cells(array: pa.Array, limit: int = SHOWN) -> list[str | None]:
    """The values of an array as safe text of at most `limit` characters each, None for NULL."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.utf8_slice_codeunits(array, 0, limit + 1).to_pylist()
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = text_cells(kind)(pc.binary_slice(array, 0, limit + 1))
    elif pa.types.is_nested(kind):
        texts = [_nested(array.slice(place, 1), limit) for place in range(len(array))]
    else:
        texts = text_cells(kind)(array)
    return [None if text is None else safe_text(text, limit=limit) for text in texts]


def whole_text(array: pa.Array, place: int, limit: int = VIEWED) -> tuple[str | None, int]:
    """One value with its line ends, not yet safe, cut at `limit` characters; and how long it is before that.

    The length is in characters, or in bytes for a blob; None stands for NULL.
    """
    value = array.slice(place, 1)
    kind = value.type
    if not value[0].is_valid:
        return None, 0
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        length = pc.utf8_length(value)[0].as_py()
        return pc.utf8_slice_codeunits(value, 0, limit)[0].as_py(), length
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        length = pc.binary_length(value)[0].as_py()
        return text_cells(kind)(pc.binary_slice(value, 0, limit // 4))[0], length
    text = _nested(value, limit) if pa.types.is_nested(kind) else text_cells(kind)(value)[0]
    return (text or "")[:limit], len(text or "")


def _nested(value: pa.Array, limit: int) -> str | None:
    if not value[0].is_valid:
        return None
    if value.nbytes > max(_NESTED_BYTES, 4 * limit):
        return f"({size(value.nbytes)})"
    return text_cells(value.type)(value)[0]
