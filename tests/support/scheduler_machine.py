"""The scheduler in every order of events that Hypothesis can think of, against a world that keeps its own books."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.simulated_world import World, cut
from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.events import (
    Abandoned,
    CancelChunks,
    ChangeOpenChunks,
    ChangeThreads,
    DivideThreads,
    Hold,
    InputFailed,
    KillRun,
    PauseChunks,
    PauseRun,
    Recycle,
    Release,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    StopRun,
    Tick,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import RunState

CHUNKS = st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=8)
"""Chunks, each a list of its items: whether an earlier process had recorded them."""
INDEX = st.integers(0, 1_000)
NUMBERS = st.sets(st.integers(-1, 5), min_size=1, max_size=4)
CAUSES = ("disk", "memory")
HOLDS = {cause: Hold(cause, f"no room: {cause}") for cause in CAUSES}
RUN_COMMANDS = st.one_of(
    st.just(PauseRun()),
    st.just(ResumeRun()),
    st.builds(ChangeThreads, st.integers(0, 8)),
    st.builds(ChangeOpenChunks, st.integers(0, 5)),
    st.builds(DivideThreads, st.integers(1, 4), st.just("memory is short")),
    st.sampled_from([*HOLDS.values()]),
    st.builds(Release, st.sampled_from(CAUSES)),
)
CHUNK_COMMANDS = st.one_of(
    st.builds(PauseChunks, NUMBERS),
    st.builds(ResumeChunks, NUMBERS),
    st.builds(CancelChunks, NUMBERS),
    st.builds(RetryChunks, NUMBERS),
)
ENDS = st.sampled_from(
    [
        StopRun(RunState.STOPPED, "stopped on request"),
        KillRun(RunState.STOPPED, "killed on request"),
        InputFailed("the disk is gone"),
        Abandoned("the terminal is gone"),
    ]
)
_TIMEOUT = 1.0
"""Seconds an item may take: a worker that is silent for 31 is killed."""


class SchedulerMachine(RuleBasedStateMachine):
    """Events in any order. At last all parts cooperate, and then every run must end by itself.

    Rules do nothing once the run has ended; with preconditions instead, most examples are thrown away.
    """

    world: World

    @initialize(
        chunks=CHUNKS,
        workers=st.integers(1, 3),
        open_chunks=st.none() | st.integers(1, 3),
        by_key=st.booleans(),
        item_bytes=st.sampled_from([0, 1, 20 << 20]),
        paused=st.booleans(),
        max_failures=st.none() | st.none() | st.integers(0, 3),
        eager=st.booleans(),
        failing=st.sets(st.integers(0, 8)) | st.just(range(6)),
        lethal=st.sets(st.integers(0, 8), max_size=2),
        ruinous=st.sets(st.integers(0, 8), max_size=2),
        retry_late=st.booleans(),
        stubborn=st.booleans(),
        on_outage=st.sampled_from([OnOutage.CONTINUE, OnOutage.PAUSE, OnOutage.PAUSE, OnOutage.STOP]),
        ground=st.integers(1, 2),
        attended=st.booleans(),
        permanent=st.booleans(),
        known=st.sets(st.integers(0, 8)),
    )
    def begin(
        self,
        chunks,
        workers,
        open_chunks,
        by_key,
        item_bytes,
        paused,
        max_failures,
        eager,
        on_outage,
        ground,
        attended,
        permanent,
        known,
        **in_the_end,
    ):
        limit = None if max_failures is None else FailureLimit(count=max_failures)
        scheduler = Scheduler(
            threads=4,
            workers=workers,
            open_chunks=open_chunks,
            grace=10.0,
            max_failures=limit,
            timeout=_TIMEOUT,
            breaker=CircuitBreaker(on_outage, attended=attended, ground=ground),
            paused=paused,
        )
        read = cut(chunks, known, by_key=by_key, item_bytes=item_bytes)
        self.world = World(scheduler, read, permanent=permanent, bounded=open_chunks is not None)
        # Permanent failures are not tried again: then a user must resume the run.
        self.in_the_end = {**in_the_end, "alone": not permanent}
        for worker in list(self.world.workers.values()) if eager else ():
            worker.do("get ready")
            self.world.deliver(worker)
        while eager and self.world.readable:
            self.world.read()

    @rule(index=INDEX, steps=st.lists(st.tuples(INDEX, INDEX), min_size=1, max_size=6), times=st.integers(0, 4))
    def work(self, index, steps, times):
        """Let a worker do a few things, and some of its reports arrive."""
        for worker in self.one_worker(index):
            for what, which in steps:
                if possible := worker.steps():
                    worker.do(possible[what % len(possible)], which)
            while worker.reports and times and self.world.end is None:
                self.world.deliver(worker)
                times -= 1

    @rule(index=INDEX, failing=st.booleans(), leaving=st.booleans())
    def hurry(self, index, failing, leaving):
        """Let the input and a worker do all they can, and all reports arrive: otherwise few examples reach the later
        states."""
        while self.world.readable:
            self.world.read()
        for worker in self.one_worker(index):
            for step in (
                "get ready",
                "obey",
                "start",
                "fail" if failing else "succeed",
                "collect",
                "get the pipe",
                "leave",
            ):
                while step in worker.steps() and (leaving or step != "leave"):
                    worker.do(step)
            while worker.reports and self.world.end is None:
                self.world.deliver(worker)

    @rule(times=st.integers(1, 3))
    def read(self, times):
        while self.world.readable and times:
            self.world.read()
            times -= 1

    @rule(index=INDEX)
    def bury(self, index):
        """Let a drained or killed worker disappear."""
        gone = [worker for worker in self.world.workers.values() if worker.drained or worker.killed]
        if gone:
            worker = gone[index % len(gone)]
            self.world.lose(worker, "" if worker.drained else "killed by tui-runner")

    @rule(index=INDEX, delivered=st.integers(0, 5), dice=st.integers(0, 2))
    def lose(self, index, delivered, dice):
        for worker in self.one_worker(index) if dice == 2 else []:
            self.world.lose(worker, delivered=delivered)

    @rule(index=INDEX, at_once=st.booleans(), blamed=st.booleans())
    def recycle(self, index, at_once, blamed):
        """Replace a worker that uses too much memory."""
        for worker in self.one_worker(index):
            self.tell(Recycle(worker.number, "too much memory", at_once, blamed=at_once and blamed))

    @rule(index=INDEX, stuck=st.booleans())
    def report(self, index, stuck):
        """Let a worker report its progress, and possibly that its threads are stuck."""
        for worker in self.one_worker(index):
            if worker.ready and not worker.sent_home:
                worker.reports.append(worker.progress(8 * stuck))

    @rule(index=INDEX)
    def stand_still(self, index):
        """Let time pass in which one worker reports nothing."""
        silent = self.one_worker(index)
        for _ in range(int(_TIMEOUT + 30) // 4 + 2):
            for worker in list(self.world.workers.values()) if self.world.end is None else ():
                if worker.ready and worker not in silent and not worker.drained and not worker.killed:
                    worker.reports.append(worker.progress())
                    while worker.reports and self.world.end is None:
                        self.world.deliver(worker)
            self.world.now += 4.0
            self.tell(Tick())

    @rule(index=INDEX, dice=st.integers(0, 9))
    def fail_to_start(self, index, dice):
        for worker in self.one_worker(index) if dice == 9 else []:
            if not worker.ready and not worker.killed:
                worker.do("fail to start")

    @rule(index=INDEX)
    def reject(self, index):
        if self.world.end is None:
            self.world.reject(index)

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 400.0]))
    def pass_time(self, seconds):
        self.world.now += seconds
        self.tell(Tick())

    @rule(command=RUN_COMMANDS)
    def command(self, command):
        self.tell(command)

    @rule(command=CHUNK_COMMANDS)
    def command_chunks(self, command):
        self.tell(command)

    @rule(end=ENDS, dice=st.integers(0, 9))
    def end(self, end, dice):
        if dice == 9:
            self.world.input_over |= isinstance(end, InputFailed)
            self.tell(end)

    @invariant()
    def books_agree(self):
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self):
        if not hasattr(self, "world"):
            return
        for cause in CAUSES:
            self.tell(Release(cause))
        self.world.cooperate(**self.in_the_end)
        assert self.world.end is not None, "the run never came to its end"
        self.world.check()
        assert self.world.scheduler.handle(Tick(), self.world.now) == []

    # --- parts of the rules --------------------------------------------------------------------------------

    def one_worker(self, index):
        workers = list(self.world.workers.values()) if self.world.end is None else []
        return [workers[index % len(workers)]] if workers else []

    def tell(self, event):
        if self.world.end is None:
            self.world.now += 0.1
            self.world.tell(event)
