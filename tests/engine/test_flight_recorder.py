"""Items in flight are read from memory that another process has written."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tui_runner.engine.worker.flight_recorder import SLOTS, FlightRecorder, note, open_memory


@pytest.fixture
def pair() -> Iterator[tuple[FlightRecorder, FlightRecorder]]:
    """The worker's view and its parent's of the same memory."""
    memory = open_memory()
    worker, parent = FlightRecorder(memory), FlightRecorder(memory)
    os.close(memory)
    yield worker, parent
    worker.close()
    parent.close()


def test_the_parent_reads_what_the_worker_notes(pair: tuple[FlightRecorder, FlightRecorder]) -> None:
    worker, parent = pair
    first, second, third = worker.take_slot(), worker.take_slot(), worker.take_slot()
    worker.slots[first] = note(0, 1)
    worker.slots[second] = note(10**12, 3)
    worker.slots[third] = note(5, 10**9)
    worker.slots[third] = 0
    assert parent.read() == {0: 1, 10**12: 3}


def test_of_an_item_that_is_in_flight_twice_the_last_attempt_counts(
    pair: tuple[FlightRecorder, FlightRecorder],
) -> None:
    worker, parent = pair
    for attempt in (2, 3, 1):
        worker.slots[worker.take_slot()] = note(5, attempt)
    assert parent.read() == {5: 3}


def test_attempts_beyond_counting_do_not_change_the_position(pair: tuple[FlightRecorder, FlightRecorder]) -> None:
    worker, parent = pair
    worker.slots[worker.take_slot()] = note(5, 10**9)
    assert list(parent.read()) == [5]


def test_a_slot_that_was_given_back_is_empty_and_used_again(pair: tuple[FlightRecorder, FlightRecorder]) -> None:
    worker, parent = pair
    slots = [worker.take_slot() for _ in range(3)]
    worker.slots[slots[1]] = note(5, 1)
    worker.give_back(slots[1])
    assert parent.read() == {}
    assert worker.take_slot() == slots[1]


def test_however_many_threads_there_are_each_has_a_slot(pair: tuple[FlightRecorder, FlightRecorder]) -> None:
    worker, parent = pair
    for _ in range(SLOTS + 2):
        slot = worker.take_slot()
    worker.slots[slot] = note(5, 1)
    assert parent.read() == {5: 1}


def test_an_item_that_has_ended_is_named_until_its_thread_begins_another() -> None:
    recorder = FlightRecorder()
    slot = recorder.take_slot()
    recorder.slots[slot] = note(12, 3)
    recorder.slots[slot] *= -1
    assert recorder.read() == {12: 3}
    recorder.slots[slot] = note(13, 1)
    assert recorder.read() == {13: 1}
    recorder.give_back(slot)
    assert recorder.read() == {}
    recorder.close()
