"""Looks into the ledger of a run for a person: slow items, failed ones, errors that are alike.

Every function takes a cursor of the calling thread, reads, and changes nothing. Texts are the job's: hostile.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tui_runner.store.query.catalog import ITEM_TEXT_SQL, failure_groups_sql
from tui_runner.store.sql import Cursor, visible_literal
from tui_runner.text.numbers import counted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SINCE_EPOCH = "CASE WHEN isfinite({0}) THEN epoch_us({0}) END"
"""Microseconds of a moment as SQL: an infinite one cannot be counted."""


@dataclass(frozen=True, slots=True)
class EndedItem:
    """An item that ended.

    Attributes:
        item: its position in the input.
        state: how it ended.
        attempts: how many it had.
        rows: rows of it.
        seconds: how long its last attempt took.
        text: its value as a short text; empty where it is not known.
        error: the last one of an item that did not end well, else empty.
    """

    item: int
    state: str
    attempts: int
    rows: int
    seconds: float
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Errors of one type whose messages are alike: a row of `failure_groups_sql`.

    Attributes:
        type: name of the exception.
        message: what the messages have in common, with ids, addresses and numbers folded.
        items_failed: items that have failed, and whose last attempt ended so; none that ended well when it ran again.
        attempts: attempts that ended so.
        recovered: the part of `attempts` whose items ended well later.
        chunks: chunks of those attempts.
        first_seen: when the first was.
        last_seen: when the last was.
        newest_item: position of the item of the newest one in the input.
        newest_item_text: that item's value as a short text; empty where it is not known.
        newest_message: its message in full.
        newest_traceback: likewise; may be empty.
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

    @property
    def outcome(self) -> str:
        """What became of the attempts whose items have not failed so, in words; empty where there is none of them."""
        later = f"{counted(self.recovered, 'attempt')} that later succeeded"
        if self.items_failed:
            return f"+{later}" if self.recovered else ""
        if self.recovered == self.attempts:
            return "no item failed, all later succeeded"
        return f"no item failed so far{f', {later}' if self.recovered else ''}"


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """One error in full.

    Attributes:
        item: position of its item in the input.
        chunk: its chunk.
        attempt: number of the attempt that failed, from 1.
        message: of the exception.
        traceback: likewise; may be empty.
        occurred_at: when.
        final: whether it ended its item.
        text: the item's value as a short text; empty where it is not known.
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
"""Items of a chunk that did not end well, as many as are read at once."""


def slowest(cursor: Cursor, run_id: int, chunk: int, limit: int = 50) -> list[EndedItem]:
    """The items of a chunk whose last attempt took longest."""
    rows = cursor.execute(
        f"""SELECT i.item, i.state, i.attempts, i.rows, i.seconds, coalesce({ITEM_TEXT_SQL}, '')
            FROM runner.items i LEFT JOIN runner.runs r ON r.run_id = i.run_id
            WHERE i.run_id = ? AND i.chunk = ? ORDER BY i.seconds DESC, i.item LIMIT ?""",
        [run_id, chunk, limit],
    ).fetchall()
    return [EndedItem(*row) for row in rows]


def failed(cursor: Cursor, run_id: int, chunk: int, limit: int = FAILED_ITEMS) -> list[EndedItem]:
    """Return the first `limit` items of a chunk that did not end well, each with its last error."""
    rows = cursor.execute(
        f"""SELECT i.item, any_value(i.state), any_value(i.attempts), any_value(i.rows), any_value(i.seconds),
                coalesce(any_value({ITEM_TEXT_SQL}), any_value(e.item_text), ''),
                coalesce(arg_max(e.type || ': ' || e.message, e.attempt), '')
            FROM runner.items i LEFT JOIN runner.errors e ON e.run_id = i.run_id AND e.item = i.item
                LEFT JOIN runner.runs r ON r.run_id = i.run_id
            WHERE i.run_id = ? AND i.chunk = ? AND i.state <> 'ok' GROUP BY i.item ORDER BY i.item LIMIT ?""",
        [run_id, chunk, limit],
    ).fetchall()
    return [EndedItem(*row) for row in rows]


def failure_groups(cursor: Cursor, run_id: int, limit: int = 200) -> list[FailureGroup]:
    """Return the rows of `failure_groups_sql`, at most `limit`."""
    moments = ", ".join(f"{_SINCE_EPOCH.format(name)} AS {name}" for name in ("first_seen", "last_seen"))
    rows = cursor.execute(
        f"SELECT * REPLACE ({moments}) FROM ({failure_groups_sql(str(run_id))})"
        f" ORDER BY items_failed DESC, attempts DESC, type, alike LIMIT {min(limit, sys.maxsize)}"
    ).fetchall()
    return [
        FailureGroup(type or "", alike, items, attempts, recovered, chunks, moment(first), moment(last), *newest)
        for type, alike, items, attempts, recovered, chunks, first, last, *newest in rows
    ]


