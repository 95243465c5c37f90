"""The items that a worker has to execute, and the one place from which its threads take them.

Theory of operation. A thread *grabs a slice* of the first chunk in the queue: as many items as take about a millisecond
together, at least one and at most 256. So the lock is taken once per slice and not once per item. There is no object
per item: a slice is a `deque` of indexes into the chunk's columns. The only way to start an item is `popleft`, which is
atomic.

Threads do not check for rare events (a pause, a cancelled chunk, too many unwritten bytes, too much memory, fewer
threads, the end). Instead, the caller that announces such an event *recalls* slices: it pops their remaining items and
puts them back at the head of the chunk's queue. The threads find their slices empty and return to `take`, where they
wait. When an item takes longer than `SLOW_SECONDS`, an idle thread recalls the remaining items of its slice, so no item
waits behind a slow one.

A slice is a single item in four cases: a rate limits the starts, the item is the probe during a pause, the item's host
is known, or an asyncio task takes the slice. Items with a known host wait in `host_lines`, and start before other items
as soon as their host accepts requests. A job without known hosts pays nothing for this.

The *gate* (`HostGate`) decides when a request may be sent to a host. An item that has started and waits in the gate
keeps its thread; meanwhile another thread runs in its place (`begin_wait`). When many items wait like this, further
items are sent back: they wait in the line of their host and start again.

A *consumer* is a thread or task that takes items.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tui_runner.engine.limits import RateLimit
from tui_runner.engine.protocol import ChunkWait, OpenChunk
from tui_runner.engine.worker.host_lines import HostLines
from tui_runner.engine.worker.opened_chunk import Block, OpenedChunk, opened_chunk
from tui_runner.engine.worker.retry import RetryBudget
from tui_runner.engine.worker.slot import NO_BLOCK, Slot
from tui_runner.inputs.keys import KeyColumns, keyed, plain_key, position_key
from tui_runner.jobs.http.host_gate import HostGate, ItemPostponed
from tui_runner.jobs.http.retry_after import MOST_RETRY_AFTER
from tui_runner.system.clock import time
from tui_runner.text.items import Refused

SLICE_SECONDS = 0.001
"""Seconds that the items of a slice should take together. Taking the lock costs a thousandth of this time. With larger
slices, threads would idle while others have many items left."""
MAX_SLICE = 256
"""Most items of a slice, so that one thread never holds a large part of a batch."""
MOST_HELD = 20_000
"""Number of items waiting for hosts at which the worker stops requesting chunks, because waiting items take memory.
Below it, the worker requests more chunks, so that items of other hosts, later in the input, can run."""
_LONG_SECONDS = 1.0
"""Shortest cooldown, in seconds, during which waiting threads are replaced even if only one host is known. The new
threads may find items of other hosts. Shorter cooldowns end before that is worth the new threads, which are surplus
afterwards."""
_MOST_WAITING = 32
"""Most items that may wait for hosts and hold their threads, unless there are more threads than this. Waiting threads
cost little, but each of their items may still start after its chunk is paused."""
SLOW_SECONDS = 0.01
"""Seconds that an item may take before idle threads take the remaining items of its slice: ten times
`SLICE_SECONDS`."""
_FORGETTING = 1.1
"""Factor by which the estimated seconds per item may grow with each slice. The estimate follows the fastest slices: a
slice whose thread waited for the interpreter lock took fifty times as long as its items."""

_OVERDUE_SECONDS = 2.0
"""Seconds after which a due retry counts as one that the retry budget holds back. Due retries are released several
times a second, so that nothing else holds one for so long."""


@dataclass(order=True, slots=True)
class _Delayed:
    """An item that waits for its next attempt; ordered by the time at which it is due."""

    due: float
    order: int
    chunk: OpenedChunk = field(compare=False)
    index: int = field(compare=False)
    free: bool = field(default=False, compare=False)
    """True if the attempt is not a retry and needs no budget, because a host has postponed the item."""

    def is_overdue(self, now: float) -> bool:
        """Return True if the retry budget holds the retry back at the monotonic time `now`."""
        return self.due <= now - _OVERDUE_SECONDS and not self.free


class WorkQueue:
    """The queue of a worker: its open chunks with their items in order, and the rules for starting items. Thread-safe.

    Args:
        write_log: logs a line of an item: level, text, (chunk, position).
        on_exhausted: called with the number of a chunk that keeps no consumer busy any more: its last waiting item was
            handed out, or its items wait for hosts while consumers are idle.
        on_change: called whenever a waiting consumer should call `poll` again; used by `AsyncPool`.
        on_idle: called when nothing is executed and nothing can be taken.
        rate: items started per second; None for no limit.
        budget: limits retries; None for no limit.
        key_columns: columns that form the key of an item, see `inputs.keys`.
        item_text: True if the ledger gets a short text of every item.
        gate: decides when requests may be sent to a host; None for a new gate without limits.
        host: returns the host of an item, empty for none; None if no host is known before an item starts.
        takes_added: True if items may add items to the run.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        write_log: Callable[[str, str, tuple[int, int] | None], None],
        on_exhausted: Callable[[int], None],
        on_change: Callable[[], None] = lambda: None,
        on_idle: Callable[[], None] = lambda: None,
        rate: float | None = None,
        budget: RetryBudget | None = None,
        key_columns: KeyColumns = (),
        item_text: bool = True,
        gate: HostGate | None = None,
        host: Callable[[object], str] | None = None,
        takes_added: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gate = gate or HostGate(clock=clock)
        self._host = host
        self._lines = HostLines(self.gate, clock)
        self._waiting = 0
        """Number of items that have started and wait for their host."""
        self._waits_long = False
        """True if an item waits for a host in a long cooldown."""
        self.on_missing: Callable[[int], None] = lambda missing: None
        """Called with the number of consumers to start, when items have come or other consumers wait for hosts."""
        self._budget = budget
        self._key_columns = key_columns
        self._item_text = item_text
        self._write_log = write_log
        self.takes_added = takes_added
        self._on_exhausted = on_exhausted
        self.on_change = on_change
        self._on_idle = on_idle
        self._clock = clock
        self._ready: deque[OpenedChunk] = deque()
        """Chunks that have items to hand out and are not paused."""
        self._delayed: list[_Delayed] = []
        self._order = itertools.count()
        self.chunks: dict[int, OpenedChunk] = {}
        self._busy: set[Slot] = set()
        """Slots that have a slice, waiting items included."""
        self._limit = RateLimit(rate) if rate else None
        self._paused = False
        self._passes = 0
        """Number of items that may start although everything is paused: 1 during a probe, otherwise 0."""
        self._room: int | None = None
        """Limit on items executed at once, because of unwritten bytes; None for no limit."""
        self._useful: int | None = None
        """Limit on items executed at once, because the job is CPU-bound; None for no limit."""
        self._braked = False
        self._ended = False
        self._consumers = 0
        self._wanted_consumers = 0
        self._as_needed = False
        """True if consumers are started as items come."""
        self._seconds_an_item = SLICE_SECONDS
        self._scout: Slot | None = None
        """The one waiting consumer that wakes at `_scout_at`; the others wait without a timeout."""
        self._scout_at = 0.0
        self._idle = False
        self._changed = threading.Condition(threading.Lock())
        """Guards all fields of this object; waiting consumers sleep on it. It is not held during callbacks that may
        block."""

    # --- taking items: called by many threads -------------------------------------------------------------

    def slot(self, number: int) -> Slot:
        """Return a new slot, whose notes are at `number` in the flight recorder."""
        return Slot(number, self._write_log, self)

    def take(self, slot: Slot) -> bool:
        """Wait for the next slice and give it to `slot`. Return False if the calling thread must end.

        The previous slice of `slot` is given back first. A thread that must end no longer counts as a consumer.
        """
        with self._changed:
            self._give_back(slot)
            was_scout = False
            while isinstance(answer := self._poll(slot), float):
                self._changed.wait(None if answer < 0 else answer)
                if self._scout is slot:
                    self._scout, was_scout = None, True
            # Each consumer wakes the next one. Waking all of 500 threads at each change took half of the worker's time.
            has_slices = self._scout is None and (slot.size > 1 or was_scout)
            if self._may_start() and (self._ready or has_slices or self._lines.has_ready):
                self._changed.notify()
            exhausted = self._exhausts(answer)
        if answer is not None and exhausted:
            self._on_exhausted(answer.number)
        return answer is not None

    def poll(self, slot: Slot) -> float | None:
        """Give `slot` the next item without waiting, for asyncio tasks.

        Return 0.0 if `slot` got an item, otherwise the seconds until the next call. Return None if that time is
        unknown; the next call is due after `on_change`.

        Raises:
            EOFError: the calling task must end, and no longer counts as a consumer.
        """
        with self._changed:
            self._give_back(slot)
            answer = self._poll(slot, single=True)
            exhausted = not isinstance(answer, float) and self._exhausts(answer)
        if isinstance(answer, float):
            return None if answer < 0 else answer
        if answer is None:
            raise EOFError
        if exhausted:
            self._on_exhausted(answer.number)
        return 0.0

    def _exhausts(self, chunk: OpenedChunk | None) -> bool:
        """Mark a chunk as exhausted if its last item was handed out. Return True if this call has marked it."""
        if chunk is None or chunk.todo or chunk.lined or chunk.exhausted:
            return False
        chunk.exhausted = True
        return True

    def give_back(self, slot: Slot) -> None:
        """Mark the slice of `slot` as ended.

        `take` and `poll` do this, too; call this for a slot that takes no other slice.
        """
        with self._changed:
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        """Clear a slot and update the estimate of the seconds per item. The caller holds the lock."""
        slot.index = -1
        slot.value = None
        slot.block = NO_BLOCK  # a waiting thread must not keep results in memory after they were flushed
        if slot not in self._busy:
            return
        self._busy.discard(slot)
        executed = slot.size - len(slot.todo)
        if slot.host:
            self._leave_host(slot, seconds=self._clock() - slot.started if executed else None)
        if executed > 0:
            seconds = (self._clock() - slot.grabbed) / executed
            self._seconds_an_item = max(1e-9, min(seconds, self._seconds_an_item * _FORGETTING))

    def _poll(self, slot: Slot, *, single: bool = False) -> OpenedChunk | float | None:
        """Give `slot` a slice and return the slice's chunk.

        If no item may start, return the seconds to wait, or -1.0 if they are unknown. If the caller must end, return
        None.

        Args:
            slot: slot of the caller.
            single: True to take only one item. A task does this; it does not wait in this object, so it cannot be the
                scout.
        """
        if self._ended or self._consumers > self._wanted_consumers + self._replaced:
            self._consumers -= 1
            return None
        if not self._may_start():
            return self._wait(-1.0)
        until_host = math.inf
        if self._lines:
            found = self._lines.take() if (due := self._until_rate()) <= 0 else due
            if not isinstance(found, float):
                return self._grab_of_host(slot, *found)
            until_host = found
        if not self._ready and not self._recall_slow():
            waiting = not single and any(other.todo for other in self._busy)
            seconds = min(SLOW_SECONDS if waiting else math.inf, until_host)
            if math.isinf(seconds):
                return self._wait(-1.0)
            return self._wait(seconds if single else self._become_scout(slot, seconds))
        if self._limit is not None:
            delay = self._limit.take(self._clock())
            if delay > 0:
                return self._wait(delay if single else self._become_scout(slot, delay))
        chunk = self._ready[0]
        self._grab(slot, chunk, 1 if single or self._limit is not None or self._paused else MAX_SLICE)
        self._passes -= self._paused
        return chunk

    def _until_rate(self) -> float:
        return 0.0 if self._limit is None else self._limit.wait(self._clock())

    def _grab_of_host(self, slot: Slot, host: str, chunk: OpenedChunk, index: int) -> OpenedChunk:
        """Give `slot` the item at `index` of `chunk`, for which a request to `host` was reserved."""
        now = self._clock()
        if self._limit is not None:
            self._limit.take(now)
        slot.todo = deque([index])
        slot.size = 1
        slot.chunk = chunk
        slot.block = Block(chunk)
        slot.grabbed = slot.started = now
        slot.reserved_host = slot.host = host
        self._busy.add(slot)
        self._idle = False
        self._passes -= self._paused
        return chunk

    def _may_start(self) -> bool:
        if (self._paused and not self._passes) or self._braked:
            return False
        busy = len(self._busy) - self._waiting
        return (self._room is None or busy < self._room) and (self._useful is None or busy < self._useful)

    def _wait(self, seconds: float) -> float:
        if not self._busy and not self._idle:
            self._idle = True
            self._on_idle()
        return seconds

    def _grab(self, slot: Slot, chunk: OpenedChunk, most: int) -> None:
        """Give `slot` a slice of `chunk`: as many items as take `SLICE_SECONDS` together, at most `most`."""
        size = max(1, min(most, int(SLICE_SECONDS / self._seconds_an_item)))
        if size >= len(chunk.todo):
            slot.todo, chunk.todo = chunk.todo, deque()
            self._ready.popleft()
        else:
            take = chunk.todo.popleft
            slot.todo = deque([take() for _ in range(size)])
        slot.size = len(slot.todo)
        slot.chunk = chunk
        slot.block = Block(chunk)
        slot.grabbed = slot.started = self._clock()
        self._busy.add(slot)
        self._idle = False

    def _recall_slow(self) -> bool:
        """Recall the slices whose current item takes long. Return True if items can be taken now."""
        now = self._clock()
        slow = [slot for slot in self._busy if slot.todo and now - slot.started >= SLOW_SECONDS]
        self._recall(slow)
        return bool(self._ready)

    def _become_scout(self, slot: Slot, seconds: float) -> float:
        """Make `slot` the scout if it would wake earlier than the present scout.

        Return the seconds that `slot` should wait; -1.0 for no limit. Only one waiting consumer, the scout, has a
        timeout; it wakes the others when there is work. Otherwise hundreds of threads would wake together.
        """
        at = self._clock() + seconds
        if self._scout is not None and self._scout_at <= at:
            return -1.0
        self._scout, self._scout_at = slot, at
        return seconds

    # --- hosts ----------------------------------------------------------------------------------------------

    @property
    def _replaced(self) -> int:
        """The number of additional consumers, which replace consumers that wait for hosts."""
        # If only one host is known, additional consumers would wait for it, too. During a long cooldown, they are worth
        # a try, because they may find items of other hosts.
        is_of_use = self.gate.has_several or self._waits_long
        return min(self._waiting, self._most_waiting) if is_of_use else 0

    @property
    def _most_waiting(self) -> int:
        return max(_MOST_WAITING, self._wanted_consumers)

    def begin_wait(self, slot: Slot, host: str) -> None:
        """Record that the item of `slot` waits for `host`. Start another consumer if it may find items of other hosts.

        Raises:
            ItemPostponed: the item must start again later, because too many items wait or the worker is ending. An item
                is sent back only once for the first reason.
        """
        cooldown = self.gate.cooldown(host)
        with self._changed:
            if self._ended:
                raise ItemPostponed
            chunk, index = slot.chunk, slot.index
            is_many = self.gate.has_several and self._waiting >= self._most_waiting
            if is_many and not slot.waits and index >= 0 and index not in chunk.sent_back:
                chunk.sent_back.add(index)
                chunk.hosts[index] = host
                raise ItemPostponed
            self._waiting += 1
            self._waits_long = self._waits_long or cooldown >= _LONG_SECONDS
            self._recall([slot])
            missing = self._missing()
            self._wake()
        if missing:
            self.on_missing(missing)

    def host_held(self, seconds: float) -> None:
        """Record that a host refuses requests for `seconds`. If the time is long, replace waiting consumers."""
        with self._changed:
            self._waits_long = self._waiting > 0 and (self._waits_long or seconds >= _LONG_SECONDS)
            missing = self._missing() if self._waits_long else 0
        if missing:
            self.on_missing(missing)

    def end_wait(self) -> None:
        """Record that an item no longer waits for its host. Surplus consumers end when they next request an item."""
        with self._changed:
            self._waiting -= 1
            self._waits_long = self._waits_long and self._waiting > 0

    def _missing(self) -> int:
        """Return the number of consumers to start, and count them as started. The caller holds the lock."""
        wanted = self._wanted_consumers
        if self._as_needed and self._consumers < wanted:  # 100,000 threads take 15 s to start, too long for 3 items
            wanted = min(wanted, sum(chunk.unended for chunk in self.chunks.values()))
        missing = 0 if self._ended else max(0, wanted + self._replaced - self._consumers)
        self._consumers += missing
        return missing

    def _leave_host(self, slot: Slot, *, seconds: float | None = None) -> None:
        """Return a slot's reservation of its host to the gate, if the item has not used it.

        Args:
            slot: slot of an item that has ended or does not start.
            seconds: duration of an item that has ended without a request through the gate (the job uses its own HTTP
                client). None for an item that has not started.
        """
        host, slot.host = slot.host, ""
        if slot.reserved_host:
            slot.reserved_host = ""
            is_free = (
                self.gate.drop(host)
                if seconds is None
                else self.gate.end_item(host, ok=True, status=None, seconds=seconds)
            )
            if is_free and self._lines.recheck(host):
                self._changed.notify()

    def host_changed(self, host: str) -> None:
        """Check again whether items of a host may start; called by the gate."""
        if not self._lines:
            return
        with self._changed:
            if self._lines.recheck(host):
                self._wake()

    def host_items(self) -> dict[str, int]:
        """Return the number of items that wait in the line of each host."""
        if not self._lines:
            return {}
        with self._changed:
            return self._lines.waiting()

    def take_down(self) -> list[tuple[OpenedChunk, int, str, str]]:
        """Take the items of hosts that are down, each as (chunk, index, host, error message)."""
        if not self._lines:
            return []
        with self._changed:
            found = self._lines.take_down()
            chunks = {chunk.number: chunk for chunk, _, _, _ in found}
            exhausted = [number for number, chunk in chunks.items() if self._exhausts(chunk)]
        for number in exhausted:
            self._on_exhausted(number)
        return found

    def ask_for_more(self) -> None:
        """Report a chunk as exhausted although its items wait for hosts, if consumers are idle because of that.

        Otherwise a worker would get no other chunk while the open chunks have only items of hosts that accept no
        requests.
        """
        if not self._lines or self._lines.items >= MOST_HELD:
            return
        with self._changed:
            if (
                self._ready
                or self._lines.has_ready
                or len(self._busy) >= self._wanted_consumers
                or not self._may_start()
            ):
                return
            number = next((chunk.number for chunk in self.chunks.values() if chunk.lined and not chunk.exhausted), None)
            if number is None:
                return
            self.chunks[number].exhausted = True
        self._on_exhausted(number)

    def postpone_item(self, chunk: OpenedChunk, index: int, host: str, delay: float) -> bool:
        """Make an item wait for a host that refused it, or for `delay` seconds if the host is not known.

        The attempt is not counted. Return False if the item must not wait: its chunk was cancelled, or servers have
        postponed the item by more than an hour in total.
        """
        with self._changed:
            seconds = chunk.refused.get(index, 0.0) + delay
            if chunk.cancelled or seconds > MOST_RETRY_AFTER:
                return False
            chunk.refused[index] = seconds
            if host:
                chunk.hosts[index] = host
                self._put_back(chunk, [index])
                self._wake()
            else:
                heapq.heappush(
                    self._delayed, _Delayed(self._clock() + delay, next(self._order), chunk, index, free=True)
                )
            return True

    # --- steering: called by the worker's main thread and the reporter ------------------------------------

    def open(self, message: OpenChunk) -> None:
        """Add the items of a chunk. Errors of unpickling them are not caught."""
        chunk = opened_chunk(message, self.key, self._host, item_text=self._item_text)
        with self._changed:
            self.chunks[chunk.number] = chunk
            self._enqueue(chunk)
            self._wake()

    def start_missing(self) -> None:
        """Start consumers for the items of a chunk that was opened, up to the wanted number.

        Raises:
            UserError: the system refuses another thread.
        """
        if self._consumers >= self._wanted_consumers:
            return
        with self._changed:
            missing = self._missing()
        if missing:
            self.on_missing(missing)

    def key(self, value: object, position: int) -> str:
        """Return the key of an item, by which a resumed run or another run over the input recognises the item."""
        if type(value) is Refused:  # the value was never sent, so the key can only be the position
            return position_key(position)
        return plain_key(keyed(value, self._key_columns), position)

    def retry(self, chunk: OpenedChunk, index: int, delay: float, host: str = "") -> bool:
        """Run an item again after `delay` seconds. Return False if its chunk was cancelled.

        Args:
            chunk: chunk of the item.
            index: index of the item.
            delay: seconds to wait.
            host: host that refused the item and that the item must wait for; empty for none.
        """
        with self._changed:
            if chunk.cancelled:
                return False
            if host:
                chunk.hosts[index] = host
            chunk.made[index] = chunk.made.get(index, 0) + 1
            chunk.tries[index] = chunk.tries.get(index, 0) + 1
            heapq.heappush(self._delayed, _Delayed(self._clock() + delay, next(self._order), chunk, index))
            return True

    def count_ended(self, ok: int, failed: int) -> None:
        """Count `ok` successful items and `failed` first attempts that failed, for the retry budget."""
        if self._budget is not None:
            with self._changed:
                self._budget.count(ok, failed, self._clock())

    def release_due(self) -> None:
        """Queue the retries that are due and within the budget, before all other items."""
        now = self._clock()
        budget = self._budget
        with self._changed:
            released = False
            while self._delayed and self._delayed[0].due <= now:
                if not (budget is None or self._delayed[0].free or budget.take(self._wanted_consumers, now)):
                    break
                delayed = heapq.heappop(self._delayed)
                self._put_back(delayed.chunk, [delayed.index])
                released = True
            if released:
                self._wake()

    def pause(self, number: int | None) -> None:
        """Start no item of a chunk. If `number` is None, start no item of any chunk, and end a probe."""
        with self._changed:
            if number is None:
                self._paused = True
                self._passes = 0
                self._recall(list(self._busy))
            elif (chunk := self.chunks.get(number)) is not None and not chunk.paused:
                chunk.paused = True
                self._unqueue(chunk)
                self._recall_chunk(chunk)
            self._wake()

    def resume(self, number: int | None) -> None:
        """Undo `pause`. Items of a resumed chunk go to the front; those of a known host go to the end of its line."""
        with self._changed:
            if number is None:
                self._paused = False
                self._passes = 0
            elif (chunk := self.chunks.get(number)) is not None and chunk.paused:
                chunk.paused = False
                self._enqueue(chunk, first=True)
            self._wake()

    def start_probe(self) -> None:
        """Start one item, now or as soon as there is one, although everything is paused (a probe)."""
        with self._changed:
            self._passes = int(self._paused)
            self._wake()

    def cancel(self, number: int) -> tuple[OpenedChunk, list[int]] | None:
        """Remove the items of a chunk that have not started or wait for a retry.

        Returns:
            The chunk and the indexes of the removed items; None if this worker does not have the chunk.
        """
        with self._changed:
            chunk = self.chunks.get(number)
            if chunk is None:
                return None
            chunk.cancelled = True
            self._recall_chunk(chunk)
            self._unqueue(chunk)
            chunk.paused = False  # a retry that is granted at this moment must be able to run, or the chunk never ends
            indexes = [*chunk.todo]
            chunk.todo.clear()
            indexes += [delayed.index for delayed in self._delayed if delayed.chunk is chunk]
            self._delayed = [delayed for delayed in self._delayed if delayed.chunk is not chunk]
            heapq.heapify(self._delayed)
            exhausted = self._exhausts(chunk)
        if exhausted:
            self._on_exhausted(number)
        return chunk, indexes

    def forget(self, chunk: OpenedChunk) -> None:
        """Drop a finished chunk."""
        with self._changed:
            self.chunks.pop(chunk.number, None)

    def set_braked(self, braked: bool) -> None:
        """Start no items while `braked` is True, because the process uses too much memory."""
        with self._changed:
            self._braked = braked
            if braked:
                self._recall(list(self._busy))
            self._wake()

    def set_room(self, items: int | None) -> None:
        """Limit the items executed at once because of unwritten bytes; None for no limit."""
        if self._room != items:
            with self._changed:
                narrower = items is not None and items < len(self._busy)
                self._room = items
                if narrower:
                    self._recall(list(self._busy))
                self._wake()

    def set_useful(self, items: int | None) -> None:
        """Limit the items executed at once because more would be slower (CPU-bound); None for no limit."""
        if self._useful != items:
            with self._changed:
                self._useful = items
                self._wake()

    def set_rate(self, rate: float | None) -> None:
        """Start at most `rate` items per second; None for no limit."""
        with self._changed:
            if rate and self._limit is not None:
                self._limit.change(rate, self._clock())
            else:
                self._limit = RateLimit(rate) if rate else None
            if rate:
                self._recall(list(self._busy))
            self._scout = None  # the scout's wake-up time was computed with the old rate
            self._wake(all_consumers=True)

    def set_consumers(self, consumers: int, *, as_needed: bool = False) -> int:
        """Set the wanted number of consumers. Return the number that the caller must start; they count as started.

        Args:
            consumers: wanted number.
            as_needed: True to start no more consumers than there are items. `start_missing` starts more as items come.
        """
        with self._changed:
            self._as_needed = as_needed
            self._wanted_consumers = consumers
            missing = self._missing()
            if consumers < self._consumers:
                self._recall(list(self._busy))
            self._wake(all_consumers=consumers < self._consumers)
            return missing

    def end(self) -> None:
        """Start no more items: every consumer ends at its next `take`."""
        with self._changed:
            self._ended = True
            self._recall(list(self._busy))
            self._wake(all_consumers=True)

    def abandon(self, slot: Slot) -> None:
        """Recall the slice of a slot whose attempt was ended from outside; its thread takes no other item."""
        with self._changed:
            self._recall([slot])
            self._busy.discard(slot)
            if slot.host:
                self._leave_host(slot)
            self._wake()

    def extend_deadlines(self, seconds: float) -> None:
        """Move all deadlines and start times by the seconds that the process was stopped."""
        with self._changed:
            for slot in self._busy:
                slot.grabbed += seconds
                slot.started += seconds
                if slot.deadline is not None:
                    slot.deadline += seconds
                if slot.claim:
                    with contextlib.suppress(IndexError):  # another thread has just ended the attempt
                        slot.claim[0] += seconds

    # --- reading: called by the reporter ------------------------------------------------------------------

    def in_flight(self) -> Iterator[tuple[OpenedChunk, int, Slot]]:
        """Return chunk, index and slot of every item being executed.

        The result is approximate, because threads continue meanwhile.
        """
        with self._changed:  # a slot's chunk changes only under the lock, so chunk and index belong together
            found = [(slot.chunk, slot.index, slot) for slot in self._busy]
        return (each for each in found if each[1] >= 0)

    def waits(self) -> dict[int, ChunkWait]:
        """Return the reasons why chunks wait, by chunk; only chunks with no item in execution have one."""
        if not (self._delayed or self._lines or self._waiting):
            return {}
        now = self._clock()
        found: dict[int, ChunkWait] = {}

        def wait(number: int, host: str, seconds: float, *, over_budget: bool = False) -> None:
            known = found.get(number)
            if known is None or (seconds < known.seconds and not known.over_budget):
                found[number] = ChunkWait(host, max(seconds, 0.0), over_budget)

        with self._changed:
            executed = {slot.chunk.number for slot in self._busy if slot.index >= 0 and not slot.held_by}
            ready = {chunk.number for chunk in self._ready}
            if executed or not any(slot.held_by for slot in self._busy):
                executed.update(ready)
                ready.clear()
            for host, due, numbers in self._lines.waits(now):
                # If the host is due at no known time, it accepts no request before its cooldown ends.
                seconds = due if math.isfinite(due) else self.gate.cooldown(host) or math.inf
                for number in numbers:
                    wait(number, host, seconds)
            for slot in self._busy:
                if slot.held_by:
                    # No other item is executed, so chunks with items to start wait for the same host.
                    for number in (slot.chunk.number, *ready):
                        wait(number, slot.held_by, self.gate.cooldown(slot.held_by) or math.inf)
            for delayed in self._delayed:
                wait(delayed.chunk.number, "", delayed.due - now, over_budget=delayed.is_overdue(now))
        return {number: each for number, each in found.items() if number not in executed}

    def over_budget(self) -> int:
        """Return the number of retries that the retry budget holds back: those due for `_OVERDUE_SECONDS`."""
        if not self._delayed:
            return 0
        with self._changed:
            now = self._clock()
            return sum(delayed.is_overdue(now) for delayed in self._delayed)

    def blocks(self) -> list[Block]:
        """Return the blocks of slices that are being executed, whose ended items can be reported already."""
        with self._changed:
            return [slot.block for slot in self._busy]

    def next_attempt(self) -> float | None:
        """Return the seconds until the first item that waits for its next attempt is due; None if none waits."""
        if not self._delayed:
            return None
        with self._changed:  # `cancel` may have removed the last one meanwhile
            return max(self._delayed[0].due - self._clock(), 0.0) if self._delayed else None

    @property
    def delayed(self) -> int:
        """The number of items that wait for their next attempt."""
        return len(self._delayed)

    @property
    def busy(self) -> int:
        """The number of slots that have a slice."""
        return len(self._busy)

    @property
    def has_waiting(self) -> bool:
        """True if items wait to start."""
        return bool(self._ready or self._delayed or self._lines)

    @property
    def consumers(self) -> int:
        """The number of consumers that have not ended."""
        return self._consumers

    @property
    def wanted_consumers(self) -> int:
        """The number of consumers that should exist."""
        return self._wanted_consumers

    @property
    def throttled(self) -> bool:
        """True if consumers wait only because rows have to be written first."""
        return self._room is not None and self._room <= len(self._busy) < self._wanted_consumers and bool(self._ready)

    # --- with the lock -------------------------------------------------------------------------------------

    def _recall_chunk(self, chunk: OpenedChunk) -> None:
        self._recall([slot for slot in self._busy if slot.chunk is chunk])

    def _recall(self, slots: Iterable[Slot]) -> None:
        """Put the unstarted items of the slices of `slots` back at the front of their queues.

        The threads of these slices may be running meanwhile.
        """
        rests: dict[int, list[int]] = {}
        chunks: dict[int, OpenedChunk] = {}
        for slot in slots:
            todo = slot.todo
            if not todo:
                continue
            rest = rests.setdefault(slot.chunk.number, [])
            chunks[slot.chunk.number] = slot.chunk
            before = len(rest)
            with contextlib.suppress(IndexError):  # the thread has taken the last item meanwhile
                while True:
                    rest.append(todo.popleft())
            slot.size -= len(rest) - before
            if slot.host and len(rest) > before:
                self._leave_host(slot)
        for number, rest in rests.items():
            self._put_back(chunks[number], sorted(rest))  # slices come in any order, items must keep theirs

    def _put_back(self, chunk: OpenedChunk, indexes: list[int]) -> None:
        """Put items back at the front of their chunk's queue, or of their hosts' lines."""
        if chunk.hosts and not chunk.paused:
            hosts = chunk.hosts
            for index in reversed(indexes):  # each item is put at the front, so the first item must be put last
                if index in hosts:
                    self._lines.put(hosts[index], chunk, index, first=True)
            indexes = [index for index in indexes if index not in hosts]
        if indexes:
            chunk.todo.extendleft(reversed(indexes))
            self._remove_from_ready(chunk)
            self._enqueue(chunk, first=True)

    def _enqueue(self, chunk: OpenedChunk, *, first: bool = False) -> None:
        """Put the items of a chunk that have a known host into the lines of their hosts, the others into `_ready`."""
        if not chunk.todo or chunk.paused:
            return
        if chunk.hosts:
            hosts, todo = chunk.hosts, chunk.todo
            chunk.todo = deque(index for index in todo if index not in hosts)
            for index in todo:
                if index in hosts:
                    self._lines.put(hosts[index], chunk, index)
            if not chunk.todo:
                return
        if first:
            self._ready.appendleft(chunk)
        else:
            self._ready.append(chunk)

    def _unqueue(self, chunk: OpenedChunk) -> None:
        """Take the items of a chunk out of `_ready` and out of the lines of hosts, back into `chunk.todo`."""
        self._remove_from_ready(chunk)
        if chunk.lined:
            chunk.todo.extendleft(reversed(self._lines.remove(chunk)))

    def _remove_from_ready(self, chunk: OpenedChunk) -> None:
        if chunk in self._ready:  # no try/except, because the error of `remove` would contain every item as text
            self._ready.remove(chunk)

    def _wake(self, *, all_consumers: bool = False) -> None:
        """Wake one waiting consumer, which wakes the next one if there is more work; or wake all of them."""
        if all_consumers:
            self._changed.notify_all()
        else:
            self._changed.notify()
        self.on_change()
