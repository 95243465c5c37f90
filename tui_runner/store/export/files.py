"""Where rows go: standard output or a file, in a format that is told or that the file's name says."""

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
from tui_runner.system.files import check_links, descriptor_of, is_open, is_stream, written_whole
from tui_runner.text.messages import did_you_mean, plain, quoted
from tui_runner.text.safe_text import safe_text

ENDINGS = {"md": "markdown", "ndjson": "jsonl"}
"""Formats by file endings that are not their names."""
EXPORT_FORMATS = ("csv", "json", "jsonl", "parquet", "markdown")
"""Formats in which all rows are written, unlike the table, which is for a look."""

_STANDARD_OUTPUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


class Stopped(UserError):
    """Writing a file was ended on request; it is as it was before."""

    def __init__(self) -> None:
        super().__init__("the export was ended; no file was written")


def export_format(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        UserError: it ends with none that is known.
    """
    ending = path.suffix.lower().lstrip(".")
    format = ENDINGS.get(ending, ending)
    if format not in EXPORT_FORMATS:
        endings = ("csv", "json", "jsonl", "parquet", "md")
        raise UserError("its name does not say the format", plain(path), f"end it in .{', .'.join(endings)}")
    return format


def is_standard_output(path: Path | None) -> bool:
    """Return True if `-o PATH` means standard output: `-`, or one of the paths that it has."""
    return str(path) in _STANDARD_OUTPUT


def chosen_format(format: str | None, output: Path | None, out: TextIO) -> str:
    """The format to write.

    Args:
        format: one of `FORMATS`, whatever `output` is called; None for that of `output`'s ending. Without a file that
            has one it is `table` for a terminal and `csv` elsewhere: for a pipe or a device, too.
        output: the file to write; None for `out`.
        out: standard output.

    Raises:
        UserError: there is no such format, the file's name says none, or Parquet would go to a terminal.
    """
    if format is None:
        if output is not None and not is_stream(output):
            return export_format(output)
        return "table" if output is None and out.isatty() else "csv"
    if format not in FORMATS:
        raise UserError(f"unknown format {quoted(format)}", "--format", did_you_mean(format, FORMATS, "formats are"))
    if format == "parquet" and output is None and out.isatty():
        raise UserError("parquet is not for a terminal", "--format", "give a file with -o FILE, or a pipe")
    return format


def check_output(output: Path, database: Path, *, overwrite: bool) -> None:
    """Refuse to write over the database itself, its logs or its lock, and where no file can be.

    Args:
        output: the file to write.
        database: the database that the rows come from.
        overwrite: whether a file that exists may be replaced.

    Raises:
        UserError: it is refused.
    """
    try:
        check_links(output)
        target = output.resolve()
        if target.is_symlink():  # from Python 3.13 on links in a circle raise nothing
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        is_folder, is_file, has_folder = target.is_dir(), target.is_file(), target.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, links in a circle, a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"its path can't be used ({reason.lower()})", plain(output), "choose another file") from error
    descriptor = descriptor_of(output)
    source = database.resolve()
    if target in (source, *(companion(source, ending) for ending in COMPANIONS)):
        raise UserError("is the database, or belongs to it", plain(output), "write to another file")
    if descriptor is not None:
        # Now, for later the number may be that of something else, the database even.
        if not is_open(descriptor):
            raise UserError("is not open", plain(output), "choose another file")
        return
    if not has_folder:
        raise UserError("its folder does not exist", plain(output), "create the folder first")
    if is_folder:
        raise UserError("is a folder", plain(output), "name a file in it")
    if is_file and not overwrite:
        raise UserError("exists already", plain(output), "write over it with --force, or choose another file")
    if output.is_symlink() and not target.exists():
        raise UserError(f"is a link to {plain(target)}, where no file is", plain(output), "choose another file")


def write_rows(rows: Rows, format: str, out: TextIO) -> int:
    """Write `rows` to standard output; returns how many.

    What goes to a pipe is data, and stays as it is; a table is for people wherever it goes.
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
    """Write `rows` into a file that appears when it is complete, and not at all when writing fails.

    Args:
        rows: what to write.
        format: one of `FORMATS`.
        path: the file.
        progress: told the rows so far before each batch is written; writing ends when it says False.
        replace: whether a file that exists by then is replaced; else it is kept, and writing has failed.

    Returns:
        Rows written.

    Raises:
        UserError: it cannot be written, or the statement fails half-way.
        Stopped: `progress` said False.
    """
    if progress is not None:
        rows = _Counted(rows, progress)
    with written_whole(path, replace=replace) as stream:
        if format == "parquet":
            return _write_parquet(rows, stream, plain(path))
        with open(stream.fileno(), "w", encoding="utf-8", errors="surrogatepass", newline="", closefd=False) as text:
            return write_text(rows, format, text)


def _write_parquet(rows: Rows, stream: IO[bytes], where: str) -> int:
    try:
        count = write_parquet(rows, cast("IO[bytes]", _Sequential(stream)))
    except pa.ArrowException as error:
        what = f"Parquet cannot hold these rows ({str(error).splitlines()[0]})"
        raise UserError(what, where, "choose another format, or cast the column to VARCHAR") from error
    stream.flush()
    return count


class _Sequential:
    """A stream that knows how much went into it: Arrow asks, and a pipe cannot tell."""

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
        """Do nothing: the caller that opened the stream closes it."""


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
