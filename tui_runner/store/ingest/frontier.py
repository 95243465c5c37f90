"""The frontier of a run whose items add items: the table `runner.added`, which determines their positions.

An item is in the table once, even if it was added several times. Its position is the number of its row, from 0 without
gaps, so items run in the order in which they were added.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from tui_runner.store.ingest.results_table import ArrowViews

_EVERY = 2**62
"""Stands for "no limit" in SQL comparisons."""


@dataclass(frozen=True, slots=True)
class FrontierRules:
    """Limits of a frontier.

    Attributes:
        depth: steps from an item of the input at most; None for no limit.
        items: items in the frontier at most, including items of the input; None for no limit.
        per_site: URLs of one host at most, without items of the input; None for no limit.
        per_prefix: URLs with the same host and first path segment at most, without items of the input; None for no
            limit.
    """

    depth: int | None = None
    items: int | None = None
    per_site: int | None = None
    per_prefix: int | None = None

    def guards(self) -> list[Guard]:
        """Return the limits for groups of items: those for a host and for a host with a first path segment."""
        bounds = (("per_site", _SITE, self.per_site), ("per_prefix", _PREFIX, self.per_prefix))
        return [Guard(name, group, int(bound)) for name, group, bound in bounds if bound is not None]


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit for the items of each group.

    Attributes:
        name: name of the rule.
        group: SQL expression that computes the name of an item's group from column `value`; empty for no group.
        bound: largest number of items in each group.
    """

    name: str
    group: str
    bound: int


_SITE = "regexp_extract(json_extract_string(value, '$'), '^https?://[^/?#]+')"
# `/calendar/2026/11` and `/calendar?year=2026` have the same prefix, because sites with endless pages have such URLs.
_PREFIX = "regexp_extract(json_extract_string(value, '$'), '^https?://[^/?#]+/[^/?#]+')"


def add_items(
    cursor: duckdb.DuckDBPyConnection, views: ArrowViews, run_id: int, added: pa.Table, rules: FrontierRules
) -> None:
    """Add the new items in `added` to the frontier of a run, within the caller's transaction.

    Args:
        cursor: cursor with an open transaction.
        views: makes Arrow tables available to the cursor.
        run_id: number of the run.
        added: rows with the schema `records.ADDED`; `added_by` is null for items of the input.
        rules: limits of the frontier.
    """
    depth = _EVERY if rules.depth is None else int(rules.depth)
    items = _EVERY if rules.items is None else int(rules.items)
    placed = added.append_column("place", pa.array(range(added.num_rows), pa.int64()))
    run = f"run_id = {int(run_id)}"
    with views.show("added", placed) as view:
        found = f"""SELECT found.* FROM (
                SELECT v.key, arg_min(v.value, v.place) AS value, arg_min(v.added_by, v.place) AS added_by,
                    min(coalesce(parent.depth + 1, 0)) AS depth, min(v.place) AS place,
                    (SELECT coalesce(max(item) + 1, 0) FROM runner.added WHERE {run}) AS start
                FROM {view} AS v
                LEFT JOIN (SELECT item, depth FROM runner.added WHERE {run}) AS parent ON parent.item = v.added_by
                GROUP BY v.key
            ) AS found
            WHERE depth <= {depth} AND NOT EXISTS (
                SELECT 1 FROM runner.added AS known WHERE known.{run} AND known.key = found.key
            )"""
        for guard in rules.guards():
            found = f"""SELECT found.* FROM ({found}) AS found
            LEFT JOIN (SELECT {guard.group} AS name, count(*) AS size FROM runner.added WHERE {run} GROUP BY 1) AS held
            ON held.name = {guard.group}
            QUALIFY added_by IS NULL OR {guard.group} = ''
            OR coalesce(size, 0) + row_number() OVER (PARTITION BY {guard.group} ORDER BY place) <= {guard.bound}"""
        cursor.execute(
            f"""INSERT INTO runner.added
            SELECT {int(run_id)}, start + row_number() OVER (ORDER BY place) - 1, key, value, depth, added_by, now()
            FROM ({found})
            QUALIFY start + row_number() OVER (ORDER BY place) <= {items}"""
        )
