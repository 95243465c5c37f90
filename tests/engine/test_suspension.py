"""A process that stood still: that time belongs to no item."""

from __future__ import annotations

import pytest

from tui_runner.engine.packed_items import pack
from tui_runner.engine.protocol import OpenChunk
from tui_runner.engine.worker.slot import is_overdue
from tui_runner.engine.worker.suspension import SUSPENDED_SECONDS, Suspension
from tui_runner.engine.worker.task_queue import WorkQueue


class Clocks:
    now = 100.0
    cpu = 5.0


@pytest.fixture
def clocks():
    return Clocks()


def watch(clocks, postponed):
    return Suspension(postponed.append, lambda: clocks.now, lambda: clocks.cpu)


def test_a_gap_without_work_is_a_suspension_once(clocks):
    postponed = []
    suspension = watch(clocks, postponed)
    clocks.now += 0.25
    suspension.check()
    clocks.now += 25.0
    clocks.cpu += 0.01
    suspension.check()
    suspension.check()
    assert postponed == [25.0]


def test_a_gap_in_which_the_processor_was_used_is_none(clocks):
    postponed = []
    suspension = watch(clocks, postponed)
    clocks.now += 25.0
    clocks.cpu += 20.0
    suspension.check()
    assert postponed == []


def test_a_late_look_is_no_suspension(clocks):
    postponed = []
    suspension = watch(clocks, postponed)
    clocks.now += SUSPENDED_SECONDS - 0.1
    suspension.check()
    assert postponed == []


def test_attempts_that_are_being_made_are_postponed():
    now = [100.0]
    queue = WorkQueue(write_log=lambda *_: None, on_exhausted=lambda _: None, clock=lambda: now[0])
    queue.set_consumers(2)
    queue.open(OpenChunk(0, range(2), pack(["a", "b"])))
    running, ended = queue.slot(0), queue.slot(1)
    for slot in (running, ended):
        assert queue.poll(slot) == 0.0
        slot.deadline, slot.claim = 112.0, [112.0]
    ended.claim.pop()
    now[0] += 25
    queue.extend_deadlines(25.0)
    assert not is_overdue(running.claim, now[0])
    assert (running.deadline, running.started) == (137.0, 125.0)
    assert ended.claim == []
    now[0] += 13
    assert is_overdue(running.claim, now[0])
