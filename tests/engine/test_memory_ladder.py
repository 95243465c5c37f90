from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.guards.memory import (
    EndStatements,
    Figures,
    GiveUp,
    MemoryLadder,
)
from tui_runner.engine.scheduling.events import DivideThreads, Hold, Recycle, Release
from tui_runner.engine.states import PauseCause

MB = 1_000_000
LIMIT = 1_000 * MB


class Climb:
    """A ladder, fed with percentages of its limit: the app has 100 MB, worker 0 the rest."""

    def __init__(self) -> None:
        self.ladder = MemoryLadder()
        self.now = 1_000.0

    def __call__(self, percent, *, seconds=1.0, in_flight=4, threads=64, worker=0, statements=0):
        self.now += seconds
        figures = Figures(100 * MB, {worker: 10 * percent * MB - 100 * MB}, in_flight, threads, statements)
        return self.ladder.judge(figures, LIMIT, self.now)


def test_at_seventy_percent_there_are_fewer_and_fewer_threads_and_then_more_again():
    climb = Climb()
    assert climb(69) == []
    (first,) = climb(71)
    assert first == DivideThreads(2, "memory is at 71 % of 1.0 GB: one in 2 threads continues")
    assert climb(72) == [], "memory needs some seconds to come back"
    assert climb.ladder.warning == "memory is at 72 % of 1.0 GB"
    (second,) = climb(72, seconds=5)
    assert second.divisor == 4
    assert climb(65, seconds=60) == [], "between the bounds nothing changes"
    assert climb(50) == []
    assert [step.divisor for _ in range(25) for step in climb(50)] == [2, 1]
    assert climb.ladder.warning == ""


def test_at_eighty_percent_no_new_items_start_and_the_largest_worker_is_replaced_once():
    climb = Climb()
    climb(30)
    hold, replace = climb(81)
    assert hold == Hold(PauseCause.MEMORY, "memory is at 81 % of 1.0 GB: no new items until it is below 70 %")
    assert replace == Recycle(0, "memory is at 81 % of 1.0 GB, 710 MB of it in this worker", False)
    assert [step for _ in range(20) for step in climb(82)] == []
    assert climb(75, seconds=9) == [], "the run is held all the same"
    assert climb(69) == [Release(PauseCause.MEMORY)]


def test_at_ninety_five_percent_the_largest_worker_is_killed_and_after_a_while_the_next():
    ladder = MemoryLadder()
    ladder.judge(Figures(0, {0: 50 * MB, 1: 50 * MB, 2: 50 * MB}, 9, 9), LIMIT, 0.0)
    full = Figures(0, {0: 300 * MB, 1: 600 * MB, 2: 60 * MB}, 9, 9)
    steps = ladder.judge(full, LIMIT, 1.0)
    assert [(step.worker, step.at_once) for step in steps if isinstance(step, Recycle)] == [(1, True)]
    assert ladder.judge(full, LIMIT, 2.0) == []
    gone = Figures(600 * MB, {0: 300 * MB, 2: 60 * MB}, 9, 9)
    assert [step.worker for step in ladder.judge(gone, LIMIT, 7.0) if isinstance(step, Recycle)] == [0]


def test_queries_end_before_a_worker_does():
    climb = Climb()
    climb(30)
    assert climb(79, statements=2) == [DivideThreads(2, "memory is at 79 % of 1.0 GB: one in 2 threads continues")]
    hold, end = climb(250, statements=2)
    assert (type(hold), end) == (Hold, EndStatements("memory is at 250 % of 1.0 GB"))
    assert [type(step) for _ in range(20) for step in climb(400, statements=1)] == [EndStatements] * 20
    assert climb(40) == [Release(PauseCause.MEMORY)]


def test_a_query_that_does_not_end_protects_no_worker_for_ever():
    climb = Climb()
    climb(30)
    steps = [type(step) for _ in range(40) for step in climb(250, statements=1)]
    assert steps.count(EndStatements) == 30
    assert steps[31:33] == [Recycle, DivideThreads]


def test_an_idle_run_does_not_fail_for_the_memory_of_a_query():
    climb = Climb()
    assert not [step for _ in range(60) for step in climb(250, in_flight=0, statements=1) if isinstance(step, GiveUp)]
    assert [step for _ in range(12) for step in climb(250, in_flight=0) if isinstance(step, GiveUp)]


def test_items_in_flight_of_a_killed_worker_run_again_half_as_many_at_once():
    climb = Climb()
    climb(20)
    hold, kill, fewer = climb(171)
    assert (type(hold), kill.at_once) == (Hold, True)
    assert fewer == DivideThreads(2, "memory is at 171 % of 1.0 GB: one in 2 threads continues")
    climb(20, worker=1)
    assert [getattr(step, "divisor", 0) for step in climb(150, seconds=5, worker=1)][-1] == 4
    assert [step.divisor for _ in range(25) for step in climb(20, worker=2) if isinstance(step, DivideThreads)] == [
        2,
        1,
    ]


def test_items_that_alone_are_too_large_one_after_the_other_end_the_run():
    climb = Climb()
    ends = []
    for worker in range(20):
        climb(20, seconds=5, worker=worker)
        ends += [step for step in climb(120, in_flight=1, worker=worker) if isinstance(step, GiveUp)][:1]
        if ends:
            break
    assert worker == 8, "three items, each given up after three kills"
    assert ends[0].text.startswith("memory is at 120 % of 1.0 GB with one item a worker: raise --max-memory")


def test_kills_with_calm_between_them_do_not_end_it():
    climb = Climb()
    steps = []
    for worker in range(12):
        steps += [step for _ in range(40) for step in climb(20, worker=worker)]
        steps += climb(120, in_flight=1, worker=worker)
    assert not any(isinstance(step, GiveUp) for step in steps)


