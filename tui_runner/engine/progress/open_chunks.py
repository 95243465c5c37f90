"""Builds the chunk views of a snapshot: the states of open chunks, and the reasons why they wait.

A new view is built only for an open chunk that has changed. So a snapshot of a run with 100,000 chunks costs no more
than a snapshot of a run with ten.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from tui_runner.engine.metrics import ChunkMeter
from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews, Wait, WaitCause
from tui_runner.engine.protocol import ChunkWait, Progress
from tui_runner.engine.scheduling.chunk import Chunk
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, Pause, PauseCause, RunState

_IDLE_SECONDS = 1.0
"""Active seconds without an item of a chunk in flight or ended, after which the chunk is shown as waiting. In-flight
items are reported at most ten times a second, so items that take microseconds are never seen in flight."""

_SAME_END_SECONDS = 0.5
"""Seconds by which the ends of a wait in two reports may differ without being different: more than a message takes on
a busy machine, and less than a user sees in whole seconds."""

_NOT_STARTED = Wait(WaitCause.NOT_STARTED)
_PAUSED = {
    PauseCause.USER: Wait(WaitCause.RUN_PAUSED),
    PauseCause.MEMORY: Wait(WaitCause.MEMORY),
    PauseCause.DISK: Wait(WaitCause.DISK),
    PauseCause.OUTAGE: Wait(WaitCause.OUTAGE),
    PauseCause.HOSTS: Wait(WaitCause.MACHINE),
}
"""The reason why chunks wait, for each cause of a pause. If several causes apply, the first one here is shown."""


class OpenChunks:
    """Measurements of the open chunks of a run, from which the chunk views of its snapshots are built.

    Args:
        scheduler: the scheduler; read only.
        wall: seconds to add to a time of the runner's clock to get the time of the wall clock.
        redact: removes secrets from names of hosts.
    """

    def __init__(self, scheduler: Scheduler, wall: float, redact: Callable[[str], str]) -> None:
        self._scheduler = scheduler
        self._wall = wall
        self._redact = redact
        self._meters: dict[int, ChunkMeter] = {}
        self._views: dict[int, ChunkView] = {}
        """Views of the open chunks in the last snapshot, by number."""
        self._waits: dict[int, tuple[str, float, bool]] = {}
        """For each waiting chunk, the host that it waits for (empty if it waits for a retry), the end of the wait by
        the runner's clock, and True if the retry budget holds the retry back."""
        self._pauses: tuple[Pause, ...] = ()
        """Pauses of the run in the last snapshot."""
        self._flying: set[int] = set()
        """Chunks with items in flight in the last snapshot."""

    def measure(self, number: int, active: float, ended: int) -> None:
        """Count `ended` items, which have ended at the active time `active`, in the rate of an open chunk."""
        chunk = self._scheduler.chunks.open.get(number)
        if chunk is None:
            return
        meter = self._meters.get(number)
        if meter is None:
            # A chunk that runs again started long ago, but its rate counts only from now.
            started_at = active if chunk.started_at is None else max(chunk.started_at, active - 1.0)
            meter = self._meters[number] = ChunkMeter(started_at)
        elif chunk.started_at is not None:
            meter.start_earlier(chunk.started_at)
        meter.add(active, ended)

    def end(self, number: int) -> None:
        """Drop the meter of an ended chunk."""
        self._meters.pop(number, None)

    def draw(
        self,
        now: float,
        active: float,
        in_flight: Counter[int],
        progress: Mapping[int, Progress],
        heard: Mapping[int, float],
        paused_hosts: Collection[str],
    ) -> ChunkViews:
        """Return the views of all chunks. New views are built only for chunks that may have changed.

        Args:
            now: time by the runner's clock.
            active: active time.
            in_flight: number of items in flight, by chunk.
            progress: last report of each worker.
            heard: time of each worker's last report, by the runner's clock.
            paused_hosts: hosts that the user has paused.
        """
        chunks = self._scheduler.chunks
        changed = self._scheduler.take_changed()
        # Chunks that are with a worker change without an event, because their elapsed time and their rate change.
        changed.update(self._meters, in_flight, self._flying, self._waits)
        self._flying = set(in_flight)
        self._waits = {
            number: self._steady(number, wait, heard[worker] + wait.seconds)
            for worker, each in progress.items()
            for number, wait in each.waits.items()
        }
        changed.update(self._waits)
        status = self._scheduler.status
        if status.pauses != self._pauses:
            changed.update(chunks.open)
            self._pauses = status.pauses
        before, self._views = self._views, {}
        for number, chunk in chunks.open.items():
            view = before.get(number)
            if view is None or number in changed:
                state = self._state_of(chunk, active, in_flight[number])
                worker = None if chunk.worker is None else progress.get(chunk.worker)
                wait = None
                if state is ChunkState.WAITING:
                    wait = self._wait_of(chunk, now, paused_hosts, throttled=worker is not None and worker.throttled)
                drawn = self._draw(chunk, active, in_flight[number], state, wait)
                view = view if drawn == view else drawn
            self._views[number] = view
        return ChunkViews(len(chunks), self._views, chunks.share(), chunks.ended)

    def _steady(self, number: int, wait: ChunkWait, due: float) -> tuple[str, float, bool]:
        """Return the value of `_waits` for a chunk, with the end of its last report unless the new one really differs.

        The messages of a worker take different times, and a shown time of day must not change with them.
        """
        known = self._waits.get(number)
        if known is not None and known[0] == wait.host and abs(known[1] - due) < _SAME_END_SECONDS:
            due = known[1]
        return wait.host, due, wait.over_budget

    def _draw(self, chunk: Chunk, active: float, in_flight: int, state: ChunkState, wait: Wait | None) -> ChunkView:
        """Return the view of an open chunk."""
        meter = self._meters.get(chunk.number)
        counts = chunk.counts
        rate, recent = 0.0, tuple[float, ...]()
        if meter is not None and chunk.state is ChunkState.RUNNING:
            recent = meter.recent(active)
            if not self._scheduler.is_at_rest:
                rate = meter.rate(active)
        return ChunkView(
            number=chunk.number,
            state=state,
            wait=wait,
            first_item=chunk.first_item,
            items=chunk.items,
            done=counts.done,
            failed=counts.failed,
            cancelled=counts.cancelled,
            skipped=chunk.skipped,
            retries=counts.retries,
            rows=counts.rows,
            in_flight=in_flight,
            worker=chunk.worker,
            started_at=chunk.started_at,
            elapsed=chunk.elapsed(active),
            items_per_second=rate,
            recent=recent,
        )

    def _state_of(self, chunk: Chunk, active: float, in_flight: int) -> ChunkState:
        """Return the state that is shown: WAITING for a running chunk of which no item is executed.

        While the run is running, no item must have been executed for `_IDLE_SECONDS`.
        """
        if chunk.state is not ChunkState.RUNNING or in_flight:
            return chunk.state
        meter, running = self._meters.get(chunk.number), self._scheduler.status.state is RunState.RUNNING
        busy = meter is not None and running and active - meter.busy_at <= _IDLE_SECONDS
        return ChunkState.RUNNING if busy else ChunkState.WAITING

    def _wait_of(self, chunk: Chunk, now: float, paused_hosts: Collection[str], *, throttled: bool) -> Wait:
        """Return the reason why no item of a waiting chunk is executed."""
        status = self._scheduler.status
        wait = self._waits.get(chunk.number)
        if chunk.started_at is None and wait is None:
            return _NOT_STARTED
        for cause, reason in _PAUSED.items():
            if status.has(cause):
                return reason
        if wait is not None:
            host, due, over_budget = self._redact(wait[0]), wait[1], wait[2]
            if over_budget:
                return Wait(WaitCause.RETRY_BUDGET)
            if wait[0] in paused_hosts:
                return Wait(WaitCause.HOST_PAUSED, host)
            if due <= now or math.isinf(due):
                # What is due waits for its turn, for no known time. A countdown that stays at 0 would look stuck.
                return Wait(WaitCause.HOST if host else WaitCause.RETRY, host)
            seconds = math.ceil(due - now)
            until = round(due + self._wall)
            return Wait(WaitCause.HOST if host else WaitCause.RETRY, host, seconds, until)
        return Wait(WaitCause.DATABASE if throttled else WaitCause.QUEUED)
