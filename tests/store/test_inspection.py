from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from support.errors import add_errors

from tui_runner.store.database import Database
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.ledger.reports import (
    FailureGroup,
    RunCurves,
    chunks_of_errors,
    count_failure_groups,
    error_examples,
    failed,
    failure_groups,
    item_bounds,
    run_curves,
    shorter_forms,
    slowest,
    sql_of_group,
)

DOCS = Path(__file__).parents[2] / "docs" / "queries.md"

ITEMS = """INSERT INTO runner.items
    (run_id, item, chunk, key, state, attempts, rows, seconds, finished_at) VALUES
    (1, 0, 0, 'k0', 'ok', 1, 5, 0.5, now()), (1, 1, 0, 'k1', 'ok', 2, 5, 9.5, now()),
    (1, 2, 0, 'k2', 'failed', 3, 0, 1.0, now()), (1, 3, 1, 'k3', 'timeout', 1, 0, 30.0, now()),
    (2, 0, 0, 'k0', 'ok', 1, 5, 99.0, now())"""
ERRORS = """VALUES
    (1, 1, 0, 1, 'ReadTimeout', 'page 17 timed out', 'tb 1', '2026-01-01 10:00:00+00', false, 'page N timed out', 'a'),
    (1, 2, 0, 1, 'ReadTimeout', 'page 18 timed out', 'tb 2', '2026-01-01 10:00:01+00', false, 'page N timed out', 'b'),
    (1, 2, 0, 3, 'ReadTimeout', 'page 19 timed out', 'tb 3', '2026-01-01 10:00:09+00', true, 'page N timed out', 'b'),
    (1, 3, 1, 1, 'Timeout', 'took longer', NULL, '2026-01-01 10:00:05+00', true, 'took longer', NULL),
    (2, 0, 0, 1, 'ReadTimeout', 'page 1 timed out', 'other', '2026-01-01 10:00:05+00', true, 'page N timed out', 'c')"""


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    database = Database.open(tmp_path / "x.duckdb")
    cursor = database.cursor()
    ensure_ledger(cursor, create=True)
    cursor.execute(ITEMS)
    add_errors(cursor, ERRORS)
    yield cursor
    database.close()


def test_the_slowest_items_of_a_chunk_come_first(cursor: duckdb.DuckDBPyConnection) -> None:
    assert [(item.item, item.seconds) for item in slowest(cursor, 1, 0)] == [(1, 9.5), (2, 1.0), (0, 0.5)]
    assert [item.item for item in slowest(cursor, 1, 0, limit=1)] == [1]
    assert item_bounds(cursor, 1, 0) == (0, 2) and item_bounds(cursor, 1, 99) is None


def test_failed_items_have_their_last_error(cursor: duckdb.DuckDBPyConnection) -> None:
    (item,) = failed(cursor, 1, 0)
    assert (item.item, item.state, item.attempts, item.error) == (2, "failed", 3, "ReadTimeout: page 19 timed out")
    assert [item.error for item in failed(cursor, 1, 1)] == ["Timeout: took longer"]


def test_errors_that_are_alike_are_one_group(cursor: duckdb.DuckDBPyConnection) -> None:
    first, second = failure_groups(cursor, 1)
    assert (first.type, first.message, first.attempts, first.items_failed, first.chunks) == (
        "ReadTimeout", "page N timed out", 3, 1, 1,
    )  # fmt: skip
    assert first.first_seen == datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)
    assert first.last_seen == datetime(2026, 1, 1, 10, 0, 9, tzinfo=UTC)
    assert (second.type, second.attempts, second.items_failed) == ("Timeout", 1, 1)


