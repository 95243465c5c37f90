"""States, counters and the clock of a chunk."""

from __future__ import annotations

import itertools
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.protocol import Counts, ranges_of
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.states import CHUNK_TRANSITIONS, ChunkState, RunState, check_transition, recorded_state

S = ChunkState


def chunk(items=4, skipped=0):
    left = ItemsLeft(range(items), range(skipped, items))
    return Chunk(0, 0, items, skipped, left, counts=Counts(done=skipped))


def ended_chunk(failures, **counts):
    """Return a chunk whose items have all ended, at active time 10."""
    it = chunk()
    it.set_state(S.RUNNING)
    it.started_at = 0.0
    it.cross_off([0, 4], failures)
    it.count(Counts(**counts))
    it.leave_worker()
    it.set_state(S.FAILED)
    it.ended_at = 10.0
    return it


# --- states -------------------------------------------------------------------------------------------------


def test_a_wrong_turn_is_an_error_and_changes_nothing():
    it = chunk()
    it.set_state(S.DONE)
    with pytest.raises(ValueError, match="ChunkState cannot go from done to running"):
        it.set_state(S.RUNNING)
    assert it.state is S.DONE


@pytest.mark.parametrize(("old", "new"), itertools.permutations(ChunkState, 2))
def test_only_the_table_says_what_may_follow(old, new):
    allowed = new in CHUNK_TRANSITIONS[old]
    try:
        check_transition(CHUNK_TRANSITIONS, old, new)
    except ValueError:
        assert not allowed
    else:
        assert allowed


def test_a_state_may_be_set_again():
    it = chunk()
    it.set_state(S.WAITING)
    assert it.state is S.WAITING


def test_every_state_leads_to_an_end_and_what_is_done_does_not_run_again():
    assert CHUNK_TRANSITIONS[S.DONE] == {S.FAILED}, "the database may refuse its rows"
    for state in set(ChunkState) - {S.DONE}:
        reached = {state}
        for _ in ChunkState:
            reached |= {after for before in reached for after in CHUNK_TRANSITIONS[before]}
        assert S.DONE in reached


def test_which_states_are_ends():
    assert {state for state in ChunkState if state.ended} == {S.DONE, S.FAILED, S.CANCELLED}
    assert {state for state in RunState if state.ended} == {RunState.STOPPED, RunState.FINISHED, RunState.FAILED}


# --- counters -----------------------------------------------------------------------------------------------


def test_counts_add_up_and_take_away():
    one, two = Counts(1, 2, 3, 4, 5, 0.5), Counts(10, 20, 30, 40, 50, 1.5)
    assert one + two == Counts(11, 22, 33, 44, 55, 2.0)
    assert (one + two) - two == one
    assert one.finished == 6


def test_recorded_items_count_as_done():
    it = chunk(skipped=3)
    assert it.counts == Counts(done=3)
    assert it.count(Counts(done=1)) == Counts(done=1)
    assert it.counts == Counts(done=4)


def test_a_worker_counts_from_zero_and_the_next_one_again():
    it = chunk()
    assert it.count(Counts(done=1, rows=10)) == Counts(done=1, rows=10)
    assert it.count(Counts(done=2, rows=15)) == Counts(done=1, rows=5)
    it.leave_worker()
    assert it.count(Counts(failed=1)) == Counts(failed=1)
    assert it.counts == Counts(done=2, failed=1, rows=15)


def test_attempts_of_an_item_are_remembered_until_it_ends():
    it = chunk()
    it.retried({1: 2, 2: 1})
    it.cross_off([0, 2], {0: 3})
    assert it.made(it.attempts) == it.made(it.tries) == {2: 1}
    assert it.failures == {0: 3}
    assert list(it.left) == [2, 3]


def test_running_again_makes_failures_pending_and_takes_them_back_from_the_counters():
    it = ended_chunk({1: 3, 3: 0}, done=2, failed=1, cancelled=1, retries=2, rows=7)
    assert it.run_again(15.0) == Counts(failed=1, cancelled=1)
    assert list(it.left) == [1, 3]
    assert it.left.indexes() == [0, 1], "it has no other items any more"
    assert it.counts == Counts(done=2, retries=2, rows=7)
    assert it.count(Counts(done=2)) == Counts(done=2)
    assert it.attempts == {1: 3, 3: 0}, "the attempts made count on"


def test_items_that_the_database_refused_fail_and_do_not_run_again():
    it = ended_chunk({1: 1}, done=3, failed=1, rows=9)
    assert it.reject(2, 6) == Counts(done=-2, failed=2, rows=-6)
    assert it.run_again(15.0) == Counts(failed=1)
    assert list(it.left) == [1]
    assert it.counts == Counts(done=1, failed=2, rows=3)
    assert it.reject(1, 3) == Counts(done=-1, failed=1, rows=-3), "what it had sent before was refused meanwhile"
    it.count(Counts(done=1))
    assert it.counts == Counts(done=1, failed=3)


# --- the clock ----------------------------------------------------------------------------------------------


def test_the_clock_stands_still_before_the_start():
    it = chunk()
    it.stop_clock(5.0)
    it.start_clock(8.0)
    assert it.elapsed(100.0) == 0.0


def test_the_clock_does_not_count_pauses():
    it = chunk()
    it.started_at = 10.0
    assert it.elapsed(15.0) == 5.0
    it.stop_clock(15.0)
    it.stop_clock(16.0)
    assert it.elapsed(40.0) == 5.0
    it.start_clock(50.0)
    it.start_clock(51.0)
    assert it.elapsed(52.0) == 7.0


def test_the_clock_stops_at_the_end():
    it = ended_chunk({}, done=4)
    assert it.elapsed(1_000.0) == 10.0


def test_the_time_between_the_end_and_running_again_does_not_count():
    it = ended_chunk({1: 1}, done=3, failed=1)
    it.run_again(60.0)
    assert it.elapsed(60.0) == 10.0
    assert it.elapsed(63.0) == 13.0


def test_a_run_that_is_recorded_as_running_without_a_process_was_interrupted() -> None:
    assert recorded_state("running", goes_on=False) == recorded_state("draining", goes_on=False) == "interrupted"
    assert recorded_state("running", goes_on=True) == "running"
    assert recorded_state("paused", goes_on=False) == "paused"


# --- which items are left -----------------------------------------------------------------------------------


BY_KEY = array("q", [7, 3, 12, 4])
"""Positions of items that were found in the ledger by their keys."""


def test_items_left_are_known_by_index_and_told_by_position():
    left = ItemsLeft(BY_KEY, [3, 4])
    assert (list(left), left.indexes(), len(left), left.is_whole) == ([3, 4], [1, 3], 2, False)
    assert left.among([3, 7, 99]) == {3: 1}, "7 is done, 99 belongs to another chunk"
    assert list(left.positions_in([0, 1, 2, 4])) == [7, 12, 4]


def test_an_item_is_crossed_off_once_however_often_it_is_reported():
    left = ItemsLeft(range(10, 16), range(10, 16))
    left.cross_off([0, 2, 3, 4])
    left.cross_off([1, 4])
    assert (list(left), len(left)) == ([14, 15], 2)
    assert list(left.pending_among(None)) == [14, 15]
    assert list(left.pending_among([0, 4])) == [14]


@given(st.sets(st.integers(0, 60)))
def test_ranges_cover_exactly_their_indexes(indexes):
    ranges = ranges_of(sorted(indexes))
    covered = [index for start, stop in zip(ranges[::2], ranges[1::2], strict=True) for index in range(start, stop)]
    assert covered == sorted(indexes)
    assert len(set(ranges)) == len(ranges), "ranges that touch are one"
