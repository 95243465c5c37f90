"""Converts cells of a result to short, safe text, finds changes between two results, and shows one cell in full.

Long values cost no more than short ones, because only the shown part of a text is converted. Arrow cuts strings and
blobs before they become Python values, and a nested value of many bytes is shown as its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_runner.store.export.cells import is_number, text_cells
from tui_runner.store.query.result import TYPE_KEY
from tui_runner.text.numbers import size
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import bindings, keys_of
from tui_runner.tui.actions.list_keys import ListNavigation, Movable, Scrolled
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs import Dialog

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
"""Matches a token of JSON: a string, a bracket, a separator, or another scalar."""
_DEEPEST = 30
"""Deepest level of nesting with an indent of its own. Deeper levels have the same indent, because their lines would be
mostly blanks."""


def indented_json(text: str) -> str:
    """Return JSON with one member on each line.

    Only white space changes: numbers keep all their digits, and members with the same name are all kept. A text is
    returned unchanged if it is not JSON, or if it is nested too deeply for Python's parser.
    """
    try:
        # Keep numbers as text, because Python refuses to convert an integer of more than 4,300 digits.
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return text
    parts: list[str] = []
    depth = 0
    tokens = [*_TOKEN.findall(text), ""]
    for part, following in pairwise(tokens):
        if part in "[{":
            depth += 1
        elif part in "]}":
            depth -= 1
        parts.append(part)
        if part == ":":
            parts.append(" ")
        elif following and (part == "," or (part in "[{") != (following in "]}")):
            parts.append("\n" + "  " * min(depth - (following in "]}"), _DEEPEST))
    return "".join(parts)


_ROWS = 1_000
"""Number of rows from the beginning that are compared for changes. A screen shows fewer rows."""


def changed_cells(old: pa.Table | None, new: pa.Table) -> frozenset[tuple[int, int]]:
    """Return (row, column) of each cell of `new` that has another value in `old`, or is in a row that `old` lacks.

    The result is empty if `old` is None or has other columns. Only the first `_ROWS` rows are compared.
    """
    if old is None or not old.schema.equals(new.schema):
        return frozenset()
    both = min(old.num_rows, new.num_rows, _ROWS)
    cells = {(row, column) for row in range(both, min(new.num_rows, _ROWS)) for column in range(new.num_columns)}
    for number, (before, after) in enumerate(zip(old.columns, new.columns, strict=True)):
        cells.update((row, number) for row in _changed(before.slice(0, both), after.slice(0, both)))
    return frozenset(cells)


def _changed(before: pa.ChunkedArray, after: pa.ChunkedArray) -> list[int]:
    if before.equals(after):
        return []
    try:
        differs = pc.fill_null(pc.not_equal(before, after), False)
    except pa.ArrowNotImplementedError:  # raised for nested values
        return [row for row in range(len(before)) if not before[row].equals(after[row])]
    nulls = pc.not_equal(pc.is_null(before), pc.is_null(after))
    return pc.indices_nonzero(pc.or_(differs, nulls)).to_pylist()  # type: ignore[no-any-return]


SHOWN = 200
"""Most characters of a cell that are converted for a table. No column of a table is wider (`WIDEST`)."""
VIEWED = 100_000
"""Most characters that `CellViewer` shows. Laying out more text would delay each key."""
_NESTED_BYTES = 200_000
"""Size in bytes above which a table shows a nested value as its size, because formatting it as JSON would take
noticeable time. `CellViewer` has a higher limit; see `whole_text`."""


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column of a result.

    Attributes:
        name: name of the column, safe to show.
        type: DuckDB's name of the column's type, safe to show.
        right: True if the values are aligned to the right.
    """

    name: str
    type: str
    right: bool


def columns_of(schema: pa.Schema) -> list[ColumnView]:
    """Return a view of each column of a result, for the heading of a table."""
    return [
        ColumnView(safe_text(field.name, limit=SHOWN), safe_text(type_name(field), limit=SHOWN), is_number(field.type))
        for field in schema
    ]


def type_name(field: pa.Field) -> str:
    """Return DuckDB's name of a column's type, or Arrow's name if the result does not have DuckDB's."""
    kind = (field.metadata or {}).get(TYPE_KEY)
    return str(field.type) if kind is None else kind.decode()