def test_a_limit_below_an_idle_run_does_not_replace_workers_forever():
    climb = Climb()
    steps = [step for _ in range(30) for step in climb(97, in_flight=0)]
    assert [type(step) for step in steps[:2]] == [Hold, GiveUp]
    assert steps[1].text == (
        "memory is at 97 % of 1.0 GB with no item in flight (tui-runner uses 100 MB, 1 worker 870 MB): "
        "raise --max-memory or use fewer workers"
    )


def test_items_in_flight_may_still_give_memory_back():
    climb = Climb()
    assert not [step for _ in range(60) for step in climb(97, in_flight=1) if isinstance(step, GiveUp)]


def test_without_a_limit_everything_is_undone():
    climb = Climb()
    climb(75)
    climb(85)
    figures = Figures(100 * MB, {0: 900 * MB}, 1, 4)
    steps = [step for second in range(30) for step in climb.ladder.judge(figures, None, climb.now + second)]
    assert steps == [Release(PauseCause.MEMORY), DivideThreads(1, "memory is unlimited: all threads continue")]


def test_threads_are_divided_no_further_than_there_are():
    climb = Climb()
    steps = [step for _ in range(9) for step in climb(75, seconds=5, threads=5)]
    assert [step.divisor for step in steps] == [2, 4]
    assert climb(75, seconds=5, threads=1) == []


def test_a_leak_that_holds_a_run_with_nothing_in_flight_is_given_back_by_a_new_worker():
    climb = Climb()
    climb(76)
    climb(81)
    assert [step for _ in range(30) for step in climb(79, in_flight=1)] == [], "it may still give memory back"
    steps = [step for _ in range(30) for step in climb(79, in_flight=0)]
    assert steps == [Recycle(0, "memory is at 79 % of 1.0 GB, 690 MB of it in this worker", False)]
    assert [step for _ in range(30) for step in climb(76, in_flight=0, worker=1)][:1] == [Release(PauseCause.MEMORY)]


def test_a_leak_that_is_spread_over_workers_is_given_back_by_one_after_another():
    leaked, ladder, now, replaced = {0: 240, 1: 230, 2: 220}, MemoryLadder(), 0.0, []

    def judge(workers, app, in_flight):
        figures = Figures(app * MB, {number: rss * MB for number, rss in workers.items()}, in_flight, 9)
        return ladder.judge(figures, LIMIT, now)

    judge(dict.fromkeys(leaked, 180), 100, 9)
    judge(leaked, 150, 9)
    while ladder.held and now < 60:
        now += 1.0
        for step in judge(leaked, 100, 0):
            if isinstance(step, Recycle):
                replaced.append(step.worker)
                del leaked[step.worker]
                leaked[10 + step.worker] = 180
    assert replaced == [0, 1]
    assert sum(leaked.values()) + 100 < 700


def test_a_run_that_new_workers_would_not_help_continues_as_long_as_it_can():
    climb = Climb()
    climb(79)
    climb(81)
    assert [step for _ in range(30) for step in climb(75, in_flight=0)][:1] == [Release(PauseCause.MEMORY)]


@given(
    st.integers(0, 1_200),
    st.lists(st.tuples(st.integers(1, 300), st.sampled_from([0, 3, 30, 300])), max_size=5),
)
def test_no_hold_lasts_for_ever_once_nothing_is_in_flight(app, workers):
    ladder, now, given_up = MemoryLadder(), 0.0, False
    base = {number: rss for number, (rss, _) in enumerate(workers)}
    leaked = {number: more for number, (_, more) in enumerate(workers)}
    for others in (app, 1_000):
        ladder.judge(Figures(others * MB, {number: rss * MB for number, rss in base.items()}, 9, 9), LIMIT, now)
    while ladder.held and not given_up and now < 120:
        now += 1.0
        figures = Figures(app * MB, {number: (rss + leaked.get(number, 0)) * MB for number, rss in base.items()}, 0, 9)
        for step in ladder.judge(figures, LIMIT, now):
            given_up |= isinstance(step, GiveUp)
            if isinstance(step, Recycle):
                base[100 + step.worker] = base.pop(step.worker)  # its successor has leaked nothing
    assert given_up is ladder.held
    least = app + sum(base.values()) + sum(leaked[number] for number in base if leaked.get(number) == 3)
    assert given_up is (least >= 800)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),
            st.dictionaries(st.integers(0, 3), st.integers(0, 600), max_size=4),
            st.integers(0, 5),
            st.integers(0, 2),
            st.sampled_from([0.5, 1.0, 6.0, 30.0]),
        ),
        max_size=80,
    )
)
def test_holds_and_releases_alternate_and_only_workers_that_are_there_and_have_grown_are_replaced(world):
    ladder, now, held, least = MemoryLadder(), 0.0, False, {}
    for app, workers, in_flight, statements, seconds in world:
        now += seconds
        least = {number: min(rss, least.get(number, rss)) for number, rss in workers.items()}
        figures = Figures(app * MB, {number: rss * MB for number, rss in workers.items()}, in_flight, 8, statements)
        for step in ladder.judge(figures, LIMIT, now):
            if isinstance(step, Hold | Release):
                assert held is isinstance(step, Release)
                held = not held
            elif isinstance(step, Recycle):
                assert held
                assert not in_flight or workers[step.worker] - least[step.worker] >= 64
                assert workers[step.worker] > least[step.worker]
                assert figures.total >= (0.95 if step.at_once else 0.80 if in_flight else 0.70) * LIMIT
            elif isinstance(step, GiveUp):
                assert held
                assert in_flight <= len(workers)
            elif isinstance(step, EndStatements):
                assert held
                assert statements
