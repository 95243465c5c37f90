"""Decides which worker runs which chunk, and when a run pauses, resumes and ends. Events go in, actions come out.

Theory of operation
-------------------
The scheduler has no threads, reads no clock and does no I/O, so every sequence of events can be tested. Its owner, the
runner's thread, passes it one event at a time with `handle(event, now)` and carries out the returned actions in order.

A few *chunks* are cut from the input ahead of their execution (`ReadChunks`); `pace` chooses their size unless the user
has set it. They wait in order, and each is sent to the worker with the fewest open chunks. A chunk is *open* while some
of its items have not started in its worker. When the last item has started (`ChunkExhausted`), the next chunk is sent,
so threads never wait for the slowest item of a chunk. Workers have a second of work ahead, or `open_chunks` open chunks
if the user has set that number. No worker gets more than its share, because otherwise the first worker to be ready
would get all chunks. Paused chunks are not open, so other chunks are sent in their place. Resuming a chunk may
therefore exceed the limit for a while.

Reports of a worker that has been removed are ignored, so an item cannot end twice.

*Ending*: workers are drained when the input and every chunk have ended, or when the run is stopped. The run ends when
the last worker has ended. If the user retries a chunk before that, new workers are started for the chunk.

*Status*: the state of the run is one `RunStatus`, which only this module replaces. The head of `states` has the tables
of phases and pauses.

*Holds*: a full disk, or memory at its limit, pauses the run until the guard releases it. If the user resumes a held
run, the guard checks again at once. If the user pauses a held run, it stays paused after the release.

*Outages*: when nearly every item fails (`circuit_breaker`), the run pauses itself. Single items are tried at growing
intervals (`Probe`), and when one succeeds the run resumes. No item is tried while a hold applies as well.

The module `chunks` sends chunks to workers and carries out commands on chunks. The module `workers` decides the orders
to workers. This module decides the states of the run and handles the losses of workers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import get_args

from tui_runner.engine import protocol
from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.scheduling.chunks import ChunkCommands, Chunks
from tui_runner.engine.scheduling.circuit_breaker import BreakerState, CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.host_board import HostBoard, Orders
from tui_runner.engine.scheduling.pace import FIRST_SIZE, Pace
from tui_runner.engine.scheduling.step import Step
from tui_runner.engine.scheduling.suspects import DEATHS
from tui_runner.engine.scheduling.workers import Worker, WorkerControl, Workers
from tui_runner.engine.states import (
    HOLDS,
    HOSTS_PAUSED,
    USER_PAUSE,
    ChunkState,
    Ending,
    Pause,
    PauseCause,
    RunState,
    RunStatus,
)
from tui_runner.jobs.hosts import HostLimits
from tui_runner.text.numbers import plural, run_again, size

_MAX_LOSSES = 5
"""Losses of workers in a row after which the run fails, because starting another worker would not help. Each item that
ends resets the count. Losses with items in flight do not count, because one item causes at most three of them. Losses
of the worker for suspects do not count either, because half as many suspects run the next time."""
OPEN_CHUNKS = 4
"""Least number of open chunks, over all workers, if the user has set none. With four of them, a worker receives its
next chunk before its present one is exhausted."""
_TEARDOWN_SLACK = 15.0
"""Seconds that a worker may take for the job's teardown when no items are left, before it is killed. The worker itself
gives up after 10 s (`_TEARDOWN_SECONDS`) and ends in order."""


class Scheduler:
    """The decisions of one run. Only the runner's thread may call `handle`; all other parts of a run may only read.

    Args:
        threads: items executed at once, over all workers.
        workers: number of workers.
        open_chunks: number of open chunks that workers have at once; None for a second of work, and at least
            `OPEN_CHUNKS`.
        chunk_size: items per chunk; None to choose it by the duration of items.
        items_total: items of the input; None if they are not counted.
        grace: seconds that items in flight have to finish when the run is stopped.
        max_failures: number or share of failed items beyond which the run is stopped; None for no limit.
        timeout: seconds an item may take; None for no limit.
        breaker: detects outages; None to ignore outages.
        paused: True if the run begins paused.
        rate: items started per second, over all workers; None for no limit.
        max_memory: bytes that each worker may use; None for no limit.
        hosts: the HTTP hosts of the run, with their limits.
    """

    takes = frozenset(get_args(events.Event))
    """Types of the messages that `handle` accepts; the runner passes it no others."""

    def __init__(
        self,
        *,
        threads: int,
        workers: int,
        open_chunks: int | None,
        grace: float,
        chunk_size: int | None = FIRST_SIZE,
        items_total: int | None = None,
        max_failures: FailureLimit | None = None,
        timeout: float | None = None,
        breaker: CircuitBreaker | None = None,
        paused: bool = False,
        rate: float | None = None,
        max_memory: int | None = None,
        hosts: HostBoard | None = None,
    ) -> None:
        self.hosts = hosts or HostBoard()
        self.workers = Workers(workers, threads, rate=rate, max_memory=max_memory)
        self.open_chunks = OPEN_CHUNKS if open_chunks is None else open_chunks
        self._sends_ahead = open_chunks is None
        self._pace = Pace(chunk_size)
        self._items_total = items_total
        self._status = RunStatus(pauses=(USER_PAUSE,) if paused else ())
        self._recorded = self._status.persisted
        self.input_ended = False
        self._input_failure: Ending | None = None
        """Ending of a run whose input has failed. It applies after the items read before the failure have run."""
        self._step = Step()
        self._chunks = Chunks(self.workers, self._step, self._pace)
        self._orders = WorkerControl(self.workers, self._step, grace, timeout)
        self._commands = ChunkCommands(self._chunks, self.workers, self._step)
        self._max_failures = max_failures
        self._breaker = breaker or CircuitBreaker(OnOutage.CONTINUE)
        self._tried = 0
        self._awaits_trial = False
        """True while the result of the last trial in an outage is unknown."""
        self._outage = ""
        self.outage_error = ""
        """The most frequent error of the last outage; empty if there was none or its error is unknown."""
        """Description of the present outage, for the reason of its pause."""
        self._lost = 0
        """Number of items whose last attempt failed in the present outage, and that run again after it."""
        self._requested = 0
        self._losses = 0
        self._had_worker = False  # True once a worker was ready to take items

    @property
    def status(self) -> RunStatus:
        """The state of the run; every other view of the state is derived from it."""
        return self._status

    @property
    def chunks(self) -> ChunkStore:
        """Every chunk that was read, by number. Callers must not change it."""
        return self._chunks.all

    @property
    def counts(self) -> Counts:
        """The counters over the items of all chunks."""
        return self._chunks.counts

    @property
    def before(self) -> Counts:
        """The part of `counts` that earlier processes recorded."""
        return self._chunks.before

    def seconds_until_trial(self, now: float) -> float | None:
        """Return the seconds until an item is tried during an outage; None if no item will be tried."""
        if not self._status.has(PauseCause.OUTAGE) or self._status.has(PauseCause.USER, *HOLDS):
            return None
        return self._breaker.seconds_until_trial(now)

    @property
    def is_probing(self) -> bool:
        """True if a trial has begun in this outage."""
        return self._breaker.state is BreakerState.HALF_OPEN

    @property
    def _failed_here(self) -> int:
        return self.counts.failed - self.before.failed

    @property
    def _input_is_over(self) -> bool:
        return self.input_ended or self._input_failure is not None

    def take_changed(self) -> set[int]:
        """Return the numbers of the chunks that changed since the last call. Only the snapshot builder may call it."""
        return self._chunks.take_changed()

    @property
    def input_length(self) -> int | None:
        """The number of items in the input; None before its end was read."""
        if not self.input_ended:
            return None
        return self.chunks.items

    def remember_deaths(self, deaths: Mapping[int, int]) -> None:
        """Make suspects of the items that were in flight when workers of earlier processes died.

        Args:
            deaths: number of deaths during which an item was in flight, by position.
        """
        self._chunks.suspects.remember(deaths)

    def active(self, now: float) -> float:
        """Return the seconds that the run has been active at `now`, without pauses."""
        return self._step.clock.active(now)

    def working(self, now: float) -> float:
        """Return the active seconds at `now` in which items could start: without those in which the run was paused."""
        return self._step.clock.working(now)

    def since_resume(self, now: float) -> float:
        """Return the seconds at `now` since the run began or was last resumed."""
        return self._step.clock.since_resume(now)

    @property
    def is_at_rest(self) -> bool:
        """True if the run is paused or idle and its items in flight have ended, so that active time has stopped."""
        return self._step.clock.is_stopped

    def rested(self, now: float) -> float:
        """Return the seconds at `now` since the run came to rest; 0 if it is not at rest."""
        return self._step.clock.stopped_for(now)

    @property
    def items_lost(self) -> int:
        """The number of items that failed because of an outage and will run again."""
        return self._chunks.lost

    def counts_in_rates(self, now: float) -> bool:
        """Return True if items that are reported at `now` ended in active time."""
        return self._step.clock.counts(now)

    def elapsed(self, now: float) -> float:
        """Return the seconds since the run was started at `now`, pauses included."""
        return self._step.clock.elapsed(now)

    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        """Return the actions to carry out because of `event`, which happened at `now` (monotonic seconds)."""
        self._step.begin(now)
        if self._status.phase is RunState.RUNNING:
            # Not in the step in which the items were lost, because that step records the end of their chunk.
            self._chunks.run_lost_again()
        match event:
            case events.Begin():
                self._step.clock.start(now, paused=self._status.is_paused)
            case events.ChunkRead():
                self._requested = max(0, self._requested - 1)
                self._chunks.read(event)
            case events.ChunksSkipped():
                self._chunks.skipped(event)
            case events.InputEnded(missed):
                self._chunks.missed(missed)
                self._requested = 0
                self.input_ended = True
            case events.InputFailed(message):
                self._input_failed(message)
            case events.PauseRun():
                self._pause_run()
            case events.ResumeRun():
                self._resume_run()
            case events.TryNow():
                self._try_now()
            case events.Hold(cause, reason):
                self._hold(cause, reason)
            case events.Release(cause):
                self._release(cause)
            case events.PauseChunks() | events.ResumeChunks() | events.CancelChunks() | events.RetryChunks():
                if self._status.phase is RunState.RUNNING:
                    self._commands.apply(event)
            case events.ChangeThreads(threads):
                self._share_threads(max(1, threads), self.workers.divisor)
                self._step.tell("INFO", f"threads: {self.workers.threads}")
            case events.ChangeWorkers(workers):
                self.workers.most = max(1, workers)
                self._orders.share_threads()
                few = f" of {workers}, because there are no more threads" if self.workers.size < workers else ""
                self._step.tell("INFO", f"workers: {self.workers.size}{few}")
            case events.ChangeRate(rate):
                self._change_rate(rate)
            case events.ChangeHostLimits(limits, host):
                self._change_host_limits(limits, host)
            case events.PauseHosts(hosts, paused):
                self._pause_hosts(hosts, paused=paused)
            case events.ShareMemory(nbytes):
                self.workers.max_memory = nbytes
                self._orders.all(protocol.SetMaxMemory(nbytes))
            case events.ChangeOpenChunks(open_chunks):
                self.open_chunks, self._sends_ahead = max(1, open_chunks), False
                self._step.tell("INFO", f"open chunks: {self.open_chunks}")
            case events.StopRun(state, reason, announced):
                self._stop(Ending(state, reason), announced)
            case events.KillRun(state, reason):
                self._kill(Ending(state, reason))
            case events.DatabaseLost(error):
                self._database_lost(error.what)
            case events.RunnerFault(reason):
                self._status = self._status.failed(reason)
            case events.Abandoned(reason):
                self._abandoned(reason)
            case events.Tick():
                self._orders.kill_overdue()
                self._try_one()
            case protocol.Ready() | protocol.WorkerFailed() | protocol.Drained() | protocol.WorkerLost():
                self._worker_changed(event)
            case events.DivideThreads(divisor, text):
                self._share_threads(self.workers.threads, divisor)
                self._step.tell("WARNING" if divisor > 1 else "INFO", text)
            case events.Recycle():
                self._recycle(event)
            case protocol.MemoryFull(number, rss):
                self._recycle(events.Recycle(number, f"it uses {size(rss)}, more than its share"))
            case protocol.ChunkExhausted() | protocol.ResultBatch() | protocol.ChunkFinished():
                self._chunk_reported(event)
            case protocol.Progress():
                self._chunks.start_clocks(event)
                self._orders.record_progress(event)
            case protocol.HostRefused(worker, host, seconds, named, status):
                others = [each.number for each in self.workers if each.number != worker and not each.killed]
                self._order(self.hosts.refused(host, seconds, others, now, named=named, status=status))
                self._tell_of_hosts()
                self._tell_of_refused_trial(host, status)
            case protocol.HostsReport(worker):
                if self.workers.get(worker) is not None:
                    self._order(self.hosts.reported(event, now))
                    self._tell_of_hosts()
            case events.ItemsRejected():
                self._chunks.rejected(event)
        self._advance()
        self._orders.share_rate()
        # The final state is not recorded here: `EndRun` records it together with the end, after the last rows.
        if self._status.persisted is not self._recorded and not self._status.ended:
            self._recorded = self._status.persisted
            self._step.do(events.RecordState(self._recorded))
        return self._step.actions

    # --- the run -------------------------------------------------------------------------------------------

    def _pause_run(self) -> None:
        """Pause the run on the user's command. An outage or a hold becomes a pause that only the user ends."""
        status = self._status
        if status.phase is not RunState.RUNNING:
            return
        if status.has(PauseCause.OUTAGE):
            self._breaker.close(self._step.now)
            self._status = status.resumed(PauseCause.OUTAGE)
            self._pause(USER_PAUSE)
            self._step.tell("INFO", "paused during an outage: no more trials; resume the run to continue")
        elif status.held:
            self._status = status.paused(USER_PAUSE)
            self._step.tell("INFO", "paused: the run stays paused until you resume it")
        elif not status.pauses:
            self._pause(USER_PAUSE)
            self._step.tell("INFO", "paused: items in flight finish, no new ones start")

    def _pause(self, pause: Pause) -> None:
        """Pause the run and all workers.

        Paused workers get the order as well, because one may be about to start a probe.
        """
        self._status = self._status.paused(pause)
        self._orders.all(protocol.Pause())

    def _try_now(self) -> None:
        """Start one item during an outage now, on the user's command."""
        status = self._status
        if status.has(PauseCause.OUTAGE) and not status.has(PauseCause.USER, *HOLDS):
            self._breaker.try_now(self._step.now)
            self._try_one()

    def _resume_run(self) -> None:
        if self._status.is_paused:
            self._breaker.close(self._step.now, by_user=True)
            if self._resume(PauseCause.USER, PauseCause.OUTAGE):
                self._step.tell("INFO", "resumed")
            else:
                self._step.do(events.TryRelease())
        elif self._status.idle:
            self._commands.resume_all()
            if self._status.hosts_paused:
                self._pause_hosts(sorted(self.hosts.paused), paused=False)

    def _resume(self, *causes: PauseCause) -> bool:
        """Remove the pauses for `causes`. Return True if no pause is left, so that the run starts items again."""
        self._status = self._status.resumed(*causes)
        if not self._status.starts_items:
            return False
        self._orders.all(protocol.Resume())
        return True

    def _hold(self, cause: PauseCause, reason: str) -> None:
        """Pause the run for a guard, until `_release` is called for the same cause."""
        status, pause = self._status, Pause(cause, reason)
        if status.phase is not RunState.RUNNING:
            # A draining run does not wait for free disk space. The next failed flush ends it.
            self._status = status.paused(pause) if status.phase is RunState.FINISHED else status
            return
        if status.starts_items or status.has(PauseCause.OUTAGE):
            self._pause(pause)
        else:
            self._status = status.paused(pause)
        if not status.has(cause):
            self._step.tell("WARNING", f"paused: {reason}")

    def _release(self, cause: PauseCause) -> None:
        if self._status.has(cause) and self._resume(cause):
            self._step.tell("INFO", "the run continues")

    def _share_threads(self, threads: int, divisor: int) -> None:
        """Set the number of threads and its divisor, and divide the threads among the workers again."""
        self.workers.threads, self.workers.divisor = threads, divisor
        self._orders.share_threads()

    def _change_rate(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            return
        self.workers.rate = rate
        for worker in self.workers:
            worker.rate = None
        if rate is None:
            self._orders.all(protocol.SetRate(None))
        self._step.tell("INFO", "rate: no limit" if rate is None else f"rate: {rate:g} items/s at most")

    def _change_host_limits(self, limits: HostLimits, host: str) -> None:
        self._orders.all(protocol.SetHostLimits(limits, host))
        self._order(self.hosts.change(limits, host, self._step.now))
        at_once = "no limit" if limits.per_host is None else f"{limits.per_host:,} at once"
        adaptive = ", adaptive" if limits.adaptive else ""
        self._step.tell("INFO", f"requests to {host or 'a host'}: {at_once}, {limits.delay:g} s apart{adaptive}")

    def _pause_hosts(self, hosts: Iterable[str], *, paused: bool) -> None:
        for host in hosts:
            (self.hosts.paused.add if paused else self.hosts.paused.discard)(host)
            self._orders.all(protocol.PauseHost(host, paused))
            self._step.tell("INFO", f"host {host} is {'paused' if paused else 'resumed'}")

    def _tell_of_hosts(self) -> None:
        for text in self.hosts.take_news():
            self._step.tell("WARNING", text, passes=True)

    def _order(self, orders: Orders) -> None:
        for number, order in orders:
            self._step.do(events.SendOrder(number, order))

    def _stop(self, ending: Ending, announced: str = "") -> None:
        """Begin to drain.

        Args:
            ending: final state of the run, and its reason.
            announced: text to log now; if empty, the reason of `ending` is logged.
        """
        if self._status.phase is RunState.FINISHED:
            self._status = self._status.ending_as(ending)  # makes `Runner` end the wait for free disk space
        if self._status.phase is not RunState.RUNNING:
            return
        self._step.clock.resume(self._step.now)
        self._status = self._status.draining(ending)
        level = "WARNING" if ending.state is RunState.FAILED else "INFO"
        self._step.tell(level, f"stopping: {announced or ending.reason}")
        for worker in self.workers:
            self._orders.drain(worker)

    def _kill(self, ending: Ending) -> None:
        self._stop(ending)
        if self._status.phase is not RunState.DRAINING:
            return
        if self._status.ending is None or self._status.ending.state is not RunState.FAILED:
            self._status = self._status.ending_as(ending)
        for worker in self.workers:
            self._orders.kill(worker)

    def _fail(self, reason: str) -> None:
        self._stop(Ending(RunState.FAILED, reason))

    def _input_failed(self, reason: str) -> None:
        """Run the items that were read before the input failed, then fail the run.

        Fail the run at once if no such items are left.
        """
        if not self._chunks.unended or self._status.phase is not RunState.RUNNING:
            self._fail(reason)
            return
        self._input_failure = Ending(RunState.FAILED, reason)
        self._requested = 0
        self._step.tell("WARNING", f"{reason}; the items read before that still run, then the run ends")

    def _database_lost(self, reason: str) -> None:
        """Kill the run. A run that has ended becomes failed, because its last rows are lost."""
        if self._status.ended:
            self._status = self._status.failed(reason)
        else:
            self._kill(Ending(RunState.FAILED, reason))

    def _abandoned(self, reason: str) -> None:
        """Record that the run has lost its screen. From now on, a pause that only a user could end stops the run."""
        self._step.tell("WARNING", reason)
        self._breaker.abandon()
        self._status = replace(self._status, abandoned=True)

    def _run_clock(self) -> None:
        """Stop active time while the run is paused or idle and no item is in flight."""
        if self._status.starts_items and not self._status.idle:
            self._step.clock.resume(self._step.now)
        else:
            self._step.clock.pause(self._step.now, in_flight=any(map(self._has_items_to_end, self.workers)))

    def _has_items_to_end(self, worker: Worker) -> bool:
        """Return True if an item in flight in `worker` will end: not one that waits for a host that is paused."""
        waits = (worker.waits.get(number) for number in worker.in_flight)
        return any(wait is None or wait.host not in self.hosts.paused for wait in waits)

    def _stop_if_abandoned(self) -> None:
        """Stop an abandoned run that only a user could resume."""
        if self._status.abandoned and not self._status.resumes_by_itself:
            self._stop(Ending(RunState.STOPPED, "it was paused, and no screen is left to resume it from"))

    def _watch_outages(self, flush: protocol.ResultBatch) -> None:
        """Count the results of a batch in the circuit breaker, and pause or stop the run if an outage begins."""
        breaker, trials = self._breaker, flush.trials.without(self._chunks.known_failures(flush))
        if self._status.has(PauseCause.OUTAGE) and breaker.is_over(flush.trials):
            breaker.close(self._step.now)
            if self._resume(PauseCause.OUTAGE):
                self._step.tell("INFO", "an item succeeded: the run continues")
        elif self._status.has(PauseCause.OUTAGE):
            self._tell_of_trial(flush)
            # These items were in flight when the outage began, or were tried since.
            self._lose(flush.out_of_attempts)
        if not self._status.starts_items:
            return
        trials, hosts = self.hosts.judged(trials, flush.by_host, self._step.now)
        outage = breaker.count(
            trials,
            flush.error_groups,
            self._step.now,
            since=flush.failing_since,
            hosts=hosts,
            lost=flush.out_of_attempts,
            examples=flush.examples,
        )
        if outage is None:
            return
        if self._input_is_over and not any(chunk.left for chunk in self.chunks.open.values()):
            breaker.close(self._step.now)  # no items are left, so a pause would stop nothing
            return
        if breaker.stops(outage):
            self._fail(f"{outage.text}; fix the cause, or continue in spite of it with --on-outage continue")
            return
        if outage.is_transient:
            now, later = f"one is tried in {breaker.seconds_to_trial:g} s", "one is tried from time to time"
        else:
            # The same offers, in the same words, as those of the dashboard's key that resumes the run.
            now = later = "the run waits for you to try one item; if it fails too, you can continue anyway"
        self.outage_error = outage.error
        self._outage, self._lost, self._awaits_trial = f"{outage.text}: {later}", 0, False
        self._pause(Pause(PauseCause.OUTAGE, self._outage, resumes_by_itself=outage.is_transient))
        if outage.is_transient:
            self._lose(outage.lost)
        self._step.tell("WARNING", f"paused: {outage.text}: {now}{_lost_again(self._lost)}")

    def _lose(self, items: Mapping[int, Collection[int]]) -> None:
        """Let `items`, whose last attempts failed in this outage, run again after it.

        Show their number in the reason of the pause.

        Args:
            items: positions by chunk.
        """
        if not items or not self._status.resumes_by_itself:
            return
        self._lost += self._chunks.lose(items)
        reason = f"{self._outage}{_lost_again(self._lost)}"
        self._status = self._status.paused(Pause(PauseCause.OUTAGE, reason))

    def _tell_of_trial(self, flush: protocol.ResultBatch) -> None:
        """Log the error of the item that was tried.

        A batch with one error is assumed to be its report, because the items that were in flight when the outage began
        fail together.
        """
        failed = sum(map(len, flush.failed.values())) + sum(map(len, flush.retried.values()))
        if not self._awaits_trial or failed != 1 or len(flush.error_groups) != 1:
            return
        self._awaits_trial = False
        ((group, _),) = flush.error_groups.items()
        message = flush.examples.get(group, group[1])
        error = f"{group[0]}{f': {message}' if message else ''}"
        self._step.tell("INFO", f"the item that was tried failed: {error}{self._next_trial_text}")

    def _tell_of_refused_trial(self, host: str, status: int) -> None:
        """Log that a host has refused the request of the item that was tried, which uses up no attempt of the item."""
        if self._awaits_trial and self._status.has(PauseCause.OUTAGE):
            self._awaits_trial = False
            text = f"the item that was tried was refused by {host} ({status})"
            self._step.tell("INFO", f"{text}{self._next_trial_text}")

    @property
    def _next_trial_text(self) -> str:
        due = self.seconds_until_trial(self._step.now)
        return "" if due is None else f"; the next one in {due:.0f} s"

    def _try_one(self) -> None:
        """Start one item during an outage if a trial is due.

        Each trial uses another worker, because one worker alone may be broken.
        """
        if not self._status.has(PauseCause.OUTAGE) or self._status.has(*HOLDS):
            return
        if (interval := self._breaker.trial_due(self._step.now)) is None:
            return
        self._send()
        workers = [worker for worker in self.workers if worker.ready and worker.chunks]
        if workers:
            self._step.do(events.SendOrder(workers[self._tried % len(workers)].number, protocol.Probe()))
            self._tried += 1
            self._awaits_trial = True
            # The time of the next trial follows with the error of this one.
            self._step.tell("INFO", f"one item is tried{'; further ones only on command' * math.isinf(interval)}")

    def _advance(self) -> None:
        """Send chunks, request chunks from the input, and end the run if nothing is left. Called after every event."""
        chunks_paused = self._input_is_over and self._chunks.only_paused
        hosts_paused = HOSTS_PAUSED[not self._all_sent] if self._only_paused_hosts else ""
        if (chunks_paused, hosts_paused) != (self._status.chunks_paused, self._status.hosts_paused):
            self._status = replace(self._status, chunks_paused=chunks_paused, hosts_paused=hosts_paused)
        if not self._step.clock.started or self._status.ended:
            return
        nothing_left = self._input_is_over and not self._chunks.unended and not self._chunks.has_lost
        if self._status.phase is RunState.DRAINING:
            if not self.workers:
                self._end()
        elif nothing_left and not self._status.held:
            for worker in self.workers:
                if not worker.is_expected_to_end:
                    self._orders.drain(worker, slack=_TEARDOWN_SLACK)
            if not self.workers:
                self._end()
        else:
            if not nothing_left:
                self._start_workers()
            self._chunks.send_cancels()
            if self._status.starts_items:
                self._send()
            # Read also while paused, because a resumed run that starts paused must show the items that were recorded
            # before.
            self._read_ahead()
            self._run_clock()
            self._stop_if_abandoned()

    @property
    def _all_sent(self) -> bool:
        return self._input_is_over and not self._chunks.unsent

    @property
    def _only_paused_hosts(self) -> bool:
        """True if no item is executed, and every chunk of a worker waits for a host that the user has paused."""
        if not self.hosts.paused or any(worker.executes for worker in self.workers):
            return False
        waits = {number: wait.host for worker in self.workers for number, wait in worker.waits.items()}
        chunks = [number for worker in self.workers for number in worker.chunks]
        running = [number for number in chunks if self._chunks.all[number].state is ChunkState.RUNNING]
        return bool(running) and all(waits.get(number) in self.hosts.paused for number in running)

    def _end(self) -> None:
        """End the run after its last worker has ended.

        A stopped run with nothing left to do counts as finished; a run whose input failed counts as failed.
        """
        nothing_left = self._input_is_over and not self._chunks.unended
        ending = self._status.ending
        if self._input_failure is not None and (ending is None or ending.state is not RunState.FAILED):
            begin = self._status.ending_as if self._status.phase is RunState.DRAINING else self._status.draining
            self._status = begin(self._input_failure)
        ending = self._status.ending
        self._step.clock.end(self._step.now)
        if ending is None or (ending.state is RunState.STOPPED and nothing_left):
            self._status = self._status.finished()
            self._step.do(events.EndRun(RunState.FINISHED, ""))
        else:
            self._status = self._status.ended_as_decided()
            self._step.do(events.EndRun(ending.state, ending.reason))

    # --- workers -------------------------------------------------------------------------------------------

    def _worker_changed(
        self, event: protocol.Ready | protocol.WorkerFailed | protocol.Drained | protocol.WorkerLost
    ) -> None:
        """Handle a change of a worker's state. A report of a worker that was removed before is ignored."""
        worker = self.workers.get(event.worker)
        if worker is None:
            return
        match event:
            case protocol.Ready():
                self._had_worker = True
                self._orders.mark_ready(worker)
                for host, limits in self.hosts.own_limits.items():
                    self._step.do(events.SendOrder(worker.number, protocol.SetHostLimits(limits, host)))
                for host in sorted(self.hosts.paused):
                    self._step.do(events.SendOrder(worker.number, protocol.PauseHost(host, True)))
            case protocol.WorkerFailed(_, message) if worker.is_expected_to_end:
                ending = self._status.ending
                # If a run could not begin, its workers all fail for one reason, which has been told.
                if self._had_worker or ending is None or ending.state is not RunState.FAILED:
                    self._step.tell("WARNING", f"worker {worker.number}, which is no longer needed, failed: {message}")
            case protocol.WorkerFailed(_, message):
                self._kill(Ending(RunState.FAILED, message))
            case protocol.Drained(_, stuck):
                if stuck:
                    when = " on resume" if self._status.phase is RunState.DRAINING else ""
                    items, they = ("1 item was", "it runs") if stuck == 1 else (f"{stuck} items were", "they run")
                    text = f"{items} still running after the grace time; {they} again{when}"
                    self._step.tell("WARNING", text)
            case protocol.WorkerLost(_, reason, in_flight, blame):
                self._orders.remove_ended(worker)
                self._order(self.hosts.lost(worker.number, self._step.now))
                if blame or worker.is_expected_to_end:
                    self._worker_lost(worker, worker.fault or reason or "ended by itself", in_flight)
                else:
                    again = run_again(self._chunks.requeue(worker))
                    self._step.tell("WARNING", f"{again}: worker {worker.number} is lost ({reason})")

    def _worker_lost(self, worker: Worker, reason: str, in_flight: Mapping[int, int]) -> None:
        """Queue the items of a lost worker again, and find suspects among them. Fail the run after too many losses."""
        interrupted = self._chunks.record_death(worker, in_flight)
        # While the run drains, no item starts again, so none can be tried alone. An expected end blames no item.
        if self._status.phase is RunState.DRAINING or worker.is_expected_to_end:
            self._chunks.requeue(worker)
            return
        self._chunks.suspects.record_death(interrupted, reason)
        for number in worker.chunks if interrupted else ():
            if mine := {item: interrupted[item] for item in self._chunks.all.open[number].left.among(interrupted)}:
                self._step.do(events.WorkerDied(number, mine, reason))
        blamed = list(interrupted) or self._chunks.record_idle_death(worker, reason)
        lost = self._chunks.requeue(worker)
        if not interrupted and len(blamed) > 1:
            cause = f"one of {len(blamed)} items caused it: they run again in halves to find which"
            self._step.tell("WARNING", f"a worker died ({reason}), and {cause}")
        elif worker.slot is None and blamed:
            for item in blamed:
                deaths = self._chunks.suspects.deaths(item)
                self._step.tell("WARNING", f"item {item}, alone in its worker: {reason} (death {deaths} of {DEATHS})")
        elif self._had_worker:
            again = _again(lost, len(interrupted))
            self._step.tell("ERROR", f"worker {worker.number} is lost ({reason}): {again}")
        if not blamed:
            self._losses += 1
            if self._losses >= _MAX_LOSSES:
                cause = "with no item known to be the cause" if self._had_worker else "before they could take items"
                text = f"{self._losses} workers in a row were lost {cause}, the last one {reason}"
                self._fail(text)

    def _start_workers(self) -> None:
        """Start workers for all free slots, and one for suspects while suspects wait.

        Drain the worker for suspects when no suspects are left.
        """
        alone = self.workers.alone
        if alone is not None and not self._chunks.suspects:
            self._orders.drain(alone, slack=_TEARDOWN_SLACK)
        for worker in self.workers.recruit(alone=bool(self._chunks.apart)):
            worker.rate = self.workers.rate_share
            self._step.do(
                events.StartWorker(
                    worker.number,
                    self.workers.share(worker),
                    self._status.is_paused,
                    worker.rate,
                    self.workers.max_memory,
                    self.hosts.limits,
                )
            )

    def _recycle(self, event: events.Recycle) -> None:
        if self._status.phase is not RunState.DRAINING:
            self._orders.recycle(event)

    def _read_ahead(self) -> None:
        if self._input_is_over:
            return
        threads = self.workers.threads
        wanted = self._chunks.to_read(self._chunks.open_limit(self.open_chunks), self._requested, threads)
        if wanted:
            self._requested += wanted
            size = self._pace.size(self._step.working, threads, self.workers.size, self._unread)
            self._step.do(events.ReadChunks(wanted, size))

    @property
    def _unread(self) -> int | None:
        """The number of items of the input that are not in a chunk yet; None if they are not counted."""
        if self.input_ended:
            return 0
        return None if self._items_total is None else max(0, self._items_total - self.chunks.items)

    def _send(self) -> None:
        """Send waiting chunks to the workers that have room, and suspects to their own worker."""
        ahead = None
        if self._sends_ahead:
            unsent = None if self.workers.size == 1 or self._unread is None else self._unread + self._chunks.unsent
            ahead = self._pace.ahead(self._step.working, self.workers.threads, unsent)
        self._chunks.send_waiting(self._chunks.open_limit(self.open_chunks), ahead)
        self._chunks.send_suspects()

    def _chunk_reported(self, event: protocol.ChunkExhausted | protocol.ResultBatch | protocol.ChunkFinished) -> None:
        """Handle the report of a worker about a chunk, unless the worker was declared lost."""
        worker = self.workers.get(event.worker)
        if worker is None:
            return
        match event:
            case protocol.ResultBatch():
                self._flushed(event)
            case protocol.ChunkExhausted(_, number):
                self._chunks.exhausted(number, worker)
            case protocol.ChunkFinished(_, number):
                self._chunks.finished(number, worker)

    def _flushed(self, flush: protocol.ResultBatch) -> None:
        self._chunks.flushed(flush)
        if flush.ended:
            self._losses = 0
        limit = self._max_failures
        if limit is not None and limit.exceeded(self._failed_here, self.counts.finished - self.before.finished):
            what = f"{plural(self._failed_here, 'item')} failed, more than --max-failures allows"
            self._fail(f"{what}; fix the cause, or resume with a higher limit")
        self._watch_outages(flush)


def _lost_again(items: int) -> str:
    """Return a clause with the number of items that run again after an outage; empty for none."""
    if not items:
        return ""
    return f"; {plural(items, 'failed item')} {'runs' if items == 1 else 'run'} again when it ends"


def _again(lost: int, in_flight: int) -> str:
    """Return a clause for the log: how many items of a lost worker run again, and how many of them run alone.

    Args:
        lost: number of items that run again.
        in_flight: number of items among `lost` that were in flight.
    """
    if not in_flight:
        return run_again(lost)
    some = "" if in_flight == lost else f"{in_flight} of them "
    how = "alone because it was in flight" if in_flight == 1 else "one by one because they were in flight"
    return f"{run_again(lost)}, {some}{how}"