def count_failure_groups(cursor: Cursor, run_id: int) -> int:
    """Return how many rows `failure_groups` has without a limit."""
    sql = f"SELECT count(*) FROM ({failure_groups_sql(str(run_id))})"
    return int(cursor.execute(sql).fetchall()[0][0])


def error_examples(cursor: Cursor, run_id: int, type: str, message: str, limit: int = 50) -> list[ErrorExample]:
    """Errors of one group, the newest first."""
    rows = cursor.execute(
        f"""SELECT item, chunk, attempt, message, coalesce(traceback, ''), {_SINCE_EPOCH.format("occurred_at")}, final,
                coalesce(item_text, '')
            FROM runner.errors WHERE run_id = ? AND type = ? AND coalesce(shape, '') = ?
            ORDER BY occurred_at DESC, item LIMIT ?""",
        [run_id, type, message, limit],
    ).fetchall()
    return [
        ErrorExample(item, chunk, attempt, message, traceback, moment(at), final, text)
        for item, chunk, attempt, message, traceback, at, final, text in rows
    ]


def chunks_of_errors(cursor: Cursor, run_id: int, type: str, message: str) -> list[int]:
    """The chunks with items whose last attempt ended with an error of this group."""
    rows = cursor.execute(
        "SELECT DISTINCT chunk FROM runner.errors WHERE run_id = ? AND type = ? AND coalesce(shape, '') = ? AND final"
        " ORDER BY chunk",
        [run_id, type, message],
    ).fetchall()
    return [chunk for (chunk,) in rows]


def throughput(cursor: Cursor, run_id: int, points: int = 12) -> tuple[float, ...]:
    """Return the mean items per second in `points` equal parts of a run, oldest first; empty without samples."""
    return run_curves(cursor, run_id, points).items


@dataclass(frozen=True, slots=True)
class RunCurves:
    """A run from its begin to its end, in equal parts of the time for which processes ran it, pauses included.

    All are empty without samples.

    Attributes:
        items: mean items per second, oldest first.
        failed: items that failed per second.
        memory: highest resident memory of the program and its workers, bytes.
    """

    items: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()


_LONGEST_STEP = 30.0
"""Seconds between two samples, which are taken every five, from which no process was at work between them."""


def run_curves(cursor: Cursor, run_id: int, points: int = 60) -> RunCurves:
    """Return the curves of a whole run, those of all processes that were at work on it, in `points` parts."""
    # A sample is of the time since the one before it, and counts in each part as much of that as lies in there.
    rows = cursor.execute(
        f"""WITH steps AS (
            SELECT items_per_second, app_rss + workers_rss AS memory, sampled_at,
                greatest(items_failed - lag(items_failed, 1, 0) OVER (ORDER BY sampled_at), 0) AS failed,
                epoch(sampled_at) - lag(epoch(sampled_at)) OVER (ORDER BY sampled_at) AS step
            FROM runner.samples WHERE run_id = $1 AND isfinite(sampled_at)
        ), samples AS (
            SELECT *, CASE WHEN step > 0 AND step <= {_LONGEST_STEP} THEN step ELSE 1.0 END AS seconds FROM steps
        ), placed AS (
            SELECT *, sum(seconds) OVER (ORDER BY sampled_at ROWS UNBOUNDED PRECEDING) AS until FROM samples
        ), parts AS (
            SELECT part, part * whole / $2 AS low, (part + 1) * whole / $2 AS high, whole / $2 AS length
            FROM range(0, $2) parts(part), (SELECT max(until) AS whole FROM placed)
        ), shares AS (
            SELECT part, length, items_per_second, failed, memory, seconds,
                least(until, high) - greatest(until - seconds, low) AS inside
            FROM parts JOIN placed ON until > low AND until - seconds < high
        )
        SELECT coalesce(sum(items_per_second * inside) / sum(inside), 0),
            coalesce(sum(failed * inside / seconds) / any_value(length), 0), coalesce(max(memory), 0)
        FROM shares GROUP BY part ORDER BY part""",
        [run_id, points],
    ).fetchall()
    if not rows:
        return RunCurves()
    items, failed, memory = zip(*rows, strict=True)
    return RunCurves(tuple(map(float, items)), tuple(map(float, failed)), tuple(map(float, memory)))


def sql_of_group(run_id: int, type: str, message: str) -> str:
    """A statement for the errors of one group, for a person to go on from."""
    return f"""SELECT item, item_text, attempt, final, message, occurred_at
FROM runner.errors
WHERE run_id = {run_id} AND type = {visible_literal(type)} AND coalesce(shape, '') = {visible_literal(message)}
ORDER BY occurred_at DESC"""


def moment(microseconds: int | None) -> datetime:
    """Return a moment of the ledger; `EPOCH` for one that is not known or beyond what Python can count."""
    try:
        return EPOCH + timedelta(microseconds=microseconds or 0)
    except OverflowError:
        return EPOCH
