"""Copies cells, rows and columns of a result to the clipboard, and exports results into files."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from textual.worker import get_current_worker

from tui_runner.errors import UserError
from tui_runner.store.export import Rows, write_text
from tui_runner.store.export.cells import text_cells
from tui_runner.store.export.files import check_output, export_format, write_file
from tui_runner.store.query.pages import Pages
from tui_runner.text.numbers import size
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.background import in_thread
from tui_runner.tui.dialogs.questions import AskTexts
from tui_runner.tui.query.script_files import ask_overwrite, file_named
from tui_runner.tui.query.tab import QueryTab, TabHost

COPY_FORMATS = ("text", "csv", "json", "markdown")
CLIPBOARD_CHARACTERS = 5_000_000
"""Most characters that are copied. With more, desktops become slow, and the user can export a file instead."""


class TableRows:
    """The rows of an Arrow table, in the form that the functions of `store.export` take."""

    def __init__(self, table: pa.Table) -> None:
        self.schema: pa.Schema = table.schema
        self._table = table

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of at most 4,096."""
        yield from self._table.to_batches(max_chunksize=4_096)


def copied_text(rows: Rows, format: str) -> str:
    """Return rows as text for the clipboard.

    Args:
        rows: the rows to copy.
        format: one of `COPY_FORMATS`. `text` has tabs between cells and no column names, and NULL is empty.

    Raises:
        UserError: the text is too long for a clipboard.
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
    """A text buffer that raises an error if it becomes too long for a clipboard."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > CLIPBOARD_CHARACTERS:
            raise UserError("this is too much for a clipboard", do="export it into a file")
        return super().write(text)


_OSC_BYTES = 70_000
"""Most bytes of text that every terminal with a clipboard accepts. The control sequence that copies the text is a third
longer than the text, and xterm accepts sequences of at most 100 kB."""


def copy_rows(screen: TabHost, tab: QueryTab, what: str, how: str) -> None:
    """Copy a part of the result of `tab` to the clipboard.

    Args:
        screen: the query screen, which shows a message about the copy.
        tab: the tab.
        what: `cell`, `row` or `column` for the one under the cursor, `all` for all rows.
        how: one of `COPY_FORMATS`.
    """
    rows = _chosen(tab, what)
    if rows is not None:
        screen.run_worker(_copy(screen, rows, what, how), name="copy")


def _chosen(tab: QueryTab, what: str) -> Rows | None:
    grid, pages = tab.grid, tab.pages
    if pages is None:
        return None
    if what == "all":
        return pages
    if what == "column":
        return _Column(pages, grid.column)
    row = grid.row_table(grid.row)
    if row is None:
        return None
    return TableRows(row.select([grid.column]) if what == "cell" else row)


class _Column:
    """The values of one column in all rows, in the form that the functions of `store.export` take."""

    def __init__(self, rows: Rows, place: int) -> None:
        self._rows, self._place = rows, place
        self.schema = pa.schema([rows.schema.field(place)])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._rows:
            yield batch.select([self._place])


async def _copy(screen: TabHost, rows: Rows, what: str, how: str) -> None:
    try:
        text = await in_thread(lambda: copied_text(rows, how), "tui-runner-copy")
    except UserError as error:
        screen.notify(safe_text(str(error), limit=300), severity="error", markup=False)
        return
    screen.app.copy_to_clipboard(text)
    nbytes = len(text.encode("utf-8", "replace"))
    message = f"copied {what} as {how}, {size(nbytes)}, through the terminal (OSC 52)"
    if nbytes > _OSC_BYTES:
        message += "; many terminals take no more than 75 kB: export it to be sure"
    screen.notify(message, markup=False)


def export_result(screen: TabHost, tab: QueryTab) -> None:
    """Ask for a file, and write all rows of the tab's result into it. Ask again before a file is replaced."""

    def check(texts: list[str]) -> None:
        path = file_named(texts)
        export_format(path)
        if screen.access is not None:
            check_output(path, screen.access.path, overwrite=True)

    def answered(texts: list[str] | None) -> None:
        if texts is None:
            return
        path = file_named(texts)
        if path.exists():
            ask_overwrite(screen, path, lambda: _start(screen, tab, path, replace=True))
        else:
            _start(screen, tab, path, replace=False)

    screen.app.push_screen(
        AskTexts(
            "Export every row of the result",
            ["File"],
            hint="The end of its name says the format: .csv .json .jsonl .md .parquet",
            check=check,
        ),
        answered,
    )


def _start(screen: TabHost, tab: QueryTab, path: Path, *, replace: bool) -> None:
    tab.run_worker(_export(screen, tab, path, replace=replace), name="export", group="export", exclusive=True)


async def _export(screen: TabHost, tab: QueryTab, path: Path, *, replace: bool) -> None:
    pages = tab.pages
    if pages is None:
        return
    worker = get_current_worker()
    done = 0
    began = time.monotonic()

    def progress(rows: int) -> bool:
        nonlocal done
        done = rows
        return not worker.is_cancelled

    def show() -> None:
        tab.status.remark(f"exporting: {done:,} rows")

    timer = tab.set_interval(0.25, show)  # s; often enough to show that the export progresses
    try:
        written = await in_thread(lambda: _write(screen, tab, pages, path, progress, replace), "tui-runner-export")
    except UserError as error:
        tab.status.remark("")
        screen.notify(safe_text(str(error), limit=300), severity="error", markup=False)
        return
    finally:
        timer.stop()
    tab.status.remark("")
    name = safe_text(str(path), limit=200)
    screen.notify(f"{written:,} rows written to {name} in {time.monotonic() - began:.1f} s", markup=False)


def _write(
    screen: TabHost, tab: QueryTab, pages: Pages, path: Path, progress: Callable[[int], bool], replace: bool
) -> int:
    """Write all rows of a result into the file `path`, and return their number. Blocks.

    The statement is run again in two cases. Either a later statement has ended its result, so that not all rows can be
    read. Or another process has the database: it drops a result that is not read for 20 s.
    """
    again = pages.cut_off or (tab.console.impatient and not pages.complete)
    if again and tab.asked is not None and screen.access is not None:
        statement, values = tab.asked
        with screen.access.console() as console, console.query(statement.sql, values) as result:
            return write_file(result, export_format(path), path, progress, replace=replace)
    return write_file(pages, export_format(path), path, progress, replace=replace)
