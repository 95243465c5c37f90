"""Decides what runs where. It does nothing itself: events go in, actions come out.

Theory of operation
-------------------
The scheduler has no threads, reads no clock and does no I/O, so every sequence of events can be tested. Its owner
(the runner's thread) passes it events one at a time, `handle(event, now)`, and carries out the actions it returns,
in order.

*Chunks* are cut from the input a few ahead (`ReadChunks`, in a size that `pace` chooses unless the user has), wait in
order, and are sent to the worker with the fewest. A chunk is *open* while its worker still has items of it to start;
when the last one was started (`ChunkExhausted`) the next chunk is sent, so threads never wait for the slowest item of
a chunk. Workers have a second of work ahead of them, or, where the user has set `open_chunks`, that number of open
chunks. No worker has more than its share of them, or the first one to be ready would take them all. Paused chunks are
not open: others take their place; resuming one may therefore take their number beyond the limit for a while.

Reports of a worker that is not known (any more) are ignored, so an item cannot be crossed off twice.

*Ending*: when the input has ended and every chunk too, or when the run is stopped, workers are told to drain; the run
ends when the last of them is gone. If a chunk is to run again in the first case, new workers are started for it.

*Status*: the state of the run is one `RunStatus` (`states`), which this module alone replaces. Its table of phases and
of pauses is at the head of `states`.

*Holds*: a full disk, or memory at its limit, pauses the run until its guard releases it. A user who resumes it
meanwhile makes the guard check again at once; one who pauses it keeps it paused after the release.

*Outages*: when nearly everything fails (`circuit_breaker` says when), the run pauses itself; one item is tried now and
then (`Probe`), and when one ends well the run resumes. While it is held as well, none is tried.

What happens to chunks is in `chunks` (their way through the workers, and commands on them), what workers are told in
`workers`; here are the run's life and the losses of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from tui_runner.engine import protocol
from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.scheduling.chunks import ChunkCommands, Chunks
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.host_board import HostBoard, Orders
from tui_runner.engine.scheduling.pace import FIRST_SIZE, Pace
from tui_runner.engine.scheduling.step import Turn
from tui_runner.engine.scheduling.suspects import DEATHS
from tui_runner.engine.scheduling.workers import Worker, WorkerControl, Workers
from tui_runner.engine.states import HOLDS, USER_PAUSE, Ending, Pause, PauseCause, RunState, RunStatus
from tui_runner.jobs.hosts import HostLimits
from tui_runner.text.numbers import plural, run_again, size

_MAX_LOSSES = 5
"""Workers lost one after the other without an item to suspect, or one ending between: starting another would not help.
A worker that is lost with items in flight does not count, because no item can do that more than three times; nor does
one that had suspects alone, who are half as many the next time."""
OPEN_CHUNKS = 4
"""Chunks that are kept open unless the user has said how many."""
_TEARDOWN_SLACK = 15.0
"""Seconds a worker may take to run the job's teardown when the run is finished."""


