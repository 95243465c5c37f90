"""What a database tells on the command line: its runs, what failed, and any query."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TextIO

from tui_runner.errors import EXIT_OK, UserError
from tui_runner.formatting import count
from tui_runner.safe_text import safe_text
from tui_runner.store.console import Console, Result
from tui_runner.store.database import Database
from tui_runner.store.export import write_parquet, write_text
from tui_runner.store.ledger import Ledger, RunSummary
from tui_runner.wording import did_you_mean

TEXT_FORMATS = ("table", "csv", "json", "jsonl", "markdown")
FORMATS = (*TEXT_FORMATS, "parquet")


@contextmanager
def _reading(path: Path) -> Iterator[Database]:
    database = Database.open(path, create=False)
    try:
        yield database
    finally:
        database.close()


def print_runs(path: Path, out: TextIO) -> int:
    """Print a line a run, the newest first.

    Raises:
        DatabaseError: the database cannot be used.
    """
    with _reading(path) as database:
        for summary in Ledger(database.cursor()).runs():
            out.write(_run_line(summary) + "\n")
    return EXIT_OK


def _run_line(summary: RunSummary) -> str:
    record, totals = summary.record, summary.totals
    total = "unknown total" if record.items_total is None else f"of {count(record.items_total)}"
    line = (
        f"run {record.run_id}  {record.job} → {record.table_name}  {record.state}  {_moment(record.started_at)}  "
        f"{count(totals.done)} {total} done, {count(totals.failed)} failed, {count(totals.rows)} rows"
    )
    return safe_text(line)


def print_errors(path: Path, run: int | None, limit: int, out: TextIO) -> int:
    """Print what failed in a run, in groups that are alike, the most frequent first.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run.
    """
    with _reading(path) as database:
        ledger = Ledger(database.cursor())
        record = ledger.run(run)
        groups = ledger.errors(record.run_id, limit)
        if not groups:
            out.write(f"run {record.run_id} has no errors\n")
        for group in groups:
            seen = f"{_moment(group.first_seen)} to {_moment(group.last_seen)}"
            head = f"{group.count} × {group.type}: {group.message}"
            out.write(f"{safe_text(head)}\n")
            out.write(f"    {group.items_failed} items failed for it, {seen}\n")
            out.write(f"    item {group.example_item}: {safe_text(group.example, limit=500)}\n")
    return EXIT_OK


def _moment(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def run_query(path: Path, sql: str, format: str | None, output: Path | None, out: TextIO) -> int:
    """Run one statement that reads, and write its result.

    Args:
        path: the database.
        sql: the statement.
        format: one of `FORMATS`; None for that of `output`'s ending, else `table` on a terminal and `csv` elsewhere.
        output: the file to write; None for `out`.
        out: standard output.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: the format is unknown, the statement is rejected, or the file cannot be written.
    """
    format = _format(format, output, out)
    with _reading(path) as database, Console(database).query(sql) as result:
        if output is not None:
            with _written_whole(output) as stream:
                _write_file(result, format, stream)
        elif out.isatty():
            width = shutil.get_terminal_size().columns
            write_text(result, format, out, clean=safe_text, width=width)
        else:
            write_text(result, format, out)
            out.flush()
    return EXIT_OK


def _format(format: str | None, output: Path | None, out: TextIO) -> str:
    if format is None:
        ending = "" if output is None else output.suffix.lower().lstrip(".").replace("md", "markdown")
        if ending in FORMATS:
            return ending
        return "table" if output is None and out.isatty() else "csv"
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}", "--format", did_you_mean(format, FORMATS, "the formats are"))
    if format == "parquet" and output is None:
        raise UserError("parquet needs a file", "--format", "give one with -o FILE")
    return format


def _write_file(result: Result, format: str, stream: IO[bytes]) -> None:
    if format == "parquet":
        write_parquet(result, stream)
    else:
        with open(stream.fileno(), "w", encoding="utf-8", newline="", closefd=False) as text:
            write_text(result, format, text)


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` when it is complete, and not at all when writing it fails."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as stream:
            try:
                yield stream
                stream.flush()
                umask = os.umask(0)
                os.umask(umask)
                Path(stream.name).chmod(0o666 & ~umask)
                Path(stream.name).replace(path)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", str(path), "choose another file") from error
