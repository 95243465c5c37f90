"""Runs, items and errors as the ledger knows them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from support.sent_batches import STARTED, error_row, item_row, make_batch, run_record

from tui_runner.errors import EXIT_DATABASE, DatabaseError, UserError
from tui_runner.store.database import Database
from tui_runner.store.ingest.transaction import StateRecord, Writer
from tui_runner.store.ledger import LEDGER_VERSION, Ledger, Totals, migrations
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.ledger.reports import error_examples, failure_groups


@pytest.fixture
def ledger(cursor: duckdb.DuckDBPyConnection) -> Ledger:
    return Ledger(cursor)


def test_a_run_is_read_as_it_was_recorded(ledger: Ledger) -> None:
    record = run_record(run_id=99, input="urls.csv", items_total=None, ended_at=STARTED + timedelta(seconds=5))
    assert ledger.begin_run(record) == 1
    assert ledger.begin_run(run_record()) == 2
    assert ledger.run(1) == run_record(
        run_id=1, input="urls.csv", items_total=None, ended_at=STARTED + timedelta(seconds=5)
    )
    assert ledger.run(None) == run_record(run_id=2)


def test_moments_of_any_zone_are_kept(ledger: Ledger) -> None:
    east = datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(hours=9)))
    ledger.begin_run(run_record(started_at=east))
    assert ledger.run(None).started_at == east
    assert ledger.run(None).started_at.tzinfo is UTC


def test_hostile_values_are_recorded(ledger: Ledger) -> None:
    params = {
        "quote": "'\"\\",
        "escape": "\x1b[31m\0",
        "none": None,
        "limit": math.inf,
        "nested": {"a": [1, 2.5]},
        "lone": "\udc80",
    }
    ledger.begin_run(run_record(params=params, job_path="/tmp/\udcff.py:f", input="a'b.csv"))
    record = ledger.run(None)
    assert record.params == {**params, "limit": "Infinity", "lone": "\\udc80"}
    assert record.job_path == "/tmp/\\udcff.py:f"
    assert (
        ledger.find_alike(job="books", job_path="/tmp/\udcff.py:f", table_name="books", input="a'b.csv", params=params)
        == record
    )


def test_a_database_without_a_ledger_has_no_runs_and_is_not_changed(database: Database, ledger: Ledger) -> None:
    assert ledger.runs() == []
    assert ledger.totals(1) == Totals()
    with pytest.raises(UserError, match="no runs in this database"):
        ledger.run(None)
    assert database.cursor().execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_a_run_that_is_not_there_is_named(ledger: Ledger) -> None:
    ledger.begin_run(run_record())
    with pytest.raises(UserError, match=r"^books.duckdb: there is no run 5; its only run is 1$"):
        ledger.run(5, database=Path("books.duckdb"))
    with pytest.raises(UserError, match="no run 5"):
        ledger.reopen_run(5, {}, "running")


def test_a_reopened_run_has_its_new_settings(ledger: Ledger) -> None:
    ledger.begin_run(run_record(state="stopped", ended_at=STARTED))
    ledger.reopen_run(1, {"threads": 99}, "running")
    assert ledger.run(1) == run_record(run_id=1, settings={"threads": 99}, state="running")


def test_the_newest_unfinished_run_of_the_same_job_is_found(ledger: Ledger) -> None:
    for changes in (
        {"state": "stopped"},
        {"state": "stopped", "params": {"last": 1}},
        {"state": "running", "input": "other.csv"},
        {"state": "paused", "job": "other"},
        {"state": "failed", "table_name": "other"},
        {"state": "stopped", "job_path": "/elsewhere.py:books"},
        {"state": "finished"},
        {"state": "stopped", "settings": {"limit": 100}},
    ):
        ledger.begin_run(run_record(**changes))

    def found(**changes: object) -> int | None:
        wanted = {
            "job": "books",
            "job_path": "/jobs/scrape.py:books",
            "table_name": "books",
            "input": None,
            "params": run_record().params,
        }
        record = ledger.find_alike(**(wanted | changes))
        return None if record is None else record.run_id

    assert found() == 1
    assert found(finished=True) == 7
    assert found(limit=100) == 8, "with a limit it would be finished too soon"
    assert found(limit=200) is None
    assert found(params={"last": 1}) == 2
    assert found(params={"last": 2}) is None
    assert found(input="other.csv") == 3
    assert found(job="other") == 4
    assert found(table_name="OTHER") == 5
    ledger.begin_run(run_record(state="running"))
    assert found() == 9


def test_runs_come_newest_first_with_their_counts(ledger: Ledger, writer: Writer) -> None:
    ledger = Ledger(ledger._cursor)
    writer.write(
        [
            make_batch(
                items=[
                    item_row(0, rows=5),
                    item_row(1, rows=7, attempts=3),
                    item_row(2, "failed", attempts=3),
                    item_row(3, "timeout"),
                    item_row(4, "cancelled", attempts=0),
                ]
            ),
            StateRecord("stopped", None, STARTED),
        ]
    )
    ledger.begin_run(run_record())
    newest, first = ledger.runs()
    assert (newest.record.run_id, newest.totals) == (2, Totals())
    assert first.record == run_record(run_id=1, state="stopped", ended_at=STARTED)
    assert first.totals == ledger.totals(1) == Totals(done=2, failed=2, cancelled=1, rows=12, retries=4)


def test_items_that_failed_before_a_resume_count_again_only_when_they_have_run(ledger: Ledger, writer: Writer) -> None:
    rows = [item_row(0), item_row(1, "failed"), item_row(2, "cancelled", attempts=0), item_row(3, "failed")]
    writer.write([make_batch(items=rows)])
    cursor = ledger._cursor
    ledger = Ledger(cursor)
    for sample in (("2026-01-01", None), ("2026-01-03", None), ("2026-01-04", 4)):
        cursor.execute("INSERT INTO runner.samples (run_id, sampled_at, in_flight) VALUES (1, ?, ?)", sample)
    cursor.execute("UPDATE runner.items SET finished_at = '2026-01-02'")
    cursor.execute("UPDATE runner.items SET finished_at = '2026-01-05' WHERE item = 3")
    for state, totals in (("running", Totals(done=1, failed=1)), ("stopped", Totals(done=1, failed=2, cancelled=1))):
        cursor.execute("UPDATE runner.runs SET state = ?", [state])
        (found,) = ledger.runs()
        assert replace(found.totals, rows=0, retries=0) == totals


def test_errors_are_grouped_by_what_their_messages_have_in_common(ledger: Ledger, writer: Writer) -> None:
    writer.write(
        [
            make_batch(
                items=[item_row(item, "failed") for item in range(3)],
                errors=[
                    error_row(0, "no page 17 at 0xdeadbeef", attempt=1, final=False),
                    error_row(0, "no page 18 at 0xc0ffee", attempt=2),
                    error_row(1, "no page 2.5 at 0x1"),
                    error_row(2, "no user 123e4567-e89b-12d3-a456-426614174000"),
                    error_row(2, "no page 17 at 0xdeadbeef", type="OSError"),
                ],
            )
        ]
    )
    groups = failure_groups(ledger._cursor, 1)
    assert [(group.type, group.message, group.attempts, group.items_failed) for group in groups] == [
        ("ValueError", "no page N at N", 3, 2),
        ("OSError", "no page N at N", 1, 1),
        ("ValueError", "no user N", 1, 1),
    ]
    assert [group.and_alike for group in groups] == [" (and alike)", "", ""]
    assert groups[0].first_seen == groups[0].last_seen == STARTED
    assert groups[0].newest_traceback == f"Traceback: {groups[0].newest_message}"
    assert groups[0].newest_item_text == f"value {groups[0].newest_item}"
    assert len(failure_groups(ledger._cursor, 1, limit=1)) == 1


def test_the_example_of_a_group_is_an_attempt_with_which_an_item_failed(ledger: Ledger, writer: Writer) -> None:
    errors = [
        error_row(0, "refused page 0", attempt=1, final=False),
        error_row(0, "refused page 0", attempt=2),
        error_row(1, "refused page 1", attempt=1, final=False),
        error_row(1, "no page 1", attempt=2),
        error_row(2, "refused page 2", attempt=1, final=False),
        error_row(2, "refused page 2", attempt=2),  # run again by the user since
        error_row(3, "refused page 3", attempt=1, final=False),
        *(error_row(item, f"slow {item}", attempt=1, final=False) for item in (1, 2, 3)),
    ]
    for minutes, error in enumerate(errors):
        error["occurred_at"] = STARTED + timedelta(minutes=minutes)
    items = [item_row(item, "failed" if item < 2 else "ok") for item in range(4)]
    writer.write([make_batch(items=items, errors=errors)])
    groups = {group.newest_message: group for group in failure_groups(ledger._cursor, 1)}
    # The last one has no failed item, but item 1 has failed otherwise.
    assert list(groups) == ["refused page 0", "no page 1", "slow 1"]
    assert [group.newest_item for group in groups.values()] == [0, 1, 1]
    refused = groups["refused page 0"]
    assert (refused.items_failed, refused.attempts, refused.recovered) == (1, 6, 3)
    examples = error_examples(ledger._cursor, 1, refused.type, refused.message)
    assert [(example.item, example.attempt) for example in examples] == [(0, 2), (1, 1), (0, 1), (3, 1), (2, 2), (2, 1)]


def test_a_group_with_one_message_for_all_says_nothing_of_alike_ones(ledger: Ledger, writer: Writer) -> None:
    items = [item_row(item, "failed") for item in range(3)]
    errors = [error_row(item, "3", type="SystemExit") for item in range(3)]
    writer.write([make_batch(items=items, errors=errors)])
    [group] = failure_groups(ledger._cursor, 1)
    assert (group.message, group.newest_message, group.attempts, group.and_alike) == ("N", "3", 3, "")


def test_a_ledger_of_the_first_version_still_has_its_errors_in_groups(older_ledger: Path) -> None:
    with duckdb.connect(str(older_ledger)) as first:
        for statement in (
            "ALTER TABLE runner.errors DROP COLUMN shape",
            "ALTER TABLE runner.errors DROP COLUMN item_text",
            "UPDATE runner.ledger SET version = 1",
        ):
            first.execute(statement)
    with Database.open(older_ledger) as database:
        cursor = database.cursor()
        assert len(Ledger(cursor).runs()) == 4
        groups = failure_groups(cursor, 1)
        assert [(group.type, group.message, group.items_failed, group.newest_item_text) for group in groups] == [
            ("ValueError", "no N", 6, ""),
            ("Timeout", "no result within N s", 2, ""),
        ]
        assert failure_groups(cursor, 1, limit=10**30) == groups
        assert migrations.ledger_version(cursor) == LEDGER_VERSION


def test_the_view_has_the_failure_groups_of_every_run(older_ledger: Path) -> None:
    with Database.open(older_ledger) as database:
        cursor = database.cursor()
        Ledger(cursor)
        for run in (1, 2, 3, 4):
            shown = cursor.execute(
                "SELECT type, alike, items_failed, attempts FROM runner.failure_groups WHERE run_id = ?"
                " ORDER BY items_failed DESC",
                [run],
            ).fetchall()
            assert shown == [
                (group.type, group.message, group.items_failed, group.attempts) for group in failure_groups(cursor, run)
            ]


def test_errors_of_an_older_ledger_keep_their_tracebacks(older_ledger: Path) -> None:
    errors = "SELECT run_id, item, attempt, message, traceback FROM runner.errors ORDER BY ALL"
    with duckdb.connect(str(older_ledger)) as older:
        before = older.execute(errors).fetchall()
    assert any(traceback for *_, traceback in before)
    with Database.open(older_ledger) as database:
        cursor = database.cursor()
        ensure_ledger(cursor, create=False)
        assert cursor.execute(errors).fetchall() == before


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with Database.open(path) as database:
        Ledger(database.cursor()).begin_run(run_record())
        database.cursor().execute("UPDATE runner.ledger SET version = 99")
    with Database.open(path) as database:
        with pytest.raises(DatabaseError, match=r"written by a newer tui-runner .*; update tui-runner") as caught:
            Ledger(database.cursor())
        assert caught.value.exit_code == EXIT_DATABASE
        assert caught.value.where == str(path.resolve())
        assert database.cursor().execute("SELECT version FROM runner.ledger").fetchall() == [(99,)]


def test_an_older_ledger_is_migrated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger(database.cursor()).begin_run(run_record())
    monkeypatch.setattr(migrations, "LEDGER_VERSION", LEDGER_VERSION + 1)
    monkeypatch.setattr(
        migrations, "_STEPS", {LEDGER_VERSION: ("ALTER TABLE runner.runs ADD COLUMN note VARCHAR DEFAULT 'x'",)}
    )
    assert Ledger(database.cursor()).run(None) == run_record(run_id=1)
    assert database.cursor().execute("SELECT note FROM runner.runs").fetchall() == [("x",)]
    assert migrations.ledger_version(database.cursor()) == LEDGER_VERSION + 1


def test_a_migration_that_fails_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger(database.cursor()).begin_run(run_record())
    monkeypatch.setattr(migrations, "LEDGER_VERSION", LEDGER_VERSION + 1)
    steps = ("ALTER TABLE runner.runs ADD COLUMN note VARCHAR", "SELECT nonsense")
    monkeypatch.setattr(migrations, "_STEPS", {LEDGER_VERSION: steps})
    with pytest.raises(duckdb.Error):
        Ledger(database.cursor())
    assert migrations.ledger_version(database.cursor()) == LEDGER_VERSION
    with pytest.raises(duckdb.BinderException):
        database.cursor().execute("SELECT note FROM runner.runs")


def test_a_foreign_schema_is_refused(database: Database) -> None:
    database.cursor().execute("CREATE SCHEMA runner")
    database.cursor().execute("CREATE TABLE runner.items (a INTEGER)")
    with pytest.raises(DatabaseError, match="its schema `runner` has tables that are not tui-runner's"):
        Ledger(database.cursor()).begin_run(run_record())
    assert database.cursor().execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("items",)]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE SCHEMA runner", "CREATE TABLE runner.ledger (x INTEGER)"], "has tables that are not tui-runner's"),
        (
            ["DROP TABLE runner.failed_attempts"],
            r"its ledger is incomplete: missing or changed: runner.failed_attempts; restore",
        ),
        (["ALTER TABLE runner.items DROP COLUMN key"], r"its ledger is incomplete: missing or changed: runner.items"),
    ],
)
def test_a_changed_ledger_is_refused(database: Database, statements: list[str], said: str) -> None:
    if "CREATE SCHEMA" not in statements[0]:
        Ledger(database.cursor()).begin_run(run_record())
    for statement in statements:
        database.cursor().execute(statement)
    with pytest.raises(DatabaseError, match=said):
        Ledger(database.cursor())
