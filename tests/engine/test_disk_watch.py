from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.guards.disk import PROBE_SECONDS, DiskWatch

GB = 1_000_000_000
MB = 1_000_000


def test_a_disk_below_a_gigabyte_is_low_and_reported_once() -> None:
    watch = DiskWatch()
    assert watch.measured(2 * GB, 0, 0.0) == ""
    assert watch.measured(900 * MB, 0, 1.0) == "disk: 900 MB left"
    assert watch.measured(890 * MB, 0, 2.0) == ""
    assert watch.low == "disk: 890 MB left"
    assert watch.measured(1_100 * MB, 0, 3.0) == "", "a little more room is not yet enough"
    assert watch.low
    watch.measured(1_600 * MB, 0, 4.0)
    assert watch.low == ""
    assert watch.measured(900 * MB, 0, 5.0) == "disk: 900 MB left"


def test_a_disk_that_fills_within_ten_minutes_is_low_however_large_it_is() -> None:
    watch = DiskWatch()
    told = [watch.measured(100 * GB - second * 200 * MB, second * 200 * MB, float(second)) for second in range(40)]
    assert [text for text in told if text] == ["disk: 96 GB left, full in about 08:00"]
    assert told[20], "not before it is known how fast it grows"


@given(st.lists(st.integers(0, 40 * MB), min_size=30, max_size=90))
def test_a_slow_or_jumping_growth_on_a_large_disk_is_nothing_to_warn_of(steps: list[int]) -> None:
    watch, used = DiskWatch(), 0
    for second, step in enumerate(steps):
        used += step
        assert watch.measured(100 * GB - used, used, float(second)) == ""


def test_a_full_disk_is_tried_every_few_seconds_until_it_takes_something() -> None:
    watch = DiskWatch()
    assert not watch.probe_due(5.0)
    assert not watch.written()
    watch.failed(10.0)
    tries = [second for second in range(10, 30) if watch.probe_due(float(second))]
    assert tries == list(range(13, 30, int(PROBE_SECONDS)))
    watch.try_now()
    assert watch.probe_due(29.0), "a person need not wait"
    assert watch.written()
    assert not watch.written()
    assert not watch.probe_due(1_000.0)
