"""Long random walks through the world of `SchedulerMachine`.

Hypothesis shrinks its examples to what matters, but they are short. Few of them reach the trial of an outage, or a
chunk that runs again while its worker is replaced. These are weighted to come far, and told by their seed. `WALKS=20000
SEED=1 pytest tests/engine/test_scheduler_walks.py` walks the walks 1 to 20000.
"""

from __future__ import annotations

import os
import random

import pytest
from support.scheduler_machine import CAUSES, HOLDS, SchedulerMachine

from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.circuit_breaker import OnOutage
from tui_runner.engine.states import RunState

WALKS = int(os.environ.get("WALKS", "200"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
ITEMS = range(24)


def weight(number):
    """Set the weight of a step in the random choice."""

    def decorate(step):
        step.weight = number
        return step

    return decorate


class Walk:
    """One walk: `seed` says where it goes."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.machine = SchedulerMachine()
        self.rules = [name for name in dir(self) if name.startswith("do_")]
        # Of the others each is left out of some walks, so that these see more of the rest.
        self.weights = [
            getattr(self, name).weight * (name == "do_work" or self.dice.random() < 0.75) for name in self.rules
        ]

    def walk(self) -> None:
        """Drive a run from its beginning to its end."""
        dice, machine = self.dice, self.machine
        recorded = dice.choice([0.0, 0.0, 0.3])
        machine.begin(
            chunks=[[dice.random() < recorded for _ in range(dice.randint(1, 4))] for _ in range(dice.randint(1, 8))],
            workers=dice.randint(1, 3),
            open_chunks=dice.choice([None, 1, 2, 3]),
            by_key=dice.random() < 0.5,
            item_bytes=dice.choice([0, 1, 20 << 20]),
            paused=dice.random() < 0.1,
            max_failures=dice.choice([None] * 8 + [3]),
            eager=dice.random() < 0.8,
            failing=self.some(20),
            lethal=self.some(dice.choice([0, 0, 2])),
            ruinous=self.some(dice.choice([0, 0, 2])),
            retry_late=dice.random() < 0.5,
            stubborn=dice.random() < 0.2,
            on_outage=dice.choice([OnOutage.CONTINUE, OnOutage.PAUSE, OnOutage.PAUSE, OnOutage.STOP]),
            ground=dice.randint(1, 3),
            attended=dice.random() < 0.8,
            permanent=dice.random() < 0.2,
            known=self.some(dice.choice([0, 0, 5])),
        )
        for _ in range(dice.randint(5, 150)):
            (rule,) = dice.choices(self.rules, self.weights)
            getattr(self, rule)()
            machine.books_agree()
        machine.teardown()

    def some(self, most):
        return set(self.dice.sample(ITEMS, self.dice.randint(0, most)))

    @property
    def index(self):
        return self.dice.randrange(1_000)

    @weight(30)
    def do_work(self):
        steps = [(self.index, self.index) for _ in range(self.dice.randint(1, 6))]
        self.machine.work(index=self.index, steps=steps, times=self.dice.randint(0, 4))

    @weight(6)
    def do_hurry(self):
        self.machine.hurry(index=self.index, failing=self.dice.random() < 0.5, leaving=self.dice.random() < 0.7)

    @weight(6)
    def do_read(self):
        self.machine.read(times=self.dice.randint(1, 3))

    @weight(6)
    def do_bury(self):
        self.machine.bury(index=self.index)

    @weight(5)
    def do_pass_time(self):
        self.machine.pass_time(seconds=self.dice.choice([0.1, 1.0, 11.0, 11.0, 30.0, 400.0]))

    @weight(4)
    def do_command(self):
        dice = self.dice
        self.machine.command(
            command=dice.choice(
                [
                    events.PauseRun(),
                    events.ResumeRun(),
                    events.ResumeRun(),
                    events.ChangeThreads(dice.randint(0, 8)),
                    events.ChangeOpenChunks(dice.randint(0, 5)),
                    events.DivideThreads(dice.randint(1, 4), "memory is short"),
                    HOLDS[dice.choice(CAUSES)],
                    events.Release(dice.choice(CAUSES)),
                    events.Release(dice.choice(CAUSES)),
                ]
            )
        )

    @weight(4)
    def do_command_chunks(self):
        kinds = [events.PauseChunks, events.ResumeChunks, events.CancelChunks, events.RetryChunks, events.RetryChunks]
        numbers = {self.dice.randint(-1, 5) for _ in range(self.dice.randint(1, 4))}
        self.machine.command_chunks(command=self.dice.choice(kinds)(numbers))

    @weight(2)
    def do_lose(self):
        self.machine.lose(index=self.index, delivered=self.dice.randint(0, 5), dice=self.dice.randint(0, 2))

    @weight(1)
    def do_recycle(self):
        self.machine.recycle(index=self.index, at_once=self.dice.random() < 0.5, blamed=self.dice.random() < 0.5)

    @weight(1)
    def do_report(self):
        self.machine.report(index=self.index, stuck=self.dice.random() < 0.3)

    @weight(1)
    def do_reject(self):
        self.machine.reject(index=self.index)

    @weight(0.5)
    def do_stand_still(self):
        self.machine.stand_still(index=self.index)

    @weight(0.5)
    def do_fail_to_start(self):
        self.machine.fail_to_start(index=self.index, dice=self.dice.randint(0, 9))

    @weight(0.1)
    def do_end(self):
        ends = [
            events.StopRun(RunState.STOPPED, "stopped on request"),
            events.KillRun(RunState.STOPPED, "killed on request"),
            events.InputFailed("the disk is gone"),
            events.Abandoned("the terminal is gone"),
        ]
        self.machine.end(end=self.dice.choice(ends), dice=9)


@pytest.mark.timeout(60 + WALKS)
def test_wherever_a_run_goes_it_comes_to_its_own_end_and_the_books_agree():
    # `Walk` asserts after each step that all counts agree, and at the end that the run has ended (`SchedulerMachine`).
    for seed in range(SEED, SEED + WALKS):
        try:
            Walk(seed).walk()
        except BaseException as fault:
            fault.add_note(f"on the walk of seed {seed}: WALKS=1 SEED={seed}")
            raise
