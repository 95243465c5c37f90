"""Writes a streamed result as a text table, CSV, JSON, JSON lines, Markdown or Parquet, with limited memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Protocol, TypeVar

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.arrow_batches import pieces
from tui_runner.store.export.cells import field_cells, is_number, json_string, text_cells
from tui_runner.store.sql import distinct
from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import display_width

TEXT_FORMATS = ("table", "csv", "json", "jsonl", "markdown")
FORMATS = (*TEXT_FORMATS, "parquet")
TABLE_ROWS = 1_000
"""Rows that the format `table` shows at most. They must be in memory, because the width of a column depends on all of
them."""

_PARQUET_ROWS = 122_880
"""Rows of a row group: the size that DuckDB itself uses, and that its readers distribute to threads."""
_PARQUET_BYTES = 128 << 20
"""Bytes after which a row group is written even if it has fewer rows, because it is in memory until then. Ordinary rows
do not reach this."""
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
"""Matches a character that requires quotes around its CSV field (RFC 4180)."""
_LINE_ENDS = re.compile(r"\r\n|[\r\n]")
_LEAST_WIDTH = 6
"""Smallest width to which a column of a table is reduced. Narrower columns would be unreadable, so columns are omitted
instead."""
_GAP = "  "
"""Space between two columns of a text table."""

Clean = Callable[[str], str]
T = TypeVar("T")


class Rows(Protocol):
    """The rows to write: a result of `Console.query`, or a `pyarrow.RecordBatchReader`."""

    schema: pa.Schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""


def write_text(
    rows: Rows,
    format: str,
    out: IO[str],
    *,
    clean: Clean = str,
    width: int | None = None,
    table_rows: int = TABLE_ROWS,
) -> int:
    """Write `rows` as text.

    Args:
        rows: the result to write.
        format: one of `TEXT_FORMATS`. NULL is written as `NULL` in tables and Markdown, and as an empty field in CSV,
            where an empty text is `""`.
        out: stream to write to.
        clean: makes a text safe to show. Applied to every value and name in tables, CSV and Markdown. In JSON, unsafe
            characters are always escaped.
        width: columns of the terminal into which a table must fit; None for no limit.
        table_rows: rows that a table shows at most.

    Returns:
        Number of rows written.

    Raises:
        UserError: there is no such format.
    """
    match format:
        case "table":
            return _write_table(rows, out, clean, width, table_rows)
        case "csv":
            return _write_csv(rows, out, clean)
        case "json":
            return _write_json(rows, out, "[", ",\n ", "]\n")
        case "jsonl":
            return _write_json(rows, out, "", "\n", "\n")
        case "markdown":
            return _write_markdown(rows, out, clean)
    raise UserError(f"no such format: {format}", do=f"use one of {', '.join(FORMATS)}")


def write_parquet(rows: Rows, out: IO[bytes]) -> int:
    """Write `rows` as Parquet, compressed with Zstandard. Return the number of rows."""
    import pyarrow.parquet as pq  # imported here, because it takes long and only this format needs it

    schema = pa.schema(
        [pa.field(name, f.type) for name, f in zip(distinct(rows.schema.names), rows.schema, strict=True)]
    )
    count = waiting_rows = waiting_bytes = 0
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in rows:
            count += batch.num_rows
            waiting_rows += batch.num_rows
            waiting_bytes += batch.nbytes
            waiting.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            if waiting_rows >= _PARQUET_ROWS or waiting_bytes >= _PARQUET_BYTES:
                writer.write_table(pa.Table.from_batches(waiting, schema=schema))
                waiting, waiting_rows, waiting_bytes = [], 0, 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema=schema))
    return count


def _made(rows: Rows, makers: Sequence[Callable[[pa.Array], list[T]]]) -> Iterator[tuple[T, ...]]:
    """Yield each row as a tuple. `makers` has one function per column, which converts an array of its values."""

    def columns(piece: pa.RecordBatch) -> list[list[T]]:
        return [maker(column) for maker, column in zip(makers, piece.columns, strict=True)]

    for made in map(columns, pieces(rows)):
        yield from zip(*made, strict=True)


def _text_rows(rows: Rows) -> Iterator[tuple[str | None, ...]]:
    return _made(rows, [text_cells(field.type) for field in rows.schema])


def _write_csv(rows: Rows, out: IO[str], clean: Clean) -> int:
    """Write CSV as in RFC 4180, but with Unix line ends: `grep` and `$(…)` would keep a carriage return."""
    out.write(",".join(_csv_cell(clean(name)) for name in rows.schema.names) + "\n")
    count = 0
    alone = len(rows.schema) == 1
    for row in _text_rows(rows):
        line = ",".join("" if text is None else _csv_cell(clean(text)) for text in row)
        # A row whose only cell is empty would be an empty line, which CSV readers skip.
        out.write((line if line or not alone else '""') + "\n")
        count += 1
    return count


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if not text or _NEEDS_QUOTES.search(text) else text


def _write_json(rows: Rows, out: IO[str], head: str, between: str, tail: str) -> int:
    """Write the rows as JSON objects: first `head`, then the objects separated by `between`, then `tail`.

    If nothing was written before, `tail` is omitted.
    """
    names = [json_string(name) for name in distinct(rows.schema.names)]
    makers = [field_cells(field) for field in rows.schema]
    out.write(head)
    count = 0
    for row in _made(rows, makers):
        members = ", ".join(f"{name}: {value}" for name, value in zip(names, row, strict=True))
        out.write(f"{between if count else ''}{{{members}}}")
        count += 1
    if count or head:
        out.write(tail)
    return count


def _write_markdown(rows: Rows, out: IO[str], clean: Clean) -> int:
    """Write a Markdown table. Numbers are right-aligned."""

    def cell(text: str | None) -> str:
        shown = clean("NULL" if text is None else text).replace("\\", "\\\\").replace("|", "\\|")
        return _LINE_ENDS.sub("<br>", shown)

    out.write(f"| {' | '.join(cell(name) for name in rows.schema.names)} |\n")
    out.write(f"| {' | '.join('---:' if is_number(field.type) else '---' for field in rows.schema)} |\n")
    count = 0
    for row in _text_rows(rows):
        out.write(f"| {' | '.join(map(cell, row))} |\n")
        count += 1
    return count


def _write_table(rows: Rows, out: IO[str], clean: Clean, width: int | None, most: int) -> int:
    """Write at most `most` rows as a table with aligned columns. Return the number of rows written."""

    def cell(text: str | None) -> str:
        return _LINE_ENDS.sub("↵", clean("NULL" if text is None else text)).replace("\t", " ")

    names = [cell(name) for name in rows.schema.names]
    lines: list[list[str]] = []
    more = False
    for row in _text_rows(rows):
        if len(lines) == most:
            more = True
            break
        lines.append(list(map(cell, row)))
    natural = [max(map(display_width, column)) for column in zip(names, *lines, strict=True)]
    widths = _fitted(natural, width)
    numbers = [is_number(field.type) for field in rows.schema]
    # If `width` is None, the output is not a terminal, and its reader may not support box-drawing characters.
    rule = "-" if width is None else "─"
    for line in (names, [rule * each for each in widths], *lines):
        # `widths` is shorter than `line` if some columns do not fit; these are omitted.
        shown = (_padded(text, size, right) for text, size, right in zip(line, widths, numbers, strict=False))
        out.write(_GAP.join(shown).rstrip() + "\n")
    notes = [f"first {len(lines):,} rows, more follow" if more else plural(len(lines), "row")]
    if len(widths) < len(names):
        notes.append(f"{len(widths):,} of {len(names):,} columns")
    out.write(f"({', '.join(notes)})\n")
    return len(lines)


def _fitted(natural: list[int], width: int | None) -> list[int]:
    """Return the widths of the columns that fit into `width`. The widest ones are narrowed first."""
    if width is None:
        return natural
    least = [min(each, _LEAST_WIDTH) for each in natural]
    count, used = 0, -len(_GAP)
    while count < len(least) and used + len(_GAP) + least[count] <= max(width, least[0]):
        used += len(_GAP) + least[count]
        count += 1
    widths = natural[:count]
    excess = sum(widths) + len(_GAP) * (count - 1) - width
    while excess > 0:
        widest = max(widths)
        if widest <= _LEAST_WIDTH:
            break
        at_widest = [index for index, each in enumerate(widths) if each == widest]
        next_widest = max((each for each in widths if each < widest), default=_LEAST_WIDTH)
        cut = min(widest - max(next_widest, _LEAST_WIDTH), -(-excess // len(at_widest)))
        for index in at_widest:
            widths[index] -= cut
        excess -= cut * len(at_widest)
    return widths


def _padded(text: str, width: int, right: bool) -> str:
    size = display_width(text)
    if size > width:
        text, size = _cut(text, width)
    return " " * (width - size) + text if right else text + " " * (width - size)


def _cut(text: str, width: int) -> tuple[str, int]:
    """Return `text` cut to at most `width` terminal cells, with an ellipsis at its end, and the width of the result."""
    shown, used = [], 0
    for char in text:
        size = display_width(char)
        if used + size > width - 1:
            break
        shown.append(char)
        used += size
    return "".join(shown) + "…", used + 1
