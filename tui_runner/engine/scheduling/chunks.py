"""All chunks of a run: queues them, assigns them to workers, records their results, and carries out commands on them.

*Cancelling* is done by a worker, because only workers write ledger rows. A chunk that no worker has is sent, paused,
to the next worker that is ready, followed by the order to cancel it.

*Results.* `ResultBatch` names the items that ended; they are removed from the pending items of the chunk. When a worker
is lost, exactly the pending items of its chunks are queued again, at the front.

*Suspects* (`suspects.py`) run alone. A chunk is first sent without its suspects. When its other items have ended, the
chunk is sent to the worker that runs one item at a time. So a chunk is never with two workers.

*Work ahead.* Workers have about a second of work ahead, and at most 64 MB of packed items (`pace.py`). While the
duration of items is unknown, or if the user has set `open_chunks`, the number of open chunks is the limit instead.

The transitions of a chunk are in `states.CHUNK_TRANSITIONS`. `ChunkCommands` carries out the user's commands.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from tui_runner.engine import protocol
from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.scheduling.pace import AHEAD_BYTES, Pace
from tui_runner.engine.scheduling.step import Step
from tui_runner.engine.scheduling.suspects import PoisonItems
from tui_runner.engine.scheduling.workers import Worker, Workers
from tui_runner.engine.states import ChunkState
from tui_runner.text.numbers import plural, run_again, size

Command = events.PauseChunks | events.ResumeChunks | events.CancelChunks | events.RetryChunks
"""Commands that `ChunkCommands.apply` takes."""


class ChunkCommands:
    """The user's commands on chunks. A command that does not apply to a chunk's state is ignored for that chunk."""

    def __init__(self, chunks: Chunks, workers: Workers, step: Step) -> None:
        self._chunks = chunks
        self._workers = workers
        self._step = step

    def apply(self, command: Command) -> None:
        """Carry out a command on each of its chunks, in order of their numbers."""
        match command:
            case events.PauseChunks(numbers):
                self._each(numbers, self._pause)
            case events.ResumeChunks(numbers):
                self._each(numbers, self._resume)
            case events.CancelChunks(numbers):
                self._each(numbers, self._cancel)
            case events.RetryChunks(numbers):
                self._each(numbers, self._retry)
                self._tell_dropped(numbers)

    def resume_all(self) -> None:
        """Resume every paused chunk."""
        paused = [number for number, chunk in self._chunks.all.open.items() if chunk.state is ChunkState.PAUSED]
        self._each(paused, self._resume)

    def _each(self, numbers: Collection[int], command: Callable[[Chunk], None]) -> None:
        for number in sorted(set(numbers)):  # in the order of the input, each chunk once
            if 0 <= number < len(self._chunks.all):
                command(self._chunks.all[number])

    def _pause(self, chunk: Chunk) -> None:
        if chunk.cancelling or chunk.state not in (ChunkState.WAITING, ChunkState.RUNNING):
            return
        if chunk.worker is None:
            self._chunks.unqueue(chunk)
        else:
            self._workers[chunk.worker].open.discard(chunk.number)
            self._step.do(events.SendOrder(chunk.worker, protocol.Pause(chunk.number)))
        chunk.stop_clock(self._step.active)
        self._chunks.set_state(chunk, ChunkState.PAUSED)
        self._step.tell("INFO", f"chunk {chunk.number} paused")

    def _resume(self, chunk: Chunk) -> None:
        if chunk.state is not ChunkState.PAUSED or chunk.cancelling:
            return
        chunk.start_clock(self._step.active)
        if chunk.worker is None:
            self._chunks.queue(chunk)
        else:
            self._chunks.set_state(chunk, ChunkState.RUNNING)
            if not chunk.exhausted:
                self._workers[chunk.worker].open.add(chunk.number)
            self._step.do(events.SendOrder(chunk.worker, protocol.Resume(chunk.number)))
        self._step.tell("INFO", f"chunk {chunk.number} resumed")

    def _cancel(self, chunk: Chunk) -> None:
        if chunk.cancelling:
            return
        if chunk.state.ended:
            self._step.tell("INFO", f"chunk {chunk.number} had ended already: nothing was cancelled")
            return
        chunk.cancelling = True
        self._chunks.cancelling += 1
        flying = 0
        if chunk.worker is None:
            if chunk.state is ChunkState.WAITING:
                self._chunks.unqueue(chunk)
                self._chunks.set_state(chunk, ChunkState.PAUSED)
            self._chunks.to_cancel.append(chunk.number)
        else:
            self._workers[chunk.worker].open.discard(chunk.number)
            self._step.do(events.SendOrder(chunk.worker, protocol.Cancel(chunk.number)))
            flying = self._workers[chunk.worker].in_flight.get(chunk.number, 0)
        self._step.tell("INFO", f"chunk {chunk.number} cancelled{': items in flight finish' if flying else ''}")

    def _retry(self, chunk: Chunk) -> None:
        if not _has_failed(chunk) or not chunk.failures:
            return
        items = self._chunks.run_again(chunk)
        self._step.tell("INFO", f"chunk {chunk.number}: {run_again(items)}")

    def _tell_dropped(self, numbers: Collection[int]) -> None:
        """Warn about failures that were not kept in memory and therefore do not run again now."""
        chunks = [self._chunks.all[number] for number in set(numbers) if 0 <= number < len(self._chunks.all)]
        dropped = [chunk.counts.failed + chunk.counts.cancelled for chunk in chunks if _has_failed(chunk)]
        if dropped:
            what = f"{plural(sum(dropped), 'item')} of {plural(len(dropped), 'chunk')}"
            why = f"at most {MAX_KEPT_FAILURES:,} failed items or {size(MAX_KEPT_BYTES)} are kept"
            self._step.tell("WARNING", f"{what} cannot run again now: {why}; use tui-runner retry after the run")


def _has_failed(chunk: Chunk) -> bool:
    """Return True if a chunk ended as failed or cancelled. A chunk whose failures run again has not ended."""
    return chunk.state in (ChunkState.FAILED, ChunkState.CANCELLED)


_EXHAUSTED_FACTOR = 4
"""Most exhausted chunks (all items have started, some have not ended) for each open chunk. An exhausted chunk keeps its
packed items in memory while it waits for slow items and retries. With a smaller factor, a few slow items would keep
workers from getting further chunks."""
_LINGERING_ITEMS = 5_000
"""Exhausted chunks that have fewer items than this in total are not limited by `_EXHAUSTED_FACTOR`. Tiny chunks may be
many, but they only wait for the next report of their worker, which comes five times a second."""
_TINY_AHEAD = 1
"""Items per thread in open chunks, if chunks have fewer items than there are threads. One item keeps every thread busy.
More items would need much memory, because chunks are also small if single items are large."""
MAX_KEPT_FAILURES = 100_000
"""Most failed items that are kept in memory, so that the user can retry them during the run. This bounds the memory of
a run in which most items fail. `tui-runner retry` reads further failed items from the input again."""
MAX_KEPT_BYTES = 64 << 20
"""Most bytes of failed items that are kept in memory for a retry, estimated from the bytes of their chunks."""
_MOST_LOSSES = 5
"""Most outages after which one item runs again. Without a limit, a run whose last items always fail would never end,
because it would take these failures for an outage."""
_MOST_AHEAD = 16
"""Most open chunks of a worker, and most chunks that wait to be sent, unless chunks are too small for the threads. Each
open chunk is a line at the top of the screen, so few are better. More would not help, because a worker is sent another
chunk as soon as it starts the last item of a chunk. With chunks of 50 empty items, 64 were hardly faster than 16.
"""


class Chunks:
    """The chunks of a run, in the order of the input. Owned by the scheduler.

    Attributes:
        all: every chunk that was read, by number.
        pace: measures the rate at which items end.
        waiting: queue of the numbers of chunks that wait for a worker.
        apart: queue of the numbers of chunks that have only suspects left and wait for the worker for suspects.
        suspects: items that may have killed their worker.
        to_cancel: numbers of cancelled chunks that no worker has. They are sent to a ready worker, which records their
            items as cancelled.
        unended: number of chunks that have not ended.
        paused: number of chunks that are paused.
        cancelling: number of chunks that are being cancelled.
        counts: counters over the items of all chunks.
        before: the part of `counts` that earlier processes recorded.
        kept_failures: failed items that are kept in memory for a retry.
        kept_bytes: estimated bytes of the `kept_failures`.
        changed: numbers of chunks that changed since `take_changed` was last called.
    """

    def __init__(self, workers: Workers, step: Step, pace: Pace) -> None:
        self._workers = workers
        self._step = step
        self.all = ChunkStore()
        self.pace = pace
        self.waiting: deque[int] = deque()
        self.apart: deque[int] = deque()
        self.suspects = PoisonItems()
        self.to_cancel: deque[int] = deque()
        self.unended = 0
        self.paused = 0
        self.cancelling = 0
        self.counts = Counts()
        self.before = Counts()
        self.kept_failures = 0
        self.kept_bytes = 0
        self.changed: set[int] = set()
        self._sent: dict[int, Sequence[int] | None] = {}
        self._lost: dict[int, set[int]] = {}
        """Positions of lost items (failed because of an outage), by chunk; they run again when the chunk has ended."""
        self._times_lost: Counter[int] = Counter()
        """Number of outages that made an item fail, by position."""
        self._largest = 0
        """Number of items of the largest chunk; gives `_has_many_unreported` a cheap upper bound."""

    def set_state(self, chunk: Chunk, state: ChunkState) -> None:
        """Change the state of a chunk and the counters over chunks. Raise `ValueError` if the change is not allowed."""
        self.paused += (state is ChunkState.PAUSED) - (chunk.state is ChunkState.PAUSED)
        chunk.set_state(state)
        self.changed.add(chunk.number)

    @property
    def only_paused(self) -> bool:
        """True if every unended chunk is paused, so that the run waits for the user to resume or cancel one."""
        return 0 < self.unended == self.paused and not self.cancelling

    @property
    def unsent(self) -> int:
        """The number of items in the next chunks that wait for a worker; at most `_MOST_AHEAD` chunks are counted."""
        return sum(len(self.all.open[number].left) for number in islice(self.waiting, _MOST_AHEAD))

    def take_changed(self) -> set[int]:
        """Return the numbers of the chunks that changed since the last call, and forget them."""
        changed, self.changed = self.changed, set()
        return changed

    # --- from the input to a worker ------------------------------------------------------------------------

    def read(self, event: events.ChunkRead) -> None:
        """Add the next chunk of the input, and queue it unless an earlier process recorded all of its items."""
        left, skipped = ItemsLeft(event.positions, event.pending), event.items - len(event.pending)
        counts = Counts(done=skipped, rows=event.rows)
        chunk = Chunk(event.number, event.first_item, event.items, skipped, left, counts=counts, nbytes=event.nbytes)
        chunk.known.update(event.known)
        self.all.add(chunk)
        self.changed.add(chunk.number)
        self.counts += counts
        self.before += counts
        self.pace.read(event.items, event.nbytes)
        self._largest = max(self._largest, event.items)
        if left:
            self.unended += 1
            self.waiting.append(chunk.number)
        else:
            self.set_state(chunk, ChunkState.DONE)
            self.all.end(chunk)
            self._step.do(events.ChunkEnded(chunk.number, ()))

    def to_read(self, limit: int, requested: int, threads: int) -> int:
        """Return the number of chunks to cut from the input now.

        Args:
            limit: chunks that may be open.
            requested: chunks that were requested before and have not arrived.
            threads: items executed at once, over all workers.
        """
        size = self.pace.read_size or 1
        ahead = min(-(-self.pace.to_read(self._step.working, threads) // size), _MOST_AHEAD)
        wanted = max(limit, ahead) - len(self.waiting) - requested
        if wanted > 0:
            opened = sum(self.all.open[number].nbytes for worker in self._workers for number in worker.open)
            nbytes = opened + sum(self.all.open[number].nbytes for number in self.waiting)
            room = self.pace.chunks_within(AHEAD_BYTES - nbytes)
            if room is not None:
                wanted = min(wanted, room - requested)
        # Without this exception, a chunk larger than `AHEAD_BYTES` would never be read and its worker would stay idle.
        idle = not self.waiting and not requested and not all(worker.open for worker in self._workers.ready)
        return max(wanted, int(idle))

    def skipped(self, event: events.ChunksSkipped) -> None:
        """Add chunks that an earlier process recorded as complete."""
        self.all.add_done(event.first_items, event.items, event.rows, event.milliseconds)
        self.changed.update(range(event.first, event.first + len(event.items)))
        done = Counts(done=sum(event.items), rows=sum(event.rows))
        self.counts += done
        self.before += done

    def missed(self, items: int) -> None:
        """Count items that failed in an earlier process and do not run again in this one."""
        lost = Counts(failed=items)
        self.counts += lost
        self.before += lost
        self.all.items += items

    def open_limit(self, open_chunks: int) -> int:
        """Return the number of chunks to have open: `open_chunks`, or more if these have fewer items than threads."""
        limit = self._workers.open_limit(open_chunks)
        size = self.pace.read_size or self._workers.threads
        return limit if limit * size >= self._workers.threads else -(-_TINY_AHEAD * self._workers.threads // size)

    def send_waiting(self, limit: int, ahead: int | None) -> None:
        """Send queued chunks until the workers have enough, each to the worker with the fewest open chunks.

        Args:
            limit: chunks to have open, over all workers.
            ahead: number of unended items that all workers together should have; None if only `limit` applies.
        """
        ready = self._workers.ready
        if not self.waiting or not ready or self._has_many_unreported(ready, limit):
            return
        chunks, size = self.all.open, self._workers.size
        opened = sum(len(worker.open) for worker in ready)
        nbytes = sum(chunks[number].nbytes for worker in ready for number in worker.open)
        while self.waiting:
            worker = min(ready, key=lambda worker: len(worker.open))
            chunk = chunks[self.waiting[0]]
            if worker.open:
                if nbytes + chunk.nbytes > AHEAD_BYTES:
                    return
                # While other workers are still starting, send few items to the first worker. It never gives chunks
                # back, so it would otherwise run all of a short input alone.
                if self._workers.is_starting and self._has_items(worker, 2 * self._workers.share(worker), 1):
                    return
                if ahead is None and (opened >= limit or len(worker.open) >= -(-limit // size)):
                    return
                if ahead is not None and self._has_items(worker, -(-ahead // size), -(-limit // size)):
                    return
            self.waiting.popleft()
            indexes = self._without_suspects(chunk)
            if indexes is not None and not indexes:  # only suspects are left, from an earlier process
                self.apart.append(chunk.number)
                continue
            self._send(chunk, worker, indexes)
            opened += 1
            nbytes += chunk.nbytes

    def _has_items(self, worker: Worker, items: int, limit: int) -> bool:
        """Return True if a worker has at least `items` unended items, or as many open chunks as it may have."""
        if len(worker.open) >= max(_MOST_AHEAD, limit):
            return True
        for number in worker.open:
            items -= len(self.all.open[number].left)
        return items <= 0

    def _without_suspects(self, chunk: Chunk) -> Sequence[int] | None:
        """Return the indexes of the pending items that are not suspects; None if these are all items of the chunk."""
        if not chunk.left.among(self.suspects.items):
            return None if chunk.left.is_whole else chunk.left.indexes()
        return sorted(chunk.left.among(self.suspects.without_suspects(list(chunk.left))).values())

    def send_suspects(self) -> None:
        """Send the suspects of one chunk to the worker that runs one item at a time, if that worker is idle."""
        worker = self._workers.alone
        if worker is None or not worker.ready or not self.apart:
            return
        if any(self.all.open[number].state is ChunkState.RUNNING for number in worker.chunks):
            return
        chunk = self.all.open[self.apart.popleft()]
        positions = self.suspects.next_suspects(chunk.left)
        indexes = sorted(chunk.left.among(positions).values())  # items run in the order of the input
        self._send(chunk, worker, indexes, refusals=self.suspects.refused(positions))

    def send_cancels(self) -> None:
        """Send cancelled chunks that no worker has to ready workers, which record their items as cancelled."""
        ready = self._workers.ready
        while self.to_cancel and ready:
            chunk = self.all.open[self.to_cancel.popleft()]
            worker = min(ready, key=lambda worker: len(worker.chunks))
            self._send(chunk, worker, None if chunk.left.is_whole else chunk.left.indexes(), paused=True)
            self._step.do(events.SendOrder(worker.number, protocol.Cancel(chunk.number)))

    def _has_many_unreported(self, workers: list[Worker], limit: int) -> bool:
        """Return True if too many chunks are exhausted (all items have started) but not finished.

        Return False if the running ones among them have fewer items than end in a second, or than `_LINGERING_ITEMS`:
        those items have probably run, and only the reports are missing.
        """
        most = sum(len(worker.chunks) - len(worker.open) for worker in workers)
        if most < _EXHAUSTED_FACTOR * limit:
            return False
        rate = self.pace.rate(self._step.working, self._workers.threads) or 0.0
        items = max(_LINGERING_ITEMS, int(rate))
        if most * self._largest < items:
            return False  # a cheap upper bound, because with thousands of tiny chunks the sum below takes too long
        exhausted = [
            self.all.open[number] for worker in workers for number in worker.chunks if number not in worker.open
        ]
        lingering = [chunk.items for chunk in exhausted if chunk.state is ChunkState.RUNNING]
        return len(lingering) >= _EXHAUSTED_FACTOR * limit and sum(lingering) >= items

    def _send(
        self,
        chunk: Chunk,
        worker: Worker,
        run: Sequence[int] | None,
        *,
        paused: bool = False,
        refusals: Mapping[int, str] | None = None,
    ) -> None:
        """Assign a chunk to a worker and order it to run the items at the indexes `run`; None for all."""
        chunk.worker = worker.number
        chunk.exhausted = False
        worker.chunks.add(chunk.number)
        self._sent[chunk.number] = run
        if chunk.sent_at is None:
            chunk.sent_at = self._step.active
        if not paused:
            worker.open.add(chunk.number)
            self.set_state(chunk, ChunkState.RUNNING)
        attempts, tries = chunk.made(chunk.attempts), chunk.made(chunk.tries)
        self._step.do(events.SendChunk(worker.number, chunk.number, run, paused, refusals or {}, attempts, tries))

    # --- reports of workers --------------------------------------------------------------------------------

    def start_clocks(self, progress: protocol.Progress) -> None:
        """Set the start time of each chunk that has its first items in flight.

        A chunk that waits in its worker's queue has not started.
        """
        for number in progress.in_flight:
            chunk = self.all.open.get(number)
            if chunk is not None and chunk.started_at is None:
                chunk.started_at = self._step.active

    def flushed(self, flush: protocol.ResultBatch) -> None:
        """Record the items that ended, the attempts to retry and the counters of a worker's batch."""
        for number, ranges in flush.ended.items():
            chunk = self.all.open[number]
            chunk.cross_off(ranges, flush.failed.get(number, {}))
            if self.suspects.has_any:
                self.suspects.ended(chunk.left.positions_in(ranges))
        for number, attempts in flush.retried.items():
            self.all.open[number].retried(attempts)
        if self._step.clock.counts(self._step.now):
            self.pace.executed(sum(map(flush.executed, flush.ended)), self._step.working)
        for number, counts in flush.counts.items():
            chunk = self.all.open[number]
            self.counts += chunk.count(counts)
            # A `Progress` shows the first item some time after its start, if at all. The ledger, too, has `begun`.
            age = flush.begun.get(number)
            if age is not None or chunk.started_at is None:
                begun = 0.0 if age is None else self._step.clock.active_before(self._step.now, age)
                begun = max(begun, chunk.sent_at or 0.0)  # no attempt began before the chunk was sent
                chunk.started_at = begun if chunk.started_at is None else min(chunk.started_at, begun)
            self.changed.add(number)

    def known_failures(self, flush: protocol.ResultBatch) -> int:
        """Return the number of items that fail in this batch again after they failed in an earlier process.

        The circuit breaker does not count the first failure of such an item in this process.
        """
        failures = 0
        for number in flush.counts:
            chunk = self.all.open[number]
            known = chunk.known
            if not known:
                continue
            retried, failed = flush.retried.get(number, {}), flush.failed.get(number, {})
            heard = known.intersection(chunk.left.positions_in(flush.ended.get(number, ()))) | known.intersection(
                retried
            )
            known -= heard
            failures += sum(item in retried or failed.get(item, 0) > 0 for item in heard)
        return failures

    def exhausted(self, number: int, worker: Worker) -> None:
        """Record that a worker has started every item of a chunk, so that the chunk is no longer open.

        The report may come after `finished`. While the thread that sends the report waits for the pipe, other threads
        may take over that thread's items and end them.
        """
        worker.open.discard(number)
        if number in worker.chunks:
            self.all.open[number].exhausted = True

    def finished(self, number: int, worker: Worker) -> None:
        """Detach a chunk from its worker, because every item that was sent to the worker has ended.

        If suspects of the chunk are left, the chunk is queued again.
        """
        worker.open.discard(number)
        worker.chunks.discard(number)
        self._leave(self.all.open[number])

    def rejected(self, event: events.ItemsRejected) -> None:
        """Count as failed the items whose rows the database refused."""
        for number, positions in event.items.items():
            chunk = self.all[number]
            self.counts += chunk.reject(len(positions), event.rows.get(number, 0))
            rows = f"the rows of {plural(len(positions), 'item')}"
            self._step.tell("ERROR", f"chunk {number}: {rows} cannot be stored: {event.message}")
            if chunk.state is ChunkState.DONE:
                self.set_state(chunk, ChunkState.FAILED)
            if chunk.state.ended:
                self.all.end(chunk)
            self.changed.add(number)

    def record_death(self, worker: Worker, in_flight: Mapping[int, int]) -> dict[int, int]:
        """Record the attempts that a lost worker had in flight.

        Return the number of the attempt of each such item that is pending, by position.
        """
        interrupted = {}
        for number in worker.chunks:
            chunk = self.all.open[number]
            # A hanging thread keeps its timed-out attempt in flight, although the item may have had later attempts.
            mine = {item: max(in_flight[item], chunk.attempts.get(item, 0)) for item in chunk.left.among(in_flight)}
            chunk.attempts.update(mine)
            interrupted.update(mine)
        return interrupted

    def record_idle_death(self, worker: Worker, reason: str) -> list[int]:
        """Record the loss of a worker with nothing in flight.

        Return the unreported items of the worker for suspects, because one of them is the cause. Return an empty list
        for any other worker.
        """
        chunks = [self.all.open[number] for number in worker.chunks]
        chunk_of = {item: chunk for chunk in chunks for item in chunk.left.pending_among(self._sent[chunk.number])}
        unreported = list(chunk_of)
        if worker.slot is not None:
            self.suspects.record_idle_death(unreported)
            return []
        self.suspects.record_suspect_death(unreported, reason)
        if len(unreported) == 1:
            (item,) = unreported
            chunk = chunk_of[item]
            chunk.attempts[item] = chunk.attempts.get(item, 0) + 1
        return unreported

    def requeue(self, worker: Worker) -> int:
        """Detach all chunks from a lost worker, see `_leave`. Return the number of their pending items."""
        lost = 0
        # `queue` puts each chunk at the front, so start with the last one, to keep the order of the input.
        for number in sorted(worker.chunks, reverse=True):
            chunk = self.all.open[number]
            lost += len(chunk.left)
            self._leave(chunk)
        return lost

    def _leave(self, chunk: Chunk) -> None:
        """Detach a chunk from its worker. Finish the chunk if no item is pending, otherwise queue it again.

        A paused chunk is not queued. A chunk that was to be cancelled counts as paused until `send_cancels` cancels it.
        """
        del self._sent[chunk.number]
        if not chunk.left:
            self._finish(chunk)
            return
        chunk.leave_worker()
        if chunk.cancelling:
            self.set_state(chunk, ChunkState.PAUSED)
            self.to_cancel.append(chunk.number)
        elif chunk.state is ChunkState.RUNNING:
            self.queue(chunk)

    def queue(self, chunk: Chunk) -> None:
        """Queue a chunk at the front.

        If only suspects are left in the chunk, append the chunk to `apart` instead, the queue for the worker that runs
        suspects one at a time.
        """
        self.set_state(chunk, ChunkState.WAITING)
        if not self.suspects or self.suspects.without_suspects(list(chunk.left)):
            self.waiting.appendleft(chunk.number)
        else:
            self.apart.append(chunk.number)

    def unqueue(self, chunk: Chunk) -> None:
        """Remove a chunk from the queue that contains it."""
        (self.waiting if chunk.number in self.waiting else self.apart).remove(chunk.number)

    def _finish(self, chunk: Chunk) -> None:
        """Set the final state of a chunk without pending items, and keep its failures for a retry."""
        active = self._step.active
        chunk.start_clock(active)
        chunk.ended_at = active
        chunk.leave_worker()
        self.cancelling -= chunk.cancelling
        chunk.cancelling = False
        self.unended -= 1
        if chunk.counts.cancelled:
            self.set_state(chunk, ChunkState.CANCELLED)
        else:
            self.set_state(chunk, ChunkState.FAILED if chunk.counts.failed else ChunkState.DONE)
        self._keep_failures(chunk)
        self.all.end(chunk)
        self._step.do(events.ChunkEnded(chunk.number, tuple(chunk.failures)))

    def _keep_failures(self, chunk: Chunk) -> None:
        """Keep the failures of a chunk that has just ended for a retry, unless they exceed the limits of memory."""
        nbytes = chunk.nbytes * len(chunk.failures) // (len(chunk.left.positions) + chunk.aside)
        if self.kept_failures + len(chunk.failures) > MAX_KEPT_FAILURES or self.kept_bytes + nbytes > MAX_KEPT_BYTES:
            chunk.failures.clear()  # all or none are kept: `run_again` makes all failures of a chunk pending
        else:
            self.kept_failures += len(chunk.failures)
            self.kept_bytes += nbytes
            chunk.nbytes = nbytes

    def run_again(self, chunk: Chunk, only: Collection[int] | None = None) -> int:
        """Make the kept failures of an ended chunk pending, and queue the chunk.

        With `only`, failures at other positions stay as they are. Return the number of items that became pending.
        """
        self.kept_failures -= len(chunk.failures)
        self.kept_bytes -= chunk.nbytes
        self.counts -= chunk.run_again(self._step.active, only)
        again = tuple(chunk.left.positions)
        self.all.reopen(chunk)
        self.unended += 1
        self._step.do(events.RunAgain(chunk.number, again))
        self.suspects.again(again)
        self.queue(chunk)
        return len(again)

    def lose(self, items: Mapping[int, Collection[int]]) -> int:
        """Record lost items (failed because of an outage) by chunk. They run again. Return the number of new ones."""
        noted = 0
        for number, positions in items.items():
            lost = {place for place in positions if self._times_lost[place] < _MOST_LOSSES}
            lost -= self._lost.get(number, set())
            self._times_lost.update(lost)
            self._lost.setdefault(number, set()).update(lost)
            noted += len(lost)
        return noted

    @property
    def has_lost(self) -> bool:
        """True if there are lost items that have not become pending."""
        return bool(self._lost)

    @property
    def lost(self) -> int:
        """The number of lost items that have not become pending."""
        return sum(map(len, self._lost.values()))

    def run_lost_again(self) -> None:
        """Make lost items pending if their chunk has ended. Lost items of an open chunk wait for the chunk's end.

        Other failures of the chunk are not changed, and cancelled items do not run again.
        """
        for number in [number for number in self._lost if number not in self.all.open]:
            chunk, lost = self.all[number], self._lost.pop(number)
            if chunk.state is ChunkState.FAILED and not lost.isdisjoint(chunk.failures):
                self.run_again(chunk, lost)
