"""The moments at which a worker reports, by a clock of the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tui_runner.engine.protocol import ChunkWait, Progress
from tui_runner.engine.worker import reporter as module
from tui_runner.engine.worker.attempt import Outcomes
from tui_runner.engine.worker.reporter import Reporter


class Clock:
    """The clock, and an event on it: `sets` are the times at which another thread sets the event."""

    def __init__(self, sets: list[float]) -> None:
        self.now = 100.0
        self.sets = [100.0 + after for after in sets]
        self.ended = False

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 0.0

    def wait(self, seconds: float) -> bool:
        """Return when the event is set, at the latest after `seconds`."""
        due = self.now + seconds
        self.now = max(self.now, min([due, *self.sets[:1]]))
        return self.now < due

    def clear(self) -> None:
        self.sets = [at for at in self.sets if at > self.now]


class Reported(Reporter):
    """Notes when it reports, `most` times; each report finds what `found` says."""

    def __init__(self, clock: Clock, found: list[bool], *, has_more: bool = False) -> None:
        outcomes: Any = Outcomes(1 << 20, lambda room: None, lambda: 1)
        outcomes.wake, outcomes.has_more = clock, has_more
        queue: Any = SimpleNamespace(
            busy=False, release_due=lambda: None, extend_deadlines=lambda seconds: None, set_useful=lambda useful: None
        )
        pool: Any = SimpleNamespace(end_overdue=lambda: None)
        log: Any = None
        super().__init__(0, queue, outcomes, pool, log, lambda report: None)
        self.clock, self.found, self.times = clock, found, list[float]()
        ending: Any = SimpleNamespace(is_set=lambda: not self.found, wait=self._pass)
        self._ending = ending

    def _pass(self, seconds: float) -> None:
        self.clock.now += seconds

    def _tune(self) -> None:
        """Leave the threads as they are."""

    def collect(self) -> bool:
        if not self.found:
            return False
        self.times.append(round(self.clock.now - 100.0, 3))
        return self.found.pop(0)


def reports(
    monkeypatch: pytest.MonkeyPatch, sets: list[float], found: list[bool], *, has_more: bool = False
) -> list[float]:
    """Return the seconds after the start at which it reports."""
    clock = Clock(sets)
    monkeypatch.setattr(module, "time", clock)
    reporter = Reported(clock, found, has_more=has_more)
    reporter._report()
    return reporter.times


def test_reporter_reports_at_each_interval_unless_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reports(monkeypatch, [], [True, True, False]) == [0.2, 0.4, 0.6]


def test_reporter_reports_at_once_when_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reports(monkeypatch, [0.05, 0.1], [True, True, True]) == [0.05, 0.1, 0.3]


def test_two_batches_are_at_least_20_ms_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reports(monkeypatch, [0.05, 0.051, 0.06], [True, True]) == [0.05, 0.07]


def test_empty_report_does_not_delay_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reports(monkeypatch, [0.05, 0.051], [False, True]) == [0.05, 0.051]


def test_full_batches_follow_each_other_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reports(monkeypatch, [0.05, 0.051], [True, True], has_more=True) == [0.05, 0.051]


def test_items_that_are_executed_are_reported_before_those_that_wait_for_a_host() -> None:
    sent: list[Progress] = []
    chunk = SimpleNamespace(number=0, values=range(40), positions=range(40))
    found = [
        (chunk, index, SimpleNamespace(started=float(index), attempt=1, held_by="h.org" if index < 30 else ""))
        for index in range(40)
    ]
    queue: Any = SimpleNamespace(
        in_flight=lambda: found,
        consumers=40,
        throttled=False,
        has_waiting=False,
        waits=dict,
        extend_deadlines=None,
        over_budget=lambda: 0,
        delayed=0,
        next_attempt=lambda: None,
    )
    pool: Any = SimpleNamespace(stuck=lambda: 0)
    log: Any = None
    Reporter(0, queue, Outcomes(1 << 20, lambda room: None, lambda: 1), pool, log, sent.append)._report_progress(True)
    (report,) = sent
    assert [item.item for item in report.oldest] == [*range(30, 40), *range(10)]
    assert (report.in_flight[0], report.held[0]) == (40, 30)


def test_a_wait_that_was_searched_for_earlier_is_reported_with_the_seconds_that_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock([])
    monkeypatch.setattr(module, "time", clock)
    sent: list[Progress] = []
    chunk = SimpleNamespace(number=0, values=[0], positions=[0])
    queue: Any = SimpleNamespace(
        in_flight=lambda: [(chunk, 0, SimpleNamespace(started=100.0, attempt=1, held_by="h.org"))],
        consumers=1,
        throttled=False,
        has_waiting=False,
        waits=lambda: {0: ChunkWait("h.org", 9.0)},
        extend_deadlines=None,
        over_budget=lambda: 0,
        delayed=0,
        next_attempt=lambda: None,
    )
    pool: Any = SimpleNamespace(stuck=lambda: 0)
    log: Any = None
    reporter = Reporter(0, queue, Outcomes(1 << 20, lambda room: None, lambda: 1), pool, log, sent.append)
    for now in (100.0, 100.25, 100.5):
        clock.now = now
        reporter._report_progress(True)
    assert [report.waits[0].seconds for report in sent] == [9.0, 8.75, 9.0], "the third has another search"
