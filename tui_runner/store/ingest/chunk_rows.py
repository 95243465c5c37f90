"""Recounts the ledger rows of chunks from the rows of their items, after items have moved to other chunks.

A run that is resumed by key is cut into new chunks. An item that runs again is recorded in a new chunk, and must be
subtracted from its old chunk.
"""

from __future__ import annotations

from collections.abc import Collection

from tui_runner.store.sql import Cursor


def recount_chunks(cursor: Cursor, run_id: int, chunks: Collection[int] | None = None) -> None:
    """Recount the items of `chunks` of a run (None: all its chunks), and mark each of these chunks as ended.

    Call it within a transaction.
    """
    if chunks is None:
        where = f"run_id = {int(run_id)}"
        # A chunk that was open when an earlier version of tui-runner was killed has no row, so insert one.
        cursor.execute(
            f"""INSERT INTO runner.chunks (
                run_id, chunk, first_item, items, state, done, failed, rows, retries, started_at, busy_seconds)
            SELECT {int(run_id)}, chunk, min(item), 0, 'done', 0, 0, 0,
                CAST(sum(greatest(attempts - 1, 0)) AS BIGINT), min(finished_at), sum(seconds)
            FROM runner.items ANTI JOIN (SELECT chunk FROM runner.chunks WHERE {where}) USING (chunk)
            WHERE {where} GROUP BY chunk"""
        )
    else:
        # By these bounds DuckDB can skip most of the table, which it cannot by the list alone.
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
