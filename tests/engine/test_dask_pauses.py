"""Pauses before a Dask worker whose agent has failed gets another one."""

from __future__ import annotations

from tui_runner.engine.backends.dask import Pauses


def test_a_pause_is_twice_as_long_each_time_up_to_five_minutes() -> None:
    pauses, now, seconds = Pauses(), 100.0, []
    for _ in range(12):
        pauses.begin("a", now)
        assert pauses.over({"a", "b"}, now) == {"b"}
        began = now
        while not pauses.over({"a"}, now):
            now += 0.5
        seconds.append(now - began)
    assert seconds == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_dask_worker_that_has_left_begins_anew_when_it_comes_back() -> None:
    pauses = Pauses()
    for _ in range(5):
        pauses.begin("a", 0.0)
    pauses.keep({"b"})
    assert pauses.over({"a"}, 0.0) == {"a"}
    pauses.begin("a", 0.0)
    assert pauses.over({"a"}, 0.5) == {"a"}
