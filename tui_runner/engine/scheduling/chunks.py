"""All chunks of a run: which wait, which worker has which, what became of their items, commands on them.

*Cancelling* is done by a worker, because only workers write ledger rows: a chunk that no worker has is sent, paused,
to one that is ready, as soon as there is one.

*What has been received is done.* `ResultBatch` names the items that ended; they are crossed off what is left of the
chunk. When a worker is lost, exactly what is left waits again, at the front.

*Suspects* (`suspects.py`) run alone: a chunk is sent without them, and when the rest of it has ended, it goes to the
worker that runs one item at a time. So a chunk is still with one worker at a time.

*Ahead of the workers* is about a second of work and at most 64 MB of packed items (`pace`). Before it is known how long
items take, and where the user has set `open_chunks`, that number of chunks with items to start are with workers
instead.

The transitions of one chunk are in `states.CHUNK_TRANSITIONS`; the commands a person may give are in `chunk_commands`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from tui_runner.engine import protocol
from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.scheduling.pace import AHEAD_BYTES, Pace
from tui_runner.engine.scheduling.step import Turn
from tui_runner.engine.scheduling.suspects import PoisonItems
from tui_runner.engine.scheduling.workers import Worker, Workers
from tui_runner.engine.states import ChunkState
from tui_runner.text.numbers import plural, run_again, size

Command = events.PauseChunks | events.ResumeChunks | events.CancelChunks | events.RetryChunks
"""Commands that `ChunkCommands.obey` takes."""


class ChunkCommands:
    """Carries out commands on chunks; those that make no sense in a chunk's state do nothing to it."""

    def __init__(self, chunks: Chunks, crew: Workers, turn: Turn) -> None:
        self._chunks = chunks
        self._crew = crew
        self._turn = turn

    def obey(self, command: Command) -> None:
        """Carry out a command on each of its chunks, in their order."""
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
        """Go on with every chunk that is paused."""
        paused = [number for number, chunk in self._chunks.all.open.items() if chunk.state is ChunkState.PAUSED]
        self._each(paused, self._resume)

    def _each(self, numbers: Collection[int], command: Callable[[Chunk], None]) -> None:
        for number in sorted(set(numbers)):
            if 0 <= number < len(self._chunks.all):
                command(self._chunks.all[number])

    def _pause(self, chunk: Chunk) -> None:
        if chunk.cancelling or chunk.state not in (ChunkState.WAITING, ChunkState.RUNNING):
            return
        if chunk.worker is None:
            self._chunks.unqueue(chunk)
        else:
            self._crew[chunk.worker].open.discard(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Pause(chunk.number)))
        chunk.stop_clock(self._turn.active)
        self._chunks.set_state(chunk, ChunkState.PAUSED)
        self._turn.tell("INFO", f"chunk {chunk.number} paused")

    def _resume(self, chunk: Chunk) -> None:
        if chunk.state is not ChunkState.PAUSED or chunk.cancelling:
            return
        chunk.start_clock(self._turn.active)
        if chunk.worker is None:
            self._chunks.queue(chunk)
        else:
            self._chunks.set_state(chunk, ChunkState.RUNNING)
            if not chunk.exhausted:
                self._crew[chunk.worker].open.add(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Resume(chunk.number)))
        self._turn.tell("INFO", f"chunk {chunk.number} resumed")

    def _cancel(self, chunk: Chunk) -> None:
        if chunk.state.ended or chunk.cancelling:
            return
        chunk.cancelling = True
        self._chunks.cancelling += 1
        if chunk.worker is None:
            if chunk.state is ChunkState.WAITING:
                self._chunks.unqueue(chunk)
                self._chunks.set_state(chunk, ChunkState.PAUSED)
            self._chunks.to_cancel.append(chunk.number)
        else:
            self._crew[chunk.worker].open.discard(chunk.number)
            self._turn.do(events.SendOrder(chunk.worker, protocol.Cancel(chunk.number)))
        self._turn.tell("INFO", f"chunk {chunk.number} cancelled: items in flight finish")

    def _retry(self, chunk: Chunk) -> None:
        if not _has_failed(chunk) or not chunk.failures:
            return
        items = self._chunks.run_again(chunk)
        self._turn.tell("INFO", f"chunk {chunk.number}: {run_again(items)}")

    def _tell_dropped(self, numbers: Collection[int]) -> None:
        """Say which failures are too many to be kept: they do not run again now."""
        chunks = [self._chunks.all[number] for number in set(numbers) if 0 <= number < len(self._chunks.all)]
        dropped = [chunk.counts.failed + chunk.counts.cancelled for chunk in chunks if _has_failed(chunk)]
        if dropped:
            what = f"{plural(sum(dropped), 'item')} of {plural(len(dropped), 'chunk')}"
            why = f"of failed items {MAX_KEPT_FAILURES:,} or {size(MAX_KEPT_BYTES)} are kept, and no more"
            self._turn.tell("WARNING", f"{what} cannot run again now: {why}; use tui-runner retry when the run is over")


