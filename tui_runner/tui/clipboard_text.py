"""Rows of a result as text for the clipboard."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.export import Rows, write_text
from tui_runner.store.export.cells import text_cells

COPY_FORMATS = ("text", "csv", "json", "markdown")
CLIPBOARD_CHARACTERS = 5_000_000
"""More than this is not for a clipboard."""


class TableRows:
    """The rows of a table, for the functions that write."""

    def __init__(self, table: pa.Table) -> None:
        self.schema: pa.Schema = table.schema
        self._table = table

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""
        yield from self._table.to_batches(max_chunksize=4_096)


def copied_text(rows: Rows, format: str) -> str:
    """Rows as text for the clipboard.

    Args:
        rows: what to copy.
        format: one of `COPY_FORMATS`; text is cells with tabs between, without names; a NULL is empty.

    Raises:
        UserError: it is too much for a clipboard.
    """
    out = _Bounded()
    if format == "text":
        for batch in rows:
            columns = [text_cells(field.type)(column) for field, column in zip(rows.schema, batch.columns, strict=True)]
            for row in zip(*columns, strict=True):
                out.write("\t".join(text or "" for text in row) + "\n")
        text = out.getvalue()
        return text[:-1] if text.endswith("\n") else text
    write_text(rows, format, out)
    return out.getvalue()


class _Bounded(io.StringIO):
    """Text that may not become too long for a clipboard."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > CLIPBOARD_CHARACTERS:
            raise UserError("this is too much for a clipboard", do="export it into a file")
        return super().write(text)
