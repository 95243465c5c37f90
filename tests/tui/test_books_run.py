"""The figures of the run in the documented pictures agree with each other, and with its ledger."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support.books_run import CHUNK, ITEMS_TOTAL, NOW, ROWS, books_ledger, books_run

from tui_runner.engine.states import ChunkState
from tui_runner.store.ledger.reports import failure_groups, run_curves

pytestmark = pytest.mark.slow  # as the pictures of this run are


@pytest.mark.parametrize("until", [NOW, math.inf], ids=["now", "end"])
def test_the_figures_of_the_documented_run_agree(tmp_path: Path, until: float) -> None:
    run = books_run(until)
    shown = run.snapshot
    # The chunks, the errors, the times and the rates against the totals.
    for name in ("done", "failed", "cancelled"):
        assert sum(getattr(chunk, name) for chunk in shown.chunks) == getattr(shown, f"items_{name}") > 0
    for name in ("rows", "retries", "in_flight"):
        assert sum(getattr(chunk, name) for chunk in shown.chunks) == getattr(shown, name)
    assert shown.rows == ROWS * shown.items_done
    assert sum(group.final for group in shown.errors) == shown.items_failed
    assert sum(group.count for group in shown.errors) == shown.items_failed + shown.retries
    assert shown.elapsed + shown.paused == pytest.approx(shown.at) and shown.paused > 20
    assert shown.rows_per_second == pytest.approx(ROWS * shown.items_per_second, rel=0.01)  # failed pages have no rows
    # The ledger and the curve of the whole run against the snapshot.
    with books_ledger(tmp_path / "books.duckdb", run) as database, database.opened_cursor() as cursor:
        groups = failure_groups(cursor, shown.run_id)
        assert [(each.type, each.items_failed, each.attempts) for each in groups] == [
            (each.type, each.final, each.count) for each in shown.errors
        ]
        items = "SELECT count_if(state = 'ok'), count_if(state = 'failed'), count_if(state = 'cancelled'), sum(rows)"
        expected = shown.items_done, shown.items_failed, shown.items_cancelled, shown.rows
        assert cursor.execute(f"{items} FROM runner.items").fetchall() == [expected]
        assert cursor.execute(f"SELECT count(*) FROM runner.items WHERE chunk <> item // {CHUNK}").fetchall() == [(0,)]
        curves = run_curves(cursor, shown.run_id)
        seconds = shown.wall_seconds / len(curves.items)
        sampled = run.samples[-1].items_done + run.samples[-1].items_failed
        # Parts of the curve that the pause covers partly have the rate of their rest.
        assert sum(curves.items) * seconds == pytest.approx(sampled, rel=0.03)
        assert curves.most <= shown.highest_rate


def test_the_documented_run_has_chunks_of_many_states() -> None:
    shown = books_run().snapshot
    states = {shown.chunks.state(number) for number in range(len(shown.chunks))}
    assert states == {*ChunkState}
    assert shown.in_flight == shown.threads
    left, (low, high) = ITEMS_TOTAL - shown.items_finished, shown.eta_seconds or (0, 0)
    assert low < left / shown.items_per_second < left / shown.mean_items_per_second < high