def _has_failed(chunk: Chunk) -> bool:
    """Return True if a chunk has ended otherwise than well. One whose failures run again has not ended."""
    return chunk.state in (ChunkState.FAILED, ChunkState.CANCELLED)


_EXHAUSTED_FACTOR = 4
"""Chunks with workers, for each that is open: a bound on how many wait for stragglers and retries alone."""
_LINGERING_ITEMS = 5_000
"""Items of such chunks that are not too many, however many chunks they are: those of tiny chunks only wait for the next
report, five times a second."""
_TINY_AHEAD = 1
"""Items to start, for each thread, where the open chunks have fewer than there are threads: enough to
keep these busy, and not more, because chunks are also made small where an item is large."""
MAX_KEPT_FAILURES = 100_000
"""Failed items that are kept, with their values, so that they can be run again at the press of a key; those beyond
are in the ledger only."""
MAX_KEPT_BYTES = 64 << 20
"""The same in bytes of packed items, estimated from the size of their chunk."""
_MOST_AHEAD = 16
"""Chunks with items to start that a worker has at most, and as many wait to be sent, unless they are too small for its
threads. Each is a line on the screen, above those that have ended, and a worker is sent more as soon as it has started
the last item of one: with 64 chunks of 50 items of nothing a run was hardly faster."""


