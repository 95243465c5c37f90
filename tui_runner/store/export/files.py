"""Writes rows to standard output or to a file, in a format given by the user or by the file's extension."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TextIO, cast

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.export import FORMATS, Rows, write_parquet, write_text
from tui_runner.store.file_check import COMPANIONS, companion
from tui_runner.system.files import check_links, descriptor_of, is_open, is_stream, written_atomically
from tui_runner.text.messages import did_you_mean, plain, quoted
from tui_runner.text.safe_text import safe_text

ENDINGS = {"md": "markdown", "ndjson": "jsonl"}
"""File name extensions that differ from the name of their format."""
EXPORT_FORMATS = ("csv", "json", "jsonl", "parquet", "markdown")
"""Formats that contain all rows. The format `table` is not among them, because it shows only the first rows."""

_STANDARD_OUTPUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
"""Paths that mean standard output. If they were opened as files, a file to which the output is redirected would be
truncated."""


class Stopped(UserError):
    """Raised when the user ends an export. The file is unchanged."""

    def __init__(self) -> None:
        super().__init__("the export was ended; no file was written")


def export_format(path: Path) -> str:
    """Return the format that the extension of a file's name stands for.

    Raises:
        UserError: the extension stands for no format.
    """
    ending = path.suffix.lower().lstrip(".")
    format = ENDINGS.get(ending, ending)
    if format not in EXPORT_FORMATS:
        endings = ("csv", "json", "jsonl", "parquet", "md")
        raise UserError("its name does not say the format", plain(path), f"end it in .{', .'.join(endings)}")
    return format


def is_standard_output(path: Path | None) -> bool:
    """Return True if the path after `-o` means standard output: `-`, or one of its names such as `/dev/stdout`."""
    return str(path) in _STANDARD_OUTPUT


def chosen_format(format: str | None, output: Path | None, out: TextIO) -> str:
    """Return the format to write.

    Args:
        format: one of `FORMATS`; None to choose. For a file, its extension decides. For a pipe or device given as
            `output`, the format is `csv`. For `out`, it is `table` if `out` is a terminal, otherwise `csv`.
        output: file to write; None for `out`.
        out: standard output.

    Raises:
        UserError: the format is unknown, the file's extension stands for no format, or Parquet would be written to a
            terminal.
    """
    if format is None:
        if output is not None and not is_stream(output):
            return export_format(output)
        return "table" if output is None and out.isatty() else "csv"
    if format not in FORMATS:
        raise UserError(f"unknown format {quoted(format)}", "--format", did_you_mean(format, FORMATS, "formats are"))
    if format == "parquet" and output is None and out.isatty():
        raise UserError("parquet cannot be shown on a terminal", "--format", "give a file with -o FILE, or a pipe")
    return format


def check_output(output: Path, database: Path, *, overwrite: bool) -> None:
    """Refuse to write over the database or its companions, or to a path where no file can be written.

    Args:
        output: file to write.
        database: database from which the rows come.
        overwrite: True if an existing file may be replaced.

    Raises:
        UserError: the path is refused.
    """
    try:
        check_links(output)
        target = output.resolve()
        if target.is_symlink():  # from Python 3.13 on, `resolve` raises no error for a cycle of links
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        is_folder, is_file, has_folder = target.is_dir(), target.is_file(), target.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, a cycle of links, a NUL character
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"its path can't be used ({reason.lower()})", plain(output), "choose another file") from error
    descriptor = descriptor_of(output)
    source = database.resolve()
    if target in (source, *(companion(source, ending) for ending in COMPANIONS)):
        raise UserError("is the database, or belongs to it", plain(output), "write to another file")
    if descriptor is not None:
        # Check the descriptor now. Later its number may belong to another file, even to the database.
        if not is_open(descriptor):
            raise UserError("is not open", plain(output), "choose another file")
        return
    if not has_folder:
        raise UserError("its folder does not exist", plain(output), "create the folder first")
    if is_folder:
        raise UserError("is a folder", plain(output), "name a file in it")
    if is_file and not overwrite:
        raise UserError("exists already", plain(output), "overwrite it with --force, or choose another file")
    if output.is_symlink() and not target.exists():
        raise UserError(f"is a link to {plain(target)}, which does not exist", plain(output), "choose another file")


def write_rows(rows: Rows, format: str, out: TextIO) -> int:
    """Write `rows` to standard output. Return the number of rows.

    Output to a pipe is data, so it is not changed. A table is read by people, so its text is always made safe.
    """
    if format == "parquet":
        out.flush()
        return _write_parquet(rows, out.buffer, "standard output")
    terminal = out.isatty()
    clean = safe_text if terminal or format == "table" else str
    count = write_text(rows, format, out, clean=clean, width=shutil.get_terminal_size().columns if terminal else None)
    out.flush()
    return count


def write_file(
    rows: Rows, format: str, path: Path, progress: Callable[[int], bool] | None = None, *, replace: bool
) -> int:
    """Write `rows` to a file, which gets its name only when it is complete.

    Args:
        rows: the result to write.
        format: one of `FORMATS`.
        path: path of the file.
        progress: called before each batch is written, with the number of rows including this batch. If it returns
            False, the export ends. None for no calls.
        replace: True to replace a file that exists when all rows are written; False to leave it and raise an error.

    Returns:
        Number of rows written.

    Raises:
        UserError: the file cannot be written, or the statement fails while its rows are read.
        Stopped: `progress` returned False.
    """
    if progress is not None:
        rows = _Counted(rows, progress)
    with written_atomically(path, replace=replace) as stream:
        if format == "parquet":
            return _write_parquet(rows, stream, plain(path))
        with open(stream.fileno(), "w", encoding="utf-8", errors="surrogatepass", newline="", closefd=False) as text:
            return write_text(rows, format, text)


def _write_parquet(rows: Rows, stream: IO[bytes], where: str) -> int:
    try:
        count = write_parquet(rows, cast("IO[bytes]", _Sequential(stream)))
    except pa.ArrowException as error:  # a column has a type that Parquet does not have
        what = f"Parquet cannot hold these rows ({str(error).splitlines()[0]})"
        raise UserError(what, where, "choose another format, or cast the column to VARCHAR") from error
    stream.flush()
    return count


class _Sequential:
    """A stream that counts the bytes written to it: Arrow asks for the position, which a pipe does not know."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._written = 0

    def write(self, data: bytes) -> int:
        with memoryview(data) as view:
            self._stream.write(view)
            self._written += view.nbytes
            return view.nbytes

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Do nothing, because the caller that opened the stream closes it."""


class _Counted:
    """Rows that report how many of them were read, and raise `Stopped` when `progress` returns False."""

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