def test_an_item_that_ran_again_is_counted_once_and_only_while_it_has_failed(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    again = """VALUES (1, 3, 1, 2, 'ReadTimeout', 'page 9 timed out', '',
        '2026-01-01 11:00:00+00', true, 'page N timed out', NULL)"""
    add_errors(cursor, again)
    assert [(group.type, group.items_failed, group.attempts) for group in failure_groups(cursor, 1)] == [
        ("ReadTimeout", 2, 4),
        ("Timeout", 0, 1),
    ]
    cursor.execute("UPDATE runner.items SET state = 'ok' WHERE run_id = 1 AND item = 2")
    assert [(group.items_failed, group.attempts) for group in failure_groups(cursor, 1)] == [(1, 4), (0, 1)]


def test_examples_are_the_newest_of_their_group(cursor: duckdb.DuckDBPyConnection) -> None:
    examples = error_examples(cursor, 1, "ReadTimeout", "page N timed out")
    assert [example.traceback for example in examples] == ["tb 3", "tb 2", "tb 1"]
    assert examples[0].final and examples[0].attempt == 3 and examples[0].text == "b"
    (unknown,) = error_examples(cursor, 1, "Timeout", "took longer")
    assert unknown.traceback == unknown.text == ""


def test_only_chunks_whose_items_ended_so_are_named(cursor: duckdb.DuckDBPyConnection) -> None:
    assert chunks_of_errors(cursor, 1, "ReadTimeout", "page N timed out") == [0]
    assert chunks_of_errors(cursor, 1, "Timeout", "took longer") == [1]
    assert chunks_of_errors(cursor, 1, "Timeout", "no such message") == []


def test_an_item_that_ran_again_and_ended_well_is_nowhere_named_as_failed(cursor: duckdb.DuckDBPyConnection) -> None:
    cursor.execute("INSERT INTO runner.runs (run_id) VALUES (1)")
    in_docs = re.findall(r"    -- what the failed items have in common\n((?:    .*\n)+)", DOCS.read_text())
    assert sorted(cursor.execute(in_docs[0]).fetchall()) == [
        ("ReadTimeout", "page N timed out", 1),
        ("Timeout", "took longer", 1),
    ]
    cursor.execute("UPDATE runner.items SET state = 'ok' WHERE run_id = 1 AND item = 2")
    assert cursor.execute(in_docs[0]).fetchall() == [("Timeout", "took longer", 1)]
    assert [group.type for group in failure_groups(cursor, 1) if group.items_failed] == ["Timeout"]
    assert count_failure_groups(cursor, 1, with_failed=True) == 1 < count_failure_groups(cursor, 1)
    assert chunks_of_errors(cursor, 1, "ReadTimeout", "page N timed out") == []
    assert not any(example.final for example in error_examples(cursor, 1, "ReadTimeout", "page N timed out"))
    shown = f"SELECT item_is_now FROM ({sql_of_group(1, 'ReadTimeout', 'page N timed out')})"
    assert cursor.execute(shown).fetchall() == [("done",)] * 3


def test_an_item_that_failed_again_otherwise_is_of_its_newest_group(cursor: duckdb.DuckDBPyConnection) -> None:
    add_errors(
        cursor,
        """VALUES (1, 3, 1, 2, 'ReadTimeout', 'page 9 timed out', '',
        '2026-01-01 11:00:00+00', true, 'page N timed out', NULL)""",
    )
    assert chunks_of_errors(cursor, 1, "ReadTimeout", "page N timed out") == [0, 1]
    assert chunks_of_errors(cursor, 1, "Timeout", "took longer") == []
    assert [example.final for example in error_examples(cursor, 1, "Timeout", "took longer")] == [False]


BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def sample(
    cursor: duckdb.DuckDBPyConnection,
    at: float,
    done: float,
    failed: int = 0,
    memory: int = 1,
    rate: float = 0.0,
    in_flight: int | None = 1,
    workers: int = 0,
) -> None:
    cursor.execute(
        "INSERT INTO runner.samples"
        " (run_id, sampled_at, items_done, items_per_second, items_failed, app_rss, workers_rss, in_flight)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        [BEGIN + timedelta(seconds=at), done, rate, failed, memory, workers, in_flight],
    )


def test_curves_of_a_run_are_cut_by_time_not_by_sample(cursor: duckdb.DuckDBPyConnection) -> None:
    for at in range(101):  # a sample a second
        sample(cursor, at, 10 * at)
    for at in range(105, 202, 5):  # and one every five
        sample(cursor, at, 1_000 + 30 * (at - 100))
    items = run_curves(cursor, 1, 4).items
    assert items == pytest.approx((10.0, 10.0, 30.0, 30.0), rel=0.02)


def test_curves_have_every_item_of_a_run_that_ended_between_two_samples(cursor: duckdb.DuckDBPyConnection) -> None:
    sample(cursor, 0.0, 0, rate=0.0)
    sample(cursor, 3.0, 54, failed=6, rate=22.0)  # the one of its end
    curves = run_curves(cursor, 1, 4)
    assert sum(curves.items) == pytest.approx(60.0)  # 4 parts of a second each
    assert curves.items[1:] == pytest.approx((20.0, 20.0, 20.0))
    # The highest rate that the dashboard has shown, never below the mean of the run.
    assert curves.most == 22.0
    sample(cursor, 8.0, 534, failed=6, rate=22.0)
    assert run_curves(cursor, 1, 9).most == pytest.approx(60.0)


def test_the_first_samples_of_a_process_are_close_and_keep_their_own_rates(cursor: duckdb.DuckDBPyConnection) -> None:
    for at, done in ((0.0, 0), (1.0, 10), (2.0, 10), (4.0, 90), (4.1, 94)):
        sample(cursor, at, done)
    rates = run_curves(cursor, 1, 51).items  # the first sample stands for a second
    assert rates[15] == pytest.approx(10.0) and rates[25] == 0.0 and rates[35] == pytest.approx(40.0)
    assert max(rates) == pytest.approx(40.0)


def test_a_short_last_sample_makes_no_higher_rate_than_the_run_had(cursor: duckdb.DuckDBPyConnection) -> None:
    for step in range(5):
        sample(cursor, 5.0 * step, max(800 * step - 60, 0), rate=158.0)
    # At the end workers report at once what had ended before: 68 items a twentieth of a second later.
    sample(cursor, 20.05, 3_208, rate=158.0)
    curves = run_curves(cursor, 1, 32)
    assert curves.most == 158.0 and max(curves.items) < 173.0
    whole = 1.0 + 20.05  # the first sample stands for a second
    assert sum(curves.items) * whole / 32 == pytest.approx(3_208)


def test_curves_of_a_resumed_run_leave_out_the_time_between_its_processes(cursor: duckdb.DuckDBPyConnection) -> None:
    for at in range(0, 105, 5):
        sample(cursor, at, 10 * at)
        # It runs again what had failed, and begins with items that another process recorded after its last sample.
        sample(cursor, 86_400 + at, 1_100 + 15 * at, failed=5 * at)
    first, *_, last = run_curves(cursor, 1, 4).items
    assert (first, last) == pytest.approx((10.0, 20.0), rel=0.03)


def test_a_process_that_begins_seconds_after_another_is_drawn_behind_a_short_gap(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    for start, before in ((0.0, 0), (12.0, 60)):  # killed 2 s after its last sample, resumed 5 s later
        sample(cursor, start, before, in_flight=None)
        sample(cursor, start + 5.0, before + 50)
    curves = run_curves(cursor, 1, 120)
    gap = [place for place in range(30, 120) if not curves.items[place]]
    assert 2 <= len(gap) <= 4 and gap == [place for place in range(120) if not curves.memory[place]]
    assert (curves.items[30], curves.items[-1], max(curves.items)) == pytest.approx((10.0,) * 3)


def test_a_pause_is_a_gap_without_slopes(cursor: duckdb.DuckDBPyConnection) -> None:
    for at, done, in_flight in (
        (0, 0, None), (5, 50, 4), (10, 100, 4), (13, 124, 0), (17, 124, 0), (22, 124, 0), (23, 124, 4), (28, 174, 4),
    ):  # fmt: skip
        sample(cursor, at, done, in_flight=in_flight)
    curves = run_curves(cursor, 1, 29)  # the first sample stands for a second
    assert not any(curves.items[14:24])
    assert curves.items[1:11] == pytest.approx((10.0,) * 10) and curves.items[24:] == pytest.approx((10.0,) * 5)
    assert curves.items[11:14] == pytest.approx((8.0,) * 3)
    # Parts that the pause covers only partly have the rates of their rest.
    assert run_curves(cursor, 1, 4).items == pytest.approx((62.5 / 7.25, 61.5 / 6.75, 0.0, 10.0))


def test_items_that_the_user_runs_again_have_failed_when_they_did(cursor: duckdb.DuckDBPyConnection) -> None:
    sample(cursor, 0.0, 0, in_flight=None)
    sample(cursor, 5.0, 40, failed=10)
    sample(cursor, 10.0, 90, failed=10)
    sample(cursor, 13.0, 90, in_flight=None)  # the retry begins without failures
    sample(cursor, 18.0, 95, failed=5)
    curves = run_curves(cursor, 1, 16)
    assert curves.failed[1:5] == pytest.approx((2.0,) * 4) and max(curves.failed[7:11]) == 0.0
    assert curves.failed[-1] == pytest.approx(1.0)


def test_curves_have_failures_a_second_and_the_highest_memory(cursor: duckdb.DuckDBPyConnection) -> None:
    for step in range(21):
        sample(cursor, 5.0 * step, 50 * step, failed=10 * max(step - 10, 0), memory=40 - step, workers=3 * step)
    curves = run_curves(cursor, 1, 2)
    assert curves.failed == pytest.approx((0.0, 2.0), abs=0.05)
    assert curves.memory == (60.0, 80.0) and curves.app == (30.0, 20.0)
    assert run_curves(cursor, 7) == RunCurves()


def test_the_highest_rate_of_failures_does_not_depend_on_the_length_of_a_part(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    for step in range(60):  # 10 failures a second, but workers report in batches
        sample(cursor, 5.0 * step, 0, failed=50 * step + (2 if step % 2 else 0))
    short, long = run_curves(cursor, 1, 60), run_curves(cursor, 1, 4)
    assert max(short.failed) > 10.3
    assert short.most_failed == long.most_failed == pytest.approx(10.0, rel=0.03) and short.most_failed <= 10.0


def test_items_that_failed_in_an_outage_and_ran_again_are_in_no_curve_of_failures(
    cursor: duckdb.DuckDBPyConnection,
) -> None:
    for step, (done, lost) in enumerate([(0, 0), (50, 5), (55, 45), (55, 5), (100, 5), (150, 10)]):
        sample(cursor, 5.0 * step, done, failed=lost)
    curves = run_curves(cursor, 1, 26)
    seconds = 26.0 / 26  # the first sample stands for a second
    assert sum(curves.failed) * seconds == pytest.approx(10.0)
    assert curves.failed[1:6] == pytest.approx((1.0,) * 5) and max(curves.failed[6:21]) == 0.0
    # They were executed, though, each time.
    assert sum(curves.items) * seconds == pytest.approx(150.0 + 50.0)


def test_a_group_of_errors_says_what_became_of_its_attempts(cursor: duckdb.DuckDBPyConnection) -> None:
    group: FailureGroup = failure_groups(cursor, 1)[0]

    def outcome(items: int, recovered: int) -> str:
        return replace(group, attempts=3, items_failed=items, recovered=recovered).outcome

    assert outcome(1, 0) == ""
    assert outcome(1, 2) == "+2 attempts later succeeded"
    assert outcome(0, 3) == "no item failed, all later succeeded"
    assert outcome(0, 1) == "no item failed, 1 attempt later succeeded"
    assert outcome(0, 0) == "no item failed"


def test_a_group_names_the_other_error_with_which_its_items_failed(cursor: duckdb.DuckDBPyConnection) -> None:
    cursor.execute("INSERT INTO runner.items SELECT * REPLACE (4 AS item) FROM runner.items WHERE item = 3")
    killed = "'WorkerKilled', 'signal 9', '', '2026-01-01 10:00:0{}+00', false, 'signal N', NULL"
    add_errors(
        cursor,
        f"""VALUES (1, 3, 1, 1, {killed.format(1)}), (1, 3, 1, 2, {killed.format(2)}), (1, 1, 0, 1, {killed.format(2)}),
        (1, 0, 0, 1, 'Odd', 'x', '', '2026-01-01 10:00:02+00', false, 'x', NULL)""",
    )
    groups = {group.type: group for group in failure_groups(cursor, 1)}
    assert (groups["WorkerKilled"].attempts, groups["WorkerKilled"].items_failed) == (3, 0)
    assert (
        groups["WorkerKilled"].outcome
        == "1 attempt later succeeded; the item of the others failed with: Timeout: took longer"
    )
    assert groups["Odd"].outcome == "no item failed, all later succeeded" and not groups["Odd"].other_failure
    add_errors(cursor, f"VALUES (1, 4, 1, 1, {killed.format(3)})")
    last = "'Lost', 'a\nb', '', '2026-01-01 11:00:00+00', true, 'a', NULL"
    add_errors(cursor, f"VALUES (1, 4, 1, 2, {last})")
    (group,) = (group for group in failure_groups(cursor, 1) if group.type == "WorkerKilled")
    assert group.other_failure == "1 attempt later succeeded; 2 items failed with other errors, such as: Lost: a"


def test_an_outcome_is_told_in_fewer_words_where_it_is_narrow() -> None:
    assert shorter_forms("+2 attempts later succeeded")[1:] == ("+2 att. later ok", "+2 att.")
    all_later = "no item failed, all later succeeded"
    assert shorter_forms(all_later) == (all_later, "all later ok", "all later ok")
    one = "no item failed, 1 attempt later succeeded"
    assert shorter_forms(one)[1] == "no item failed, 1 att. later ok"
