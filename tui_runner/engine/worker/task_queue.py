"""The items a worker has to execute, and the one place its threads get them from.

Theory of operation. A thread *grabs a slice* of the first chunk in line: as many items as take about a millisecond
together, one where they take longer, 256 at most. So the lock is taken once a slice and not once an item, and there is
no object an item: a slice is a `deque` of indexes into the chunk's columns, and `popleft`, which is atomic, is the one
way to start an item of it.

Everything that happens seldom (a pause, a cancelled chunk, too many unwritten bytes, too much memory, fewer threads,
the end) is done by the caller that decides it, not by the threads: it *recalls* slices, which means that it pops the
rest of them and puts that back at the head of the chunk's line. The threads find their slices empty and come back to
`take`, which lets them wait. When an item takes longer than `SLOW_SECONDS`, a thread that has nothing else to do
recalls the rest of that slice in the same way, so no item waits behind a slow one.

Under a rate, and while one item at a time is let through a pause, a slice is one item. So it is where the host of an
item is known: such items wait in `host_lines`, and go before the others as soon as their host may be asked. Where no
host is known nothing of that costs anything.

An item that has started and waits for its host in the gate keeps its thread; another thread takes its place for as
long (`begin_wait`). Where many wait so, the gate sends items back: they wait in their host's line and begin again.
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
from tui_runner.engine.protocol import OpenChunk, unpack
from tui_runner.engine.worker.host_lines import HostLines
from tui_runner.engine.worker.item_columns import short_text
from tui_runner.engine.worker.retry import RetryBudget
from tui_runner.engine.worker.slot import NO_BLOCK, Block, OpenedChunk, Slot
from tui_runner.inputs.keys import KeyColumns, keyed, plain_key, position_key
from tui_runner.jobs.http.host_gate import HostGate, ItemPostponed
from tui_runner.jobs.http.retry_after import MOST_RETRY_AFTER
from tui_runner.store.records import WORKER_KILLED
from tui_runner.system.clock import time
from tui_runner.text.describe import item_text
from tui_runner.text.items import Refused

SLICE_SECONDS = 0.001
"""Seconds that the items of a slice should take together: the lock costs a thousandth, and no thread idles long."""
MAX_SLICE = 256
"""Items of a slice at most: that number of unreported results of one thread is still a small part of a batch."""
MOST_HELD = 20_000
"""Items that may wait for hosts in a worker before it asks for no more: what the others have to do must get through."""
_LONG_SECONDS = 1.0
_MOST_WAITING = 32
"""Items that may wait for hosts in threads of their own, or as many as there are threads: these cost little, but the
more wait the more are late when their chunk is paused."""
SLOW_SECONDS = 0.01
"""Seconds that an item may take before others take the rest of its slice: ten times the aim of a slice."""
_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
_FORGETTING = 1.1
"""By how much the learned seconds an item grow with each slice that took longer. They follow the quickest slices: one
that waited for the interpreter's lock took fifty times as long as its items."""


@dataclass(order=True, slots=True)
class _Delayed:
    """An item that waits for its next attempt."""

    due: float
    order: int
    chunk: OpenedChunk = field(compare=False)
    index: int = field(compare=False)
    free: bool = field(default=False, compare=False)
    """True if it is no retry, and costs no budget."""


