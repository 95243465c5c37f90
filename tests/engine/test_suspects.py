"""Items that are suspected when a worker dies, that are cleared, and that are given up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.scheduling.suspects import DEATHS, PoisonItems


@given(items=st.integers(1, 60), threads=st.integers(1, 16), lethal=st.sets(st.integers(0, 59), max_size=6))
def test_only_what_kills_is_given_up_and_it_kills_three_times(items: int, threads: int, lethal: set[int]) -> None:
    """Items run `threads` at a time, suspects one at a time; a lethal one kills its worker whenever it runs."""
    suspects = PoisonItems()
    left, ended, given_up = set(range(items)), set(), {}
    deaths = 0
    while left:
        beside_others = list(suspects.without_suspects(left))[:threads]
        group = beside_others or suspects.next_suspects(left)[:1]
        given_up.update(suspects.refused(group))
        if lethal.intersection(group) and not given_up.keys() & set(group):
            deaths += 1
            suspects.record_death(group, "killed by SIGSEGV")
            continue
        left.difference_update(group)
        ended.update(group)
        suspects.ended(group)
    culprits = {item for item in lethal if item < items}
    assert given_up.keys() == culprits
    assert ended == set(range(items))
    assert deaths <= DEATHS * len(culprits)
    assert not suspects


@given(items=st.integers(1, 200), ruinous=st.sets(st.integers(0, 199), max_size=4))
def test_item_that_ruins_its_worker_and_returns_is_found_by_halves(items: int, ruinous: set[int]) -> None:
    """Outcomes arrive when a worker has run all that it was sent; one that was sent a ruinous item dies before."""
    suspects = PoisonItems()
    left, given_up = set(range(items)), set()
    deaths = 0
    while left:
        beside_others = suspects.without_suspects(left)
        group = list(beside_others) or suspects.next_suspects(left)
        refused = suspects.refused(group)
        given_up.update(refused)
        if ruinous.intersection(group) - refused.keys():
            deaths += 1
            if beside_others:
                suspects.record_idle_death(group)
            else:
                suspects.record_suspect_death(group, "ended with exit code 1")
            continue
        left.difference_update(group)
        suspects.ended(group)
    culprits = {item for item in ruinous if item < items}
    assert given_up == culprits
    assert deaths <= 2 + len(culprits) * (items.bit_length() + DEATHS)
    assert not suspects


@given(items=st.integers(2, 60), ruinous=st.sets(st.integers(0, 59), max_size=3), dice=st.randoms())
def test_no_item_fails_for_the_deaths_of_another(items: int, ruinous: set[int], dice: random.Random) -> None:
    """A worker that was ruined dies a little later, while it executes one that comes behind, or nothing any more."""
    suspects = PoisonItems()
    left, given_up = set(range(items)), set()
    while left:
        beside_others = suspects.without_suspects(left)
        group = list(beside_others) or suspects.next_suspects(left)
        refused = suspects.refused(group)
        given_up.update(refused)
        guilty = [index for index, item in enumerate(group) if item in ruinous and item not in refused]
        if not guilty:
            left.difference_update(group)
            suspects.ended(group)
        elif behind := group[guilty[0] + 1 :] if dice.random() < 0.7 else ():
            suspects.record_death([dice.choice(behind)], "gone")
        elif beside_others:
            suspects.record_idle_death(group)
        else:
            suspects.record_suspect_death(group, "gone")
    assert given_up == {item for item in ruinous if item < items}


def test_message_of_an_item_that_is_given_up() -> None:
    suspects = PoisonItems()
    for reason in ("killed by SIGKILL", "killed by SIGKILL", "ended with exit code 3"):
        assert suspects.refused([7]) == {}
        suspects.record_death([7], reason)
    assert suspects.refused([6, 7]) == {7: "killed its worker 3 times (the last time: ended with exit code 3)"}


def test_an_item_that_was_given_up_runs_alone_when_it_is_run_again() -> None:
    suspects = PoisonItems()
    for _ in range(DEATHS):
        suspects.record_death([7], "killed by SIGSEGV")
    suspects.refused([7])
    suspects.ended([7])
    assert 7 not in suspects
    suspects.again([6, 7])
    assert suspects.next_suspects([6, 7]) == [7]
    assert suspects.deaths(7) == 1
