"""Runs without a screen: their lines, and their reaction to signals."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.told_run import ToldRun, picture

from tui_runner.cli.headless import Headless
from tui_runner.cli.json_events import JsonEvents
from tui_runner.cli.overwritten_line import Lines
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.progress.snapshot import RunEvent, Snapshot
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.errors import DatabaseError

FINISHED = picture(state=RunState.FINISHED, items_done=100)
STOPPED = picture(state=RunState.STOPPED, reason="stopped on request")


class Closed(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def watch(run: ToldRun, *, live: bool = False, out: io.StringIO | None = None, **options: Any) -> tuple[int, str]:
    """Watch a run to its end. Return the exit code and the lines."""
    out = out or io.StringIO()
    code = Headless(
        run,
        events=options.pop("events", None),
        lines=Lines(out, live, quiet=options.pop("quiet", False)),
        database="books.duckdb",
        go_on="tui-runner resume books.duckdb 3",
        grace=10,
        clock=lambda: run.clock,
        **options,
    ).run()
    return code, "" if isinstance(out, Closed) else out.getvalue()


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (FINISHED, 0),
        (picture(state=RunState.FINISHED, items_failed=1), 1),
        (picture(state=RunState.FINISHED, items_cancelled=1), 1),
        (STOPPED, 3),
        (picture(state=RunState.FAILED, items_failed=9), 3),
        (picture(state=RunState.FAILED, items_done=0), 2),
        (picture(state=RunState.FAILED, items_done=50, items_skipped=50), 3),
    ],
    ids=[
        "finished",
        "items failed",
        "items cancelled",
        "stopped",
        "limit",
        "nothing ran",
        "nothing more ran after resume",
    ],
)
def test_the_exit_code_says_how_a_run_ended(snapshot: Snapshot, code: int) -> None:
    assert snapshot.exit_code == code


class TestOnATerminal:
    def test_the_progress_line_is_overwritten_and_leaves_nothing_behind(self) -> None:
        _, told = watch(ToldRun(picture(), picture(items_done=75), FINISHED), live=True)
        before, closing = told.split("\n", 1)
        _, first, last = before.split("\r")
        assert "75/100" in first
        assert first.endswith("\x1b[K")
        assert last.startswith("\x1b[Kbooks run 3 finished")
        assert "\r" not in closing

    def test_the_line_is_cut_to_the_width_of_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 5)))

        class Terminal(io.StringIO):
            def fileno(self) -> int:
                return 2

        _, told = watch(
            ToldRun(picture(), picture(reason="字" * 30, state=RunState.PAUSED), FINISHED), live=True, out=Terminal()
        )
        line = told.split("\r")[1].removesuffix("\x1b[K")
        assert line == "paused: 字字字字字…"  # each takes two columns, and the twentieth column stays free

    def test_permanent_lines_are_divided_between_words_and_a_file_gets_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((60, 24)))

        class Terminal(io.StringIO):
            def fileno(self) -> int:
                return 2

        why = (
            "paused: 54 of the last 60 attempts failed (ConnectionError: shop.example:443 refuses connections): one is"
        )
        run = [picture(), picture(events=(RunEvent(1.0, "WARNING", why),)), FINISHED]
        _, told = watch(ToldRun(*run), live=True, out=Terminal())
        lines = told[told.index("warning") :].splitlines()[:3]
        assert lines[0] == "warning: paused: 54 of the last 60 attempts failed"
        assert " ".join(" ".join(lines).split()) == f"warning: {why}" and max(map(len, lines)) < 60
        assert f"warning: {why}\n" in watch(ToldRun(*run))[1]

    def test_a_fault_takes_the_line_away(self) -> None:
        out = io.StringIO()
        with pytest.raises(DatabaseError):
            watch(ToldRun(picture(), picture(), STOPPED, fault=DatabaseError("full", "x")), live=True, out=out)
        assert out.getvalue().endswith("\r\x1b[K")


class TestInAFile:
    def test_lines_come_at_long_intervals(self) -> None:
        looks = [picture(items_done=number) for number in range(100)]
        _, told = watch(ToldRun(*looks, FINISHED))
        assert [line.split()[5] for line in told.splitlines()[:-2]] == ["5/100", "35/100", "65/100", "95/100"]

    def test_a_short_run_is_a_summary_alone(self) -> None:
        _, told = watch(ToldRun(picture(), picture(), FINISHED))
        assert told.startswith("books run 3 finished")

    def test_nothing_is_said_before_something_happened(self) -> None:
        looks = [picture(items_done=10, items_skipped=10)] * 40
        _, told = watch(ToldRun(*looks, FINISHED))
        assert len([line for line in told.splitlines() if "10/100" in line]) == 1  # after 30 s of nothing

    def test_a_reader_that_stops_does_not_stop_the_run(self) -> None:
        run = ToldRun(*[picture()] * 50, FINISHED)
        code, _ = watch(run, out=Closed(), events=JsonEvents(Closed()))
        assert code == 0
        assert run.commands == ["start"]


class TestNews:
    def test_each_event_is_written_once_also_two_of_one_moment(self) -> None:
        one, two, three = (RunEvent(at, "INFO", text) for at, text in [(1.0, "one"), (1.0, "two"), (2.0, "three")])
        run = ToldRun(picture(), picture(events=(one, two)), picture(events=(one, two)), picture(events=(two, three)))
        _, told = watch(run)
        assert [line for line in told.splitlines() if line.startswith("info")] == [
            "info: one",
            "info: two",
            "info: three",
        ]

    def test_a_wait_of_all_items_for_a_host_is_told_once_in_thirty_seconds(self) -> None:
        wait = Wait(WaitCause.HOST, "127.0.0.1", 20, 43_421)
        held = ChunkViews.of([ChunkView(0, ChunkState.WAITING, 0, 500, started_at=1.0, wait=wait)])
        for live in (True, False):
            _, told = watch(ToldRun(picture(), *[picture(chunks=held)] * 35, FINISHED), live=live)
            assert told.count("info: all items wait for 127.0.0.1 until 12:03:41 UTC\n") == 2
        assert "all items wait" not in watch(ToldRun(*[picture(chunks=held)] * 9, FINISHED), quiet=True)[1]

    @pytest.mark.parametrize(("in_flight", "told"), [(0, "the run stops"), (4, "items in flight have 10 s to finish")])
    def test_a_stop_gives_time_only_to_items_in_flight(self, in_flight: int, told: str) -> None:
        run = ToldRun(*[picture(in_flight=in_flight)] * 9, STOPPED)
        run.meanwhile = lambda look: os.kill(os.getpid(), signal.SIGINT) if look == 2 else None
        assert f"\n{told}; Ctrl-C again ends the run at once\n" in f"\n{watch(run)[1]}"

    def test_hostile_text_is_shown_as_marks(self) -> None:
        news = (RunEvent(1.0, "ERROR", "a\x1b]52;c;eA==\x07b\nc"),)
        _, told = watch(ToldRun(picture(), picture(events=news), FINISHED))
        assert "error: a␛]52;c;eA==␇b␊c\n" in told

    def test_a_run_that_cannot_begin_says_so_in_one_line(self) -> None:
        end = picture(
            state=RunState.FAILED,
            items_done=0,
            reason="setup \x1b[2J failed",
            events=(RunEvent(1.0, "WARNING", "stopping: setup \x1b[2J failed"),),
        )
        assert watch(ToldRun(picture(items_done=0), end)) == (
            2,
            "tui-runner: books run 3 could not begin: setup ␛[2J failed\n",
        )


class TestSignals:
    """In this very process, as the handlers run in the main thread between two looks."""

    @pytest.mark.parametrize(
        ("signals", "commands", "code"),
        [
            ([signal.SIGINT], ["start", "stop"], 3),
            ([signal.SIGTERM], ["start", "stop"], 3),
            ([signal.SIGHUP], ["start", "abandon"], 3),
            ([signal.SIGHUP, signal.SIGTERM], ["start", "abandon", "stop"], 3),
            ([signal.SIGINT, signal.SIGINT], ["start", "stop", "kill"], 130),
            ([signal.SIGTERM, signal.SIGTERM], ["start", "stop", "stop"], 3),
        ],
        ids=["Ctrl-C", "SIGTERM", "SIGHUP", "SIGHUP, SIGTERM", "Ctrl-C twice", "SIGTERM twice"],
    )
    def test_signals_are_commands_to_the_run(self, signals: list[int], commands: list[str], code: int) -> None:
        run = ToldRun(*[picture()] * 5, STOPPED)

        def raise_one(look: int) -> None:
            if look <= len(signals):
                signal.raise_signal(signals[look - 1])

        run.meanwhile = raise_one
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        ended, told = watch(run)
        assert (run.commands, ended) == (commands, code)
        assert ("Ctrl-C again" in told) == (signal.SIGINT in signals)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before

    def test_signals_are_taken_until_the_run_is_closed(self) -> None:
        run = ToldRun(picture(), STOPPED)
        run.meanwhile = _interrupt_at()
        closed: list[bool] = []

        def close() -> None:
            signal.raise_signal(signal.SIGINT)  # the second Ctrl-C, when the first has just ended the run
            signal.raise_signal(signal.SIGTERM)
            closed.append(True)

        assert (
            Headless(run, events=None, lines=None, database="", go_on="", grace=10, clock=lambda: run.clock).run(close)
            == 3
        )
        assert closed

    def test_a_hangup_that_is_to_be_ignored_is_ignored(self) -> None:
        run = ToldRun(picture(), picture(), FINISHED)
        run.meanwhile = lambda look: signal.raise_signal(signal.SIGHUP)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            code, _ = watch(run)
        finally:
            signal.signal(signal.SIGHUP, before)
        assert (run.commands, code) == (["start"], 0)


class TestWithoutSignals:
    """As `tui_runner.run` does it: an interrupt is an exception."""

    def test_an_interrupt_drains_and_is_passed_to_the_caller(self) -> None:
        run = ToldRun(*[picture()] * 5, STOPPED)
        run.meanwhile = _interrupt_at(2)
        out = io.StringIO()
        with pytest.raises(KeyboardInterrupt):
            watch(run, signals=False, out=out)
        assert run.commands == ["start", "stop"]
        assert "books run 3 stopped" in out.getvalue()

    def test_a_second_one_ends_the_run_at_once(self) -> None:
        run = ToldRun(*[picture()] * 5, STOPPED)
        run.meanwhile = _interrupt_at(2, 3)
        with pytest.raises(KeyboardInterrupt):
            watch(run, signals=False)
        assert run.commands == ["start", "stop", "kill"]

    def test_run_is_closed_however_the_watching_ended(self) -> None:
        run = ToldRun(*[picture()] * 5, STOPPED)
        run.meanwhile = _interrupt_at(2)
        closed: list[bool] = []
        with pytest.raises(KeyboardInterrupt):
            Headless(
                run, events=None, lines=None, database="", go_on="", grace=10, signals=False, clock=lambda: run.clock
            ).run(lambda: closed.append(run.snapshot().state.ended))
        assert closed == [True]

    def test_no_run_continues_unwatched(self) -> None:
        run = ToldRun(*[picture()] * 5, STOPPED)

        def fail(look: int) -> None:
            if look == 2:
                raise ZeroDivisionError

        run.meanwhile = fail
        with pytest.raises(ZeroDivisionError):
            watch(run)
        assert run.commands == ["start", "stop"]


def _interrupt_at(*looks: int) -> Callable[[int], None]:
    def interrupt(look: int) -> None:
        if look in looks:
            raise KeyboardInterrupt

    return interrupt


def test_quiet_means_no_word_unless_something_is_wrong() -> None:
    news = picture(events=(RunEvent(1.0, "INFO", "run 3 goes on"), RunEvent(2.0, "INFO", "one item is tried")))
    for live in (True, False):
        assert watch(ToldRun(*[picture()] * 99, news, FINISHED), quiet=True, live=live) == (0, "")
    wrong = picture(events=(RunEvent(1.0, "INFO", "run 3 goes on"), RunEvent(2.0, "WARNING", "the disk is full")))
    assert watch(ToldRun(picture(), wrong, FINISHED), quiet=True) == (0, "warning: the disk is full\n")
    at_once = replace(FINISHED, events=wrong.events)  # it has ended before anybody could look
    assert watch(ToldRun(at_once), quiet=True) == (0, "warning: the disk is full\n")
    code, told = watch(ToldRun(picture(), STOPPED), quiet=True)
    assert (code, told.splitlines()[1:]) == (
        3,
        [
            "stopped on request",
            "the rows:     tui-runner query books.duckdb 'FROM \"books\" WHERE _run = 3 LIMIT 10'",
            "resume:       tui-runner resume books.duckdb 3",
        ],
    )
