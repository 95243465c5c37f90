"""Lines about a run: header, progress, closing lines."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from support.told_run import picture

from tui_runner.cli.overwritten_line import Lines, cut_to, wrapped
from tui_runner.cli.progress_lines import Recorded, closing_lines, live_line, progress_line, shown_path
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.progress.snapshot import ErrorGroup, HostView
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.store.ledger.reports import EPOCH, FailureGroup
from tui_runner.text.numbers import short_plural

GO_ON = "tui-runner resume books.duckdb 3"


def closing(**changes: object) -> list[str]:
    return closing_lines(picture(**changes), "my books.duckdb", GO_ON)


def test_progress_has_share_rates_and_the_time_left() -> None:
    line = progress_line(picture(eta_seconds=(40.0, 61.0), items_failed=2, app_rss=400_000_000))
    assert line == "books run 3   52.0 %  52/100  10.0 items/s  1,000 rows/s  failed 2  400 MB  ETA 00:00:40–00:01:01"


def test_progress_of_an_input_without_known_length_has_no_share() -> None:
    line = progress_line(picture(items_total=None, items_done=1))
    assert line == "books run 3  1 item, unknown total  10.0 items/s  1,000 rows/s"


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"state": RunState.DRAINING}, "draining"),
        ({"state": RunState.PAUSED, "reason": "the disk is full"}, "paused: the disk is full"),
        ({"stalled_seconds": 75.0}, "stalled for 00:01:15"),
    ],
    ids=["draining", "held", "stalled"],
)
def test_progress_says_when_a_run_does_not_simply_run(changes: dict[str, object], end: str) -> None:
    assert progress_line(picture(eta_seconds=(1.0, 2.0), **changes)).endswith(f"  {end}")


def test_the_last_rows_are_said_to_be_written_in_the_place_of_an_estimate() -> None:
    last = {"items_done": 100, "in_flight": 0, "buffered_bytes": 268_000_000, "eta_seconds": (0.0, 1.0)}
    assert progress_line(picture(**last)).endswith("rows/s  writing 268 MB")
    assert "writing 268 MB" in live_line(picture(**last), 60)
    assert progress_line(picture(**last, state=RunState.DRAINING)).endswith("  writing 268 MB")
    assert "writing" not in progress_line(picture(**last | {"in_flight": 1}))
    assert "writing" not in progress_line(picture(**last | {"items_done": 99}))


def test_no_rate_is_shown_before_the_first_item_has_ended() -> None:
    first = {"items_done": 20, "items_skipped": 20, "in_flight": 4, "items_per_second": 0.0}
    assert "/s" not in progress_line(picture(**first)) + live_line(picture(**first), 100)


def test_progress_of_a_paused_run_says_why_and_has_no_rate() -> None:
    line = progress_line(picture(state=RunState.PAUSED, reason="the disk is full\x1b[2J"))
    assert line == "books run 3   50.0 %  50/100  paused: the disk is full␛[2J"


def test_a_finished_run_says_where_its_rows_are() -> None:
    assert closing(state=RunState.FINISHED, items_done=100, elapsed=12.0) == [
        "books run 3 finished: 100 done, 5,000 rows in 00:00:12 → table books in my books.duckdb",
        "the rows:     tui-runner query 'my books.duckdb' 'FROM \"books\" WHERE _run = 3 LIMIT 10'",
    ]


def test_a_run_of_an_empty_input_says_so() -> None:
    lines = closing(state=RunState.FINISHED, items_done=0, items_total=0, rows=0)
    assert lines[1:] == ["no item was read: the input is empty, or --limit is 0"]


def test_the_rows_of_a_first_run_need_no_filter() -> None:
    lines = closing(run_id=1, state=RunState.FINISHED, items_done=100)
    assert lines[1] == "the rows:     tui-runner query 'my books.duckdb' 'FROM \"books\" LIMIT 10'"


def test_a_stopped_run_says_how_to_resume_it() -> None:
    lines = closing(state=RunState.STOPPED, reason="stopped on request", items_skipped=20, rows=90, rows_skipped=50)
    assert lines == [
        "books run 3 stopped: 50 done, 90 rows (20 items, 50 rows of these before) in 00:00:00 "
        "→ table books in my books.duckdb",
        "stopped on request",
        "the rows:     tui-runner query 'my books.duckdb' 'FROM \"books\" WHERE _run = 3 LIMIT 10'",
        f"resume:       {GO_ON}",
    ]


def test_a_run_that_failed_for_memory_names_a_higher_limit() -> None:
    failed = picture(state=RunState.FAILED, reason="give it more --max-memory", memory_needed=1_900_000_001)
    assert closing_lines(failed, "books.duckdb", GO_ON)[-1] == f"resume:       {GO_ON} --max-memory 1901MB"
    assert closing_lines(failed, "books.duckdb", "run the same program again")[-1].endswith(" again")


def test_five_groups_of_errors_are_shown_and_the_rest_counted() -> None:
    groups = tuple(
        ErrorGroup(10 - number, "ValueError", f"page N is \x1b[2J{number}", final=9 - number) for number in range(7)
    )
    # A snapshot has twenty groups at most, and says how many there are.
    lines = closing(
        state=RunState.FINISHED, items_failed=130, errors=groups, errors_final=130, error_groups=99, failed_groups=81
    )
    assert lines[1:8] == [
        *(f"  {9 - number} × ValueError: page N is ␛[2J{number}" for number in range(5)),
        "  and 76 more kinds",
        "what failed:  tui-runner errors 'my books.duckdb' 3",
    ]


def test_errors_of_attempts_that_were_made_again_are_not_what_failed() -> None:
    errors = (ErrorGroup(2, "ValueError", "odd", final=2), ErrorGroup(3, "ConnectionError", "reset"))
    lines = closing(state=RunState.FINISHED, items_failed=0, errors=errors[1:], error_groups=1)
    assert lines[1] == "  3 attempts, no item failed: ConnectionError: reset"
    assert not any(line.startswith("what failed") for line in lines)
    lines = closing(state=RunState.FINISHED, items_failed=2, errors=errors, errors_final=2, error_groups=2)
    assert lines[1:3] == ["  2 × ValueError: odd", "  3 attempts: ConnectionError: reset"]
    assert "what failed:  tui-runner errors 'my books.duckdb' 3" in lines


def test_time_in_pauses_is_shown_beside_active_time() -> None:
    line = closing(state=RunState.FINISHED, elapsed=15.2, paused=124.7)[0]
    assert "rows in 00:00:15 (00:02:19 with pauses) → table" in line


def test_counts_at_the_end_are_exact() -> None:
    line = closing(state=RunState.FINISHED, items_done=9_999, items_failed=1_204, rows=1_234_567)[0]
    assert "9,999 done, 1,204 failed, 1,234,567 rows in" in line


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("at", "'FROM \"at\" WHERE _run = 3 LIMIT 10'"),
        ("two words", "'FROM \"two words\" WHERE _run = 3 LIMIT 10'"),
        ("books", "'FROM \"books\" WHERE _run = 3 LIMIT 10'"),
    ],
)
def test_the_query_can_be_pasted_whatever_the_table_is_called(table: str, sql: str) -> None:
    assert closing(state=RunState.FINISHED, table=table)[-1].endswith(f" {sql}")


def test_a_run_that_failed_before_its_first_item_is_one_line() -> None:
    assert closing(state=RunState.FAILED, items_done=0, reason="no\nway") == [
        "tui-runner: books run 3 could not begin: no␊way"
    ]


@pytest.mark.parametrize(
    ("number", "noun", "text"), [(0, "row", "0 rows"), (1, "row", "1 row"), (12_000, "column", "12 k columns")]
)
def test_one_is_singular(number: int, noun: str, text: str) -> None:
    assert short_plural(number, noun) == text


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("字字字", 5, "字字…"),
        ("字字字", 4, "字…"),
        ("abc", 0, ""),
        ("abc", -1, ""),
    ],
)
def test_text_is_cut_to_columns_not_characters(text: str, width: int, cut: str) -> None:
    assert cut_to(text, width) == cut


def test_a_path_is_relative_where_it_is_inside() -> None:
    assert shown_path(Path("/a/b/x.duckdb"), Path("/a")) == "b/x.duckdb"
    assert shown_path(Path("/a/b/x.duckdb"), Path("/c")) == "/a/b/x.duckdb"


@pytest.mark.parametrize("width", [59, 79, 119])
@pytest.mark.parametrize("in_flight", [0, 3])
def test_a_run_whose_rest_waits_for_attempts_says_so_in_place_of_the_estimate(width: int, in_flight: int) -> None:
    rest = picture(
        items_total=400, items_done=389, in_flight=in_flight, delayed=9, next_attempt=3.4, awaits_attempts=True,
        app_rss=229_000_000, items_per_second=2.0,
    )  # fmt: skip
    told = "ETA after retries, the next in 4 s"
    assert live_line(rest, width).endswith(told) or f"{told}  " in live_line(rest, width)
    assert progress_line(rest).endswith(told)
    due = replace(rest, next_attempt=0.0)
    assert progress_line(due).endswith("ETA after retries"), "it does not count down to 0"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_live_line_fits_and_leaves_out_what_matters_least(width: int) -> None:
    running = picture(
        items_total=100_000, items_done=38_202, items_failed=12, items_per_second=50.2, eta_seconds=(1_200.0, 1_260.0),
        app_rss=100_000_000, workers_rss=300_000_000, rows_per_second=376_000.0,
    )  # fmt: skip
    line = live_line(running, width)
    assert len(line) <= width and " 38.2 %" in line and "━" in line and "─" in line
    assert "ETA 00:20:30" in line
    assert ("38,214/100,000" in line) is (width >= 60)
    assert ("12 failed" in line) is (width >= 60)
    assert ("books run 3" in line and "50.2/s" in line and "400 MB" in line) is (width >= 120)


def test_the_bar_gives_way_to_the_failed_items() -> None:
    eta = (99.0, 160.0)
    running = picture(items_total=399, items_done=123, items_failed=53, eta_seconds=eta, in_flight=2)
    assert live_line(running, 60) == "━━━╸────   44.1 %  176/399  53 failed  ETA 00:01:39–00:02:40"
    begun = picture(items_total=399, items_done=36, eta_seconds=eta, in_flight=2)
    assert live_line(begun, 60) == "books run 3  ╸──────    9.0 %  36/399  ETA 00:01:39–00:02:40"


def test_a_resumed_run_that_was_stopped_again_counts_the_items_that_had_failed_before() -> None:
    stopped = picture(
        state=RunState.STOPPED, items_skipped=20, rows_skipped=0, items_failed=2, active_before=60.0, elapsed=10.0,
        held_seconds=5.0,
    )  # fmt: skip
    group = FailureGroup(
        "ValueError", "no", items_failed=7, attempts=9, recovered=0, chunks=2, first_seen=EPOCH, last_seen=EPOCH,
        newest_item=7, newest_item_text="", newest_message="no", newest_traceback="", messages_differ=False,
    )  # fmt: skip
    lines = closing_lines(stopped, "books.duckdb", GO_ON, recorded=Recorded([group], 1, 7))
    assert "50 done, 7 failed, 2 of them since it began again, " in lines[0]
    assert "00:01:10 (00:00:10 since it began again, 00:00:05 of that waiting for hosts)" in lines[0]
    assert lines[1] == "  7 × ValueError: no"


def test_lines_count_the_retries_that_the_budget_holds_back() -> None:
    slow = picture(items_total=100_000, items_done=38_202, retries_over_budget=312)
    assert "312 held by the retry budget" in live_line(slow, 100) and "312 held by the retry" in progress_line(slow)


def test_why_a_run_waits_goes_before_the_bar() -> None:
    paused = picture(state=RunState.PAUSED, reason="disk full", trial_seconds=None)
    assert "paused: disk full" in live_line(paused, 100)


OUTAGE = {
    "state": RunState.PAUSED, "in_outage": True, "trial_seconds": 2.0, "items_total": 20_000, "items_done": 12_345,
    "reason": "54 of the last 60 attempts failed (OSError: refused): one item is tried again every 2 s",
    "outage_error": "OSError: refused",
    "items_failed": 1_204, "app_rss": 281_000_000, "job": "a_job_with_a_long_name",
}  # fmt: skip


@pytest.mark.parametrize("width", [39, 59, 79, 119, 199])
def test_the_line_of_an_outage_keeps_the_countdown_and_the_error(width: int) -> None:
    line = live_line(picture(**OUTAGE), width)
    assert len(line) <= width and "next try in 2 s · OSError: refused · " in line
    assert ("paused; next" in line) is (" 67.7 %" in line) is (width >= 59)
    assert ("13,549/20,000" in line) is (width >= 79)
    assert ("54 of the last 60 attempts failed: one" in line) is (width >= 119)
    assert ("failed  paused" in line) is ("281 MB" in line) is ("run 3" in line) is (width >= 199)
    minutes = live_line(picture(**OUTAGE | {"trial_seconds": 125.0}), width)
    assert "next try in 02:05 · OSError: refused" in minutes
    assert "paused; next try in 02:05 · 54" in progress_line(picture(**OUTAGE | {"trial_seconds": 125.0}))


def test_all_but_the_share_gives_way_to_the_error_of_an_outage() -> None:
    error = "ConnectionError: catalogue.example.org:443 refuses connections"
    reason = f"54 of the last 60 attempts failed ({error}): one is tried from time to time"
    outage = picture(**OUTAGE | {"reason": reason, "outage_error": error})
    assert live_line(outage, 59) == " 67.7 %  next try in 2 s · ConnectionError: catalogue.exam…"
    assert live_line(outage, 79) == f" 67.7 %  next try in 2 s · {error}"[:78] + "…"
    assert f"paused; next try in 2 s · {error} · 54 …" in live_line(outage, 119)


def waiting_for(host: str) -> dict[str, object]:
    wait = Wait(WaitCause.HOST, host, 20, 43_421)
    held = ChunkView(0, ChunkState.WAITING, 0, 400, started_at=1.0, wait=wait)
    refusing = HostView(host, waiting=400, refused=3, statuses=((503, 97), (429, 3)), cooldown_until=20.0, refusal=429)
    return {
        "items_total": 400, "items_done": 0, "items_per_second": 0.0, "in_flight": 0, "app_rss": 281_000_000,
        "chunks": ChunkViews.of((held,)), "hosts": (refusing,),
    }  # fmt: skip


def test_the_line_of_a_run_that_waits_for_a_host_says_for_which_and_until_when() -> None:
    why = "waits for 127.0.0.1 (429) until 12:03:41 UTC"
    waiting = picture(**waiting_for("127.0.0.1"))
    assert live_line(waiting, 59) == f"  0.0 %  {why}"
    assert live_line(waiting, 79) == f"books run 3    0.0 %  0/400  {why}"
    assert live_line(waiting, 119).endswith(f"  0/400  {why}  281 MB") and "───" in live_line(waiting, 119)
    assert progress_line(waiting).endswith("  281 MB  all items wait for 127.0.0.1 (429) until 12:03:41 UTC")
    # A wait that the host has not asked for is called back-off if there is room beside the time.
    (host,) = waiting.hosts
    ours = replace(waiting, hosts=(replace(host, backs_off=True),))
    assert live_line(ours, 119).endswith("waits for 127.0.0.1 (429, own back-off) until 12:03:41 UTC  281 MB")
    assert live_line(ours, 69).endswith("waits for 127.0.0.1 (429, own back-off) until 12:03:41 UTC")
    assert live_line(ours, 64).endswith("waits for 127.0.0.1 (429, back-off) until 12:03:41 UTC")
    assert live_line(ours, 59) == f"  0.0 %  {why}"
    # A long name is cut, the time is not, and a number of items is not needed.
    long = live_line(picture(**waiting_for("shop\x1b[2J." + "a" * 80)), 59)
    assert len(long) <= 59 and "waits for shop␛[2J.a" in long and long.endswith("… (429) until 12:03:41 UTC")
    assert live_line(picture(**waiting_for("127.0.0.1") | {"items_total": None}), 79).endswith(
        f"0 items  {why}  281 MB"
    )


def test_the_seconds_of_a_stop_are_counted_down() -> None:
    draining = picture(state=RunState.DRAINING, drain_seconds=8.0, reason="stopped on request")
    assert "draining, 8 s left · stopped on request" in live_line(draining, 79)


def test_the_closing_line_says_how_long_all_items_waited_for_hosts() -> None:
    line = closing(state=RunState.FINISHED, elapsed=60.0, held_seconds=41.3)[0]
    assert " in 00:01:00 (00:00:41 waiting for hosts) → " in line
    assert "waiting" not in closing(state=RunState.FINISHED, elapsed=60.0, held_seconds=0.5)[0]


def test_closing_lines_count_errors_as_the_ledger_does() -> None:
    failed = FailureGroup(
        "ReadTimeout", "page N", items_failed=9, attempts=60, recovered=33, chunks=2, first_seen=EPOCH, last_seen=EPOCH,
        newest_item=7, newest_item_text="", newest_message="page 7", newest_traceback="",
        messages_differ=True,
    )  # fmt: skip
    later = replace(failed, type="OSError", items_failed=0, recovered=60)
    snapshot = picture(state=RunState.FINISHED, items_failed=9, errors=(ErrorGroup(99, "KeyError", "x"),))
    lines = closing_lines(snapshot, "books.duckdb", GO_ON, recorded=Recorded([failed, later], 1, 7))
    assert lines[1:4] == [
        "  9 × ReadTimeout: page 7 (and alike) (+33 attempts later succeeded)",
        "  60 attempts, no item failed, all later succeeded: OSError: page 7 (and alike)",
        "what failed:  tui-runner errors books.duckdb 3",
    ]
    other = replace(failed, type="WorkerKilled", items_failed=0, attempts=3, recovered=0, messages_differ=False)
    other = replace(other, failed_otherwise=1, other_error="KilledTooOften: page \x1b[2J")
    lines = closing_lines(snapshot, "books.duckdb", GO_ON, recorded=Recorded([failed, other], 1, 7))
    assert lines[2] == "  3 attempts ended by WorkerKilled: page 7; the item failed with: KilledTooOften: page ␛[2J"
    lines = closing_lines(snapshot, "books.duckdb", GO_ON, recorded=Recorded([failed], 6, 7))
    assert lines[2] == "  and 5 more kinds"  # with failed items


def test_closing_lines_have_the_first_line_of_a_message() -> None:
    message = "404 Not Found for url\nFor more information check: https://developer.example"
    group = ErrorGroup(3, "HTTPStatusError", "N Not Found for url", 3, message)
    lines = closing_lines(picture(state=RunState.FINISHED, items_failed=3, errors=(group,)), "books.duckdb", GO_ON)
    assert lines[1] == "  3 attempts: HTTPStatusError: 404 Not Found for url"
    recorded = FailureGroup(
        "HTTPStatusError", "N Not Found for url", items_failed=3, attempts=3, recovered=0, chunks=2, first_seen=EPOCH,
        last_seen=EPOCH, newest_item=7, newest_item_text="", newest_message=message, newest_traceback="",
        messages_differ=False,
    )  # fmt: skip
    assert closing_lines(picture(), "books.duckdb", GO_ON, recorded=Recorded([recorded], 1, 7))[1] == (
        "  3 × HTTPStatusError: 404 Not Found for url"
    )


def test_long_lines_wrap_between_words_and_are_indented() -> None:
    group = ErrorGroup(
        3, "ValueError", "no table on page N of the catalogue", 3, "no table on page 7 of the catalogue", True
    )
    whole = closing_lines(
        picture(state=RunState.FINISHED, items_failed=3, errors=(group,), error_groups=1), "books.duckdb", GO_ON
    )
    lines = [part for line in whole for part in wrapped(line, 40)]
    assert all(len(line) <= 40 or line.startswith("    tui-runner ") for line in lines)
    assert lines[0].startswith("books run 3 finished: ") and lines[1].startswith("    ")
    assert lines[4:6] == ["      page 7 of the catalogue (and", "      alike)"]
    assert " ".join(lines).split() == " ".join(whole).split()


def test_permanent_lines_are_divided_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_runner.cli.overwritten_line.columns", lambda stream: 30)
    text = "the database is in use by tui-runner (pid 7724)"
    for live, written in ((True, "the database is in use by\n    tui-runner (pid 7724)\n"), (False, f"{text}\n")):
        out = io.StringIO()
        Lines(out, live).say(text)
        assert out.getvalue() == written


def test_commands_are_moved_into_a_line_of_their_own_and_never_cut() -> None:
    command = "tui-runner query a/very/long/path/to/books.duckdb 'FROM books LIMIT 10'"
    assert wrapped(f"the rows:     {command}", 40) == ["the rows:", f"    {command}"]
    assert wrapped(f"the rows:     {command}", 200) == [f"the rows:     {command}"]
    news = "info: run 1 had another input: this is a new one; to resume it instead: tui-runner resume books.duckdb 1"
    assert wrapped(news, 40) == [
        "info: run 1 had another input: this is a",
        "    new one; to resume it instead:",
        "    tui-runner resume books.duckdb 1",
    ]
    error = "tui-runner: books.duckdb: in use by another run; see it with: tui-runner runs 'my books.duckdb'"
    assert wrapped(error, 40) == [
        "tui-runner: books.duckdb: in use by",
        "    another run; see it with:",
        "    tui-runner runs 'my books.duckdb'",
    ]
    assert wrapped("resume:       … | tui-runner run x.py --input - --resume", 30)[0] == "resume:"
