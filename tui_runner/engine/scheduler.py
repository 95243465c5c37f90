"""Decides what runs where. It does nothing itself: events go in, actions come out.

Theory of operation
-------------------
The scheduler has no threads, reads no clock and does no I/O, so every sequence of events can be tested. Its owner
(the runner's thread) feeds it events one at a time, `handle(event, now)`, and carries out the actions it returns,
in order.

*Chunks* are cut from the input a few ahead (`ReadChunks`), wait in order, and are sent to the worker with the fewest.
A chunk is *open* while its worker still has items of it to start; when the last one was started (`ChunkExhausted`)
the next chunk is sent, so threads never wait for the slowest item of a chunk. No worker has more than its share of
the open chunks, or the first one to be ready would take them all. Paused chunks are not open: others take their
place; resuming one may therefore take their number beyond the limit for a while.

*What has been received is done.* `Flush` names the items that ended; the scheduler crosses them off the chunk's
`pending`. When a worker is lost, what is still pending waits again, at the front. Reports of a worker that is not
known (any more) are ignored by the runner, so an item cannot be crossed off twice.

*Cancelling* is done by a worker, because only workers write ledger rows: a chunk that no worker has is sent, paused,
to one that is ready, as soon as there is one.

*Ending*: when the input has ended and every chunk too, or when the run is stopped, workers are told to drain; the run
ends when the last of them is gone. If a chunk is to run again in the first case, new workers are started for it.

The transitions of chunks are in `chunk.TRANSITIONS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from tui_runner.engine import events, protocol
from tui_runner.engine.chunk import Chunk, ChunkState, Counts, RunState
from tui_runner.engine.clock import ActiveClock
from tui_runner.engine.crew import Crew, WorkerState
from tui_runner.engine.limits import FailureLimit

_MAX_LOSSES = 5
"""Workers lost one after the other without a single item ending between: starting another would not help."""
_EXHAUSTED_FACTOR = 4
"""Chunks with workers, for each that is open: a bound on how many wait for stragglers and retries alone."""
_MAX_KEPT_FAILURES = 100_000
"""Failed items that are kept, with their values, so that they can be run again at the press of a key; those beyond
are in the ledger only."""
_DRAIN_SLACK = 5.0
"""Seconds beyond the grace time after which a worker that does not drain is killed."""
_TEARDOWN_SLACK = 15.0
"""Seconds a worker may take to run the job's teardown when the run is finished."""


