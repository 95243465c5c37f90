"""The table of a result's rows. It formats and draws only visible cells, and requests pages when the user reaches them.

`textual_fastdatatable.DataTable` is not used for three reasons. It measures whole columns. It copies values, and shows
them in tooltips, without `safe_text`. It cannot mark the cells that a watched statement has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from itertools import accumulate
from typing import ClassVar

import pyarrow as pa
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_runner.text.safe_text import ELLIPSIS
from tui_runner.tui.actions import bindings
from tui_runner.tui.actions.model import Place
from tui_runner.tui.query.cell_viewer import ColumnView, columns_of, point_width, shown_cells
from tui_runner.tui.widgets.paint import ROLE_CLASSES, RoleStyles, column

HEADING = 2
"""Lines above the rows: one with the names of the columns and one with their types."""
WIDEST = 40
"""Most cells of a column: half of a terminal of 80 cells, so that a long text leaves room for other columns. Longer
values are cut, and `CellViewer` shows them."""
_NARROWEST = 4
"""Fewest cells of a column: enough for `NULL`."""
_GAP = 2
"""Cells between two columns. With one cell, numbers and texts beside each other would look like one value."""
_BLOCK = 64
"""Rows that are formatted at once: more than most screens show, so that few key presses have to format rows."""
_BLOCKS_KEPT = 32
"""Most blocks of formatted rows in memory: 2,048 rows, which are many screens. The least recently used is dropped
first."""
_PAGES_KEPT = 12
"""Most pages of a result in memory, the newest ones, so that scrolling back over some pages does not request them
again: 120,000 rows, or 12 MB at 100 bytes a row. The number was not measured."""
_PAGES_BYTES = 64 << 20
"""Bytes of these pages from which only the `_NEEDED` newest are kept: one page at 6 kB a row."""
_NEEDED = 3
"""Pages that may be needed at the same time: the screen shows the end of one and the beginning of the next, and the
page after the last one that was read is requested before the user reaches it."""

Cell = tuple[int, int]
"""Row and column of a cell, both from 0."""
Order = tuple[str, bool]
"""Name of the column by which a result is sorted, and True if the highest value comes first."""


class ResultGrid(ScrollView, RoleStyles, can_focus=True):
    """A table of rows with a cursor on one cell.

    Args:
        page_rows: rows of every page except the last.
        id: id of the widget.

    Attributes:
        row: index of the row under the cursor.
        column: index of the column under the cursor.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor", "grid--changed", "grid--row"}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.GRID)]

    class PageWanted(Message):
        """Message: the grid needs a page of the result that it does not have in memory."""

        def __init__(self, grid: ResultGrid, number: int) -> None:
            super().__init__()
            self.grid = grid
            self.number = number

    class HeadingChosen(Message):
        """Message: the user has clicked the heading of a column."""

        def __init__(self, column: int) -> None:
            super().__init__()
            self.column = column

    class CellOpened(Message):
        """Message: the user wants to read the cell under the cursor in full."""

    def __init__(self, page_rows: int, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._page_rows = page_rows
        self._schema: pa.Schema | None = None
        self._columns: list[ColumnView] = []
        self._widths: list[int] = []
        self._names: list[str] = []
        """Heading of each column: its name, after an arrow if the result is sorted by this column."""
        self._points: list[tuple[int, int]] = []
        """For each column of numbers, the most characters before the decimal point and the most from the point on."""
        self._pages: OrderedDict[int, pa.Table] = OrderedDict()
        self._wanted: set[int] = set()
        self._blocks: OrderedDict[int, list[list[str | None]]] = OrderedDict()
        self._changed: frozenset[Cell] = frozenset()
        self._rows = 0
        self._complete = True
        self.row = 0
        self.column = 0

    @property
    def schema(self) -> pa.Schema | None:
        """Names and types of the columns, or None before the first result."""
        return self._schema

    @property
    def rows(self) -> int:
        """Number of rows that were read so far, in all pages."""
        return self._rows

    def load(
        self,
        schema: pa.Schema,
        first: pa.Table,
        *,
        rows: int,
        complete: bool,
        keep: bool = False,
        changed: Collection[Cell] = (),
        order: Order | None = None,
    ) -> None:
        """Show a new result.

        Args:
            schema: names and types of the columns.
            first: the first page.
            rows: number of rows that were read so far.
            complete: True if the result has no more rows.
            keep: True to keep the cursor and the scroll position, for the next result of a watched statement.
            changed: the cells to mark as changed.
            order: the order that the user has requested, which the heading shows; None for no order.
        """
        alike = self._schema is not None and self._schema.equals(schema)
        same = keep and alike
        self._schema = schema
        self._columns = columns_of(schema)
        arrow = "" if order is None else "▼" if order[1] else "▲"  # as in the chunk table
        self._names = [
            arrow + view.name if order and field.name == order[0] else view.name
            for view, field in zip(self._columns, schema, strict=True)
        ]
        if not same:
            self._widths = [
                min(max(cell_len(name), cell_len(each.type), _NARROWEST), WIDEST)
                for name, each in zip(self._names, self._columns, strict=True)
            ]
            self._points = [(0, 0)] * len(self._columns)
            self.row = 0
            # A result with the same columns may be the old one in another order, so the cursor stays in its column.
            self.column = self.column if alike else 0
        self._pages = OrderedDict({0: first})
        self._blocks.clear()
        self._wanted.clear()
        self._changed = frozenset(changed)
        self._grow(rows, complete)
        self.row = min(self.row, max(rows - 1, 0))
        if not same:
            self.scroll_to(0, 0, animate=False)
        self.refresh()

    def add_page(self, number: int, page: pa.Table | None, *, rows: int, complete: bool) -> None:
        """Store a page that was requested.

        Args:
            number: index of the page.
            page: rows of the page; None if the result has no such page.
            rows: number of rows that were read so far.
            complete: True if the result has no more rows.
        """
        self._wanted.discard(number)
        if page is not None:
            self._pages[number] = page
            self._pages.move_to_end(number)
            while len(self._pages) > _PAGES_KEPT or (len(self._pages) > _NEEDED and self._bytes() > _PAGES_BYTES):
                self._pages.popitem(last=False)
        self._grow(rows, complete)
        self.refresh()
        # Another page may have become visible while this page was read. It was not requested yet.
        self._ask_for_pages()

    def _bytes(self) -> int:
        return sum(page.nbytes for page in self._pages.values())

    def grow(self, rows: int, complete: bool) -> None:
        """Update the number of rows that were read so far. `complete` is True if the result has no more rows."""
        if (rows, complete) != (self._rows, self._complete):
            self._grow(rows, complete)
            self.refresh()
            self._ask_for_pages()

    def give_up_page(self, number: int) -> None:
        """Record that a requested page was not read, so that it can be requested again."""
        self._wanted.discard(number)

    def page_table(self, number: int) -> pa.Table | None:
        """Return the page with this index, or None if it is not in memory."""
        return self._pages.get(number)

    def value_at(self, row: int, column: int) -> tuple[pa.Field, pa.Array, int] | None:
        """Return the field of a cell, an array, and the index of the cell's value in the array.

        Return None if the cell's page is not in memory, or if there is no such cell.
        """
        table = self._pages.get(row // self._page_rows)
        if table is None or self._schema is None or not 0 <= column < len(self._schema):
            return None
        place = row % self._page_rows
        if place >= table.num_rows:
            return None
        return self._schema.field(column), table.column(column).slice(place, 1).combine_chunks(), 0

    def row_table(self, row: int) -> pa.Table | None:
        """Return one row as a table, or None if its page is not in memory. Without such a row, the table is empty."""
        table = self._pages.get(row // self._page_rows)
        return None if table is None else table.slice(row % self._page_rows, 1)

    def go_to_row(self, row: int) -> None:
        """Move the cursor to row `row`, counted from 0, but not beyond the last row that was read."""
        self._go(row, self.column)

    def action_down(self) -> None:
        """Move the cursor down."""
        self._go(self.row + 1, self.column)

    def action_up(self) -> None:
        """Move the cursor up."""
        self._go(self.row - 1, self.column)

    def action_left(self) -> None:
        """Move the cursor one column to the left."""
        self._go(self.row, self.column - 1)

    def action_right(self) -> None:
        """Move the cursor one column to the right."""
        self._go(self.row, self.column + 1)

    def action_page_down(self) -> None:
        """Move the cursor down by a page."""
        self._go(self.row + self._page, self.column)

    def action_page_up(self) -> None:
        """Move the cursor up by a page."""
        self._go(self.row - self._page, self.column)

    def action_first(self) -> None:
        """Go to the first row."""
        self._go(0, self.column)

    def action_last(self) -> None:
        """Go to the last row that was read so far."""
        self._go(self._rows - 1, self.column)

    def action_first_column(self) -> None:
        """Go to the first column."""
        self._go(self.row, 0)

    def action_last_column(self) -> None:
        """Go to the last column."""
        self._go(self.row, len(self._columns) - 1)

    def action_view_cell(self) -> None:
        """Show the cell under the cursor in full."""
        if self._rows:
            self.post_message(self.CellOpened())

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the cell under the mouse. A double click opens the cell.

        A click on a heading posts `HeadingChosen`.
        """
        line, x = event.y - HEADING, self.scroll_offset.x + event.x - self._gutter
        if event.x < self._gutter:
            return
        start = 0
        for number, width in enumerate(self._widths):
            if x < start + width + _GAP:
                if line < 0:
                    self.post_message(self.HeadingChosen(number))
                    return
                self._go(min(self.scroll_offset.y + line, self._rows - 1), number)
                if event.chain == 2:
                    self.action_view_cell()
                return
            start += width + _GAP

    def on_resize(self) -> None:
        """Fit the rows into the new size, and keep the cursor visible."""
        self._fit()
        self._keep_in_sight()

    def on_focus(self) -> None:
        """Draw the table again, because only a focused table shows its cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Draw the table again, without its cursor."""
        self.refresh()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Request the pages that become visible."""
        super().watch_scroll_y(old, new)
        self._ask_for_pages()

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the visible part, from 0: a line of headings or a row."""
        # Do not use `size`, which includes the scroll bar: it would cover the mark of cut text.
        width, base = self._view.width, self.base_style
        if not self._columns:
            return Strip.blank(width, base)
        left = self.scroll_offset.x
        gutter = self._gutter
        if y < HEADING:
            texts: list[str | None] = [each.type for each in self._columns] if y else [*self._names]
            before, behind = self._out_of_view(left, width - gutter) if y else (0, 0)
            mark = f" +{behind:,} ›" if behind else ""
            segments = self._cells(texts, -1, left, width - gutter - len(mark), "muted" if y else "strong", base)
            if mark:
                segments = list(Strip(segments).adjust_cell_length(width - gutter - len(mark), base))
                segments.append(Segment(mark, self._style("muted", base)))
            text = f"‹{before:,}" if before else ""
            number = Segment(column(text, gutter - 1) + " ", self._style("muted", base))
        else:
            row = self.scroll_offset.y + y - HEADING
            if row >= self._rows:
                return Strip.blank(width, base)
            if self.has_focus and row == self.row:
                base = base + Style(bgcolor=self.component_style("grid--row").bgcolor)
            found = self._row_texts(row)
            if found is None:
                segments = [Segment("…", self._style("faint", base))]
            else:
                segments = self._cells(found, row, left, width - gutter, "text", base)
            number = Segment(column(f"{row + 1:,}", gutter - 1, right=True) + " ", self._style("muted", base))
        return Strip([number, *segments]).adjust_cell_length(width, base)

    @property
    def _view(self) -> Size:
        """The size of the widget without its scroll bars."""
        return self.scrollable_content_region.size

    @property
    def _gutter(self) -> int:
        return len(f"{max(self._rows, 1):,}") + 2

    @property
    def _in_sight(self) -> int:
        return max(self._view.height - HEADING, 0)

    @property
    def _page(self) -> int:
        return max(self._in_sight - 1, 1)

    def _style(self, role: str, base: Style) -> Style:
        return self.role_style(role) + Style(bgcolor=base.bgcolor)

    def _out_of_view(self, left: int, width: int) -> tuple[int, int]:
        """Return the number of columns that are out of view at the left, and at the right.

        Args:
            left: number of cells to the left that are scrolled out of view.
            width: number of visible cells.
        """
        starts = list(accumulate(self._widths, lambda start, room: start + room + _GAP, initial=0))[:-1]
        before = sum(start + room <= left for start, room in zip(starts, self._widths, strict=True))
        return before, sum(start >= left + width for start in starts)

    def _cells(self, texts: list[str | None], row: int, left: int, width: int, role: str, base: Style) -> list[Segment]:
        """Return the visible part of a line.

        Args:
            texts: text of each column; None for NULL.
            row: index of the row; -1 for a heading.
            left: number of cells to the left that are scrolled out of view.
            width: number of visible cells.
            role: role of the texts.
            base: style of the background.
        """
        segments: list[Segment] = []
        styles: list[Style] = []
        cut_before = cut_behind = False
        start = 0
        first = None
        for number, (text, room, view) in enumerate(zip(texts, self._widths, self._columns, strict=True)):
            end = start + room + _GAP
            if end > left and start < left + width:
                if first is None:
                    first = start
                style = self._style("faint" if text is None else role, base)
                if row >= 0 and (row, number) in self._changed:
                    style = style + self.component_style("grid--changed")
                if self.has_focus and row == self.row and number == self.column and row >= 0:
                    style = self.component_style("table--cursor")
                if text is not None and view.right and row >= 0:
                    text += " " * (self._points[number][1] - point_width(text)[1])
                shown = column("NULL" if text is None else text, room, right=view.right)
                # Text that an edge of the screen cuts is marked, unless only blanks are cut.
                cut_before = cut_before or bool(start < left and set_cell_size(shown, left - start).strip())
                beyond = start + room - left - width
                cut_behind = cut_behind or (beyond > 0 and bool(set_cell_size(shown[::-1], beyond).strip()))
                segments.append(Segment(shown, style))
                styles.append(style)
                segments.append(Segment(" " * _GAP, base))
            start = end
        if first is None:
            return []
        strip = Strip(segments).crop(left - first, left - first + width)
        if cut_before:
            strip = Strip([Segment(ELLIPSIS, styles[0]), *strip.crop(1, width)])
        if cut_behind and strip.cell_length >= width:
            strip = Strip([*strip.crop(0, width - 1), Segment(ELLIPSIS, styles[-1])])
        return list(strip)

    def _row_texts(self, row: int) -> list[str | None] | None:
        """Return the texts of a row, or None if its page is not in memory. Format the row's block if necessary."""
        page, place = divmod(row, self._page_rows)
        table = self._pages.get(page)
        if table is None:
            return None
        number, offset = divmod(place, _BLOCK)
        key = page * (self._page_rows // _BLOCK + 1) + number
        block = self._blocks.get(key)
        if block is None:
            part = table.slice(number * _BLOCK, _BLOCK)
            columns = [shown_cells(each.combine_chunks()) for each in part.columns]
            block = [list(texts) for texts in zip(*columns, strict=True)]
            self._blocks[key] = block
            self._widen(columns)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block[offset] if offset < len(block) else None

    def _widen(self, columns: list[list[str | None]]) -> None:
        """Widen the columns that are too narrow for the texts in `columns`.

        Columns never become narrower, because each change of a width moves the columns to its right.
        """
        widths = []
        for number, (old, texts) in enumerate(zip(self._widths, columns, strict=True)):
            needed = max((cell_len(text or "NULL") for text in texts), default=0)
            if self._columns[number].right:
                points = [self._points[number], *(point_width(text) for text in texts if text is not None)]
                self._points[number] = before, behind = tuple(map(max, zip(*points, strict=True)))
                needed = max(needed, before + behind)
            widths.append(min(max(old, needed), WIDEST))
        if widths != self._widths:
            self._widths = widths
            # After this frame, because this is called while a line of it is drawn, and the lines before that one have
            # the old widths.
            self.call_after_refresh(self._settle)

    def _settle(self) -> None:
        """Update the layout for wider columns. Keep the cursor visible, because a new scroll bar may cover it."""
        self._fit()
        self.refresh()
        self.call_after_refresh(self._keep_in_sight)

    def _go(self, row: int, column: int) -> None:
        if not self._rows or not self._columns:
            return
        old = self.row
        self.row = max(0, min(row, self._rows - 1))
        self.column = max(0, min(column, len(self._columns) - 1))
        if self.row == self._rows - 1 and not self._complete:
            self._want(self._rows // self._page_rows)
        self._keep_in_sight()
        top = self.scroll_offset.y - HEADING
        self.refresh(*(Region(0, each - top, self.size.width, 1) for each in {old, self.row}))

    def _keep_in_sight(self) -> None:
        if not self._rows or not self._in_sight:
            return
        top = self.scroll_offset.y
        x, y = self.scroll_offset.x, top
        if self.row < top:
            y = self.row
        elif self.row >= top + self._in_sight:
            y = self.row - self._in_sight + 1
        start = sum(self._widths[: self.column]) + _GAP * self.column
        room = self._view.width - self._gutter
        if start < x:
            x = start
        elif start + self._widths[self.column] > x + room:
            x = min(start, start + self._widths[self.column] - room)
        if (x, y) != (self.scroll_offset.x, top):
            self.scroll_to(x, y, animate=False)

    def _grow(self, rows: int, complete: bool) -> None:
        self._rows, self._complete = rows, complete
        self._fit()

    def _fit(self) -> None:
        across = self._gutter + sum(self._widths) + _GAP * len(self._widths)
        self.virtual_size = Size(across, self._rows + HEADING)

    def _ask_for_pages(self) -> None:
        top = self.scroll_offset.y
        for row in (top, min(top + self._in_sight, self._rows - 1)):
            if 0 <= row < self._rows and row // self._page_rows not in self._pages:
                self._want(row // self._page_rows)
        if not self._complete and top + 2 * self._in_sight >= self._rows:
            self._want(self._rows // self._page_rows)

    def _want(self, number: int) -> None:
        if number not in self._wanted and number not in self._pages:
            self._wanted.add(number)
            self.post_message(self.PageWanted(self, number))