def shown_cells(array: pa.Array, limit: int = SHOWN) -> list[str | None]:
    """Return each value of an array as safe text of at most `limit` characters, or None for NULL."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.utf8_slice_codeunits(array, 0, limit + 1).to_pylist()
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = text_cells(kind)(pc.binary_slice(array, 0, limit + 1))
    elif pa.types.is_nested(kind):
        texts = [_nested(array.slice(place, 1), limit) for place in range(len(array))]
    elif is_number(kind):
        exact = pa.types.is_decimal(kind)
        texts = [None if text is None else shown_number(text, exact=exact) for text in text_cells(kind)(array)]
    else:
        texts = text_cells(kind)(array)
    return [None if text is None else safe_text(text, limit=limit) for text in texts]


_GROUPED = re.compile(r"(-?)(\d{5,15})(\.\d+)?")
"""Matches numbers that get thousands separators. Numbers of four digits are left out, because they may be years, and
numbers of more than 15 digits, because nobody can read them in any case."""


_LONG = re.compile(r"-?\d+\.\d{14,}(e[+-]\d+)?")
"""Matches numbers whose last digits are rounding errors of floating-point numbers. For example, 3.5444999999999998 is
3.5445 rounded to 15 digits."""


def shown_number(number: str, *, exact: bool = False) -> str:
    """Return a number with thousands separators if it has 5 to 15 digits before the point, and rounded if not `exact`.

    Any other text is returned unchanged.

    Args:
        number: the number as text.
        exact: True to keep every digit; False to round to the 15 digits that floating-point numbers represent exactly.
    """
    if not exact and _LONG.fullmatch(number):
        number = f"{float(number):.15g}"
    found = _GROUPED.fullmatch(number)
    return number if found is None else f"{found[1]}{int(found[2]):,}{found[3] or ''}"


def point_width(text: str) -> tuple[int, int]:
    """Return two counts of characters in a number: those before the decimal point, and those from the point on."""
    whole, point, rest = text.partition(".")
    return len(whole), len(point + rest)


def whole_text(array: pa.Array, place: int, limit: int = VIEWED) -> tuple[str | None, int]:
    """Return a value as text of at most `limit` characters, and the length of the whole value.

    The text is not safe to show yet. The text of NULL is None. The length is in characters, or in bytes for a blob. A
    nested value of more than 4 × `limit` bytes has its size in place of its text, and the length is that of this text.

    Args:
        array: has the value.
        place: index of the value in `array`.
        limit: most characters of the text.
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


class CellViewer(ListNavigation, Dialog[None]):
    """A dialog that shows one value with its line ends. JSON is indented.

    Args:
        name: name of the column.
        type: DuckDB's name of the column's type.
        text: the first `VIEWED` characters of the value; None for NULL.
        length: length of the whole value, in characters, or in bytes for a blob.
        copy: copies the value; called when the user presses the key for this.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.READER, Place.CELL, Place.LIST)]
    OUTSIDE = "close"

    def __init__(self, name: str, type: str, text: str | None, length: int, copy: Callable[[], None]) -> None:
        super().__init__()
        self._column, self._kind, self._text, self._length, self._copy = name, type, text, length, copy
        self._wraps = True

    def compose(self) -> ComposeResult:
        """Yield the name and type of the column, the value, and the keys."""
        unit = "bytes" if self._kind == "BLOB" else "characters"
        remark = "" if self._text is None else f"{self._length:,} {unit[:-1] if self._length == 1 else unit}"
        if self._text is not None and self._length > len(self._text) and unit == "characters":
            remark = f"first {len(self._text):,} of {remark}"
        with Vertical(id="box"):
            yield Static(
                Content.assemble(
                    (safe_text(self._column, limit=100), "bold"), f"  {safe_text(self._kind, limit=100)}  {remark}"
                ),
                id="question",
            )
            with VerticalScroll(id="value", can_focus=False):
                yield Static(self._shown(), id="text", markup=False)
            yield Static(id="hint")

    def on_mount(self) -> None:
        """Show the keys."""
        keys = f"{keys_of(self, Place.READER)}   {keys_of(self, Place.CELL)}"
        self.query_one("#hint", Static).update(Content(keys))

    def list_in_use(self) -> Movable:
        """Return the text of the value, which the keys of lists scroll."""
        return Scrolled(self.query_one("#value", VerticalScroll))

    def _shown(self) -> Text:
        if self._text is None:
            return Text("NULL", style="dim")
        text = safe_text(_indented(self._text, self._kind, self._length), newlines=True)
        return Text(text, no_wrap=not self._wraps, overflow="fold" if self._wraps else "ignore")

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy the value."""
        self._copy()

    def action_wrap(self) -> None:
        """Cut long lines if they are wrapped, or wrap them again."""
        self._wraps = not self._wraps
        self.query_one("#text", Static).update(self._shown())


def _indented(text: str, type: str, length: int) -> str:
    """Return the text of JSON or of a nested value on several lines.

    A text of another type, or a text that was cut, is returned unchanged.
    """
    nested = type == "JSON" or type.endswith("]") or type.startswith(("STRUCT", "MAP", "TUPLE"))
    return indented_json(text) if nested and length <= VIEWED else text