class Scheduler:
    """The decisions of one run. Its owner calls `handle`; everybody else may only read.

    Args:
        threads: items executed at once, over all workers.
        workers: how many workers.
        open_chunks: chunks with items to start that are with workers at once.
        grace: seconds that items in flight have to finish when the run is stopped.
        max_failures: stop in order beyond this, None for no bound.
        paused: whether the run begins paused.
    """

    def __init__(
        self,
        *,
        threads: int,
        workers: int,
        open_chunks: int,
        grace: float,
        max_failures: FailureLimit | None = None,
        paused: bool = False,
    ) -> None:
        self.crew = Crew(workers, threads)
        self.open_chunks = open_chunks
        self.state = RunState.PAUSED if paused else RunState.RUNNING
        self.reason = ""
        self.chunks: list[Chunk] = []
        self.counts = Counts()
        self.skipped = 0
        self.input_ended = False
        self.changed: set[int] = set()
        """Numbers of chunks that changed since the owner last cleared it."""
        self._grace = grace
        self._max_failures = max_failures
        self._waiting: deque[int] = deque()
        self._to_cancel: deque[int] = deque()
        self._unended = 0
        self._requested = 0
        self._losses = 0
        self._kept_failures = 0
        self._end_state = RunState.FINISHED
        self._clock = ActiveClock()
        self._actions: list[events.Action] = []
        self._now = 0.0

    def active(self, now: float) -> float:
        """Seconds the run has been going on at `now`, without those it was paused."""
        return self._clock.active(now)

    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        """What is to be done because of `event`, which happened at `now` (monotonic seconds)."""
        self._now = now
        self._actions = []
        match event:
            case events.Begin():
                self._clock.start(now, paused=self.state is RunState.PAUSED)
            case events.ChunkRead():
                self._chunk_read(event)
            case events.InputEnded():
                self._requested = 0
                self.input_ended = True
            case events.InputFailed(message):
                self._stop(RunState.FAILED, message)
            case events.PauseRun():
                self._pause_run()
            case events.ResumeRun():
                self._resume_run()
            case events.PauseChunks(numbers):
                self._each(numbers, self._pause_chunk)
            case events.ResumeChunks(numbers):
                self._each(numbers, self._resume_chunk)
            case events.CancelChunks(numbers):
                self._each(numbers, self._cancel_chunk)
            case events.RetryChunks(numbers):
                self._each(numbers, self._retry_chunk)
            case events.ChangeThreads(threads):
                self._change_threads(max(1, threads))
            case events.ChangeOpenChunks(open_chunks):
                self.open_chunks = max(1, open_chunks)
                self._tell("INFO", f"open chunks: {self.open_chunks}")
            case events.StopRun(state, reason):
                self._stop(state, reason)
            case events.KillRun(state, reason):
                self._kill(state, reason)
            case events.Tick():
                self._kill_undrained()
            case protocol.Ready() | protocol.WorkerFailed() | protocol.Drained() | protocol.WorkerLost():
                self._worker_changed(event)
            case protocol.ChunkExhausted() | protocol.Flush() | protocol.ChunkFinished():
                self._chunk_reported(event)
            case protocol.Progress():
                self._start_clocks(event)
            case events.ItemsRejected():
                self._rejected(event)
        self._go_on()
        return self._actions

    # --- the run -------------------------------------------------------------------------------------------

    def _pause_run(self) -> None:
        if self.state is not RunState.RUNNING:
            return
        self.state = RunState.PAUSED
        self._clock.pause(self._now)
        self._order_all(protocol.Pause())
        self._tell("INFO", "paused: items in flight finish, no new ones start")

    def _resume_run(self) -> None:
        if self.state is not RunState.PAUSED:
            return
        self.state = RunState.RUNNING
        self.reason = ""
        self._clock.resume(self._now)
        self._order_all(protocol.Resume())
        self._tell("INFO", "resumed")

    def _change_threads(self, threads: int) -> None:
        self.crew.threads = threads
        for worker in self.crew:
            self._do(events.SendOrder(worker.number, protocol.SetThreads(self.crew.share(worker))))
        self._tell("INFO", f"threads: {threads}")

    def _stop(self, state: RunState, reason: str) -> None:
        if self.state.ended or self.state is RunState.DRAINING:
            return
        self._clock.resume(self._now)
        self.state = RunState.DRAINING
        self.reason = reason
        self._end_state = state
        self._tell("WARNING" if state is RunState.FAILED else "INFO", f"stopping: {reason}")
        for worker in self.crew:
            self._drain(worker, self._grace, _DRAIN_SLACK)

    def _kill(self, state: RunState, reason: str) -> None:
        if self.state.ended:
            return
        self._stop(state, reason)
        if self._end_state is not RunState.FAILED:
            self._end_state, self.reason = state, reason
        for worker in self.crew:
            self._kill_worker(worker)

    def _kill_undrained(self) -> None:
        for worker in self.crew:
            if worker.draining_until is not None and self._now > worker.draining_until and not worker.killed:
                self._tell("WARNING", f"worker {worker.number} did not end in time and was killed")
                self._kill_worker(worker)

    def _go_on(self) -> None:
        """Whatever the event was: send, read and end what can be sent, read and ended now."""
        if not self._clock.started or self.state.ended:
            return
        if self.state is RunState.DRAINING:
            if not self.crew:
                self._end()
        elif self.input_ended and not self._unended:
            for worker in self.crew:
                if worker.draining_until is None:
                    self._drain(worker, self._grace, _TEARDOWN_SLACK)
            if not self.crew:
                self._end()
        else:
            self._start_workers()
            self._send_cancels()
            if self.state is RunState.RUNNING:
                self._send_chunks()
            # Also while paused: a run that comes back paused is to show what it has recorded before.
            self._read_ahead()

    def _end(self) -> None:
        """Every worker is gone. A run that was stopped when it had nothing left to do is finished all the same."""
        if self._end_state is RunState.STOPPED and self.input_ended and not self._unended:
            self._end_state, self.reason = RunState.FINISHED, ""
        self.state = self._end_state
        self._do(events.EndRun(self.state, self.reason))

    # --- workers -------------------------------------------------------------------------------------------

    def _worker_changed(
        self, event: protocol.Ready | protocol.WorkerFailed | protocol.Drained | protocol.WorkerLost
    ) -> None:
        worker = self.crew.get(event.worker)
        if worker is None:
            return
        match event:
            case protocol.Ready():
                worker.ready = worker.draining_until is None
            case protocol.WorkerFailed(_, message) if worker.draining_until is not None:
                self._tell("WARNING", f"worker {worker.number}, which is not needed any more, failed: {message}")
            case protocol.WorkerFailed(_, message):
                self._kill(RunState.FAILED, message)
            case protocol.Drained(_, stuck):
                if stuck:
                    text = f"{stuck} items were still running after the grace time; they run again on resume"
                    self._tell("WARNING", text)
            case protocol.WorkerLost(_, reason):
                self.crew.remove(worker.number)
                self._worker_lost(worker, reason)

    def _worker_lost(self, worker: WorkerState, reason: str) -> None:
        lost = 0
        for number in sorted(worker.chunks, reverse=True):
            chunk = self.chunks[number]
            lost += len(chunk.pending)
            self._take_back(chunk)
        if self.state is RunState.DRAINING or worker.draining_until is not None:
            return
        self._losses += 1
        self._tell("ERROR", f"worker {worker.number} is lost ({reason or 'it ended'}): {lost} items run again")
        if self._losses >= _MAX_LOSSES:
            self._stop(RunState.FAILED, f"{self._losses} workers were lost in a row, the last one {reason}")

    def _start_workers(self) -> None:
        for worker in self.crew.recruit():
            self._do(events.StartWorker(worker.number, self.crew.share(worker), self.state is RunState.PAUSED))

    def _drain(self, worker: WorkerState, grace: float, slack: float) -> None:
        worker.draining_until = self._now + grace + slack
        worker.ready = False
        self._do(events.SendOrder(worker.number, protocol.Drain(grace)))

    def _kill_worker(self, worker: WorkerState) -> None:
        if not worker.killed:
            worker.killed = True
            worker.ready = False
            self._do(events.KillWorker(worker.number))

    # --- chunks --------------------------------------------------------------------------------------------

    def _chunk_read(self, event: events.ChunkRead) -> None:
        self._requested = max(0, self._requested - 1)
        pending = set(event.pending)
        chunk = Chunk(event.number, event.first_item, event.items, event.items - len(pending), pending)
        self.chunks.append(chunk)
        self.changed.add(chunk.number)
        self.counts += chunk.counts
        self.skipped += chunk.skipped
        if pending:
            self._unended += 1
            self._waiting.append(chunk.number)
        else:
            self._set_state(chunk, ChunkState.DONE)
            self._do(events.ChunkEnded(chunk.number, ()))

    def _send_chunks(self) -> None:
        ready = self.crew.ready
        limit = self.crew.open_limit(self.open_chunks)
        share = -(-limit // self.crew.size)
        opened = sum(len(worker.open) for worker in ready)
        if sum(map(self._lingering, ready)) >= _EXHAUSTED_FACTOR * limit:
            return
        while self._waiting and opened < limit:
            worker = min(ready, key=lambda worker: len(worker.open), default=None)
            if worker is None or len(worker.open) >= share:
                return
            self._send(self.chunks[self._waiting.popleft()], worker, paused=False)
            opened += 1

    def _lingering(self, worker: WorkerState) -> int:
        """How many chunks of a worker have no items left to start, but are not finished."""
        held = worker.chunks - worker.open
        return sum(self.chunks[number].state is ChunkState.RUNNING for number in held)

    def _send_cancels(self) -> None:
        """Have the chunks that are to be cancelled and that no worker has recorded by one."""
        ready = self.crew.ready
        while self._to_cancel and ready:
            chunk = self.chunks[self._to_cancel.popleft()]
            worker = min(ready, key=lambda worker: len(worker.chunks))
            self._send(chunk, worker, paused=True)
            self._do(events.SendOrder(worker.number, protocol.Cancel(chunk.number)))

    def _send(self, chunk: Chunk, worker: WorkerState, *, paused: bool) -> None:
        chunk.worker = worker.number
        chunk.exhausted = False
        worker.chunks.add(chunk.number)
        if chunk.sent_at is None:
            chunk.sent_at = self.active(self._now)
        if not paused:
            worker.open.add(chunk.number)
            self._set_state(chunk, ChunkState.RUNNING)
        self._do(events.SendChunk(worker.number, chunk.number, sorted(chunk.pending), paused))

    def _read_ahead(self) -> None:
        if self.input_ended:
            return
        wanted = self.crew.open_limit(self.open_chunks) - len(self._waiting) - self._requested
        if wanted > 0:
            self._requested += wanted
            self._do(events.ReadChunks(wanted))

    def _chunk_reported(self, event: protocol.ChunkExhausted | protocol.Flush | protocol.ChunkFinished) -> None:
        worker = self.crew.get(event.worker)
        if worker is None:
            return
        if isinstance(event, protocol.Flush):
            self._flushed(event)
            return
        worker.open.discard(event.chunk)
        chunk = self.chunks[event.chunk]
        chunk.exhausted = True
        if isinstance(event, protocol.ChunkFinished):
            worker.chunks.discard(event.chunk)
            self._finish(chunk)

    def _start_clocks(self, progress: protocol.Progress) -> None:
        """A chunk's time begins with its first item: until then it was sent ahead, and waited in its worker."""
        for number in progress.in_flight:
            chunk = self.chunks[number]
            if chunk.started_at is None:
                chunk.started_at = self.active(self._now)

    def _flushed(self, flush: protocol.Flush) -> None:
        for number, positions in flush.ended.items():
            self.chunks[number].cross_off(positions, flush.failed.get(number, {}))
            self._losses = 0
        for number, counts in flush.counts.items():
            chunk = self.chunks[number]
            self.counts += chunk.count(counts)
            if chunk.started_at is None:  # it was over before anybody saw it begin
                chunk.started_at = chunk.sent_at
            self.changed.add(number)
        limit = self._max_failures
        if limit is not None and limit.exceeded(self.counts.failed, self.counts.finished - self.skipped):
            self._stop(RunState.FAILED, f"{self.counts.failed} items failed, more than --max-failures allows")

    def _finish(self, chunk: Chunk) -> None:
        active = self.active(self._now)
        chunk.start_clock(active)
        chunk.ended_at = active
        chunk.leave_worker()
        chunk.cancelling = False
        self._unended -= 1
        if chunk.counts.cancelled:
            self._set_state(chunk, ChunkState.CANCELLED)
        else:
            self._set_state(chunk, ChunkState.FAILED if chunk.counts.failed else ChunkState.DONE)
        if self._kept_failures + len(chunk.failures) > _MAX_KEPT_FAILURES:
            chunk.failures.clear()
        self._kept_failures += len(chunk.failures)
        self._do(events.ChunkEnded(chunk.number, tuple(chunk.failures)))

    def _rejected(self, event: events.ItemsRejected) -> None:
        """The database could not store what these items returned: they have failed after all."""
        for number, positions in event.items.items():
            chunk = self.chunks[number]
            self.counts += chunk.reject(len(positions), event.rows.get(number, 0))
            self._tell("ERROR", f"chunk {number}: the rows of {len(positions)} items cannot be stored: {event.message}")
            if chunk.state is ChunkState.DONE:
                self._set_state(chunk, ChunkState.FAILED)
                self._do(events.ChunkEnded(number, ()))
            self.changed.add(number)

    def _take_back(self, chunk: Chunk) -> None:
        """Its worker is lost: what is pending waits again, before all others."""
        if not chunk.pending:
            self._finish(chunk)
            return
        chunk.leave_worker()
        if chunk.cancelling:
            self._set_state(chunk, ChunkState.PAUSED)
            self._to_cancel.append(chunk.number)
        elif chunk.state is ChunkState.RUNNING:
            self._set_state(chunk, ChunkState.WAITING)
            self._waiting.appendleft(chunk.number)

    # --- commands on chunks --------------------------------------------------------------------------------

    def _each(self, numbers: Iterable[int], command: Callable[[Chunk], None]) -> None:
        if self.state not in (RunState.RUNNING, RunState.PAUSED):
            return
        for number in sorted(set(numbers)):
            if 0 <= number < len(self.chunks):
                command(self.chunks[number])

    def _pause_chunk(self, chunk: Chunk) -> None:
        if chunk.cancelling or chunk.state not in (ChunkState.WAITING, ChunkState.RUNNING):
            return
        if chunk.worker is None:
            self._waiting.remove(chunk.number)
        else:
            self.crew[chunk.worker].open.discard(chunk.number)
            self._do(events.SendOrder(chunk.worker, protocol.Pause(chunk.number)))
        chunk.stop_clock(self.active(self._now))
        self._set_state(chunk, ChunkState.PAUSED)
        self._tell("INFO", f"chunk {chunk.number} paused")

    def _resume_chunk(self, chunk: Chunk) -> None:
        if chunk.state is not ChunkState.PAUSED or chunk.cancelling:
            return
        chunk.start_clock(self.active(self._now))
        if chunk.worker is None:
            self._set_state(chunk, ChunkState.WAITING)
            self._waiting.appendleft(chunk.number)
        else:
            self._set_state(chunk, ChunkState.RUNNING)
            if not chunk.exhausted:
                self.crew[chunk.worker].open.add(chunk.number)
            self._do(events.SendOrder(chunk.worker, protocol.Resume(chunk.number)))
        self._tell("INFO", f"chunk {chunk.number} resumed")

    def _cancel_chunk(self, chunk: Chunk) -> None:
        if chunk.state.ended or chunk.cancelling:
            return
        chunk.cancelling = True
        if chunk.worker is None:
            if chunk.state is ChunkState.WAITING:
                self._waiting.remove(chunk.number)
                self._set_state(chunk, ChunkState.PAUSED)
            self._to_cancel.append(chunk.number)
        else:
            self.crew[chunk.worker].open.discard(chunk.number)
            self._do(events.SendOrder(chunk.worker, protocol.Cancel(chunk.number)))
        self._tell("INFO", f"chunk {chunk.number} cancelled: items in flight finish")

    def _retry_chunk(self, chunk: Chunk) -> None:
        if chunk.state not in (ChunkState.FAILED, ChunkState.CANCELLED) or not chunk.failures:
            return
        self._kept_failures -= len(chunk.failures)
        again, lost = chunk.run_again(self.active(self._now))
        self.counts -= lost
        self._unended += 1
        self._tell("INFO", f"chunk {chunk.number}: {len(again)} items run again")
        self._do(events.RunAgain(chunk.number, again))
        self._set_state(chunk, ChunkState.WAITING)
        self._waiting.appendleft(chunk.number)

    # --- small things --------------------------------------------------------------------------------------

    def _set_state(self, chunk: Chunk, state: ChunkState) -> None:
        chunk.set_state(state)
        self.changed.add(chunk.number)

    def _order_all(self, order: protocol.Order) -> None:
        for worker in self.crew:
            self._do(events.SendOrder(worker.number, order))

    def _tell(self, level: str, text: str) -> None:
        self._do(events.Tell(level, text))

    def _do(self, action: events.Action) -> None:
        self._actions.append(action)
