"""Try a job: call it with its first items in this process, show what would be stored, write nothing."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from tui_runner.engine.backends.inline import InlineBackend
from tui_runner.engine.collector import deserialize
from tui_runner.engine.plan import RunPlan
from tui_runner.engine.protocol import (
    ChunkFinished,
    Drain,
    Flush,
    LogLines,
    OpenChunk,
    Report,
    WorkerConfig,
    WorkerFailed,
    WorkerLost,
    pack,
)
from tui_runner.errors import EXIT_ITEMS_FAILED, EXIT_OK, UserError
from tui_runner.inputs import cut
from tui_runner.request import RunRequest, plan_run
from tui_runner.safe_text import safe_text
from tui_runner.store.export import write_text

_ROWS_SHOWN = 20


def run_trial(request: RunRequest, *, folder: Path, environ: Mapping[str, str], out: TextIO) -> int:
    """Run the first `request.limit` items one after the other, and print their rows, columns and errors.

    Raises:
        UserError: the request, the job or its input is at fault.
    """
    plan = plan_run(request, folder=folder, environ=environ)
    flushes = _execute(plan, out)
    tables = [deserialize(stream) for flush in flushes for stream in flush.tables]
    errors = [row for flush in flushes if flush.errors for row in deserialize(flush.errors).to_pylist()]
    items = [row for flush in flushes for row in deserialize(flush.items).to_pylist()]
    for item in items:
        seconds, rows = f"{item['seconds']:.3f} s", f"{item['rows']} rows"
        out.write(f"item {item['item']}: {item['state']}, {rows}, {seconds}\n")
    for error in errors:
        out.write(
            f"\nitem {error['item']} failed:\n{safe_text(error['traceback'] or error['message'], newlines=True)}\n"
        )
    for table in tables:
        _show(table, out)
    if not items:
        out.write("the input has no items\n")
    return EXIT_ITEMS_FAILED if errors else EXIT_OK


def _execute(plan: RunPlan, out: TextIO) -> list[Flush]:
    """Run the items of the plan on one inline worker, without retries."""
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    backend = InlineBackend(plan.job, reports.put)
    config = WorkerConfig(
        worker=0,
        job=plan.job.reference,
        params=plan.params,
        by_name=plan.by_name,
        threads=1,
        retries=0,
        timeout=plan.settings.timeout,
        per_host=plan.settings.per_host,
    )
    flushes: list[Flush] = []
    try:
        backend.start_worker(config)
        chunk = next(cut(plan.source, max(1, plan.limit or 1), limit=plan.limit), None)
        if chunk is None:
            return []
        positions = range(chunk.first_item, chunk.first_item + len(chunk.keys))
        backend.send(0, OpenChunk(chunk.number, positions, chunk.keys, pack(chunk.values)))
        while not isinstance(report := reports.get(), WorkerLost):
            match report:
                case Flush():
                    flushes.append(report)
                case LogLines():
                    for line in report.lines:
                        out.write(f"{safe_text(line.text)}\n")
                case ChunkFinished():
                    backend.send(0, Drain(0.0))
                case WorkerFailed():
                    raise UserError(report.message, plan.job.name)
    finally:
        backend.close()
    return flushes


def _show(table: pa.Table, out: TextIO) -> None:
    """The columns of a result, and its first rows."""
    out.write("\ncolumns:\n")
    for field in table.schema:
        if field.name != "_item":
            out.write(f"  {safe_text(field.name)}: {field.type}\n")
    out.write("\n")
    width = shutil.get_terminal_size().columns if out.isatty() else None
    batches = table.combine_chunks().to_reader(max_chunksize=4096)
    write_text(batches, "table", out, clean=safe_text, width=width, table_rows=_ROWS_SHOWN)