class WorkQueue:
    """Open chunks, their items in order, and whether items may be started now.

    Args:
        write_log: what slots log with: level, text, chunk and position.
        on_exhausted: called with the number of a chunk whose last waiting item was handed out.
        on_change: called whenever a waiting taker should look again; for pools that do not wait in threads.
        on_idle: called when nothing is executed and nothing can be taken.
        rate: items started per second, None for no bound.
        budget: how many retries may be made, None for no bound.
        key_columns: what keys are made of, see `inputs.keys`.
        item_text: whether the ledger gets a short text of every item.
        gate: says when a host may be asked; None for one without limits.
        host: returns the host of an item, empty where it has none; None where no host is known before an item starts.
        takes_added: whether items may add items to the run.
        clock: monotonic seconds.
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
        """Items that have started and wait for their host."""
        self._waits_long = False
        """True if one of them waits for a host that is held."""
        self.on_missing: Callable[[int], None] = lambda missing: None
        """Called with the number of takers to start, because others wait for hosts or there are more items."""
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
        """Slots that have a slice."""
        self._limit = RateLimit(rate) if rate else None
        self._paused = False
        self._passes = 0
        """Items that may be started although everything is paused: one, or none."""
        self._room: int | None = None
        """Items that may be executed at once for what is not yet written; None for no bound."""
        self._useful: int | None = None
        """Items that are of use at once, for the job is CPU-bound; None for no bound."""
        self._braked = False
        self._ended = False
        self._lanes = 0
        self._wanted_lanes = 0
        self._as_needed = False
        self._seconds_an_item = SLICE_SECONDS
        self._scout: Slot | None = None
        self._scout_at = 0.0
        self._idle = False
        self._changed = threading.Condition(threading.Lock())

    # --- taking items: called by many threads -------------------------------------------------------------

    def slot(self, number: int) -> Slot:
        """Return a slot with this number in the flight recorder."""
        return Slot(number, self._write_log, self)

    def take(self, slot: Slot) -> bool:
        """Give `slot` the next slice; waits for one. False tells its thread to end, and counts it as ended."""
        with self._changed:
            self._give_back(slot)
            was_scout = False
            while isinstance(answer := self._poll(slot), float):
                self._changed.wait(None if answer < 0 else answer)
                if self._scout is slot:
                    self._scout, was_scout = None, True
            # The next one is woken by this one: waking all of 500 threads for each change took half of the time.
            has_slices = self._scout is None and (slot.size > 1 or was_scout)
            if self._may_start() and (self._ready or has_slices or self._lines.has_ready):
                self._changed.notify()
            exhausted = self._exhausts(answer)
        if answer is not None and exhausted:
            self._on_exhausted(answer.number)
        return answer is not None

    def poll(self, slot: Slot) -> float | None:
        """Give `slot` the next item, without waiting: 0, or seconds until it is worth asking again, None if unknown.

        Raises:
            EOFError: the caller is to end, and is counted as ended.
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
        """Take in that the last item of a chunk was handed out. Return True if that is news."""
        if chunk is None or chunk.todo or chunk.lined or chunk.exhausted:
            return False
        chunk.exhausted = True
        return True

    def give_back(self, slot: Slot) -> None:
        """Take in that `slot` has ended its slice and takes no other; `take` does so by itself."""
        with self._changed:
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        """Take in that `slot` has no item any more, and learn how long its items took."""
        slot.index = -1
        slot.value = None
        slot.block = NO_BLOCK  # results must not outlive their flush because a thread waits for its next slice
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
        """Give `slot` a slice and return its chunk; else seconds to wait, -1.0 if not known, None for the end.

        Args:
            slot: of who asks.
            single: take one item, for a taker that does not wait here, and so cannot look out for the others.
        """
        if self._ended or self._lanes > self._wanted_lanes + self._replaced:
            self._lanes -= 1
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
            return self._wait(seconds if single else self._look_out(slot, seconds))
        if self._limit is not None:
            delay = self._limit.take(self._clock())
            if delay > 0:
                return self._wait(delay if single else self._look_out(slot, delay))
        chunk = self._ready[0]
        self._grab(slot, chunk, 1 if single or self._limit is not None or self._paused else MAX_SLICE)
        self._passes -= self._paused
        return chunk

    def _until_rate(self) -> float:
        return 0.0 if self._limit is None else self._limit.wait(self._clock())

    def _grab_of_host(self, slot: Slot, host: str, chunk: OpenedChunk, index: int) -> OpenedChunk:
        """Give `slot` one item, whose host is reserved for it."""
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
        """Recall the slices whose present item takes long. Return True if there were any."""
        now = self._clock()
        slow = [slot for slot in self._busy if slot.todo and now - slot.started >= SLOW_SECONDS]
        self._recall(slow)
        return bool(self._ready)

    def _look_out(self, slot: Slot, seconds: float) -> float:
        """Return when `slot` should look again: one of those that wait does, and wakes another when there is work."""
        at = self._clock() + seconds
        if self._scout is not None and self._scout_at <= at:
            return -1.0
        self._scout, self._scout_at = slot, at
        return seconds

    # --- hosts ----------------------------------------------------------------------------------------------

    @property
    def _replaced(self) -> int:
        """Takers that are there beside the wanted ones, in the place of some that wait for hosts."""
        # Where one host alone is known more takers would only wait, too; while it is held they may find others.
        is_of_use = self.gate.has_several or self._waits_long
        return min(self._waiting, self._most_waiting) if is_of_use else 0

    @property
    def _most_waiting(self) -> int:
        return max(_MOST_WAITING, self._wanted_lanes)

    def begin_wait(self, slot: Slot, host: str) -> None:
        """Take in that the item of `slot` waits for its host: another taker does its work meanwhile.

        Raises:
            ItemPostponed: too many wait, and this one has not waited before; or the worker ends.
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
            self._look()
        if missing:
            self.on_missing(missing)

    def host_held(self, seconds: float) -> None:
        """Take in that a host has refused for so long: those that wait already may wait for it."""
        with self._changed:
            self._waits_long = self._waiting > 0 and (self._waits_long or seconds >= _LONG_SECONDS)
            missing = self._missing() if self._waits_long else 0
        if missing:
            self.on_missing(missing)

    def end_wait(self) -> None:
        """Take in that an item waits no more; as many takers as are too many end."""
        with self._changed:
            self._waiting -= 1
            self._waits_long = self._waits_long and self._waiting > 0

    def _missing(self) -> int:
        """Return how many takers are missing, and count them as started."""
        wanted = self._wanted_lanes
        if (
            self._as_needed and self._lanes < wanted
        ):  # 100,000 threads take 15 s to start, and are of no use for 3 items
            wanted = min(wanted, sum(chunk.unended for chunk in self.chunks.values()))
        missing = 0 if self._ended else max(0, wanted + self._replaced - self._lanes)
        self._lanes += missing
        return missing

    def _leave_host(self, slot: Slot, *, seconds: float | None = None) -> None:
        """Give back the reservation of a slot that its item has not used.

        Args:
            slot: of an item that has ended or does not start.
            seconds: that an item took which ended well, and asked its host by other means than the gate.
        """
        host, slot.host = slot.host, ""
        if slot.reserved_host:
            slot.reserved_host = ""
            is_free = (
                self.gate.drop(host)
                if seconds is None
                else self.gate.end_item(host, ok=True, status=None, seconds=seconds)
            )
            if is_free and self._lines.look_again(host):
                self._changed.notify()

    def host_changed(self, host: str) -> None:
        """Look again whether items of a host may start."""
        if not self._lines:
            return
        with self._changed:
            if self._lines.look_again(host):
                self._look()

    def host_items(self) -> dict[str, int]:
        """Return how many items wait for each host, without those that have started."""
        if not self._lines:
            return {}
        with self._changed:
            return self._lines.waiting()

    def take_down(self) -> list[tuple[OpenedChunk, int, str, str]]:
        """Take the items of hosts that are not asked any more out of the queue, with host and reason."""
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
        """Say of a chunk that all of its items were started, where takers are idle because all that is left waits.

        Otherwise a worker whose chunks are all of hosts that are held would get no other.
        """
        if not self._lines or self._lines.items >= MOST_HELD:
            return
        with self._changed:
            if self._ready or self._lines.has_ready or len(self._busy) >= self._wanted_lanes or not self._may_start():
                return
            number = next((chunk.number for chunk in self.chunks.values() if chunk.lined and not chunk.exhausted), None)
            if number is None:
                return
            self.chunks[number].exhausted = True
        self._on_exhausted(number)

    def put_off(self, chunk: OpenedChunk, index: int, host: str, delay: float) -> bool:
        """Have an item that a host refused wait for it, or for `delay` seconds where the host is not known.

        No attempt is counted. False if its chunk was cancelled, or the item was put off for an hour in all.
        """
        with self._changed:
            seconds = chunk.refused.get(index, 0.0) + delay
            if chunk.cancelled or seconds > MOST_RETRY_AFTER:
                return False
            chunk.refused[index] = seconds
            if host:
                chunk.hosts[index] = host
                self._put_back(chunk, [index])
                self._look()
            else:
                heapq.heappush(
                    self._delayed, _Delayed(self._clock() + delay, next(self._order), chunk, index, free=True)
                )
            return True

    # --- steering: called by the worker's main thread and the collector ------------------------------------

    def open(self, message: OpenChunk) -> None:
        """Add the items of a chunk; raises whatever unpickling them raises."""
        values = unpack(message.values)
        indexes = range(len(values)) if message.run is None else message.run
        chunk = OpenedChunk(
            message.chunk,
            message.positions,
            values,
            deque(indexes),
            len(indexes),
            message.values,
            paused=message.paused,
        )
        if not _IMMUTABLE.issuperset(map(type, values)):
            chunk.keys = [self.key(value, position) for value, position in zip(values, message.positions, strict=True)]
            chunk.texts = list(map(short_text, values)) if self._item_text else None
        for index in indexes if message.attempts or message.tries or message.refusals else ():
            position = message.positions[index]
            if (made := message.attempts.get(position, 0)) > 0:
                chunk.made[index] = made
            if (tries := message.tries.get(position, 0)) > 0:
                chunk.tries[index] = tries
            if position in message.refusals:
                chunk.keys = chunk.keys or [self.key(*pair) for pair in zip(values, message.positions, strict=True)]
                values[index] = Refused(WORKER_KILLED, message.refusals[position], item_text(values[index]))
                chunk.made[index] = max(0, made - 1)  # saying so is no attempt of its own
        if self._host is not None:
            chunk.hosts = {index: host for index in indexes if (host := self._host(values[index]))}
        with self._changed:
            self.chunks[chunk.number] = chunk
            self._line_up(chunk)
            self._look()

    def start_missing(self) -> None:
        """Have takers started for the items of a chunk that was opened, as many as are wanted at most.

        Raises:
            UserError: there can be no more threads.
        """
        if self._lanes >= self._wanted_lanes:
            return
        with self._changed:
            missing = self._missing()
        if missing:
            self.on_missing(missing)

    def key(self, value: object, position: int) -> str:
        """Return the key of an item."""
        if type(value) is Refused:  # what cannot be sent has no key of its own
            return position_key(position)
        return plain_key(keyed(value, self._key_columns), position)

    def retry(self, chunk: OpenedChunk, index: int, delay: float, host: str = "") -> bool:
        """Try an item again once `delay` seconds have passed; False if its chunk was cancelled.

        Args:
            chunk: its chunk.
            index: its index.
            delay: seconds.
            host: the host that it waits for then, because that refused it; empty for none.
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
        """Count items that ended well and first attempts that failed: the more, the more retries may be made."""
        if self._budget is not None:
            with self._changed:
                self._budget.count(ok, failed, self._clock())

    def release_due(self) -> None:
        """Let the retries run whose time has come and for which there is room; they go before everything else."""
        now = self._clock()
        budget = self._budget
        with self._changed:
            released = False
            while self._delayed and self._delayed[0].due <= now:
                if not (budget is None or self._delayed[0].free or budget.take(self._wanted_lanes, now)):
                    break
                delayed = heapq.heappop(self._delayed)
                self._put_back(delayed.chunk, [delayed.index])
                released = True
            if released:
                self._look()

    def pause(self, number: int | None) -> None:
        """Start no item of a chunk, or none at all, also not the one that was to be let through."""
        with self._changed:
            if number is None:
                self._paused = True
                self._passes = 0
                self._recall(list(self._busy))
            elif (chunk := self.chunks.get(number)) is not None and not chunk.paused:
                chunk.paused = True
                self._leave_line(chunk)
                self._recall_chunk(chunk)
            self._look()

    def resume(self, number: int | None) -> None:
        """Undo `pause`; the items of a resumed chunk go before those that wait."""
        with self._changed:
            if number is None:
                self._paused = False
                self._passes = 0
            elif (chunk := self.chunks.get(number)) is not None and chunk.paused:
                chunk.paused = False
                self._line_up(chunk, first=True)
            self._look()

    def let_one_through(self) -> None:
        """Start one item, now or as soon as there is one, although everything is paused."""
        with self._changed:
            self._passes = int(self._paused)
            self._look()

    def cancel(self, number: int) -> tuple[OpenedChunk, list[int]] | None:
        """Take the items of a chunk that have not started, or wait for a retry, out of the queue for good.

        Returns:
            The chunk and the indexes of those items; None for a chunk that is not here.
        """
        with self._changed:
            chunk = self.chunks.get(number)
            if chunk is None:
                return None
            chunk.cancelled = True
            self._recall_chunk(chunk)
            self._leave_line(chunk)
            chunk.paused = False  # a retry that was granted at this very moment must not be held for ever
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
        """Let go of a chunk that is finished."""
        with self._changed:
            self.chunks.pop(chunk.number, None)

    def set_braked(self, braked: bool) -> None:
        """Start nothing while this process has too much memory."""
        with self._changed:
            self._braked = braked
            if braked:
                self._recall(list(self._busy))
            self._look()

    def set_room(self, items: int | None) -> None:
        """Execute at most this many items at once because of what is not yet written; None for no bound."""
        if self._room != items:
            with self._changed:
                narrower = items is not None and items < len(self._busy)
                self._room = items
                if narrower:
                    self._recall(list(self._busy))
                self._look()

    def set_useful(self, items: int | None) -> None:
        """Execute at most this many items at once because more would be no gain; None for no bound."""
        if self._useful != items:
            with self._changed:
                self._useful = items
                self._look()

    def set_rate(self, rate: float | None) -> None:
        """Start at most `rate` items per second."""
        with self._changed:
            if rate and self._limit is not None:
                self._limit.change(rate, self._clock())
            else:
                self._limit = RateLimit(rate) if rate else None
            if rate:
                self._recall(list(self._busy))
            self._scout = None  # it waits for a time that holds no more
            self._look(everybody=True)

    def set_lanes(self, lanes: int, *, as_needed: bool = False) -> int:
        """Set the number of takers; return how many are missing, and count them as started.

        Args:
            lanes: how many are wanted.
            as_needed: count no more as missing than there are items; `start_missing` has others started as these come.
        """
        with self._changed:
            self._as_needed = as_needed
            self._wanted_lanes = lanes
            missing = self._missing()
            if lanes < self._lanes:
                self._recall(list(self._busy))
            self._look(everybody=lanes < self._lanes)
            return missing

    def end(self) -> None:
        """Start nothing any more: every taker ends at its next `take`."""
        with self._changed:
            self._ended = True
            self._recall(list(self._busy))
            self._look(everybody=True)

    def abandon(self, slot: Slot) -> None:
        """Take the rest of a slice away from a slot whose attempt was ended from outside: it takes no other item."""
        with self._changed:
            self._recall([slot])
            self._busy.discard(slot)
            if slot.host:
                self._leave_host(slot)
            self._look()

    def postpone(self, seconds: float) -> None:
        """Take in that the process stood still: that time belongs to none of the items being executed."""
        with self._changed:
            for slot in self._busy:
                slot.grabbed += seconds
                slot.started += seconds
                if slot.deadline is not None:
                    slot.deadline += seconds
                if slot.claim:
                    with contextlib.suppress(IndexError):  # the attempt ends at this very moment
                        slot.claim[0] += seconds

    # --- looking on: called by the collector ---------------------------------------------------------------

    def in_flight(self) -> Iterator[tuple[OpenedChunk, int, Slot]]:
        """Return the chunk, index and slot of every item being executed; a picture, not exact."""
        with self._changed:  # a slot's chunk changes under the lock only, so its index fits
            found = [(slot.chunk, slot.index, slot) for slot in self._busy]
        return (each for each in found if each[1] >= 0)

    def blocks(self) -> list[Block]:
        """Return the blocks of slices that are being executed."""
        with self._changed:
            return [slot.block for slot in self._busy]

    @property
    def busy(self) -> int:
        """Slots that have a slice."""
        return len(self._busy)

    @property
    def has_waiting(self) -> bool:
        """Return True if items wait to be started."""
        return bool(self._ready or self._delayed or self._lines)

    @property
    def lanes(self) -> int:
        """Takers that have not ended."""
        return self._lanes

    @property
    def wanted_lanes(self) -> int:
        """Number of takers that should exist."""
        return self._wanted_lanes

    @property
    def throttled(self) -> bool:
        """True if takers wait for rows to be written."""
        return self._room is not None and self._room <= len(self._busy) < self._wanted_lanes and bool(self._ready)

    # --- with the lock -------------------------------------------------------------------------------------

    def _recall_chunk(self, chunk: OpenedChunk) -> None:
        self._recall([slot for slot in self._busy if slot.chunk is chunk])

    def _recall(self, slots: Iterable[Slot]) -> None:
        """Put what has not started of these slices back at the head of their chunks' lines, while threads take it."""
        rests: dict[int, list[int]] = {}
        chunks: dict[int, OpenedChunk] = {}
        for slot in slots:
            todo = slot.todo
            if not todo:
                continue
            rest = rests.setdefault(slot.chunk.number, [])
            chunks[slot.chunk.number] = slot.chunk
            before = len(rest)
            with contextlib.suppress(IndexError):
                while True:
                    rest.append(todo.popleft())
            slot.size -= len(rest) - before
            if slot.host and len(rest) > before:
                self._leave_host(slot)
        for number, rest in rests.items():
            self._put_back(chunks[number], sorted(rest))

    def _put_back(self, chunk: OpenedChunk, indexes: list[int]) -> None:
        """Put items back at the head of their chunk's line, or of their hosts' lines: they run before all others."""
        if chunk.hosts and not chunk.paused:
            hosts = chunk.hosts
            for index in reversed(indexes):
                if index in hosts:
                    self._lines.put(hosts[index], chunk, index, first=True)
            indexes = [index for index in indexes if index not in hosts]
        if indexes:
            chunk.todo.extendleft(reversed(indexes))
            self._leave_ready(chunk)
            self._line_up(chunk, first=True)

    def _line_up(self, chunk: OpenedChunk, *, first: bool = False) -> None:
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

    def _leave_line(self, chunk: OpenedChunk) -> None:
        self._leave_ready(chunk)
        if chunk.lined:
            chunk.todo.extendleft(reversed(self._lines.remove(chunk)))

    def _leave_ready(self, chunk: OpenedChunk) -> None:
        if chunk in self._ready:  # what `remove` raises would have the text of every item in it
            self._ready.remove(chunk)

    def _look(self, *, everybody: bool = False) -> None:
        """Wake one waiting taker, which wakes the next one if there is work for it; or all of them."""
        if everybody:
            self._changed.notify_all()
        else:
            self._changed.notify()
        self.on_change()
