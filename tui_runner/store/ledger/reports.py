"""Queries about a run for users: slow items, failed items, groups of similar errors, throughput.

Functions that take a cursor use it in the calling thread and only read. The returned texts come from the job, so make
them safe before they are shown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import mul

from tui_runner.store.query.catalog import ITEM_TEXT_SQL, TRACEBACK_SQL, failure_groups_sql
from tui_runner.store.sql import CATALOG, Cursor, quote, visible_literal
from tui_runner.text.describe import first_line
from tui_runner.text.numbers import short_plural
from tui_runner.text.paths import cut_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Moment from which the ledger's microseconds count. It also stands for an unknown moment."""
_SINCE_EPOCH = "CASE WHEN isfinite({0}) THEN epoch_us({0}) END"
"""SQL template for microseconds since the epoch; NULL for an infinite time, for which `epoch_us` fails."""


@dataclass(frozen=True, slots=True)
class EndedItem:
    """An item that has ended.

    Attributes:
        item: its position in the input.
        state: its final state.
        attempts: number of attempts.
        rows: number of its result rows.
        seconds: duration of its last attempt.
        text: short text of its value; empty if unknown.
        error: last error of an item that did not succeed; empty for other items.
    """

    item: int
    state: str
    attempts: int
    rows: int
    seconds: float
    text: str = ""
    error: str = ""


_OTHER_ERROR = 80
"""Most characters of the error with which an item failed in the end, because it is only a part of a line."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Errors of one type whose messages have the same shape: a row of `failure_groups_sql`.

    Attributes:
        type: name of the exception.
        message: shape of the messages, in which numbers, paths and URLs are replaced (`text.describe.shape`).
        items_failed: number of failed items whose last attempt had this error. An item that has succeeded since does
            not count.
        attempts: number of attempts that failed with this error.
        recovered: number of these attempts whose items later succeeded.
        chunks: number of chunks with such attempts.
        first_seen: time of the first attempt.
        last_seen: time of the last attempt.
        newest_item: position of the item of the group's example, which is its newest attempt with which an item failed.
            Without one, it is the newest attempt at an item that has failed otherwise, or else the newest attempt.
        newest_item_text: short text of that item's value; empty if unknown.
        newest_message: full message of the example.
        newest_traceback: traceback of the example; may be empty.
        messages_differ: True if not all attempts of the group have the same message.
        failed_otherwise: number of items with such attempts whose last attempt failed with an error of another group.
            Known only if `items_failed` is 0.
        other_error: type and message of the newest of those last errors; empty if there is none.
    """

    type: str
    message: str
    items_failed: int
    attempts: int
    recovered: int
    chunks: int
    first_seen: datetime
    last_seen: datetime
    newest_item: int
    newest_item_text: str
    newest_message: str
    newest_traceback: str
    messages_differ: bool = False
    failed_otherwise: int = 0
    other_error: str = ""

    @property
    def and_alike(self) -> str:
        """Words to show after `newest_message` if the group has other messages, too; otherwise empty."""
        return " (and alike)" if self.messages_differ and (self.items_failed or self.attempts) > 1 else ""

    @property
    def outcome(self) -> str:
        """The fate, in words, of the attempts whose items are not failed now; empty if there are none."""
        later = f"{short_plural(self.recovered, 'attempt')} later succeeded"
        if self.items_failed:
            return f"+{later}" if self.recovered else ""
        if self.failed_otherwise:
            return self.other_failure
        if self.recovered == self.attempts:
            return "no item failed, all later succeeded"
        return f"no item failed{f', {later}' if self.recovered else ''}"

    @property
    def other_failure(self) -> str:
        """A phrase about the errors with which the items of these attempts failed in the end; empty if none failed."""
        if not self.failed_otherwise:
            return ""
        error = cut_text(first_line(self.other_error), _OTHER_ERROR)
        succeeded = f"{short_plural(self.recovered, 'attempt')} later succeeded; " if self.recovered else ""
        if self.failed_otherwise == 1:
            return f"{succeeded}the item{' of the others' if succeeded else ''} failed with: {error}"
        return f"{succeeded}{short_plural(self.failed_otherwise, 'item')} failed with other errors, such as: {error}"


