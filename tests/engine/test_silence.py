"""The time that a worker may go without a report."""

from __future__ import annotations

from tui_runner.engine.scheduling.workers import Liveness


def test_a_worker_is_silent_when_it_has_not_reported_for_longer_than_an_item_may_take() -> None:
    silence = Liveness(timeout=10.0)
    silence.record_report(1, 100.0)
    silence.record_report(2, 100.0)
    quiet = []
    for tick in range(100, 150):
        silence.record_report(2, float(tick))
        quiet.append(silence.silent(float(tick)))
    assert quiet == [[]] * 41 + [[1]] * 9
    silence.forget(1)
    assert silence.silent(150.0) == []


def test_without_a_timeout_there_is_more_patience() -> None:
    assert Liveness(None).patience > Liveness(600.0).patience


def test_workers_are_not_blamed_for_a_time_in_which_the_program_was_stopped() -> None:
    silence = Liveness(timeout=1.0)
    silence.record_report(1, 100.0)
    assert silence.silent(101.0) == []
    assert silence.silent(5_000.0) == [], "tui-runner was stopped"
    for tick in range(5_001, 5_032):
        assert silence.silent(float(tick)) == []
    assert silence.silent(5_032.0) == [1]
