"""Lines of the dashboard: header, progress, figures, events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from support.fake_run import busy, chunk

from tui_runner.engine.control import ON_REQUEST
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.progress.snapshot import KEPT_EVENTS, ErrorGroup, HostView, Snapshot
from tui_runner.engine.progress.snapshot import RunEvent as Event
from tui_runner.engine.protocol import InFlight
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.store.ledger.reports import RunCurves
from tui_runner.system.files import short_path, typed_path, without_dots
from tui_runner.text.numbers import clock
from tui_runner.tui.actions import DEFAULT_KEYS
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs.help import help_text
from tui_runner.tui.run.chunk_rows import chunk_rate, layout, row
from tui_runner.tui.run.dashboard import Graphs, plan
from tui_runner.tui.run.event_line import EventLine
from tui_runner.tui.run.header import Failures, Figures, Header, Progress, Summary, summary
from tui_runner.tui.widgets.footer import entries
from tui_runner.tui.widgets.paint import (
    Line,
    cells,
    column,
    end_of,
    fitted,
    merged,
    message_spans,
    spread,
    state_span,
    wait_text,
    without_middle,
)


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def header(width: int = 100, **fields: object) -> str:
    return text(Header().lines(replace(busy(), **fields), width, 1))[0]


def figures(width: int = 120, height: int = 1, **fields: object) -> str:
    return "\n".join(text(Figures().lines(replace(busy(), **fields), width, height)))


def progress(width: int = 80, **fields: object) -> str:
    return text(Progress().lines(replace(busy(), **fields), width, 1))[0]


def events(width: int = 120, height: int = 2, **fields: object) -> list[str]:
    return text(EventLine().lines(replace(busy(), **fields), width, height))


def test_the_header_names_the_run_and_its_state() -> None:
    assert " ".join(header().split()) == "tui-runner books → books.duckdb · run 3 ▶ RUNNING 00:12:41 ETA 00:20:45"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (RunState.PAUSED, "⏸ PAUSED"),
        (RunState.DRAINING, "▽ DRAINING"),
        (RunState.STOPPED, "■ STOPPED"),
        (RunState.FINISHED, "✔ FINISHED"),
        (RunState.FAILED, "▲ FAILED"),
    ],
)
def test_every_state_of_a_run_has_a_glyph_and_a_word(state: RunState, shown: str) -> None:
    assert shown in header(state=state)


def test_an_uncertain_estimate_is_a_range() -> None:
    assert "ETA 00:10:00–00:30:00" in header(eta_seconds=(600.0, 1800.0))
    assert "ETA –" in header(eta_seconds=None)
    assert "ETA" not in header(state=RunState.FINISHED)


def test_a_stream_has_no_total_and_says_so() -> None:
    assert "unknown total" in header(items_total=None)
    assert "38,214 items · unknown total" in progress(items_total=None)


def test_what_will_go_wrong_stands_in_the_header_where_there_is_room() -> None:
    low = "disk: 812 MB left, full in about 08:12"
    assert f"⚠ {low}  ▶ RUNNING" in header(140, warnings=(low,))
    assert "disk" not in header(60, warnings=(low,))
    assert "\x1b" not in header(140, warnings=("\x1b[2J",))


def test_a_stalled_run_looks_stalled() -> None:
    assert "⚠ STALLED 00:34" in header(stalled_seconds=34.0)
    assert "RUNNING" not in header(stalled_seconds=34.0)
    trouble = events(stalled_seconds=34.0)[0]
    assert trouble.startswith(" ⚠ nothing finished for 00:34; oldest:  00:08 https://books.example/page-38017.html")
    assert events(40, 1, stalled_seconds=34.0)[0].startswith(" ⚠ oldest:  00:08 https")


def test_a_run_whose_hosts_are_paused_says_who_did_that_and_how_to_resume() -> None:
    held = HostView("books.example", waiting=12, paused=True)
    reason = "open chunks wait for paused hosts; later items of other hosts wait, too"
    rests = {"hosts": (held, HostView("img.example", paused=True)), "in_flight": 0, "state": RunState.PAUSED}
    rests["reason"] = reason
    assert "⏸ HOST PAUSED" in header(**rests)
    assert events(**rests)[0].rstrip() == f" ⏸ {reason}"
    assert events(**rests)[1].startswith(" ⏸ you have paused books.example and 1 other host: h, then p, resumes")
    # Others go on meanwhile.
    assert "▶ RUNNING" in header(hosts=(held,), in_flight=3)
    assert events(hosts=(held,))[0].startswith(" ⏸ you have paused books.example: h")


def held_chunk(number: int, host: str, until: int | None) -> ChunkView:
    wait = Wait(WaitCause.HOST, host, None if until is None else 41, until)
    return ChunkView(number, ChunkState.WAITING, 0, 500, done=3, started_at=1.0, wait=wait)


def test_a_run_in_which_all_items_wait_for_hosts_says_for_which_and_until_when() -> None:
    host = HostView("books.example", waiting=900, refused=3, cooldown_until=900.0, refusal=429)
    # An earlier outage had another status, and more responses with it.
    host = replace(host, statuses=((503, 97), (200, 40), (429, 3)))
    rest = ChunkView(1, ChunkState.WAITING, 500, 500, wait=Wait(WaitCause.NOT_STARTED))
    waiting = (held_chunk(0, "books.example", 43_421), rest)
    held = {"in_flight": 0, "items_held": 64, "hosts": (host,), "chunks": ChunkViews.of(waiting)}
    told = " ⚠ all items wait for books.example (429) until 12:03:41 UTC; h shows the hosts"
    assert events(height=3, **held)[0].rstrip() == told
    assert "⏸ WAITING · next request in 01:26" in header(began_at=43_335.0, at=0.0, **held)
    # One line is enough, although an event is new.
    assert events(80, 1, **held)[0].rstrip() == told
    ours = held | {"hosts": (replace(host, backs_off=True),)}
    assert events(height=3, **ours)[0].startswith(" ⚠ all items wait for books.example (429, own back-off) until 12:03")
    two = ChunkViews.of((*waiting[:1], held_chunk(1, "books.example", 43_500), held_chunk(2, "a.example", 43_400)))
    several = events(**held | {"chunks": two})[0]
    assert "wait for books.example (429) and 1 other host until 12:03:20 UTC;" in several
    # Without a known end and without a refusal, neither is told.
    slow = {"hosts": (HostView("books.example"),), "chunks": ChunkViews.of([held_chunk(0, "books.example", None)])}
    assert events(**held | slow)[0].startswith(" ⚠ all items wait for books.example; h")


@pytest.mark.parametrize(
    "fields",
    [
        {"in_flight": 1},
        {"state": RunState.PAUSED},
        {"other": ChunkView(1, ChunkState.RUNNING, 500, 500, started_at=1.0)},
        {"other": replace(held_chunk(1, "", 43_000), wait=Wait(WaitCause.RETRY, "", 5, 43_000))},
    ],
)
def test_a_run_does_not_wait_for_a_host_while_other_items_run(fields: dict[str, object]) -> None:
    chunks = [held_chunk(0, "books.example", 43_421)]
    if isinstance(other := fields.get("other"), ChunkView):
        chunks.append(other)
    rest = {name: value for name, value in fields.items() if name != "other"}
    lines = events(**{"in_flight": 0, "chunks": ChunkViews.of(chunks), **rest})
    assert not any("all items wait" in line for line in lines)


def test_an_ended_run_does_not_say_that_a_host_refuses_requests() -> None:
    news = (
        Event(700.0, "INFO", "threads: 4"),
        Event(740.0, "WARNING", "h.org refuses requests: the next one is sent in 60 s", passes=True),
    )
    assert any("refuses requests" in line for line in events(height=3, events=news))
    ended = events(height=3, events=news, state=RunState.FINISHED)
    assert not any("refuses" in line for line in ended) and any("threads: 4" in line for line in ended)


def test_the_summary_says_that_its_mean_includes_waits_for_hosts() -> None:
    ended = replace(busy(), state=RunState.FINISHED, held_seconds=41.3)
    shown = "\n".join(text([line for _, line in summary(ended, 80)]))
    assert "time    00:00:41 waiting for hosts" in shown and "rows/s, waits for hosts included" in shown
    shown = "\n".join(text([line for _, line in summary(replace(ended, held_seconds=0.4), 80)]))
    assert "wait" not in shown


def test_retries_that_the_budget_holds_back_are_told() -> None:
    line = events(120, 3, retries_over_budget=312, events=())[0].rstrip()
    assert line.startswith(" ⚠ the retry budget holds back 312 due attempts, because many items fail; retry_budget of")


def test_a_run_that_only_waits_for_next_attempts_says_so() -> None:
    waits = {"delayed": 53, "events": (), "next_attempt": 3.2}
    told = " ▶ 53 items wait for their next attempt; the first is due in 4 s"
    assert events(80, 3, in_flight=0, **waits)[0].rstrip() == told
    assert not any("next attempt" in line for line in events(120, 3, in_flight=1, **waits))
    assert (
        "1 item waits for its next attempt; it is due now"
        in events(80, 3, in_flight=0, delayed=1, next_attempt=0.0, events=())[0]
    )


@pytest.mark.parametrize("in_flight", [0, 2])
def test_a_run_without_estimate_says_that_most_of_what_is_left_waits_for_attempts(in_flight: int) -> None:
    waits = {"delayed": 53, "events": (), "next_attempt": 3.2, "awaits_attempts": True, "eta_seconds": None}
    assert header(80, in_flight=in_flight, **waits).rstrip().endswith("ETA after retries")
    assert "53 items wait for their next attempt; the first is due" in events(80, 3, in_flight=in_flight, **waits)[0]
    assert header(80, **waits | {"awaits_attempts": False}).rstrip().endswith("ETA –")


def test_a_paused_run_says_why_and_has_neither_rate_nor_estimate() -> None:
    why = "only paused chunks are left: resume or cancel them"
    paused = {"state": RunState.PAUSED, "reason": why, "items_per_second": 0.0, "eta_seconds": None}
    assert f"⏸ PAUSED · {why}  00:12:41" in header(120, **paused)
    assert "⏸ PAUSED  active 00:12:41" in header(60, **paused)
    assert events(60, 1, **paused)[0].startswith(f" ⏸ {why}")
    assert "ETA" not in header(120, **paused)
    assert "items/s     –" in figures(**paused) and "rows/s     –" in figures(**paused)


def test_the_header_says_how_much_is_left_to_write_when_every_item_has_ended() -> None:
    ended = {"items_done": 100_000, "items_failed": 0, "in_flight": 0, "buffered_bytes": 268_000_000}
    assert "▶ WRITING 268 MB  active 00:12:41" in header(**ended)
    assert "ETA" not in header(**ended)
    assert "RUNNING" in header(**ended | {"in_flight": 1})
    assert "RUNNING" in header(**ended | {"buffered_bytes": 0})


def test_rates_are_unknown_until_the_first_item_has_ended() -> None:
    first = {"items_done": 0, "items_failed": 0, "items_skipped": 0, "items_per_second": 0.0, "rows_per_second": 0.0}
    assert "items/s     –" in figures(**first) and "rows/s     –" in figures(**first)


def test_narrow_headers_keep_the_state() -> None:
    assert " ".join(header(40).split()) == "books · run 3 ▶ RUNNING 00:12:41"


def test_the_share_is_rounded_down() -> None:
    assert "38.2 %   38,214 / 100,000" in progress()
    assert " 99.9 %" in progress(items_done=99_998, items_failed=1)
    assert "100.0 %" in progress(items_done=99_988)


def test_the_bar_is_as_long_as_the_share() -> None:
    bar = progress(100)
    filled, rest = bar.count("━"), bar.count("─")
    assert abs(filled / (filled + rest) - 0.382) < 0.02


def test_one_failed_item_is_seen_in_the_bar() -> None:
    spans = Progress().lines(replace(busy(), items_failed=1), 80, 1)[0]
    assert [part for part, role in spans if role == "bad" and part]


def test_figures_while_it_runs() -> None:
    line = figures()
    for part in ("items/s  50.2", "rows/s 376 k", "in flight 64/64", "failed 12 (0.03 %)", "retries 87", "p50 0.84 s"):
        assert part in line


def test_the_bound_of_the_rate_stands_beside_the_rate_while_there_is_one() -> None:
    assert "items/s  50.2  at most 60/s  rows/s" in figures(rate=60.0)
    assert "at most 0.5/s" in figures(80, rate=0.5)
    assert "at most" not in figures() and "at most" not in figures(state=RunState.FINISHED, rate=60.0)


def test_figures_when_it_is_over_are_totals() -> None:
    line = figures(state=RunState.FINISHED, items_done=76_128, elapsed=761.4)
    assert "rows 286 M" in line and "mean items/s 100" in line and "in 12:41" in line
    assert "in flight" not in line


def test_what_earlier_processes_did_is_not_in_the_mean() -> None:
    assert "mean items/s 10.0" in figures(
        state=RunState.FINISHED, items_done=76_128, items_skipped=68_526, elapsed=761.4
    )


def test_the_summary_says_what_was_recorded_before() -> None:
    ended = replace(busy(), state=RunState.FINISHED, items_skipped=68_526, rows=5_560, rows_skipped=3_920, elapsed=10.0)
    shown = "\n".join(text([line for _, line in summary(ended, 120)]))
    assert "5,560 (3,920 of them before) in table books" in shown and "done (68,526 of them before), 12 failed" in shown
    assert "164 rows/s" in shown


def test_the_summary_leaves_out_what_there_is_none_of() -> None:
    ended = replace(busy(), state=RunState.FINISHED, items_done=100, items_failed=0, items_cancelled=0, retries=0)
    assert text([summary(ended, 80)[1][1]]) == [" items   100 done"]
    assert text([summary(replace(ended, retries=1), 80)[1][1]]) == [" items   100 done, 1 retry"]


def test_the_share_of_failed_items_is_of_those_that_ran() -> None:
    ended = replace(busy(), state=RunState.FINISHED, items_done=1_427, items_failed=75, items_cancelled=98, retries=0)
    assert text([summary(ended, 80)[1][1]]) == [" items   1,427 done, 75 failed (5.0 %), 98 cancelled"]
    line = figures(state=RunState.FINISHED, items_done=20, items_failed=5, items_cancelled=75)
    assert "failed 5 (20 %)" in line


def failures(groups: tuple[ErrorGroup, ...], ledger: Sequence[Failures] | None = None, **fields: object) -> list[str]:
    """Return the lines of the summary about errors."""
    every = summary(replace(busy(), state=RunState.FINISHED, errors=groups, **fields), 120, ledger)
    return [line.strip() for line in text([line for _, line in every]) if "⚠" in line]


def test_the_summary_separates_final_failures_from_retried_ones() -> None:
    groups = (
        ErrorGroup(3, "ValueError", "no table", final=3),
        ErrorGroup(2, "KeyError", "'a'", final=1),
        ErrorGroup(317, "ReadTimeout", "timed out"),
    )
    assert failures(groups, items_failed=4, errors_final=4) == [
        "⚠       3 items failed: ValueError: no table",
        "⚠       1 item failed: KeyError: 'a'",
        "⚠       317 attempts: ReadTimeout: timed out",
    ]
    # An item that the user retried had its last attempt twice, so the number of items is unknown. The numbers that are
    # shown are in order.
    unsorted = (replace(groups[0], count=87), replace(groups[1], count=110))
    assert failures(unsorted, items_failed=2, errors_final=4)[:2] == [
        "⚠       110 attempts: KeyError: 'a'",
        "⚠       87 attempts: ValueError: no table",
    ]
    assert failures(groups, items_failed=2, errors_final=4)[:2] == [
        "⚠       3 attempts: ValueError: no table",
        "⚠       2 attempts: KeyError: 'a'",
    ]
    ledger = [Failures("ValueError", "no table", 2, 35, recovered=33), Failures("KeyError", "'a'", 0, 4, recovered=4)]
    two_kinds = [*ledger[:1] * 4, *ledger[1:] * 3]
    every = text([line for _, line in summary(replace(busy(), state=RunState.FINISHED), 120, two_kinds)])
    assert any("and 1 more kind" in line for line in every)  # one of those with failed items is left out
    assert failures(groups, ledger, items_failed=2) == [
        "⚠       2 items failed: ValueError: no table (+33 attempts later succeeded)",
        "⚠       4 attempts, all later succeeded: KeyError: 'a'",
    ]
    other = Failures("WorkerKilled", "signal 9", 0, 3, 0, "the item failed with: Lost: x")
    assert failures(groups, [other], items_failed=1) == [
        "⚠       3 attempts: WorkerKilled: signal 9; the item failed with: Lost: x"
    ]


def test_failed_items_come_before_attempts_where_items_ran_again() -> None:
    groups = (ErrorGroup(641, "TimeoutError", "slow", final=641), ErrorGroup(12, "KeyError", "'a'", final=9))
    ran_again = {"errors": groups, "error_groups": 2, "failed_groups": 2, "errors_final": 650, "items_failed": 240}
    line = events(height=1, events=(), reason="", warnings=(), **ran_again)[0]
    assert line.startswith(" ⚠ 240 items failed:  TimeoutError: slow  KeyError: 'a'") and "641" not in line
    # If all of them failed with one kind of errors, its number is known.
    one = ran_again | {"errors": groups[:1], "error_groups": 1, "failed_groups": 1, "errors_final": 641}
    line = events(height=1, events=(), reason="", warnings=(), **one)[0]
    assert line.startswith(" ⚠ failed:  240 × TimeoutError: slow")
    line = events(height=1, events=(), reason="", warnings=(), **ran_again | {"items_failed": 0})[0]
    assert line.startswith(" ⚠ tried again:  641 × TimeoutError: slow")


def test_a_single_error_has_the_whole_line() -> None:
    message = "the page has no table of prices " * 9
    one = ErrorGroup(3, "ValueError", message, final=3)
    told = {"events": (), "reason": "", "warnings": (), "items_failed": 3, "errors_final": 3}

    def line(*groups: ErrorGroup, kinds: int) -> str:
        every = {"errors": groups, "error_groups": kinds, "failed_groups": kinds}
        return text(EventLine().lines(replace(busy(), **told | every), 120, 1))[0]

    assert line(one, kinds=1).startswith(" ⚠ failed:  3 × ValueError: the page") and len(line(one, kinds=1)) == 120
    several = line(one, kinds=4)
    assert several.endswith("…  and 3 more kinds") and len(several) == 120
    short = ErrorGroup(3, "KeyError", "'a'", final=1)
    assert "…  1 × KeyError: 'a'" in line(one, short, kinds=2), "a second one takes the room"
    other = ErrorGroup(3, "OSError", message, final=1)
    assert line(one, other, kinds=2).endswith("…  and 1 more kind") and len(line(one, other, kinds=2)) == 120


def test_the_strip_has_the_errors_of_the_ledger_when_the_run_has_ended() -> None:
    groups = (ErrorGroup(641, "TimeoutError", "slow", final=641),)
    ran_again = {"errors": groups, "error_groups": 1, "errors_final": 641, "items_failed": 240, "events": ()}
    strip = EventLine()
    strip.show_failures([Failures("TimeoutError", "slow", 240, 641, recovered=401)])
    ended = replace(busy(), state=RunState.FINISHED, **ran_again)
    assert text(strip.lines(ended, 120, 1))[0].strip() == "⚠ failed:  240 × TimeoutError: slow"
    strip.show_failures([Failures("TimeoutError", "slow", 0, 641, recovered=641)])
    shown = text(strip.lines(replace(ended, items_failed=0), 120, 1))[0]
    assert shown.strip() == "⚠ tried again:  641 × TimeoutError: slow"


def test_the_strip_counts_items_and_puts_attempts_behind_them() -> None:
    groups = (
        ErrorGroup(12, "HTTPStatusError", "500 for '…'", final=9, example="500 for 'http://h/1'"),
        ErrorGroup(40, "ReadTimeout", "timed out"),
    )
    counts = {"items_failed": 9, "errors_final": 9, "errors": groups}
    shown = events(140, error_groups=7, failed_groups=3, **counts)[0]
    assert shown == " ⚠ failed:  9 × HTTPStatusError: 500 for 'http://h/1'  and 2 more kinds"
    again = events(error_groups=1, items_failed=0, errors=groups[1:], errors_final=0)[0]
    assert again == " ⚠ tried again:  40 × ReadTimeout: timed out"


def test_what_differs_between_alike_messages_is_muted() -> None:
    example = "Server error '500 oops 7' for url 'http://h1.example/page/7'"
    spans = message_spans(example, "warn")
    assert "".join(part for part, _ in spans) == example
    assert [part for part, role in spans if role == "muted"] == ["500 oops 7", "http://h1.example/page/7"]
    assert message_spans("500 Internal Server Error for url 'http://h/7'", "warn")[0] == (
        "500 Internal Server Error for url '",
        "warn",
    )


def test_a_message_that_is_cut_ends_with_an_ellipsis_wherever_its_parts_end() -> None:
    example = "no price at http://shop.example/prices/124 id 77 of 'lot 3' in 12 s"
    for limit in range(1, len(example)):
        cut = "".join(part for part, _ in message_spans(example, "warn", limit))
        is_whole = cut.endswith(" in 12 s") and "…" in cut  # paths have lost their beginnings
        assert len(cut) <= limit and (cut.endswith("…") or is_whole), (limit, cut)
    assert "".join(part for part, _ in message_spans(example, "warn", len(example))) == example


def test_items_of_earlier_processes_have_another_shade_and_a_label() -> None:
    [line] = Progress().lines(replace(busy(), items_skipped=15_000), 140, 1)
    before = next(part for part, role in line if role == "before")
    here = next(part for part, role in line if role == "running")
    assert set(before) == {"═"} and len(before) / len(before + here) == pytest.approx(15_000 / 38_214, abs=0.03)
    assert "38,214 / 100,000 (15,000 before)" in "".join(part for part, _ in line)


def test_the_active_time_names_pauses_and_continues_after_a_resume() -> None:
    times = {"elapsed": 600.0, "active_before": 161.0, "paused": 91.0, "wall_before": 211.0}
    assert "active 00:12:41 (wall 00:15:02)" in header(140, **times)
    assert "active 00:12:41 " in header(84, **times) and "wall" not in header(84, **times)
    # Without the word, a time that leaves out pauses would look like all of it. The name of the database gives way.
    assert "active 00:12:41 " in header(70, **times) and "books.duckdb" not in header(70, **times)
    assert " 00:12:41 " in header(40, **times)
    # The time before the first item is no pause.
    assert "active" not in header(140, at=771.0, elapsed=761.0)


def test_a_low_summary_says_what_to_do_next_with_the_data() -> None:
    ended = replace(busy(), state=RunState.FINISHED, database="/a/rather/long/way/to/the/place/of/books.duckdb")
    shown = text(Summary().lines(ended, 60, 5))
    assert [line.split()[0] for line in shown[:3]] == ["✔", "items", "next"]
    assert shown[2:4] == [" next    tui-runner open \\", "           /a/rather/long/way/to/the/place/of/books.duckdb"]
    assert text(Summary().lines(ended, 40, 4))[2] == shown[2]
    everything = text(Summary().lines(ended, 200, 40))
    assert [line.split()[0] for line in everything][:5] == ["✔", "items", "rows", "mean", "attempt"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_commands_of_a_summary_are_never_cut(width: int) -> None:
    place = Path("/a/rather/long/way")
    database = str(place / "to my/x.duckdb")
    ended = replace(busy(), state=RunState.FINISHED, items_failed=12, database=database)
    whole = {f"tui-runner {command}" for command in ("open 'to my/x.duckdb'", "errors 'to my/x.duckdb'")}
    whole.add("tui-runner retry 'to my/x.duckdb' 3")
    seen: set[str] = set()
    for height in range(3, 25):
        shown = "\n".join(line.rstrip() for line in text(Summary(place).lines(ended, width, height)))
        commands = re.findall(r"tui-runner .*", re.sub(r"\\\n +", "", shown))
        seen.update(command.partition("  …")[0] for command in commands)
    assert seen == whole


def test_a_path_is_written_as_it_is_typed_in_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_path("/data/x y.duckdb", Path("/data")) == "'x y.duckdb'"
    assert typed_path("/data/-x.duckdb", Path("/data")) == "./-x.duckdb"
    assert short_path("/data/in/shop.py:books", Path("/data")) == "in/shop.py:books"
    for job in ("/home/shop.py:books", "shop.sites:books", "/work"):
        assert short_path(job, Path("/work")) == job and short_path(job, None) == job
    assert typed_path("/home/me/a b/x.duckdb", Path("/work")) == "~/'a b/x.duckdb'"
    assert typed_path("/data/x y.duckdb", None) == "'/data/x y.duckdb'"


def test_dots_are_taken_out_of_a_path_unless_a_link_makes_them_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    assert without_dots(tmp_path / "here" / ".." / "x.duckdb") == tmp_path / "x.duckdb"
    (tmp_path / "link").symlink_to(tmp_path / "here" / "below")
    dotted = tmp_path / "link" / ".." / "x.duckdb"
    assert without_dots(dotted) == dotted
    missing = tmp_path / "nowhere" / ".." / ".." / "x.duckdb"
    assert without_dots(missing) == missing


def test_a_long_message_in_the_summary_gives_way_to_what_became_of_its_attempts() -> None:
    url = "404 Not Found for url 'https://books.example/catalogue/page-38007.html'"
    groups = [Failures("ConnectionError", url, 5, 56, 51)]
    lines = [line for _, line in summary(replace(busy(), state=RunState.FINISHED), 80, groups)]
    place, line = next((place, line) for place, line in enumerate(text(lines)) if "ConnectionError" in line)
    assert "404 Not Found" in line and text(lines)[place + 1].strip() == "(+51 attempts later succeeded)"
    wide = text([line for _, line in summary(replace(busy(), state=RunState.FINISHED), 100, groups)])
    line = next(line for line in wide if "ConnectionError" in line)
    assert line.endswith("… (+51 attempts later succeeded)") and len(line) <= 100 and "404 Not Found" in line


def test_the_whole_summary_has_whole_messages_of_errors() -> None:
    message = "page has no table with the heading 'Price list of the second half of the year' " * 2
    shown = Summary()
    shown.show_failures([Failures("ValueError", message, 5, 56, 51)], RunCurves())
    lines = shown.text(replace(busy(), state=RunState.FINISHED), 80).split("\n")
    begin = next(place for place, line in enumerate(lines) if "ValueError" in line)
    error = " ".join(" ".join(lines[begin : begin + 4]).split())
    assert message.strip() in error and "(+51 attempts later succeeded)" in error
    assert all(line.startswith("         ") for line in lines[begin + 1 : begin + 3])
    assert max(map(len, lines)) <= 80


def test_of_a_run_that_is_over_the_key_that_runs_again_what_failed_is_named_first() -> None:
    labels = {"retry_all": "retry failed"}
    narrow = [entry.label for entry in entries(DEFAULT_KEYS, labels, 40, first="retry_all")]
    assert "retry failed" in narrow and "quit" in narrow
    assert "retry failed" not in [entry.label for entry in entries(DEFAULT_KEYS, labels, 40)]


def test_why_the_run_is_paused_is_told_once() -> None:
    why = "65 of the last 65 attempts failed (ConnectionError: refused)"
    paused = {
        "state": RunState.PAUSED,
        "reason": f"{why}: one is tried from time to time; 5 failed items run again when it ends",
        "errors": (),
    }
    event = Event(busy().at - 5.0, "WARNING", f"paused: {why}: one is tried in 10 s")
    shown = " ".join(events(120, 4, **paused, events=(event,)))
    assert shown.count(why) == 1 and "5 failed items" in shown
    tried = Event(busy().at, "INFO", "the item that was tried failed: ConnectionError: refused; the next one in 20 s")
    assert "the item that was tried failed" in " ".join(events(120, 4, **paused, events=(event, tried)))


def test_a_new_event_is_told_in_full_and_takes_one_line_later() -> None:
    lost = (
        "worker 3 was lost (killed by signal 9): 12 items run again, 3 of them one by one because they were in flight"
    )
    shown = replace(busy(), events=(Event(busy().at - 30.0, "WARNING", lost),), errors=())
    line = EventLine()
    assert line.wanted(shown, 80, 2) == 2
    lines = text(line.lines(shown, 80, 2))
    assert "…" not in "".join(lines) and " ".join(" ".join(lines).split()).endswith(lost)
    later = replace(shown, at=busy().at + 60.0)
    assert line.wanted(later, 80, 2) == 2 and text(line.lines(later, 80, 2))[0].endswith("…")
    much = replace(shown, events=(Event(busy().at, "INFO", "word " * 200),))
    assert line.wanted(much, 80, 2) == 3 and text(line.lines(much, 80, 3))[-1].endswith("…")


@pytest.mark.parametrize(
    ("path", "width", "shown"), [("books", 5, "books"), ("books", 4, "…oks"), ("書書書", 4, "…書"), ("ab", 0, "")]
)
def test_of_a_path_the_end_stays(path: str, width: int, shown: str) -> None:
    assert end_of(path, width) == shown


LONG = "40 of the last 50 items failed with ConnectError: nobody answers at books.example; one is tried every 30 s"


@pytest.mark.parametrize(("width", "lines"), [(40, 4), (80, 3), (120, 2)])
def test_the_reason_of_a_wait_is_shown_in_full(width: int, lines: int) -> None:
    paused = replace(busy(), state=RunState.PAUSED, reason=LONG)
    line = EventLine()
    wanted = line.wanted(paused, width, 1 if width == 40 else 2)
    assert wanted == lines
    shown = text(line.lines(paused, width, wanted))
    assert LONG in " ".join(" ".join(shown).split())
    line.show_listing("3 marked")
    shown = text(line.lines(paused, width, line.wanted(paused, width, 1)))
    assert LONG in " ".join(" ".join(shown).split()) and "3 marked" in shown[-1]
    assert text(line.lines(paused, width, 1))[0].startswith(" ⏸ 40 of the last")
    if width == 40:
        assert text(line.lines(paused, width, 3))[1].endswith("…")  # there is more than there is room for


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_warning_is_shown_at_any_width(width: int) -> None:
    warning = "less than 1 GB is left on the disk of /data, room for about 9 minutes"
    warned = replace(busy(), warnings=(warning,))
    line = EventLine()
    shown = text(line.lines(warned, width, line.wanted(warned, width, 1)))
    assert warning in " ".join(" ".join(shown).split())


def test_a_chunk_that_was_cancelled_has_no_rate() -> None:
    cancelled = chunk(7, ChunkState.CANCELLED, done=20, cancelled=480, started_at=1.0, items_per_second=250.0)
    assert chunk_rate(cancelled) == ""
    assert "250" not in "".join(part for part, _ in row(cancelled, layout(120), cursor=False))
    assert chunk_rate(replace(cancelled, state=ChunkState.DONE)) == "250"
    assert chunk_rate(replace(cancelled, state=ChunkState.RUNNING, items_per_second=0.0)) == "0"


def test_a_chunk_that_was_cancelled_is_as_full_as_it_was_executed() -> None:
    def shown(chunk: ChunkView) -> str:
        return "".join(part for part, _ in row(chunk, layout(120), cursor=False))

    never = chunk(7, ChunkState.CANCELLED, cancelled=500, started_at=1.0, elapsed=14.0)
    assert "  0 %" in shown(never) and "━" not in shown(never) and "00:14" not in shown(never)
    # It is paused until a worker has it that writes down what was cancelled.
    assert "00:14" not in shown(replace(never, state=ChunkState.PAUSED, cancelled=0))
    partly = replace(never, done=90, failed=10, cancelled=400)
    assert " 20 %" in shown(partly) and "━" in shown(partly) and "00:14" in shown(partly)


def test_the_keys_in_help_never_touch_what_they_do() -> None:
    for line in help_text(DEFAULT_KEYS, tuple(Place), 80).plain.split("\n"):
        assert "spaceTake" not in line
        assert not line.startswith("Enter space") or line.startswith("Enter space  ")


def test_two_texts_in_a_line_never_touch() -> None:
    for right in ("right", " right", "   right"):
        line = "".join(part for part, _ in spread((("left" * 9, "text"),), ((right, "text"),), 24))
        assert len(line) == 24 and line.endswith("…  " + right.strip() if right[:3] != "   " else "…" + right)


@pytest.mark.parametrize("width", range(20, 140))
def test_a_percentile_is_shown_only_beside_the_time_that_it_is_of(width: int) -> None:
    line = figures(width, latency_window=60.0, rate=25.0)
    assert "p95" not in line or "last min: p50" in line


def test_narrow_figures_keep_throughput_and_failures() -> None:
    lines = figures(40, 2).split("\n")
    assert "items/s  50.2" in lines[0] and "failed 12" in lines[0]
    assert lines[1].startswith(" ETA 00:20:45")


def test_waiting_for_the_disk_is_shown() -> None:
    assert "unwritten  64 MB" in figures(throttled=True, buffered_bytes=64_000_000)


def test_figures_do_not_jump_when_values_change() -> None:
    slow = figures(items_per_second=0.5, rows_per_second=3.0, p50=0.01)
    fast = figures(items_per_second=99.9, rows_per_second=376_000.0, p50=0.84)
    assert slow.index("failed") == fast.index("failed")


def test_trouble_comes_before_events() -> None:
    assert events() == [
        " ⚠ failed:  9 × ReadTimeout: timed out  3 × ValueError: no table on page",
        f" {clock(1_790_000_700.0)} UTC  threads set to 64",
    ]


def test_events_of_one_moment_are_shown_together() -> None:
    settings = ("threads: 8", "rate: 5 items/s at most", "memory: 2.0 GB at most")
    old = Event(300.0, "INFO", "resumed")
    told = (old, *(Event(700.0 + number / 10, "INFO", text) for number, text in enumerate(settings)))
    assert events(events=told)[1] == f" {clock(1_790_000_700.2)} UTC  {' · '.join(settings)}"
    steps = tuple(Event(700.0, "INFO", f"threads: {number}") for number in (5, 6, 7))
    assert events(events=steps)[1].endswith("  threads: 7")


def test_alike_events_are_counted() -> None:
    cancelled = [Event(700.0, "INFO", f"chunk {number} cancelled: items in flight finish") for number in range(99, 110)]
    assert events(events=tuple(cancelled))[1].endswith("  11 chunks cancelled: items in flight finish")
    assert events(events=(cancelled[0],))[1].endswith("  chunk 99 cancelled: items in flight finish")
    again = tuple(Event(700.0, "INFO", f"chunk {number}: {number} items run again") for number in (3, 4))
    assert events(events=again)[1].endswith("  2 chunks: 7 items run again")
    lost = tuple(Event(700.0, "ERROR", f"worker {number} is lost (killed)") for number in (3, 4, 5))
    assert events(events=lost)[1].endswith("  worker 5 is lost (killed) (and 2 like it)")
    # Further ones are not kept, so their number is unknown.
    full = tuple(Event(700.0, "INFO", f"chunk {number} paused") for number in range(KEPT_EVENTS))
    assert events(events=full)[1].endswith("  200+ chunks paused")


@pytest.mark.parametrize("height", [1, 2])
def test_a_fresh_event_is_shown_before_marked_chunks(height: int) -> None:
    def shown(at: float, width: int = 120) -> str:
        line = EventLine()
        line.show_listing("3 marked")
        paused = Event(at, "INFO", "chunk 9 paused")
        return text(line.lines(replace(busy(), events=(paused,)), width, height))[-1]

    assert shown(755.0) == f" {clock(1_790_000_755.0)} UTC  chunk 9 paused   3 marked  (Esc clears)"
    assert "chunk 9 paused" in shown(755.0, 40)
    assert shown(700.0) == " 3 marked  (Esc clears)"


def test_one_line_shows_a_fresh_event_and_else_the_errors() -> None:
    assert "ReadTimeout" in events(height=1)[0]
    assert "worker lost" in events(height=1, events=(Event(755.0, "error", "worker lost"),))[0]


def test_the_reason_of_the_end_is_shown() -> None:
    assert events(state=RunState.FAILED, reason="more than 5 % failed")[0].startswith(" ▲ more than 5 % failed")


@pytest.mark.parametrize(("width", "most"), [(80, 2), (120, 2)])
def test_the_items_that_a_run_waits_for_have_several_lines_where_there_is_room(width: int, most: int) -> None:
    short = replace(
        busy(),
        items_done=99_980,
        errors=(),
        oldest=tuple(InFlight(1, number, str(number), 1, 16.0) for number in range(60, 68)),
    )
    line = EventLine()
    assert line.wanted(short, width, 2) == most + 1 and line.wanted(short, width, 1) == 1
    shown = text(line.lines(short, width, most + 1))
    # The value of these items is their number: it is not said twice.
    assert shown[0].startswith(" 8 left:  00:16 item 60  00:16 item 61  ")
    assert all(f"00:16 item {number}" in " ".join(shown) for number in range(60, 68)) and "…" not in "".join(shown)
    long = replace(short, oldest=tuple(InFlight(1, n, f"https://books.example/{n}" * 3, 1, 16.0) for n in range(20)))
    assert line.wanted(long, width, 2) == 4
    shown = text(line.lines(long, width, 4))
    assert shown[2].endswith("  …") and all(len(each) <= width for each in shown)
    assert "00:16 https" in text(line.lines(long, 40, 1))[0]


def test_a_run_that_is_to_stop_does_not_say_yet_that_it_has() -> None:
    told = (Event(760.0, "INFO", "stopping: on request"),)
    first, last = events(state=RunState.DRAINING, reason=ON_REQUEST, events=told, errors=())
    assert first == " ▽ items in flight finish, then it ends" and "stopped" not in last
    assert events(state=RunState.STOPPED, reason=ON_REQUEST, errors=())[0].startswith(" ■ stopped on request")
    assert events(state=RunState.DRAINING, reason="2 failed", errors=())[0].startswith(" ▽ 2 failed")


def test_the_last_items_are_named() -> None:
    assert events(items_done=99_986)[0].startswith(" 2 left:  00:08 https")
    assert events(items_done=99_925)[0].startswith(" 63 left:  00:08 https")
    assert "left" not in events(items_done=99_924)[0]


LINES = st.lists(st.tuples(st.text("ab ⣿漢\u0301", max_size=8), st.sampled_from(["text", "bad"])), max_size=6).map(
    tuple
)


@given(LINES, LINES, st.integers(0, 40))
@settings(max_examples=66)
def test_lines_are_cut_to_their_width(left: Line, right: Line, width: int) -> None:
    assert cells(fitted(left, width)) <= width
    assert cells(spread(left, right, width)) == width


@given(LINES)
def test_merging_spans_changes_no_character(line: Line) -> None:
    assert text([merged(line)]) == text([line])
    assert len(merged(line)) <= len(line)


@given(st.text("ab漢", max_size=10), st.integers(0, 12), st.booleans())
def test_columns_have_exactly_their_width(value: str, width: int, right: bool) -> None:
    assert cells(((column(value, width, right=right), "text"),)) == width


@pytest.mark.parametrize("width", [30, 40, 60, 79, 80, 120, 200, 400])
@pytest.mark.parametrize("fields", [{}, {"items_total": None}, {"stalled_seconds": 9.0}, {"state": RunState.FINISHED}])
def test_no_line_is_wider_than_the_terminal(width: int, fields: dict[str, object]) -> None:
    snapshot: Snapshot = replace(busy(), **fields)
    for widget in (Header(), Progress(), Figures(), EventLine()):
        for line in widget.lines(snapshot, width, 2):
            assert cells(line) <= width


@pytest.mark.parametrize("width", range(40, 401, 20))
@pytest.mark.parametrize("height", range(12, 121, 9))
def test_the_table_always_has_room(width: int, height: int) -> None:
    division = plan(width, height)
    graphs = division.graph_lines * {Graphs.NONE: 0, Graphs.STACKED: 2}.get(division.graphs, 1)
    taken = 3 + division.figure_lines + graphs + division.event_lines
    assert height - taken >= 6
    assert height - taken >= height // 3


def test_a_snapshot_prints_in_three_lines() -> None:
    shown = str(replace(busy(), reason="\x1b[2Jlimit"))
    assert shown == repr(replace(busy(), reason="\x1b[2Jlimit")) and len(shown.split("\n")) == 3
    assert "\x1b" not in shown and "of 100,000 done, 12 failed" in shown


def test_an_outage_is_not_shown_as_a_pause_by_hand_and_counts_down() -> None:
    outage = {"state": RunState.PAUSED, "reason": "20 of the last 20 failed", "in_outage": True, "eta_seconds": None}
    assert "⏸ WAITING · next try in 00:42" in header(120, **outage, trial_seconds=41.4)
    assert "PAUSED" not in header(120, **outage, trial_seconds=41.4)
    assert "⏸ WAITING for you" in header(120, **outage)

    def lines(**changed: object) -> list[str]:
        return [line for line in events(120, 4, **outage, **changed) if line.startswith((" trying", " still"))]

    one, more = busy().oldest[:1], busy().oldest[:2]
    assert lines(trying=True, oldest=one)[0].startswith(" trying:  00:08 https")
    # Items that were in flight when the outage began, for example those that wait for their host, are not tried.
    assert lines(trying=True, oldest=more)[0].startswith(" still in flight:  00:08 https")
    assert lines(trial_seconds=3.0, oldest=one)[0].startswith(" still in flight:  00:08 https")


def test_draining_counts_down() -> None:
    assert "▽ DRAINING, 00:08 left" in header(state=RunState.DRAINING, drain_seconds=7.2)


def test_percentiles_say_of_which_time_they_are() -> None:
    assert "last min: p50 0.84 s   p95" in figures(140, latency_window=60.0)
    assert "last min, with failed: p50 0.84 s   p95" in figures(170, latency_window=60.0)
    assert "last min" not in figures(160, state=RunState.FINISHED, latency_window=None)


def test_the_summary_has_the_curves_of_the_whole_run() -> None:
    ended = replace(busy(), state=RunState.FINISHED)
    curves = RunCurves((1.0, 50.2, 20.0), (0.0, 3.0, 0.0), (2e8, 4e8), most=61.5)
    shown = text([line for _, line in summary(ended, 120, [], curves)])
    assert any(line.startswith(" items/s") and line.endswith("max 61.5") for line in shown)
    assert any(line.startswith(" failed ") and line.endswith(f" {ended.items_failed} items") for line in shown)
    assert any(line.startswith(" memory ") and line.endswith("max 400 MB") for line in shown)
    assert not any(" max " in line for line in text([line for _, line in summary(ended, 120, [])]))


# --- figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", range(40, 120, 4))
def test_figures_mark_that_some_are_left_out(width: int) -> None:
    line = figures(width)
    assert all(label in line for label in ("p95", "file")) is not line.rstrip().endswith("…")
    assert len(line.rstrip()) <= width


def test_the_rate_says_over_which_time_it_is_where_there_is_room() -> None:
    assert "items/s (10 s)  50.2" in figures(170)
    assert "items/s  50.2" in figures(80)


def test_items_held_by_their_hosts_are_shown_beside_those_in_flight() -> None:
    assert "in flight 16/16 (+32 held)" in figures(in_flight=16, threads=16, items_held=32)
    assert "held" not in figures()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lost_machines_are_shown_at_any_width(width: int) -> None:
    assert "machines 2, lost 1" in figures(width, machines=2, machines_lost=1)


def test_machines_give_way_while_none_is_lost() -> None:
    assert "machines" not in figures(60, machines=2)


def test_retries_of_a_resumed_run_say_that_they_are_those_since_then() -> None:
    assert "new retries 87" in figures(140, active_before=100.0)
    assert "since" not in figures(140)
    shown = "\n".join(text([line for _, line in summary(replace(busy(), active_before=9.0), 120)]))
    assert "87 retries since it began again" in shown
    # Items that had failed before run again, so the numbers have those of all processes only at the end.
    failed = replace(busy(), active_before=9.0, items_failed=3, errors=(ErrorGroup(3, "ValueError", "no", 3),))
    shown = "\n".join(text([line for _, line in summary(failed, 120)]))
    assert "3 failed, 87 retries since it began again" in shown
    assert "errors since the run began again; the list of errors has all" in shown
    shown = "\n".join(text([line for _, line in summary(replace(failed, state=RunState.FINISHED), 120)]))
    assert "3 failed (" in shown and ", 87 retries since it began again" in shown and "the list of errors" not in shown


def test_a_header_without_room_for_the_estimate_says_that_something_is_missing() -> None:
    long = "a_job_with_a_rather_long_name_that_leaves_no_room"
    assert header(64, job=long, eta_seconds=(1e5, 9e5)).rstrip().endswith("…")
    assert "…" not in header(100)
    assert not header(40).rstrip().endswith("…"), "the estimate stands among the figures there"


# --- the summary ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80])
def test_the_summary_has_active_and_wall_time_however_narrow_it_is(width: int) -> None:
    ended = replace(busy(), state=RunState.FINISHED, elapsed=600.0, active_before=161.0, wall_before=171.0)
    ended = replace(ended, paused=131.0, pauses=(("outage", 130.5), ("by you", 0.5)))
    first = text(Summary().lines(ended, width, 12))[0]
    assert first.startswith(" ✔ finished after 00:15:02") and ("(active 00:12:41)" in first or width < 80)
    shown = "\n".join(text([line for _, line in summary(ended, 120)]))
    assert "00:10:00 active since it began again, 00:02:21 paused: 00:02:10 outage, 00:00:10 before it began" in shown
    alone = replace(ended, active_before=0.0, wall_before=0.0)
    assert "time    00:02:11 paused: outage" in "\n".join(text([line for _, line in summary(alone, 120)]))


def test_the_summary_says_of_what_percentiles_are() -> None:
    ended = replace(busy(), state=RunState.FINISHED, latency_window=None)
    shown = "\n".join(text([line for _, line in summary(ended, 80)]))
    assert " attempt p50 0.84 s, p95 2.1 s of all attempts, failed ones included" in shown


# --- waiting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "short", "long"),
    [
        (Wait(WaitCause.NOT_STARTED), "○ not started", "none of its items has started"),
        (Wait(WaitCause.RUN_PAUSED), "○ run paused", "the run is paused"),
        (Wait(WaitCause.HOST, "h.org", 41, 1_790_000_041), "○ held 00:41", "held by h.org until 14:14:01 UTC"),
        (Wait(WaitCause.HOST, "h.org"), "○ for its host", "waiting for its turn at h.org"),
        (Wait(WaitCause.HOST_PAUSED, "h.org"), "○ host paused", "you have paused its host h.org"),
        (Wait(WaitCause.MEMORY), "○ for memory", "waiting for memory"),
        (Wait(WaitCause.RETRY, "", 5, 1_790_000_005), "○ retry in 5 s", "to be retried in 5 s"),
        (Wait(WaitCause.RETRY, "", 3_600, 1_790_003_600), "○ retry 1 h", "to be retried in 3,600 s"),
        (Wait(WaitCause.RETRY, "", 26, 1_790_000_026), "○ retry 00:26", "to be retried in 26 s"),
        (Wait(WaitCause.RETRY), "○ retry due", "what is left failed and is tried again"),
        (Wait(WaitCause.HOST, "h.org", 7_300, 1_790_007_300), "○ held 2 h", "held by h.org until 16:15:00 UTC"),
    ],
)
def test_a_chunk_that_waits_says_for_what(wait: Wait, short: str, long: str) -> None:
    shown = chunk(7, ChunkState.WAITING, wait=wait)
    assert state_span(shown) == (short, "waiting") and len(short) <= 14
    assert wait_text(wait) == long


def test_hosts_are_made_safe_where_a_chunk_names_them() -> None:
    assert "\x1b" not in wait_text(Wait(WaitCause.HOST, "\x1b[2J", 1, 1))


# --- the outage -----------------------------------------------------------------------------------------------


def test_an_outage_says_that_one_item_is_tried() -> None:
    outage = {"state": RunState.PAUSED, "reason": "20 of the last 20 failed", "in_outage": True, "eta_seconds": None}
    assert "⏸ WAITING · trying one item…" in header(120, **outage, trial_seconds=3.0, trying=True)


def test_the_strip_counts_every_kind_with_failed_items_that_it_leaves_out() -> None:
    groups = (
        ErrorGroup(9, "ReadTimeout", "timed out", final=9),
        ErrorGroup(3, "ValueError", "no table on page", final=3),
        ErrorGroup(7, "KeyError", "'a'"),
    )
    counts = {"items_failed": 12, "errors_final": 12, "failed_groups": 2, "error_groups": 3}
    shown = events(140, errors=groups, **counts)[0]
    assert "3 × ValueError: no table on page" in shown and "more kind" not in shown
    assert "and 1 more kind" in events(60, errors=groups, **counts)[0]
    long = (replace(groups[0], text="the page answered much too late, after " + "ten or " * 20), *groups[1:])
    shown = events(80, errors=long, **counts)[0]
    assert shown.rstrip().endswith("…  and 1 more kind") and len(shown) <= 80


def test_curves_of_the_summary_show_the_whole_run_below_each_other() -> None:
    values = (9.0, *[0.0] * 58, 3.0)
    lines = text(
        [
            line
            for _, line in summary(replace(busy(), state=RunState.FINISHED), 80, [], RunCurves(values, values, values))
        ]
    )
    drawn = [line[9:59] for line in lines if line.startswith((" items/s", " failed", " memory"))]
    assert len(drawn) == 3 and all(each.startswith("█") and each[-1] != " " for each in drawn)


@given(text=st.text("ab日本 é\u0301", max_size=80), width=st.integers(1, 60))
def test_a_long_text_loses_its_middle(text: str, width: int) -> None:
    cut = without_middle(text, width)
    assert cell_len(cut) <= width
    assert cut == text if cell_len(text) <= width else "…" in cut
    assert without_middle("FROM books ORDER BY stars DESC", 18) == "FROM books O… DESC"