def shorter_forms(outcome: str) -> tuple[str, str, str]:
    """Return `outcome` and two shorter forms: `+6 attempts later succeeded`, `+6 att. later ok`, `+6 att.`.

    All of them have the unit, because other counts are items.
    """
    terse = outcome.replace("no item failed, all later succeeded", "all later ok")
    for attempts in ("attempts", "attempt"):
        terse = terse.replace(f"{attempts} later succeeded", "att. later ok")
    return outcome, terse, terse.removesuffix(" later ok") if terse.startswith("+") else terse


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """One error with all that is known about it.

    Attributes:
        item: position of its item in the input.
        chunk: number of its chunk.
        attempt: number of the failed attempt, from 1.
        message: message of the exception.
        traceback: traceback of the exception; may be empty.
        occurred_at: when the attempt failed.
        final: True if the item is failed now, and this was its last attempt.
        text: short text of the item's value; empty if unknown.
    """

    item: int
    chunk: int
    attempt: int
    message: str
    traceback: str
    occurred_at: datetime
    final: bool
    text: str = ""


FAILED_ITEMS = 200
"""Failed items of a chunk that are read at most, because a screen shows them in a list."""


def slowest(cursor: Cursor, run_id: int, chunk: int, limit: int = 50) -> list[EndedItem]:
    """Return the items of a chunk whose last attempts took longest, at most `limit` of them, the slowest first."""
    rows = cursor.execute(
        f"""SELECT i.item, i.state, i.attempts, i.rows, i.seconds, coalesce({ITEM_TEXT_SQL}, '')
            FROM runner.items i LEFT JOIN runner.runs r ON r.run_id = i.run_id
            WHERE i.run_id = ? AND i.chunk = ? ORDER BY i.seconds DESC, i.item LIMIT ?""",
        [run_id, chunk, limit],
    ).fetchall()
    return [EndedItem(*row) for row in rows]


def failed(cursor: Cursor, run_id: int, chunk: int) -> list[EndedItem]:
    """Return the first `FAILED_ITEMS` items of a chunk that did not succeed, each with its last error."""
    rows = cursor.execute(
        f"""SELECT i.item, any_value(i.state), any_value(i.attempts), any_value(i.rows), any_value(i.seconds),
                coalesce(any_value({ITEM_TEXT_SQL}), any_value(e.item_text), ''),
                coalesce(arg_max(e.type || ': ' || e.message, e.attempt), '')
            FROM runner.items i LEFT JOIN runner.failed_attempts e ON e.run_id = i.run_id AND e.item = i.item
                LEFT JOIN runner.runs r ON r.run_id = i.run_id
            WHERE i.run_id = ? AND i.chunk = ? AND i.state <> 'ok' GROUP BY i.item ORDER BY i.item LIMIT ?""",
        [run_id, chunk, FAILED_ITEMS],
    ).fetchall()
    return [EndedItem(*row) for row in rows]


def item_bounds(cursor: Cursor, run_id: int, chunk: int) -> tuple[int, int] | None:
    """Return the lowest and the highest position of a chunk's recorded items; None if none is recorded."""
    low, high = cursor.execute(
        "SELECT min(item), max(item) FROM runner.items WHERE run_id = ? AND chunk = ?", [run_id, chunk]
    ).fetchall()[0]
    return None if low is None else (low, high)


def _is_failed(run_id: int) -> str:
    """Return an SQL condition that is true if attempt `e` is the last attempt at an item that is failed now.

    The column `final` alone is not enough: it also marks earlier last attempts at items that the user has run again.
    """
    return f"""(e.final AND (e.item, e.occurred_at) IN (
        SELECT (item, max(occurred_at)) FROM runner.failed_attempts SEMI JOIN (
            {_failed_items(run_id)}
        ) USING (item) WHERE run_id = {int(run_id)} AND final GROUP BY item))"""


def _failed_items(run_id: int) -> str:
    return f"SELECT item FROM runner.items WHERE run_id = {int(run_id)} AND state IN ('failed', 'timeout')"


