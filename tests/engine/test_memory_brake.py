from __future__ import annotations

import gc
import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st
from support.waiting import eventually

from tui_runner.engine.worker.memory_limit import (
    GARBAGE_GROWTH,
    BrakeState,
    GarbageWatch,
    MemoryLimit,
    Step,
    give_back,
    resident_bytes,
)

MB = 1 << 20


def test_a_worker_within_its_share_is_left_alone() -> None:
    state = BrakeState(500 * MB, 100 * MB)
    assert [state.check(rss * MB, 8, float(rss)) for rss in (100, 400, 499, 500)] == [Step.NOTHING] * 4


def test_the_worker_continues_when_large_items_have_ended() -> None:
    state = BrakeState(500 * MB, 100 * MB)
    assert state.check(600 * MB, 8, 0.0) is Step.BRAKE
    assert state.check(550 * MB, 5, 0.1) is Step.NOTHING
    assert state.check(400 * MB, 3, 0.2) is Step.RELEASE
    assert state.check(450 * MB, 8, 0.3) is Step.NOTHING


def test_memory_kept_with_nothing_in_flight_makes_the_brake_give_up_once() -> None:
    state = BrakeState(500 * MB, 100 * MB)
    assert [state.check(600 * MB, 0, moment) for moment in (0.0, 0.1, 0.2)] == [Step.BRAKE, Step.NOTHING, Step.CLEAN]
    assert state.cleaned(590 * MB) is Step.GIVE_UP
    assert [state.check(600 * MB, 0, moment) for moment in (0.3, 9.0)] == [Step.NOTHING] * 2


def test_memory_that_can_be_given_back_is_no_reason_to_give_up() -> None:
    state = BrakeState(500 * MB, 100 * MB)
    for moment in (0.0, 0.1, 0.2):
        step = state.check(600 * MB, 0, moment)
    assert step is Step.CLEAN
    assert state.cleaned(200 * MB) is Step.RELEASE


def test_brake_does_not_wait_for_ever_for_a_long_item() -> None:
    state = BrakeState(500 * MB, 100 * MB)
    steps = [state.check(600 * MB, 1, float(second)) for second in range(7)]
    assert steps == [Step.BRAKE, *[Step.NOTHING] * 4, Step.GIVE_UP, Step.NOTHING]


@given(share=st.integers(0, 2_000), baseline=st.integers(10, 5_000))
def test_every_worker_may_grow_by_something(share: int, baseline: int) -> None:
    state = BrakeState(share * MB, baseline * MB)
    assert state.check((baseline + 60) * MB, 4, 0.0) is Step.NOTHING


@given(st.lists(st.tuples(st.integers(50, 900), st.integers(0, 3), st.sampled_from([None, 300, 600])), max_size=60))
def test_brake_tightens_and_releases_in_turn_and_gives_up_last(looks: list[tuple[int, int, int | None]]) -> None:
    state = BrakeState(400 * MB, 50 * MB)
    steps = []
    for number, (rss, in_flight, share) in enumerate(looks):
        state.set_share(None if share is None else share * MB)
        step = state.check(rss * MB, in_flight, number / 10)
        steps.append(state.cleaned(rss * MB) if step is Step.CLEAN else step)
    said = [step for step in steps if step is not Step.NOTHING]
    assert all(step is Step.BRAKE for step in said[::2])
    assert all(step in (Step.RELEASE, Step.GIVE_UP) for step in said[1::2])
    assert Step.GIVE_UP not in said[:-1]


def test_a_process_that_really_fills_up_is_braked_and_says_so() -> None:
    braked = threading.Event()
    reports: list[int] = []
    give_back()  # what other tests have freed must not count as memory that the limit gives back
    brake = MemoryLimit(1, lambda: 0, lambda on: braked.set() if on else braked.clear(), reports.append, lambda: 0.0)
    brake.start()
    before = resident_bytes()
    kept = b"x" * (200 * MB)
    eventually(lambda: reports, "the report")
    assert braked.is_set()
    assert reports[0] > before + 40 * MB  # a look may have found garbage of other tests meanwhile
    brake.end()
    del kept
    give_back()
    assert resident_bytes() < before + 50 * MB


# --- garbage ------------------------------------------------------------------------------------------------


def test_garbage_is_looked_for_each_time_the_worker_has_grown() -> None:
    watch = GarbageWatch(50 * MB)
    assert not watch.is_due(50 * MB + GARBAGE_GROWTH - 1, 0.0)
    assert watch.is_due(50 * MB + GARBAGE_GROWTH, 0.1)
    watch.collected(90 * MB, 0.2, 0.001)
    assert not watch.is_due(150 * MB, 1.0)
    assert watch.is_due(90 * MB + GARBAGE_GROWTH, 1.1)


def test_growth_counts_from_the_least_the_worker_had() -> None:
    watch = GarbageWatch(500 * MB)
    assert not watch.is_due(100 * MB, 0.0)
    assert watch.is_due(200 * MB, 0.1)


def test_looking_for_garbage_takes_a_twentieth_of_the_time_at_most() -> None:
    watch = GarbageWatch(0)
    watch.collected(0, 10.0, 1.0)
    assert not watch.is_due(GARBAGE_GROWTH, 28.9)
    assert watch.is_due(GARBAGE_GROWTH, 29.1)


def test_garbage_in_cycles_does_not_pile_up() -> None:
    gc.disable()
    try:
        hours = itertools.count(0.0, 3600.0)  # so that a look is never too soon after the last
        watch = MemoryLimit(None, lambda: 1, lambda on: None, lambda rss: None, lambda: next(hours))
        before = resident_bytes()
        made = 0
        while made < 20 and (made < 5 or resident_bytes() < before + 150 * MB):
            cycle = [bytearray(b"x" * (30 * MB))]
            cycle.append(cycle)
            del cycle
            made += 1
            watch._next_check = 0.0
            watch.check()
    finally:
        gc.enable()
    assert made == 20
