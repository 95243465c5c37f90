"""Makes the rows of chunks say what is recorded of their items, where items have moved to other chunks.

A run that is resumed by key cuts its input anew. What earlier processes had cut stays as it ended: an item that runs
again is recorded in another chunk, and one that was never recorded never was in the old one.
"""

from __future__ import annotations

from collections.abc import Collection

from tui_runner.store.sql import Cursor


def recount_chunks(cursor: Cursor, run_id: int, chunks: Collection[int] | None = None) -> None:
    """Count the items of these chunks of a run anew, None for all; each of them has ended then.

    Call it within a transaction.
    """
    if chunks is None:
        where = f"run_id = {int(run_id)}"
        # A chunk that was not finished when an earlier version was killed has no row.
        cursor.execute(
            f"""INSERT INTO runner.chunks (
                run_id, chunk, first_item, items, state, done, failed, rows, retries, started_at, busy_seconds)
            SELECT {int(run_id)}, chunk, min(item), 0, 'done', 0, 0, 0,
                CAST(sum(greatest(attempts - 1, 0)) AS BIGINT), min(finished_at), sum(seconds)
            FROM runner.items ANTI JOIN (SELECT chunk FROM runner.chunks WHERE {where}) USING (chunk)
            WHERE {where} GROUP BY chunk"""
        )
    else:
        # The bounds let DuckDB pass over most of the table.
        numbers = ", ".join(map(str, sorted(chunks)))
        where = f"run_id = {int(run_id)} AND chunk BETWEEN {min(chunks)} AND {max(chunks)} AND chunk IN ({numbers})"
    cursor.execute(
        f"""UPDATE runner.chunks SET items = counted.items, done = counted.done, failed = counted.failed,
            rows = counted.rows, ended_at = coalesce(chunks.ended_at, counted.ended_at),
            state = CASE WHEN counted.items > counted.done + counted.failed THEN 'cancelled'
                WHEN counted.failed > 0 THEN 'failed' ELSE 'done' END
        FROM (
            SELECT known.chunk, coalesce(recorded.items, 0) AS items, coalesce(done, 0) AS done,
                coalesce(failed, 0) AS failed, coalesce(recorded.rows, 0) AS rows, recorded.ended_at
            FROM (SELECT chunk FROM runner.chunks WHERE {where}) AS known LEFT JOIN (
                SELECT chunk, count(*) AS items, count(*) FILTER (WHERE state = 'ok') AS done,
                    count(*) FILTER (WHERE state IN ('failed', 'timeout')) AS failed,
                    CAST(sum(rows) AS BIGINT) AS rows, max(finished_at) AS ended_at
                FROM runner.items WHERE {where} GROUP BY chunk
            ) AS recorded USING (chunk)
        ) AS counted
        WHERE chunks.run_id = {int(run_id)} AND chunks.chunk = counted.chunk"""
    )
