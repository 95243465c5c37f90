"""The number of items that a CPU-bound job executes at once."""

from __future__ import annotations

import pytest

from tui_runner.engine.worker.concurrency import FIRST, HOLD_SECONDS, LEAST, RAMP_SECONDS, UNTRIED_SECONDS, ThreadTuner

WINDOW = 0.25


class Process:
    """A pool in simulated time.

    Args:
        cpu_an_item: processor seconds of an item.
        wait_an_item: seconds that an item waits for something else.
        processors: how many may compute at once.
        switching: what each item more than the processors costs, as a share of an item's processor seconds.
    """

    def __init__(self, cpu_an_item, wait_an_item=0.0, *, processors=1, switching=0.0, threads=16):
        self.cpu_an_item, self.wait_an_item = cpu_an_item, wait_an_item
        self.processors, self.switching, self.threads = processors, switching, threads
        self.now = self.cpu = 0.0
        self.said = []
        self.throttled = False
        self.tuner = ThreadTuner(lambda: self.cpu)
        self._look()

    def run(self, windows):
        """Return how many items were executed at once in each window."""
        found = []
        for _ in range(windows):
            at_once = min(self.threads, self.tuner.useful or self.threads)
            cpu_an_item = self.cpu_an_item * (1 + self.switching * max(0, at_once - self.processors))
            free = at_once / (cpu_an_item + self.wait_an_item)
            rate = min(free, self.processors / cpu_an_item)
            self.now += WINDOW
            self.cpu += WINDOW * rate * cpu_an_item
            self.tuner.count(int(rate * WINDOW))
            self._look()
            found.append(at_once)
        return found

    def _look(self):
        if said := self.tuner.measure(self.now, self.threads, busy=1, throttled=self.throttled):
            self.said.append(said)


def test_items_that_compute_are_executed_by_few_threads():
    process = Process(0.001, switching=0.02)
    assert process.run(6) == [16, 8, 4, 2, 2, 2]
    (said,) = process.said
    assert "2 of 16 threads run at once" in said


def test_items_that_wait_have_every_thread():
    assert set(Process(0.0001, 0.1).run(20)) == {16}


def test_threads_that_are_needed_to_keep_the_processor_busy_are_given_back():
    process = Process(0.005, 0.025)  # 6 at once
    assert process.run(5) == [16, 8, 4, 8, 8]
    process.run(int(HOLD_SECONDS / WINDOW))
    assert process.tuner.useful in (4, 8), "then it is tried again"


def test_functions_that_compute_outside_of_the_interpreter_have_as_many_threads_as_processors():
    assert Process(0.01, processors=8).run(5) == [16, 8, 4, 8, 8]


def test_a_job_that_begins_to_wait_gets_its_threads_back():
    process = Process(0.001)
    process.run(6)
    process.cpu_an_item, process.wait_an_item = 0.0001, 0.01
    process.run(5)
    assert process.tuner.useful is None


@pytest.mark.parametrize("threads", [1, LEAST])
def test_few_threads_are_left_alone(threads):
    process = Process(0.001, threads=threads)
    process.run(5)
    assert process.tuner.useful is None


def test_too_few_items_say_nothing():
    process = Process(0.1)
    process.run(5)
    assert process.tuner.useful is None


def test_threads_come_back_also_when_no_item_ends_any_more():
    process = Process(0.001)
    process.run(6)
    assert process.tuner.useful == LEAST
    process.cpu_an_item, process.wait_an_item = 0.0001, 3_600.0
    process.run(5)
    assert process.tuner.useful is None


def ramp(turns, threads=500, *, ended=lambda turn: 0, cpu=lambda: 0.0):
    """Return the items at once in each turn of a ramp, in which `ended(turn)` items end."""
    tuner = ThreadTuner(cpu)
    found = []
    for turn in range(turns):
        tuner.count(ended(turn))
        tuner.measure(turn * 1.5 * RAMP_SECONDS, threads, busy=1)
        found.append(tuner.useful)
    return found


def test_of_many_threads_few_begin_and_the_others_follow_while_the_processor_has_time():
    assert ramp(8, 128) == [16, 32, 64, None, None, None, None, None]


def test_of_very_many_threads_the_last_follow_after_items_that_have_ended():
    assert ramp(8, ended=lambda turn: 8 * turn) == [16, 32, 64, 128, 256, None, None, None]
    assert ramp(8, ended=lambda turn: 32 * (turn == 5)) == [16, 32, 64, 128, 128, 256, None, None]


def test_of_very_many_threads_the_last_follow_after_a_second_without_items_that_have_ended():
    turns = round(UNTRIED_SECONDS / (1.5 * RAMP_SECONDS))
    assert ramp(turns - 1)[-1] == 128
    assert ramp(turns + 6)[-1] is None


def test_threads_do_not_follow_where_the_first_ones_compute():
    cpu = [0.0]
    tuner = ThreadTuner(lambda: cpu[0])
    for turn in range(20):
        cpu[0] = turn * RAMP_SECONDS
        tuner.measure(turn * RAMP_SECONDS, 500, busy=1)
    assert tuner.useful == FIRST


def test_threads_follow_at_once_where_the_first_ones_compute_outside_of_the_interpreter():
    cpu = [0.0]
    tuner = ThreadTuner(lambda: cpu[0], processors=64)
    found = []
    for turn in range(6):
        tuner.measure(turn * 1.5 * RAMP_SECONDS, 64, busy=1)
        cpu[0] += 1.5 * RAMP_SECONDS * (tuner.useful or 64)
        found.append(tuner.useful)
    assert found == [16, 32, None, None, None, None]


def test_threads_are_not_limited_if_few_items_end():
    cpu = [0.0]
    tuner = ThreadTuner(lambda: cpu[0])
    for turn in range(400):
        cpu[0] = 0.1 * turn
        tuner.measure(0.1 * turn, 64, busy=1)
    assert tuner.useful is None


def test_a_worker_that_has_nothing_to_do_waits_with_its_threads():
    tuner = ThreadTuner(lambda: 0.0)
    for turn in range(20):
        tuner.measure(turn * RAMP_SECONDS, 500, busy=0)
    assert (tuner.useful, tuner.is_ramping) == (FIRST, True)


def test_more_threads_follow_where_that_does_more_on_many_processors():
    process = Process(0.05, 0.05, processors=64, threads=128)
    process.run(12)
    assert process.tuner.useful is None, "128 keep 64 processors busy"


def test_threads_are_taken_back_while_the_database_says_how_much_is_done():
    process = Process(0.001)
    process.throttled = True
    assert process.run(5) == [16, 8, 4, 2, 2]


def test_a_worker_whose_threads_are_not_started_yet_still_begins_with_few():
    tuner = ThreadTuner(lambda: 0.0)
    tuner.measure(0.0, 0, busy=0)
    tuner.measure(1.0, 500, busy=1)
    tuner.measure(1.0 + 1.5 * RAMP_SECONDS, 500, busy=1)
    assert tuner.useful == 2 * FIRST


def test_threads_are_still_added_after_a_short_time_of_computing():
    cpu, now = 0.0, 0.0
    tuner = ThreadTuner(lambda: cpu)
    for share in (0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        now += 1.5 * RAMP_SECONDS
        cpu += share * 1.5 * RAMP_SECONDS
        tuner.measure(now, 100, busy=1)
    assert tuner.useful is None