class Scheduler:
    """The decisions of one run. Its owner calls `handle`; everybody else may only read.

    Args:
        threads: items executed at once, over all workers.
        workers: how many workers.
        open_chunks: chunks with items to start that are with workers at once; None for `OPEN_CHUNKS` with items begun,
            and as many more as a second of work is.
        chunk_size: items a chunk; None to choose it by how long items take.
        items_total: items of the input; None where they are not counted.
        grace: seconds that items in flight have to finish when the run is stopped.
        max_failures: stop in order beyond this, None for no bound.
        timeout: seconds an item may take, None for no bound.
        breaker: notices that nearly everything fails.
        paused: whether the run begins paused.
        rate: items started per second, over all workers; None for no bound.
        max_memory: bytes that each worker may have; None for no bound.
        hosts: the hosts of the run, with their limits.
    """

    takes = frozenset(get_args(events.Event))
    """Types of the messages that `handle` takes."""

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
        self.crew = Workers(workers, threads, rate=rate, max_memory=max_memory)
        self.open_chunks = OPEN_CHUNKS if open_chunks is None else open_chunks
        self._sends_ahead = open_chunks is None
        self._pace = Pace(chunk_size)
        self._items_total = items_total
        self._status = RunStatus(pauses=(USER_PAUSE,) if paused else ())
        self._recorded = self._status.persisted
        self.input_ended = False
        self._input_failure: Ending | None = None
        """Ending of the run once the items that were read before the input failed have run."""
        self._turn = Turn()
        self._chunks = Chunks(self.crew, self._turn, self._pace)
        self._orders = WorkerControl(self.crew, self._turn, grace, timeout)
        self._commands = ChunkCommands(self._chunks, self.crew, self._turn)
        self._max_failures = max_failures
        self._breaker = breaker or CircuitBreaker(OnOutage.CONTINUE)
        self._tried = 0
        self._requested = 0
        self._losses = 0
        self._had_worker = False  # whether one has come as far as taking items

    @property
    def status(self) -> RunStatus:
        """The state of the run: its only source."""
        return self._status

    @property
    def chunks(self) -> ChunkStore:
        """Every chunk that was read, by number; read only."""
        return self._chunks.all

    @property
    def counts(self) -> Counts:
        """Counters over the items of all chunks."""
        return self._chunks.counts

    @property
    def before(self) -> Counts:
        """The part of `counts` that earlier processes had recorded: items that ended well, and their rows."""
        return self._chunks.before

    def seconds_until_trial(self, now: float) -> float | None:
        """Return the seconds until one item is tried in an outage; None when none will be."""
        if not self._status.has(PauseCause.OUTAGE) or self._status.has(PauseCause.USER, *HOLDS):
            return None
        return self._breaker.seconds_until_trial(now)

    @property
    def _failed_here(self) -> int:
        return self.counts.failed - self.before.failed

    @property
    def _input_is_over(self) -> bool:
        return self.input_ended or self._input_failure is not None

    def take_changed(self) -> set[int]:
        """Return the numbers of the chunks that changed since the last call; for the one part that draws them."""
        return self._chunks.take_changed()

    @property
    def input_length(self) -> int | None:
        """Number of items in the input; None until its end was read."""
        if not self.input_ended:
            return None
        return self.chunks.items

    def remember_deaths(self, deaths: Mapping[int, int]) -> None:
        """Suspect items that were in flight when workers of earlier processes died: deaths by position."""
        self._chunks.suspects.remember(deaths)

    def active(self, now: float) -> float:
        """Seconds the run has been going on at `now`, without those it was paused."""
        return self._turn.clock.active(now)

    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        """Return what to do because of `event`, which happened at `now` (monotonic seconds)."""
        self._turn.begin(now)
        match event:
            case events.Begin():
                self._turn.clock.start(now, paused=self._status.is_paused)
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
            case events.Hold(cause, reason):
                self._hold(cause, reason)
            case events.Release(cause):
                self._release(cause)
            case events.PauseChunks() | events.ResumeChunks() | events.CancelChunks() | events.RetryChunks():
                if self._status.phase is RunState.RUNNING:
                    self._commands.obey(event)
            case events.ChangeThreads(threads):
                self._share_threads(max(1, threads), self.crew.divisor)
                self._turn.tell("INFO", f"threads: {self.crew.threads}")
            case events.ChangeWorkers(workers):
                self.crew.most = max(1, workers)
                self._orders.share_threads()
                few = f" of {workers}: there are no more threads" if self.crew.size < workers else ""
                self._turn.tell("INFO", f"workers: {self.crew.size}{few}")
            case events.ChangeRate(rate):
                self._change_rate(rate)
            case events.ChangeHostLimits(limits, host):
                self._change_host_limits(limits, host)
            case events.PauseHosts(hosts, paused):
                for host in hosts:
                    self._orders.all(protocol.PauseHost(host, paused))
                    self._turn.tell("INFO", f"host {host} is {'paused' if paused else 'resumed'}")
            case events.ShareMemory(nbytes):
                self.crew.max_memory = nbytes
                self._orders.all(protocol.SetMaxMemory(nbytes))
            case events.ChangeOpenChunks(open_chunks):
                self.open_chunks, self._sends_ahead = max(1, open_chunks), False
                self._turn.tell("INFO", f"open chunks: {self.open_chunks}")
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
                self._share_threads(self.crew.threads, divisor)
                self._turn.tell("WARNING" if divisor > 1 else "INFO", text)
            case events.Recycle():
                self._recycle(event)
            case protocol.MemoryFull(number, rss):
                self._recycle(events.Recycle(number, f"it has {size(rss)} and needs less"))
            case protocol.ChunkExhausted() | protocol.ResultBatch() | protocol.ChunkFinished():
                self._chunk_reported(event)
            case protocol.Progress():
                self._chunks.start_clocks(event)
                self._orders.look_after(event)
            case protocol.HostRefused(worker, host, seconds):
                others = [each.number for each in self.crew if each.number != worker and not each.killed]
                self._order(self.hosts.refused(host, seconds, others, now))
                self._tell_of_hosts()
            case protocol.HostsReport(worker):
                if self.crew.get(worker) is not None:
                    self._order(self.hosts.reported(event, now))
                    self._tell_of_hosts()
            case events.ItemsRejected():
                self._chunks.rejected(event)
        self._go_on()
        self._orders.share_rate()
        if self._status.persisted is not self._recorded and not self._status.ended:  # its end is recorded with `EndRun`
            self._recorded = self._status.persisted
            self._turn.do(events.RecordState(self._recorded))
        return self._turn.actions

    # --- the run -------------------------------------------------------------------------------------------

    def _pause_run(self) -> None:
        status = self._status
        if status.phase is not RunState.RUNNING:
            return
        if status.has(PauseCause.OUTAGE):
            self._breaker.close(self._turn.now)
            self._status = status.resumed(PauseCause.OUTAGE)
            self._pause(USER_PAUSE)
            self._turn.tell("INFO", "paused: nothing is tried until it is resumed")
        elif status.held:
            self._status = status.paused(USER_PAUSE)
            self._turn.tell("INFO", "paused: it stays so until it is resumed")
        elif not status.pauses:
            self._pause(USER_PAUSE)
            self._turn.tell("INFO", "paused: items in flight finish, no new ones start")

    def _pause(self, pause: Pause) -> None:
        """Add a pause. Every worker is told, even if it is paused: it may be about to begin the trial of an outage."""
        self._status = self._status.paused(pause)
        self._turn.clock.pause(self._turn.now)
        self._orders.all(protocol.Pause())

    def _resume_run(self) -> None:
        if self._status.is_paused:
            self._breaker.close(self._turn.now, by_user=True)
            if self._resume(PauseCause.USER, PauseCause.OUTAGE):
                self._turn.tell("INFO", "resumed")
            else:
                self._turn.do(events.TryRelease())
        elif self._status.idle:
            self._commands.resume_all()

    def _resume(self, *causes: PauseCause) -> bool:
        """End the pauses of these causes. Return True if none is left, and the run starts items again."""
        self._status = self._status.resumed(*causes)
        if not self._status.starts_items:
            return False
        self._turn.clock.resume(self._turn.now)
        self._orders.all(protocol.Resume())
        return True

    def _hold(self, cause: PauseCause, reason: str) -> None:
        status, pause = self._status, Pause(cause, reason)
        if status.phase is not RunState.RUNNING:
            # Of a run that drains no row is left to wait for room: the next flush that fails ends it.
            self._status = status.paused(pause) if status.phase is RunState.FINISHED else status
            return
        if status.starts_items or status.has(PauseCause.OUTAGE):
            self._pause(pause)
        else:
            self._status = status.paused(pause)
        if not status.has(cause):
            self._turn.tell("WARNING", f"paused: {reason}")

    def _release(self, cause: PauseCause) -> None:
        if self._status.has(cause) and self._resume(cause):
            self._turn.tell("INFO", "the run goes on")

    def _share_threads(self, threads: int, divisor: int) -> None:
        """Divide the threads anew among the workers."""
        self.crew.threads, self.crew.divisor = threads, divisor
        self._orders.share_threads()

    def _change_rate(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            return
        self.crew.rate = rate
        for worker in self.crew:
            worker.rate = None
        if rate is None:
            self._orders.all(protocol.SetRate(None))
        self._turn.tell("INFO", "rate: no bound" if rate is None else f"rate: {rate:g} items/s at most")

    def _change_host_limits(self, limits: HostLimits, host: str) -> None:
        self._orders.all(protocol.SetHostLimits(limits, host))
        self._order(self.hosts.change(limits, host, self._turn.now))
        at_once = "no bound" if limits.per_host is None else f"{limits.per_host:,} at once"
        adaptive = ", adaptive" if limits.adaptive else ""
        self._turn.tell("INFO", f"requests to {host or 'a host'}: {at_once}, {limits.delay:g} s apart{adaptive}")

    def _tell_of_hosts(self) -> None:
        for text in self.hosts.take_news():
            self._turn.tell("WARNING", text)

    def _order(self, orders: Orders) -> None:
        for number, order in orders:
            self._turn.do(events.SendOrder(number, order))

    def _stop(self, ending: Ending, announced: str = "") -> None:
        """Begin to drain; `announced` is told instead of the ending's reason, which says what will have happened."""
        if self._status.phase is RunState.FINISHED:
            self._status = self._status.ending_as(ending)  # its last rows wait for room no longer
        if self._status.phase is not RunState.RUNNING:
            return
        self._turn.clock.resume(self._turn.now)
        self._status = self._status.draining(ending)
        level = "WARNING" if ending.state is RunState.FAILED else "INFO"
        self._turn.tell(level, f"stopping: {announced or ending.reason}")
        for worker in self.crew:
            self._orders.drain(worker)

    def _kill(self, ending: Ending) -> None:
        self._stop(ending)
        if self._status.phase is not RunState.DRAINING:
            return
        if self._status.ending is None or self._status.ending.state is not RunState.FAILED:
            self._status = self._status.ending_as(ending)
        for worker in self.crew:
            self._orders.kill(worker)

    def _fail(self, reason: str) -> None:
        self._stop(Ending(RunState.FAILED, reason))

    def _input_failed(self, reason: str) -> None:
        """Run what was read before, then end as failed; at once where nothing was."""
        if not self._chunks.unended or self._status.phase is not RunState.RUNNING:
            self._fail(reason)
            return
        self._input_failure = Ending(RunState.FAILED, reason)
        self._requested = 0
        self._turn.tell("WARNING", f"{reason}; the items before that run, then the run ends")

    def _database_lost(self, reason: str) -> None:
        """End at once; a run that is over has failed, too, if its last rows are lost."""
        if self._status.ended:
            self._status = self._status.failed(reason)
        else:
            self._kill(Ending(RunState.FAILED, reason))

    def _abandoned(self, reason: str) -> None:
        """Stop a run in order from now on where only a user could resume it; it can be resumed later."""
        self._turn.tell("WARNING", reason)
        self._breaker.abandon()
        self._status = replace(self._status, abandoned=True)

    def _rest(self) -> None:
        """Stop the run's clock while it is idle. Stop the run if it needs a user and has none."""
        if self._status.idle:
            self._turn.clock.pause(self._turn.now)
        elif self._status.starts_items:
            self._turn.clock.resume(self._turn.now)
        if self._status.abandoned and not self._status.resumes_by_itself:
            self._stop(Ending(RunState.STOPPED, "it was paused, and no screen is left to resume it from"))

    def _watch_outages(self, flush: protocol.ResultBatch) -> None:
        breaker, trials = self._breaker, flush.trials.without(self._chunks.known_failures(flush))
        if self._status.has(PauseCause.OUTAGE) and breaker.is_over(flush.trials):
            breaker.close(self._turn.now)
            if self._resume(PauseCause.OUTAGE):
                self._turn.tell("INFO", "an item ended well: the run goes on")
        if not self._status.starts_items:
            return
        trials, hosts = self.hosts.judged(trials, flush.by_host, self._turn.now)
        outage = breaker.count(trials, flush.error_groups, self._turn.now, since=flush.failing_since, hosts=hosts)
        if outage is None:
            return
        if self._input_is_over and not any(chunk.left for chunk in self.chunks.open.values()):
            breaker.close(self._turn.now)  # these were the last items: there is nothing to hold back
            return
        if breaker.stops(outage):
            self._fail(f"{outage.text}; mend that, or let it go on with --on-outage continue")
            return
        if outage.may_pass:
            now, later = f"one is tried in {breaker.seconds_to_trial:g} s", "one is tried now and then"
        else:
            now = later = "resume it to go on all the same"
        self._pause(Pause(PauseCause.OUTAGE, f"{outage.text}: {later}", resumes_by_itself=outage.may_pass))
        self._turn.tell("WARNING", f"paused: {outage.text}: {now}")

    def _try_one(self) -> None:
        """Let an item through, when it is time to see whether an outage is over; each time to another worker."""
        if not self._status.has(PauseCause.OUTAGE) or self._status.has(*HOLDS):
            return
        if (interval := self._breaker.trial_due(self._turn.now)) is None:
            return
        self._send()
        workers = [worker for worker in self.crew if worker.ready and worker.chunks]
        if workers:
            self._turn.do(events.SendOrder(workers[self._tried % len(workers)].number, protocol.Probe()))
            self._tried += 1
        self._turn.tell("INFO", f"one item is tried; the next one in {interval:g} s")

    def _go_on(self) -> None:
        """Send chunks, read ahead and end the run as far as possible, whatever the event was."""
        chunks_paused = self._input_is_over and self._chunks.only_paused
        if chunks_paused is not self._status.chunks_paused:
            self._status = replace(self._status, chunks_paused=chunks_paused)
        if not self._turn.clock.started or self._status.ended:
            return
        nothing_left = self._input_is_over and not self._chunks.unended
        if self._status.phase is RunState.DRAINING:
            if not self.crew:
                self._end()
        elif nothing_left and not self._status.held:
            for worker in self.crew:
                if not worker.is_expected_to_end:
                    self._orders.drain(worker, slack=_TEARDOWN_SLACK)
            if not self.crew:
                self._end()
        else:
            if not nothing_left:
                self._start_workers()
            self._chunks.send_cancels()
            if self._status.starts_items:
                self._send()
            # Also while paused: a run that comes back paused is to show what it has recorded before.
            self._read_ahead()
            self._rest()

    def _end(self) -> None:
        """Every worker is gone. A run that was stopped when it had nothing left to do is finished all the same."""
        nothing_left = self._input_is_over and not self._chunks.unended
        ending = self._status.ending
        if self._input_failure is not None and (ending is None or ending.state is not RunState.FAILED):
            begin = self._status.ending_as if self._status.phase is RunState.DRAINING else self._status.draining
            self._status = begin(self._input_failure)
        ending = self._status.ending
        if ending is None or (ending.state is RunState.STOPPED and nothing_left):
            self._status = self._status.finished()
            self._turn.do(events.EndRun(RunState.FINISHED, ""))
        else:
            self._status = self._status.ended_as_decided()
            self._turn.do(events.EndRun(ending.state, ending.reason))

    # --- workers -------------------------------------------------------------------------------------------

    def _worker_changed(
        self, event: protocol.Ready | protocol.WorkerFailed | protocol.Drained | protocol.WorkerLost
    ) -> None:
        worker = self.crew.get(event.worker)
        if worker is None:
            return
        match event:
            case protocol.Ready():
                self._had_worker = True
                self._orders.is_ready(worker)
                for host, limits in self.hosts.own_limits.items():
                    self._turn.do(events.SendOrder(worker.number, protocol.SetHostLimits(limits, host)))
            case protocol.WorkerFailed(_, message) if worker.is_expected_to_end:
                self._turn.tell("WARNING", f"worker {worker.number}, which is not needed any more, failed: {message}")
            case protocol.WorkerFailed(_, message):
                self._kill(Ending(RunState.FAILED, message))
            case protocol.Drained(_, stuck):
                if stuck:
                    when = " on resume" if self._status.phase is RunState.DRAINING else ""
                    items, they = ("1 item was", "it runs") if stuck == 1 else (f"{stuck} items were", "they run")
                    text = f"{items} still running after the grace time; {they} again{when}"
                    self._turn.tell("WARNING", text)
            case protocol.WorkerLost(_, reason, in_flight, blame):
                self._orders.gone(worker)
                self._order(self.hosts.lost(worker.number, self._turn.now))
                if blame or worker.is_expected_to_end:
                    self._worker_lost(worker, worker.fault or reason or "ended by itself", in_flight)
                else:
                    again = run_again(self._chunks.take_back(worker))
                    self._turn.tell("WARNING", f"worker {worker.number} is lost ({reason}): {again}")

    def _worker_lost(self, worker: Worker, reason: str, in_flight: Mapping[int, int]) -> None:
        interrupted = self._chunks.died(worker, in_flight)
        if self._status.phase is RunState.DRAINING or worker.is_expected_to_end:
            self._chunks.take_back(worker)
            return
        self._chunks.suspects.died(interrupted, reason)
        for number in worker.chunks if interrupted else ():
            if mine := {item: interrupted[item] for item in self._chunks.all.open[number].left.among(interrupted)}:
                self._turn.do(events.WorkerDied(number, mine, reason))
        blamed = list(interrupted) or self._chunks.died_idle(worker, reason)
        lost = self._chunks.take_back(worker)
        if not interrupted and len(blamed) > 1:
            text = f"one of {len(blamed)} items has ended its worker ({reason}): half of them run at a time"
            self._turn.tell("WARNING", text)
        elif worker.slot is None and blamed:
            for item in blamed:
                deaths = self._chunks.suspects.deaths(item)
                self._turn.tell("WARNING", f"item {item}, alone in its worker: {reason} (death {deaths} of {DEATHS})")
        elif self._had_worker:
            again = _again(lost, len(interrupted))
            self._turn.tell("ERROR", f"worker {worker.number} is lost ({reason}): {again}")
        if not blamed:
            self._losses += 1
            if self._losses >= _MAX_LOSSES:
                cause = "with no item known to be the cause" if self._had_worker else "before they could take items"
                text = f"{self._losses} workers in a row were lost {cause}, the last one {reason}"
                self._fail(text)

    def _start_workers(self) -> None:
        """Workers for all slots; one more while suspects wait, who goes home when there are none left."""
        alone = self.crew.alone
        if alone is not None and not self._chunks.suspects:
            self._orders.drain(alone, slack=_TEARDOWN_SLACK)
        for worker in self.crew.recruit(alone=bool(self._chunks.apart)):
            worker.rate = self.crew.rate_share
            self._turn.do(
                events.StartWorker(
                    worker.number,
                    self.crew.share(worker),
                    self._status.is_paused,
                    worker.rate,
                    self.crew.max_memory,
                    self.hosts.limits,
                )
            )

    def _recycle(self, event: events.Recycle) -> None:
        if self._status.phase is not RunState.DRAINING:
            self._orders.recycle(event)

    def _read_ahead(self) -> None:
        if self._input_is_over:
            return
        threads = self.crew.threads
        wanted = self._chunks.to_read(self._chunks.open_limit(self.open_chunks), self._requested, threads)
        if wanted:
            self._requested += wanted
            size = self._pace.size(self._turn.active, threads, self.crew.size, self._unread)
            self._turn.do(events.ReadChunks(wanted, size))

    @property
    def _unread(self) -> int | None:
        """Items of the input that are in no chunk; None where they are not counted."""
        if self.input_ended:
            return 0
        return None if self._items_total is None else max(0, self._items_total - self.chunks.items)

    def _send(self) -> None:
        """Send workers the chunks that they are to have, and suspects."""
        ahead = None
        if self._sends_ahead:
            unsent = None if self.crew.size == 1 or self._unread is None else self._unread + self._chunks.unsent
            ahead = self._pace.ahead(self._turn.active, self.crew.threads, unsent)
        self._chunks.send_waiting(self._chunks.open_limit(self.open_chunks), ahead)
        self._chunks.send_suspects()

    def _chunk_reported(self, event: protocol.ChunkExhausted | protocol.ResultBatch | protocol.ChunkFinished) -> None:
        worker = self.crew.get(event.worker)
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
            self._fail(f"{what}; mend that, or go on with a higher one")
        self._watch_outages(flush)


def _again(lost: int, in_flight: int) -> str:
    """Return what becomes of the items of a lost worker, in words."""
    if not in_flight:
        return run_again(lost)
    some = "" if in_flight == lost else f"{in_flight} of them "
    how = "alone because it was in flight" if in_flight == 1 else "one by one because they were in flight"
    return f"{run_again(lost)}, {some}{how}"
