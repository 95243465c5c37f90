"""Read the frontier of a run, table `runner.added`, while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules


@dataclass(frozen=True, slots=True)
class FrontierItems:
    """The next items of a frontier that are to run.

    Attributes:
        items: position and value as JSON of each, and whether it was recorded before and did not end well.
        length: items that were added so far, those of the input included.
        is_last: whether nothing can be added any more, for all that was cut before has ended.
    """

    items: list[tuple[int, str, bool]]
    length: int
    is_last: bool


class Frontier:
    """The frontier of one run. Each look has a cursor of its own: DuckDB gives memory back between reads.

    Args:
        database: open, or closed by another thread at any time.
        run_id: the run.
    """

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = int(run_id)

    def look(self, start: int, size: int, *, recorded_below: int, chunks: range) -> FrontierItems:
        """Return the next items that are not done.

        Args:
            start: lowest position.
            size: items at most.
            recorded_below: position from which on no item was recorded by an earlier process.
            chunks: those that this process has cut so far.

        Raises:
            DatabaseError: the database is closed.
            duckdb.Error: it was closed meanwhile, or is damaged.
        """
        values = {"run": self._run_id, "start": start, "size": size}
        with self._cursor() as cursor:
            # First: the row of a chunk that has ended is committed with or after what its items have added.
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
        """Return the bounds that the frontier has reached: name of the rule, the group it holds for, and the bound.

        Raises:
            DatabaseError: the database is closed.
        """
        found = []
        with self._cursor() as cursor:
            for guard in rules.guards():
                sql = f"""SELECT {guard.group}, count(*) FROM runner.added WHERE run_id = ?
                    GROUP BY 1 HAVING count(*) >= {guard.bound} AND {guard.group} <> '' ORDER BY 2 DESC, 1"""
                rows = cursor.execute(sql, [self._run_id]).fetchall()
                found += [(guard.name, str(group), guard.bound) for group, _ in rows]
        return found

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._database.cursor()
        try:
            yield cursor
        finally:
            self._database.close_cursor(cursor)
