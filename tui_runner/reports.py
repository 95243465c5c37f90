"""What a database tells on the command line: its runs, what failed, and any query."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TextIO

from tui_runner.engine.chunk import RunState
from tui_runner.errors import EXIT_OK, UserError
from tui_runner.formatting import count
from tui_runner.run_lines import counted
from tui_runner.safe_text import safe_text
from tui_runner.store.console import Console, Result
from tui_runner.store.database import Database
from tui_runner.store.export import FORMATS, display_width, write_parquet, write_text
from tui_runner.store.ledger import ErrorSummary, Ledger, RunSummary
from tui_runner.wording import did_you_mean, plain, quoted

_HEADS = ("run", "job", "table", "state", "begun", "done", "of", "failed", "rows")
_NUMBERS = frozenset({"run", "done", "of", "failed", "rows"})
_ENDINGS = {"md": "markdown", "ndjson": "jsonl"}
_GOING_ON = (RunState.RUNNING, RunState.DRAINING)


def print_runs(path: Path, out: TextIO) -> int:
    """Print a line a run, the newest first.

    Raises:
        DatabaseError: the database cannot be used.
    """
    with Database.open(path, create=False) as database:
        summaries = Ledger(database.cursor()).runs()
    if not summaries:
        out.write("no runs in this database; start one with: tui-runner run JOB\n")
        return EXIT_OK
    lines = [_HEADS, *map(_run_cells, summaries)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            " " * (width - display_width(cell)) + cell
            if head in _NUMBERS
            else cell + " " * (width - display_width(cell))
            for head, cell, width in zip(_HEADS, line, widths, strict=True)
        )
        out.write("  ".join(cells).rstrip() + "\n")
    return EXIT_OK


def _run_cells(summary: RunSummary) -> tuple[str, ...]:
    record, totals = summary.record, summary.totals
    # Whoever runs a run has its database locked: since we could open it, nobody does.
    state = "interrupted" if record.state in _GOING_ON else record.state
    return (
        str(record.run_id),
        safe_text(record.job),
        safe_text(record.table_name),
        safe_text(state),
        _moment(record.started_at),
        f"{totals.done:,}",
        "unknown" if record.items_total is None else f"{record.items_total:,}",
        f"{totals.failed:,}",
        count(totals.rows),
    )


def print_errors(path: Path, run: int | None, limit: int, out: TextIO) -> int:
    """Print what failed in a run, in groups that are alike, the most frequent first.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run.
    """
    with Database.open(path, create=False) as database:
        ledger = Ledger(database.cursor())
        record = ledger.run(run)
        groups = ledger.errors(record.run_id, limit)
    if not groups:
        out.write(f"run {record.run_id} has no errors\n")
    for group in groups:
        _print_group(group, out)
    return EXIT_OK


def _print_group(group: ErrorSummary, out: TextIO) -> None:
    failed = counted(group.items_failed, "item") if group.items_failed else "no item"
    first, last = _moment(group.first_seen), _moment(group.last_seen)
    seen = first if first == last else f"{first} to {last}"
    out.write(f"{group.count} × {safe_text(f'{group.type}: {group.message}', limit=500)}\n")
    out.write(f"    {failed} failed for it, {seen}\n")
    out.write(f"    item {group.example_item}: {safe_text(group.example, limit=500)}\n")


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
    if output is not None:
        _check_output(output, path)
    with Database.open(path, create=False) as database, Console(database).query(sql) as result:
        if output is not None:
            with _written_whole(output) as stream:
                _write_file(result, format, stream)
            return EXIT_OK
        terminal = out.isatty()
        # What goes to a pipe is data, and stays as it is; a table is for people wherever it goes.
        clean = safe_text if terminal or format == "table" else str
        write_text(result, format, out, clean=clean, width=shutil.get_terminal_size().columns if terminal else None)
        out.flush()
    return EXIT_OK


def _format(format: str | None, output: Path | None, out: TextIO) -> str:
    if format is None:
        ending = "" if output is None else output.suffix.lower().lstrip(".")
        ending = _ENDINGS.get(ending, ending)
        if ending in FORMATS:
            return ending
        return "table" if output is None and out.isatty() else "csv"
    if format not in FORMATS:
        raise UserError(f"unknown format {quoted(format)}", "--format", did_you_mean(format, FORMATS, "formats are"))
    if format == "parquet" and output is None:
        raise UserError("parquet needs a file", "--format", "give one with -o FILE")
    return format


def _check_output(output: Path, database: Path) -> None:
    """Refuse to write over the database itself, its log or its lock."""
    target, source = output.resolve(), database.resolve()
    if target in (source, *(source.with_name(source.name + ending) for ending in (".wal", ".lock"))):
        raise UserError("is the database, or belongs to it", plain(output), "write to another file")
    if not target.parent.is_dir():
        raise UserError("its folder does not exist", plain(output), "create the folder first")
    if target.is_dir():
        raise UserError("is a folder", plain(output), "name a file in it")


def _write_file(result: Result, format: str, stream: IO[bytes]) -> None:
    if format == "parquet":
        write_parquet(result, stream)
    else:
        with open(stream.fileno(), "w", encoding="utf-8", errors="surrogatepass", newline="", closefd=False) as text:
            write_text(result, format, text)


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` when it is complete, and not at all when writing it fails."""
    path = path.resolve()
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            # A pipe or a device, `/dev/stdout` say: there is nothing to put in its place.
            with path.open("wb") as stream:
                yield stream
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tui-runner-", delete=False) as stream:
            try:
                yield stream
                stream.flush()
                Path(stream.name).chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
                Path(stream.name).replace(path)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", plain(path), "choose another file") from error


def _umask() -> int:
    """The process's mask; it can be read only by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
