"""One cell of a result in full, or as much of it as a person may want to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_runner.text.safe_text import safe_text
from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings, keys_of
from tui_runner.tui.dialog import Dialog
from tui_runner.tui.json_lines import indented_json
from tui_runner.tui.moving import Movable, Moving, Scrolled
from tui_runner.tui.result_text import VIEWED


class CellViewer(Moving, Dialog[None]):
    """A value with its line ends; JSON is indented.

    Args:
        name: of the column.
        type: DuckDB's name of its type.
        text: the value, cut at `VIEWED` characters; None for NULL.
        length: how long it is before that, in characters, or in bytes for a blob.
        copy: copies the value.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.READER, Place.CELL, Place.LIST)]
    OUTSIDE = "close"

    def __init__(self, name: str, type: str, text: str | None, length: int, copy: Callable[[], None]) -> None:
        super().__init__()
        self._column, self._kind, self._text, self._length, self._copy = name, type, text, length, copy
        self._wraps = True

    def compose(self) -> ComposeResult:
        """What it is, the value, and the keys."""
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
        """Name the keys."""
        keys = f"{keys_of(self, Place.READER)}   {keys_of(self, Place.CELL)}"
        self.query_one("#hint", Static).update(Content(keys))

    def list_in_use(self) -> Movable:
        """The value."""
        return Scrolled(self.query_one("#value", VerticalScroll))

    def _shown(self) -> Text:
        if self._text is None:
            return Text("NULL", style="dim")
        text = safe_text(_indented(self._text, self._kind, self._length), newlines=True)
        return Text(text, no_wrap=not self._wraps, overflow="fold" if self._wraps else "ignore")

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy the value."""
        self._copy()

    def action_wrap(self) -> None:
        """Wrap long lines, or do not."""
        self._wraps = not self._wraps
        self.query_one("#text", Static).update(self._shown())


def _indented(text: str, type: str, length: int) -> str:
    """JSON and nested values over several lines; anything else as it is."""
    nested = type == "JSON" or type.endswith("]") or type.startswith(("STRUCT", "MAP", "TUPLE"))
    return indented_json(text) if nested and length <= VIEWED else text
