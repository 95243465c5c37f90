"""Rows of a result on their way out: into the clipboard, and into files."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.cells import text_cells
from tui_runner.store.export import Rows, write_parquet, write_text

COPY_FORMATS = ("text", "csv", "json", "markdown")
CLIPBOARD_CHARACTERS = 5_000_000
"""More than this is not for a clipboard."""
FILE_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".md": "markdown", ".parquet": "parquet"}
"""Format of a file by the end of its name."""


class Stopped(UserError):
    """An export was ended on request; no file is left."""

    def __init__(self) -> None:
        super().__init__("the export was ended; no file was written")


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


def format_of(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        UserError: it ends with none that is known.
    """
    format = FILE_FORMATS.get(path.suffix.lower())
    if format is None:
        raise UserError("the end of the name says no format", str(path), f"use {', '.join(FILE_FORMATS)}")
    return format


def export_rows(rows: Rows, path: Path, progress: Callable[[int], bool]) -> int:
    """Write rows into a file, which is there only when it is whole; returns how many.

    Args:
        rows: what to write.
        path: the file; one that exists is replaced.
        progress: told the rows so far after each batch; the export ends when it says False.

    Raises:
        UserError: the file cannot be written, or reading the rows failed.
        Stopped: `progress` said False.
    """
    format = format_of(path)
    counted = _Counted(rows, progress)
    fresh = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        fresh = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            written = _write(counted, format, file)
        # mkstemp makes files that only their owner reads; this one is to be like any other.
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)
        fresh.replace(path)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror or error})", str(path)) from error
    finally:
        if fresh is not None:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
    return written


def _write(rows: Rows, format: str, file: IO[bytes]) -> int:
    if format == "parquet":
        return write_parquet(rows, file)
    with io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        return write_text(rows, format, out)


class _Counted:
    """Rows that tell how many of them were read."""

    def __init__(self, rows: Rows, progress: Callable[[int], bool]) -> None:
        self.schema = rows.schema
        self._rows = rows
        self._progress = progress

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        count = 0
        for batch in self._rows:
            count += batch.num_rows
            if not self._progress(count):
                raise Stopped
            yield batch


class _Bounded(io.StringIO):
    """Text that may not become too long for a clipboard."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > CLIPBOARD_CHARACTERS:
            raise UserError("this is too much for a clipboard", do="export it into a file")
        return super().write(text)
