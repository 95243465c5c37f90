"""Runs the first items of a job in this process and prints the rows that a run would store (`tui-runner try`).

It is an ordinary run with one thread and no retries, into a database in a temporary folder that is removed afterwards.
So it shows the columns and types that a real run creates.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from tui_runner.engine.assembly import open_runner
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.planning.request import RunPlan, RunRequest, plan_run, secrets_in_sight
from tui_runner.engine.runner import Runner
from tui_runner.errors import EXIT_ITEMS_FAILED, EXIT_OK, UserError
from tui_runner.store.export import write_text
from tui_runner.store.query.catalog import ITEM_TEXT_SQL
from tui_runner.store.query.console import TYPE_KEY, Console
from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN
from tui_runner.store.sql import quote
from tui_runner.system.private_folder import private_folder
from tui_runner.system.terminal import columns
from tui_runner.text.describe import named_item
from tui_runner.text.numbers import short_plural
from tui_runner.text.safe_text import safe_text

_ROWS_SHOWN = 20
"""Most rows that are printed: enough to check the columns, and still on one screen."""


def run_trial(request: RunRequest, out: TextIO, output: CapturedOutput) -> int:
    """Run the first `request.limit` items one after the other, and print their rows, columns and errors.

    Args:
        request: the job and its input.
        out: stream for the output.
        output: captured native output of this process; its lines are printed with the other lines of the job.

    Returns:
        The exit code: `EXIT_ITEMS_FAILED` if an item failed, else `EXIT_OK`.

    Raises:
        UserError: the request, the job or its input is wrong.
    """
    plan = plan_run(request, folder=Path.cwd(), environ=os.environ, use_redaction=output.use_redaction)
    for warning in secrets_in_sight(plan.job, request.params):
        print(warning, file=output.err)
    with tempfile.TemporaryDirectory(prefix="try-", dir=private_folder()) as folder:
        runner = open_runner(_alone(plan, Path(folder) / "try.duckdb"), output)
        try:
            _run(runner)
            with Console(runner.database) as console:
                return _print(runner, console, out)
        finally:
            runner.close()


def _alone(plan: RunPlan, database: Path) -> RunPlan:
    """Return a copy of the plan that runs in one thread of this process, into `database`.

    It has no retries, and no limits on the rate and on failures.
    """
    settings = replace(
        plan.settings, backend="inline", threads=1, workers=1, open_chunks=1, retries=0, rate=None, max_failures=None,
        grace=0.0,
    )  # fmt: skip
    return replace(plan, settings=settings, database=database, new=True, served=False)


def _run(runner: Runner) -> None:
    """Run the trial and wait for its end. Raise UserError if nothing could run."""
    runner.start()
    try:
        runner.join()
    except KeyboardInterrupt:
        runner.kill()
        runner.join()
        raise
    snapshot = runner.snapshot()
    if snapshot.nothing_ran:
        raise UserError(snapshot.reason, snapshot.job)


def _print(runner: Runner, console: Console, out: TextIO) -> int:
    """Print the items, their errors and the table. Return the exit code."""

    def rows(sql: str) -> list[dict[str, Any]]:
        with console.query(sql) as result:
            return [row for batch in result for row in batch.to_pylist()]

    for line in runner.snapshot().log:
        if line.worker is None or line.worker >= 0:  # a line of the job; events of tui-runner have a negative worker
            out.write(f"{safe_text(line.text)}\n")
    items = rows(
        f"""SELECT i.item, i.state, i.rows, i.seconds, coalesce({ITEM_TEXT_SQL}, '') AS value
        FROM runner.items i JOIN runner.runs r USING (run_id) ORDER BY i.item"""  # noqa: S608 - constant
    )
    for item in items:
        made = "" if item["state"] != "ok" else f", {short_plural(item['rows'], 'row')}"
        state = "done" if made else item["state"]  # the dashboard shows `ok` as "done", too
        out.write(f"{_named(item['item'], item['value'])}: {state}{made}, {item['seconds']:.3f} s\n")
    if not items:
        out.write("the input has no items\n")
    errors = rows("SELECT item, item_text, message, traceback FROM runner.errors ORDER BY item")
    for error in errors:
        text = error["traceback"] or error["message"] or ""
        out.write(f"\n{_named(error['item'], error['item_text'])} failed:\n{safe_text(text.rstrip(), newlines=True)}\n")
    _print_table(console, runner.plan.table, rows, out)
    return EXIT_ITEMS_FAILED if errors else EXIT_OK


def _named(item: int, value: str | None) -> str:
    return safe_text(named_item(item, value or ""), limit=250)


def _print_table(console: Console, table: str, rows: Callable[[str], list[dict[str, Any]]], out: TextIO) -> None:
    """Print the columns of the results table and its first rows, if there are rows."""
    name = f"main.{quote(table)}"
    number = rows(f"SELECT count(*) AS n FROM {name}")[0]["n"]  # noqa: S608 - quoted
    if not number:
        return
    # rowid keeps the order in which an item returned its rows; sorting by the item alone would mix them.
    order = f"{quote(ITEM_COLUMN)}, rowid"
    sql = f"SELECT * EXCLUDE ({quote(RUN_COLUMN)}) FROM {name} ORDER BY {order}"  # noqa: S608 - quoted
    with console.query(sql) as result:
        fields = [field for field in result.schema if field.name != ITEM_COLUMN]
        out.write(f"\ntable {safe_text(table)}: {short_plural(number, 'row')}, {short_plural(len(fields), 'column')}\n")
        for field in fields:
            kind = (field.metadata or {}).get(TYPE_KEY, b"").decode()
            out.write(f"  {safe_text(field.name)}: {kind}\n")
        out.write("\n")
        width = columns(out) if out.isatty() else None
        write_text(result, "table", out, clean=safe_text, width=width, table_rows=_ROWS_SHOWN)
