"""The catalog of the query screen: a tree of the tables of a database with their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.events import Click
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from tui_runner.store.query.catalog import CatalogColumn, CatalogTable
from tui_runner.text.numbers import count
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import bindings
from tui_runner.tui.actions.model import Place

_WIDE = 25
"""Most cells of a label. The tree is narrow and does not scroll sideways, so longer labels would be cut."""
Entry = CatalogTable | CatalogColumn | None


class Catalog(Tree[Entry]):
    """A tree of tables. Below each table are its columns with their types. Tables of results come first."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.CATALOG)]

    class Insert(Message):
        """Message: the user wants to insert the name of `table`, or of its column `column`, into the editor."""

        def __init__(self, table: CatalogTable, column: CatalogColumn | None) -> None:
            super().__init__()
            self.table = table
            self.column = column

    class ShowRows(Message):
        """Message: the user wants to see the rows of a table."""

        def __init__(self, table: CatalogTable) -> None:
            super().__init__()
            self.table = table

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Text("tables"), id=id)
        self.show_root = False
        self.guide_depth = 2
        self._tables: Sequence[CatalogTable] = ()

    def show(self, tables: Sequence[CatalogTable]) -> None:
        """Show `tables`. Nodes that the user has opened stay open, and the cursor stays on its node."""
        tables = list(tables)
        if tables == self._tables:
            return
        old = {(table.schema, table.name): table for table in self._tables}
        first_time = not old
        self._tables = tables
        order = [(table.schema, table.name) for table in tables]
        nodes = {_key(node): node for node in self.root.children}
        if list(nodes) != order:
            open_now = {key for key, node in nodes.items() if node.is_expanded}
            under = _path(self.cursor_node)
            self.root.remove_children()
            for table in tables:
                is_open = (table.schema, table.name) in open_now or (first_time and table is tables[0])
                node = self.root.add(_table_label(table), data=table, expand=is_open)
                _fill(node, table)
            self._return_to(under)
            return
        for table in tables:
            node = nodes[table.schema, table.name]
            before = old[table.schema, table.name]
            node.data = table
            node.set_label(_table_label(table))
            if before.columns != table.columns:
                node.remove_children()
                _fill(node, table)

    def on_focus(self) -> None:
        """Move the cursor to the first table if it is not on a node yet."""
        if self.cursor_line < 0:
            self.cursor_line = 0

    def action_insert_name(self) -> None:
        """Request that the name under the cursor is inserted into the editor."""
        entry = self.cursor_node.data if self.cursor_node else None
        if (table := self._table_here()) is not None:
            self.post_message(self.Insert(table, entry if isinstance(entry, CatalogColumn) else None))

    def action_show_rows(self) -> None:
        """Request the rows of the table under the cursor, or of the table whose column is under the cursor."""
        if (table := self._table_here()) is not None:
            self.post_message(self.ShowRows(table))

    def _table_here(self) -> CatalogTable | None:
        """Return the table under the cursor, or the table whose column is under the cursor; None if there is none."""
        node = self.cursor_node
        while node is not None and not isinstance(node.data, CatalogTable):
            node = node.parent
        return node.data if node is not None and isinstance(node.data, CatalogTable) else None

    def action_open(self) -> None:
        """Open the node under the cursor: show the rows of a table, or insert the name of a column into the editor."""
        if self.cursor_node is not None and isinstance(self.cursor_node.data, CatalogColumn):
            self.action_insert_name()
        else:
            self.action_show_rows()

    def on_click(self, event: Click) -> None:
        """Open the node under the mouse with a double click.

        Textual handles single clicks: they move the cursor, and hide or show the columns of a table.
        """
        if event.chain == 2 and "line" in event.style.meta and "toggle" not in event.style.meta:
            self.action_open()

    def _return_to(self, under: tuple[tuple[str, str], str] | None) -> None:
        if under is None:
            return
        for node in self.root.children:
            if _key(node) == under[0]:
                inner = (child for child in node.children if child.data and child.data.name == under[1])
                target = next(inner, node)
                self.call_after_refresh(self.move_cursor, target)
                return


def _key(node: TreeNode[Entry]) -> tuple[str, str]:
    table = node.data
    return (table.schema, table.name) if isinstance(table, CatalogTable) else ("", "")


def _path(node: TreeNode[Entry] | None) -> tuple[tuple[str, str], str] | None:
    """Return ((schema, table), column) of a node, with an empty column for a table; None if the node has neither."""
    if node is None or node.data is None:
        return None
    if isinstance(node.data, CatalogTable):
        return _key(node), ""
    return (_key(node.parent), node.data.name) if node.parent is not None else None


def _table_label(table: CatalogTable) -> Text:
    name = table.name if table.schema == "main" else f"{table.schema}.{table.name}"
    if table.rows is None:
        remark = "view"
    elif not table.is_counted:
        remark = f"≈{count(table.rows)}"
    else:
        remark = f"{table.rows:,}"
        if len(name) + len(remark) + 2 > _WIDE:
            remark = count(table.rows)
    return Text.assemble((safe_text(name, limit=_WIDE - len(remark) - 2), "bold"), ("  " + remark, "dim"))


def _fill(node: TreeNode[Entry], table: CatalogTable) -> None:
    for each in table.columns:
        name = safe_text(each.name, limit=_WIDE - 4)
        kind = safe_text(each.type, limit=max(_WIDE - len(name) - 2, 2))
        node.add_leaf(Text.assemble(name, ("  " + kind, "dim")), data=each)