def failure_groups(cursor: Cursor, run_id: int, limit: int = 200) -> list[FailureGroup]:
    """Return at most `limit` groups of errors, those with the most failed items first."""
    moments = ", ".join(f"{_SINCE_EPOCH.format(name)} AS {name}" for name in ("first_seen", "last_seen"))
    rows = cursor.execute(
        f"""SELECT * REPLACE ({moments}, coalesce(differ, false) AS differ) FROM ({failure_groups_sql(str(run_id))})
        LEFT JOIN (
            SELECT type, coalesce(shape, '') AS alike, min(message) <> max(message) AS differ
            FROM runner.failed_attempts WHERE run_id = {int(run_id)} GROUP BY ALL
        ) USING (type, alike)"""
        f" ORDER BY items_failed DESC, attempts DESC, type, alike LIMIT {min(limit, sys.maxsize)}"
    ).fetchall()
    groups = [
        FailureGroup(type or "", alike, items, attempts, recovered, chunks, moment(first), moment(last), *newest)
        for type, alike, items, attempts, recovered, chunks, first, last, *newest in rows
    ]
    unclear = [(group.type, group.message) for group in groups if _is_unclear(group)]
    others = _other_errors(cursor, run_id, unclear) if unclear else {}
    return [
        replace(group, failed_otherwise=others[key][0], other_error=others[key][1])
        if (key := (group.type, group.message)) in others
        else group
        for group in groups
    ]


def _is_unclear(group: FailureGroup) -> bool:
    """Return True if the group alone does not show what became of the items of its attempts."""
    return not group.items_failed and group.recovered < group.attempts


def _other_errors(
    cursor: Cursor, run_id: int, groups: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, str]]:
    """Return for each group the number of its items that failed with other errors, and the newest of these errors."""
    wanted = ", ".join(["(?, ?)"] * len(groups))
    rows = cursor.execute(
        f"""WITH last AS (
            SELECT item, type || ': ' || message AS error, occurred_at FROM runner.failed_attempts e
            WHERE run_id = {int(run_id)} AND {_is_failed(run_id)}
        )
        SELECT e.type, coalesce(e.shape, ''), count(DISTINCT e.item), coalesce(arg_max(l.error, l.occurred_at), '')
        FROM runner.failed_attempts e JOIN last l USING (item)
        WHERE e.run_id = {int(run_id)} AND (coalesce(e.type, ''), coalesce(e.shape, '')) IN ({wanted})
        GROUP BY ALL""",
        [part for group in groups for part in group],
    ).fetchall()
    return {(type or "", shape): (items, error) for type, shape, items, error in rows}


def count_failure_groups(cursor: Cursor, run_id: int, *, with_failed: bool = False) -> int:
    """Return the number of groups of errors in a run. With `with_failed`, count only groups with failed items."""
    sql = f"SELECT count(*) FROM ({failure_groups_sql(str(run_id))}){' WHERE items_failed > 0' if with_failed else ''}"
    return int(cursor.execute(sql).fetchall()[0][0])


def error_examples(cursor: Cursor, run_id: int, type: str, message: str, limit: int = 50) -> list[ErrorExample]:
    """Return at most `limit` errors of one group, in the order in which `FAILURE_GROUPS_SQL` chooses its example."""
    rows = cursor.execute(
        f"""SELECT item, chunk, attempt, message, coalesce({TRACEBACK_SQL}, ''), {_SINCE_EPOCH.format("occurred_at")},
                {_is_failed(run_id)}, coalesce(item_text, '')
            FROM runner.failed_attempts e LEFT JOIN runner.tracebacks t USING (traceback_id)
            WHERE run_id = ? AND type = ? AND coalesce(shape, '') = ?
            ORDER BY {_is_failed(run_id)} DESC, item IN ({_failed_items(run_id)}) DESC, occurred_at DESC, item
            LIMIT ?""",
        [run_id, type, message, limit],
    ).fetchall()
    return [
        ErrorExample(item, chunk, attempt, message, traceback, moment(at), final, text)
        for item, chunk, attempt, message, traceback, at, final, text in rows
    ]


def chunks_of_errors(cursor: Cursor, run_id: int, type: str, message: str) -> list[int]:
    """Return the numbers of the chunks that have a failed item whose last error is in this group."""
    rows = cursor.execute(
        "SELECT DISTINCT chunk FROM runner.failed_attempts e WHERE run_id = ? AND type = ? AND coalesce(shape, '') = ?"
        f" AND {_is_failed(run_id)} ORDER BY chunk",
        [run_id, type, message],
    ).fetchall()
    return [chunk for (chunk,) in rows]