class Chunks:
    """The chunks of a run, in the order of the input. Owned by the scheduler.

    Attributes:
        all: every chunk that was read, by number.
        pace: how fast items end.
        waiting: numbers of those that wait for a worker, the next one first.
        apart: numbers of those with only suspects left, which wait for the worker that runs them alone.
        suspects: items that may have killed their worker.
        to_cancel: numbers of those that the next ready worker cancels.
        unended: how many have not ended.
        paused: how many of those are paused.
        cancelling: how many of them are being cancelled.
        counts: what became of the items of all chunks.
        before: the part of `counts` that earlier processes had recorded.
        kept_failures: failed items that are kept to be run again.
        kept_bytes: bytes of those, about.
        changed: numbers of chunks that changed since `take_changed` was last called.
    """

    def __init__(self, crew: Workers, turn: Turn, pace: Pace) -> None:
        self._crew = crew
        self._turn = turn
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
        self._largest = 0
        """Items of the largest chunk."""

    def set_state(self, chunk: Chunk, state: ChunkState) -> None:
        """Move a chunk on; raises `ValueError` when it cannot go there."""
        self.paused += (state is ChunkState.PAUSED) - (chunk.state is ChunkState.PAUSED)
        chunk.set_state(state)
        self.changed.add(chunk.number)

    @property
    def only_paused(self) -> bool:
        """True if all that have not ended are paused, and stay so until a person resumes or cancels them."""
        return 0 < self.unended == self.paused and not self.cancelling

    @property
    def unsent(self) -> int:
        """Items of the next chunks that wait for a worker: of all where they are few."""
        return sum(len(self.all.open[number].left) for number in islice(self.waiting, _MOST_AHEAD))

    def take_changed(self) -> set[int]:
        """Return the numbers of the chunks that changed since the last call."""
        changed, self.changed = self.changed, set()
        return changed

    # --- from the input to a worker ------------------------------------------------------------------------

    def read(self, event: events.ChunkRead) -> None:
        """Add the next chunk of the input."""
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
            self._turn.do(events.ChunkEnded(chunk.number, ()))

    def to_read(self, limit: int, requested: int, threads: int) -> int:
        """Return how many chunks to cut from the input, besides those that were asked for.

        Args:
            limit: chunks that may be open.
            requested: chunks that were asked for and have not come.
            threads: items executed at once.
        """
        size = self.pace.read_size or 1
        ahead = min(-(-self.pace.to_read(self._turn.active, threads) // size), _MOST_AHEAD)
        wanted = max(limit, ahead) - len(self.waiting) - requested
        if wanted > 0:
            opened = sum(self.all.open[number].nbytes for worker in self._crew for number in worker.open)
            nbytes = opened + sum(self.all.open[number].nbytes for number in self.waiting)
            room = self.pace.chunks_within(AHEAD_BYTES - nbytes)
            if room is not None:
                wanted = min(wanted, room - requested)
        # However large chunks are, one is read for a worker that has nothing to do.
        idle = not self.waiting and not requested and not all(worker.open for worker in self._crew.ready)
        return max(wanted, int(idle))

    def skipped(self, event: events.ChunksSkipped) -> None:
        """Add chunks that an earlier process had recorded as done."""
        self.all.add_done(event.first_items, event.items, event.rows)
        self.changed.update(range(event.first, event.first + len(event.items)))
        done = Counts(done=sum(event.items), rows=sum(event.rows))
        self.counts += done
        self.before += done

    def missed(self, items: int) -> None:
        """Count items that did not end well in an earlier process and do not run again."""
        lost = Counts(failed=items)
        self.counts += lost
        self.before += lost
        self.all.items += items

    def open_limit(self, open_chunks: int) -> int:
        """Chunks to keep open when `open_chunks` are asked for: more, if these are too small for the threads."""
        limit = self._crew.open_limit(open_chunks)
        size = self.pace.read_size or self._crew.threads
        return limit if limit * size >= self._crew.threads else -(-_TINY_AHEAD * self._crew.threads // size)

    def send_waiting(self, limit: int, ahead: int | None) -> None:
        """Send chunks to the workers that have the fewest, until they have enough and none has nothing to start.

        Args:
            limit: chunks to keep open.
            ahead: items to start that all workers are to have; None to go by `limit` alone.
        """
        ready = self._crew.ready
        if not self.waiting or not ready or self._linger(ready, limit):
            return
        chunks, crew = self.all.open, self._crew.size
        opened = sum(len(worker.open) for worker in ready)
        nbytes = sum(chunks[number].nbytes for worker in ready for number in worker.open)
        while self.waiting:
            worker = min(ready, key=lambda worker: len(worker.open))
            chunk = chunks[self.waiting[0]]
            if worker.open:
                if nbytes + chunk.nbytes > AHEAD_BYTES:
                    return
                # A worker that is ready first must not take all chunks of a short input: nothing is taken back from it.
                if self._crew.is_starting and self._has_items(worker, 2 * self._crew.share(worker), 1):
                    return
                if ahead is None and (opened >= limit or len(worker.open) >= -(-limit // crew)):
                    return
                if ahead is not None and self._has_items(worker, -(-ahead // crew), -(-limit // crew)):
                    return
            self.waiting.popleft()
            innocent = self._innocent(chunk)
            if innocent is not None and not innocent:  # suspects of an earlier process, and nothing else
                self.apart.append(chunk.number)
                continue
            self._send(chunk, worker, innocent)
            opened += 1
            nbytes += chunk.nbytes

    def _has_items(self, worker: Worker, items: int, limit: int) -> bool:
        """Return True if a worker has `items` items to start, or too many chunks to be sent another."""
        if len(worker.open) >= max(_MOST_AHEAD, limit):
            return True
        for number in worker.open:
            items -= len(self.all.open[number].left)
        return items <= 0

    def _innocent(self, chunk: Chunk) -> Sequence[int] | None:
        """Indexes of the items that are left and may run beside others; None when the whole chunk may."""
        if not chunk.left.among(self.suspects.items):
            return None if chunk.left.is_whole else chunk.left.indexes()
        return sorted(chunk.left.among(self.suspects.innocent(list(chunk.left))).values())

    def send_suspects(self) -> None:
        """Send the suspects of a chunk to the worker that runs one item at a time, if that has nothing to do."""
        worker = self._crew.alone
        if worker is None or not worker.ready or not self.apart:
            return
        if any(self.all.open[number].state is ChunkState.RUNNING for number in worker.chunks):
            return
        chunk = self.all.open[self.apart.popleft()]
        positions = self.suspects.next_ones(chunk.left)
        indexes = sorted(chunk.left.among(positions).values())
        self._send(chunk, worker, indexes, refusals=self.suspects.verdicts(positions))

    def send_cancels(self) -> None:
        """Have a worker record the items of cancelled chunks that no worker has."""
        ready = self._crew.ready
        while self.to_cancel and ready:
            chunk = self.all.open[self.to_cancel.popleft()]
            worker = min(ready, key=lambda worker: len(worker.chunks))
            self._send(chunk, worker, None if chunk.left.is_whole else chunk.left.indexes(), paused=True)
            self._turn.do(events.SendOrder(worker.number, protocol.Cancel(chunk.number)))

    def _linger(self, workers: list[Worker], limit: int) -> bool:
        """Return True if too many chunks have no items left to start, but are not finished.

        Of fast items a second's worth are only on their way: they were executed, and the next report has them.
        """
        most = sum(len(worker.chunks) - len(worker.open) for worker in workers)
        if most < _EXHAUSTED_FACTOR * limit:
            return False
        rate = self.pace.rate(self._turn.active, self._crew.threads) or 0.0
        items = max(_LINGERING_ITEMS, int(rate))
        if most * self._largest < items:
            return False  # tiny chunks are many, and looking at each of them every time would take too long
        held = [self.all.open[number] for worker in workers for number in worker.chunks if number not in worker.open]
        lingering = [chunk.items for chunk in held if chunk.state is ChunkState.RUNNING]
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
        chunk.worker = worker.number
        chunk.exhausted = False
        worker.chunks.add(chunk.number)
        self._sent[chunk.number] = run
        if chunk.sent_at is None:
            chunk.sent_at = self._turn.active
        if not paused:
            worker.open.add(chunk.number)
            self.set_state(chunk, ChunkState.RUNNING)
        attempts, tries = chunk.made(chunk.attempts), chunk.made(chunk.tries)
        self._turn.do(events.SendChunk(worker.number, chunk.number, run, paused, refusals or {}, attempts, tries))

    # --- what workers report -------------------------------------------------------------------------------

    def start_clocks(self, progress: protocol.Progress) -> None:
        """A chunk's time begins with its first item: until then it was sent ahead, and waited in its worker."""
        for number in progress.in_flight:
            chunk = self.all.open.get(number)
            if chunk is not None and chunk.started_at is None:
                chunk.started_at = self._turn.active

    def flushed(self, flush: protocol.ResultBatch) -> None:
        """These items have ended."""
        for number, ranges in flush.ended.items():
            chunk = self.all.open[number]
            chunk.cross_off(ranges, flush.failed.get(number, {}))
            if self.suspects.has_any:
                self.suspects.ended(chunk.left.positions_in(ranges))
        for number, attempts in flush.retried.items():
            self.all.open[number].retried(attempts)
        self.pace.executed(sum(map(flush.executed, flush.ended)), self._turn.active)
        for number, counts in flush.counts.items():
            chunk = self.all.open[number]
            self.counts += chunk.count(counts)
            if chunk.started_at is None:  # it was over before anybody saw it begin
                chunk.started_at = chunk.sent_at
            self.changed.add(number)

    def known_failures(self, flush: protocol.ResultBatch) -> int:
        """Return how many of the items whose first failure a flush reports had failed before the run was resumed."""
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
        """The worker has started every item of a chunk."""
        worker.open.discard(number)
        self.all.open[number].exhausted = True

    def finished(self, number: int, worker: Worker) -> None:
        """Every item of a chunk that the worker was sent has ended; suspects may be left."""
        worker.open.discard(number)
        worker.chunks.discard(number)
        self._leave(self.all.open[number])

    def rejected(self, event: events.ItemsRejected) -> None:
        """The database could not store what these items returned: they have failed after all."""
        for number, positions in event.items.items():
            chunk = self.all[number]
            self.counts += chunk.reject(len(positions), event.rows.get(number, 0))
            rows = f"the rows of {plural(len(positions), 'item')}"
            self._turn.tell("ERROR", f"chunk {number}: {rows} cannot be stored: {event.message}")
            if chunk.state is ChunkState.DONE:
                self.set_state(chunk, ChunkState.FAILED)
            if chunk.state.ended:
                self.all.end(chunk)
            self.changed.add(number)

    def died(self, worker: Worker, in_flight: Mapping[int, int]) -> dict[int, int]:
        """A worker is gone and had these attempts in flight; returns those of items that have not ended."""
        interrupted = {}
        for number in worker.chunks:
            chunk = self.all.open[number]
            # An attempt that has timed out and never comes back is in flight too; later ones may have been made since.
            mine = {item: max(in_flight[item], chunk.attempts.get(item, 0)) for item in chunk.left.among(in_flight)}
            chunk.attempts.update(mine)
            interrupted.update(mine)
        return interrupted

    def died_idle(self, worker: Worker, reason: str) -> list[int]:
        """A worker is gone and had nothing in flight; returns who of the suspects it ran apart may be to blame."""
        chunks = [self.all.open[number] for number in worker.chunks]
        unheard = {item: chunk for chunk in chunks for item in chunk.left.unheard(self._sent[chunk.number])}
        unreported = list(unheard)
        if worker.slot is not None:
            self.suspects.unexplained(unreported)
            return []
        self.suspects.narrowed(unreported, reason)
        if len(unreported) == 1:
            (item,) = unreported
            chunk = unheard[item]
            chunk.attempts[item] = chunk.attempts.get(item, 0) + 1
        return unreported

    def take_back(self, worker: Worker) -> int:
        """A worker is lost: what is pending of its chunks waits again, before all others; returns how many items."""
        lost = 0
        for number in sorted(worker.chunks, reverse=True):
            chunk = self.all.open[number]
            lost += len(chunk.left)
            self._leave(chunk)
        return lost

    def _leave(self, chunk: Chunk) -> None:
        """Its worker does not have it any more: it has ended, or what is pending waits again."""
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
        """Queue a chunk before all others; one with only suspects left behind the others of that kind."""
        self.set_state(chunk, ChunkState.WAITING)
        if not self.suspects or self.suspects.innocent(list(chunk.left)):
            self.waiting.appendleft(chunk.number)
        else:
            self.apart.append(chunk.number)

    def unqueue(self, chunk: Chunk) -> None:
        """Take a chunk out of the queue."""
        (self.waiting if chunk.number in self.waiting else self.apart).remove(chunk.number)

    def _finish(self, chunk: Chunk) -> None:
        active = self._turn.active
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
        self._turn.do(events.ChunkEnded(chunk.number, tuple(chunk.failures)))

    def _keep_failures(self, chunk: Chunk) -> None:
        """Keep the failures of a chunk that has just ended, unless they are too many."""
        nbytes = chunk.nbytes * len(chunk.failures) // len(chunk.left.positions)
        if self.kept_failures + len(chunk.failures) > MAX_KEPT_FAILURES or self.kept_bytes + nbytes > MAX_KEPT_BYTES:
            chunk.failures.clear()
        else:
            self.kept_failures += len(chunk.failures)
            self.kept_bytes += nbytes
            chunk.nbytes = nbytes

    def run_again(self, chunk: Chunk) -> int:
        """Have the failures of a chunk that has ended run again; returns how many."""
        again = tuple(chunk.failures)
        self.kept_failures -= len(again)
        self.kept_bytes -= chunk.nbytes
        self.counts -= chunk.run_again(self._turn.active)
        self.all.reopen(chunk)
        self.unended += 1
        self._turn.do(events.RunAgain(chunk.number, again))
        self.suspects.again(again)
        self.queue(chunk)
        return len(again)
