"""Reads the frontier of a run (table `runner.added`) while the run adds items to it."""

from __future__ import annotations

from dataclasses import dataclass

from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules


@dataclass(frozen=True, slots=True)
class FrontierItems:
    """The next items of a frontier that must run.

    Attributes:
        items: (position, value as JSON, True if an earlier attempt was recorded and did not succeed) for each item.
        length: number of items in the frontier so far, including items of the input.
        is_last: True if every chunk read before has ended. If `items` is empty as well, no more items can be added.
    """

    items: list[tuple[int, str, bool]]
    length: int
    is_last: bool


class Frontier:
    """The frontier of one run.

    Each query opens and closes a cursor, because DuckDB releases memory only while no cursor is open.

    Args:
        database: the open database; another thread may close it at any time.
        run_id: number of the run.
    """

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = int(run_id)

    def look(self, start: int, size: int, *, recorded_below: int, chunks: range) -> FrontierItems:
        """Return the next items that have not succeeded.

        Args:
            start: lowest position to return.
            size: items to return at most.
            recorded_below: no item at or above this position was recorded by an earlier process.
            chunks: numbers of the chunks that this process has read so far.

        Raises:
            DatabaseError: the database is closed.
            duckdb.Error: the database was closed during the query, or is damaged.
        """
        values = {"run": self._run_id, "start": start, "size": size}
        with self._database.opened_cursor() as cursor:
            # Execute this query first. The row of an ended chunk is committed not earlier than the items that the chunk
            # has added. So if this query finds that a chunk has ended, the next query finds all of those items.
            (ended,) = cursor.execute(
                "SELECT count(*) FROM runner.chunks WHERE run_id = ? AND chunk >= ? AND ended_at IS NOT NULL",
                [self._run_id, chunks.start],
            ).fetchall()[0]
            if start >= recorded_below:
                sql = """SELECT item, CAST(value AS VARCHAR), false FROM runner.added
                    WHERE run_id = $run AND item >= $start"""
            else:
                sql = """SELECT added.item, CAST(added.value AS VARCHAR), items.item IS NOT NULL FROM runner.added
                    LEFT JOIN runner.items ON items.run_id = $run AND items.item = added.item
                    WHERE added.run_id = $run AND added.item >= $start AND coalesce(items.state, '') <> 'ok'"""
            found = cursor.execute(f"{sql} ORDER BY 1 LIMIT $size", values).fetchall()
            sql = "SELECT coalesce(max(item) + 1, 0) FROM runner.added WHERE run_id = ?"
            (length,) = cursor.execute(sql, [self._run_id]).fetchall()[0]
        return FrontierItems(found, length, ended >= len(chunks))

    def reached(self, rules: FrontierRules) -> list[tuple[str, str, int]]:
        """Return the limits that the frontier has reached, each as (name of the rule, group, limit)."""
        found = []
        with self._database.opened_cursor() as cursor:
            for guard in rules.guards():
                sql = f"""SELECT {guard.group}, count(*) FROM runner.added WHERE run_id = ?
                    GROUP BY 1 HAVING count(*) >= {guard.bound} AND {guard.group} <> '' ORDER BY 2 DESC, 1"""
                rows = cursor.execute(sql, [self._run_id]).fetchall()
                found += [(guard.name, str(group), guard.bound) for group, _ in rows]
        return found