@dataclass(frozen=True, slots=True)
class RunCurves:
    """Rates and memory of a run over time.

    The time in which processes ran it, including pauses, is divided into equal parts, oldest first. The time between
    two processes is shown as a short gap of zeros, however long it was. If the run has no samples, all attributes are
    empty, and `most` is 0.

    Attributes:
        items: items per second that ended in each part, successfully or not.
        failed: items per second that failed in each part. Items that failed in an outage and ran again do not count.
        memory: highest resident memory of the program and its workers in each part, in bytes.
        app: the share of the program, without its workers, in `memory`.
        most: highest rate in items per second that the dashboard has shown, but not less than the mean of the run.
        most_failed: highest rate of failures over two samples, which is about the time of the rates of the dashboard.
    """

    items: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    app: tuple[float, ...] = ()
    most: float = 0.0
    most_failed: float = 0.0


_LONGEST_STEP = 30.0
"""Seconds between two samples above which no process was running between them. Samples are taken every five seconds.
Ledgers of earlier versions do not mark the first sample of a process."""
_SHORTEST_STEP = 2.5
"""Seconds between the last two samples of a process below which both get their mean rate: half the usual interval. The
last sample is taken when the run ends. It includes items that workers report only then, although some of them ran
before the previous sample."""
_RATE_SECONDS = 10.0
"""Least seconds over which failures are averaged for their highest rate, as in the rates of the dashboard
(`metrics.RATE_SECONDS`). The part of a curve may be half as long."""
_REPORT_SECONDS = 0.2
"""Seconds by which the failures of a sample may be older than the sample: the interval of the workers' reports."""
_GAPS = 30, 4
"""A gap between processes has a thirtieth of the width, two of 60 columns. All gaps together have at most a quarter of
the width."""


def run_curves(cursor: Cursor, run_id: int, points: int = 60) -> RunCurves:
    """Return the curves of a whole run, with all of its processes, in `points` parts."""
    # A sample covers the time since the previous sample. Each part of the curve gets the share of this time that lies
    # within the part. Rates are differences of counters, so that no item is missing, even if a process was short. The
    # counters of a process begin with the counts of earlier processes, so its first sample has no rate. A failure is
    # counted only if every later sample of its process still contains it, so items that failed in an outage and then
    # succeeded are not counted. Items that the user ran again in a later process still count where they failed. A pause
    # without items in flight is separated from the samples around it, so that no rate is spread over the pause, and the
    # rate of a part is that of its time outside of pauses and of gaps between processes.
    cells, most_gaps = _GAPS
    rows = cursor.execute(
        f"""WITH begun AS (
            SELECT *, lag(sampled_at) OVER (ORDER BY sampled_at) IS NULL AS first,
                epoch(sampled_at) - lag(epoch(sampled_at)) OVER (ORDER BY sampled_at) AS step,
                coalesce(step > {_LONGEST_STEP}, true) OR in_flight IS NULL AS begins
            FROM runner.samples WHERE run_id = $1 AND isfinite(sampled_at)
        ), numbered AS (
            SELECT *, sum(begins::INTEGER) OVER (ORDER BY sampled_at ROWS UNBOUNDED PRECEDING) AS process FROM begun
        ), staying AS (
            SELECT *, min(items_failed) OVER (PARTITION BY process
                ORDER BY sampled_at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS stays
            FROM numbered
        ), steps AS (
            SELECT items_per_second, sampled_at, begins, first, process,
                CASE WHEN first OR NOT begins THEN app_rss + workers_rss END AS memory, app_rss AS app,
                CASE WHEN first OR NOT begins
                    THEN greatest(items_done - lag(items_done, 1, 0) OVER (ORDER BY sampled_at), 0) ELSE 0 END AS done,
                greatest(items_failed - lag(items_failed, 1, 0) OVER own, 0) AS ended_failed,
                stays - lag(stays, 1, 0) OVER own AS failed,
                CASE WHEN begins THEN if(first, 1.0, NULL) WHEN step > 0 THEN step ELSE 1.0 END AS seconds,
                -- The sample at the end of a pause may have items in flight again.
                NOT begins AND 0 IN (in_flight, lag(in_flight) OVER own) AND done + ended_failed = 0 AS still
            FROM staying WINDOW own AS (PARTITION BY process ORDER BY sampled_at)
        ), raw AS (
            SELECT * REPLACE (coalesce(seconds, sum(seconds) OVER () / ({cells} + {most_gaps} * max(process) OVER ()))
                AS seconds)
            FROM steps
        ), ends AS (
            SELECT *, begins OR lag(begins) OVER (ORDER BY sampled_at) OR seconds >= {_SHORTEST_STEP}
                OR still <> lag(still) OVER (ORDER BY sampled_at)
                OR coalesce(lead(process) OVER (ORDER BY sampled_at) = process, false) AS is_long
            FROM raw
        ), groups AS (
            SELECT *, sum(is_long::INTEGER) OVER (ORDER BY sampled_at ROWS UNBOUNDED PRECEDING) AS number FROM ends
        ), samples AS (
            SELECT * REPLACE (
                sum(done) OVER alike * seconds / sum(seconds) OVER alike AS done,
                sum(ended_failed) OVER alike * seconds / sum(seconds) OVER alike AS ended_failed,
                sum(failed) OVER alike * seconds / sum(seconds) OVER alike AS failed)
            FROM groups WINDOW alike AS (PARTITION BY number)
        ), placed AS (
            SELECT *, sum(seconds) OVER (ORDER BY sampled_at ROWS UNBOUNDED PRECEDING) AS until,
                sum(failed) OVER two / (greatest(sum(seconds) OVER two, {_RATE_SECONDS}) + {_REPORT_SECONDS})
                    AS failed_rate
            FROM samples WINDOW two AS (ORDER BY sampled_at ROWS 1 PRECEDING)
        ), parts AS (
            SELECT part, part * whole / $2 AS low, (part + 1) * whole / $2 AS high
            FROM range(0, $2) parts(part), (SELECT max(until) AS whole FROM placed)
        ), shares AS (
            SELECT part, items_per_second, failed_rate, done, ended_failed, failed, memory, app, seconds,
                least(until, high) - greatest(until - seconds, low) AS inside,
                if(still OR (begins AND NOT first), 0, inside) AS active
            FROM parts JOIN placed ON until > low AND until - seconds < high
        )
        SELECT coalesce(sum((done + ended_failed) * inside / seconds) / nullif(sum(active), 0), 0),
            coalesce(sum(failed * inside / seconds) / nullif(sum(active), 0), 0), coalesce(max(memory), 0),
            coalesce(arg_max(app, memory), 0), coalesce(max(items_per_second), 0), coalesce(max(failed_rate), 0),
            sum(active)
        FROM shares GROUP BY part ORDER BY part""",
        [run_id, points],
    ).fetchall()
    if not rows:
        return RunCurves()
    columns = (tuple(map(float, column)) for column in zip(*rows, strict=True))
    items, failed, memory, app, most, most_failed, active = columns
    # Do not use the highest part. The last part also contains items that workers had executed earlier and reported at
    # their end.
    mean = sum(map(mul, items, active)) / (sum(active) or 1.0)
    return RunCurves(items, failed, memory, app, max(*most, mean), max(most_failed))


def sql_of_group(run_id: int, type: str, message: str) -> str:
    """Return a statement that selects the errors of one group, for the user to change."""
    return f"""SELECT e.item, item_text, attempt, message, occurred_at,
    if(i.state = 'ok', 'done', i.state) AS item_is_now
FROM runner.errors e LEFT JOIN runner.items i USING (run_id, item)
WHERE e.run_id = {run_id} AND type = {visible_literal(type)} AND coalesce(shape, '') = {visible_literal(message)}
ORDER BY occurred_at DESC"""


def moment(microseconds: int | None) -> datetime:
    """Convert a time of the ledger to a `datetime`; to `EPOCH` if it is unknown or out of Python's range."""
    try:
        return EPOCH + timedelta(microseconds=microseconds or 0)
    except OverflowError:  # out of the range of `datetime`, so the file was edited
        return EPOCH


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table of results, with its exact number of rows."""

    name: str
    rows: int
    columns: int


def result_tables(cursor: Cursor, limit: int = 50) -> list[ResultTable]:
    """Return the tables of the schema `main` in the order in which they were created, at most `limit`."""
    found = cursor.execute(
        f"""SELECT table_name, column_count FROM {CATALOG}.duckdb_tables()
        WHERE database_name = {CATALOG}.current_database() AND schema_name = 'main' AND NOT internal
        ORDER BY table_oid LIMIT ?""",
        [limit],
    ).fetchall()
    if not found:
        return []
    # DuckDB counts by its metadata, in about a millisecond.
    counts = (f"SELECT {place}, count(*) FROM main.{quote(name)}" for place, (name, _) in enumerate(found))
    rows = dict(cursor.execute(" UNION ALL ".join(counts)).fetchall())
    return [ResultTable(name, rows[place], columns) for place, (name, columns) in enumerate(found)]
