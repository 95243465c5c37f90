"""Items whose host is known: they wait in its line, hold no thread, and are lost by no command."""

from __future__ import annotations

import math
import random

import pytest
from support.host_gate import enter

from tui_runner.engine.packed_items import pack
from tui_runner.engine.protocol import ChunkWait, OpenChunk
from tui_runner.engine.worker.slot import Slot
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.http.host_gate import HostGate, ItemPostponed, Listener


class Desk:
    """A queue over hosts, with a fake clock; items are `host/number`."""

    def __init__(self, limits: HostLimits, rate: float | None = None, consumers: int = 100) -> None:
        self.now = 100.0
        self.exhausted: list[int] = []
        self.gate = HostGate(limits, clock=lambda: self.now)
        self.queue = WorkQueue(
            write_log=lambda *_: None,
            on_exhausted=self.exhausted.append,
            rate=rate,
            gate=self.gate,
            host=lambda item: str(item).partition("/")[0],
            clock=lambda: self.now,
        )
        self.gate.add(Listener(self.queue.host_changed, lambda: None))
        self.queue.set_consumers(consumers)

    def open(self, chunk: int, *items: str) -> None:
        self.queue.open(OpenChunk(chunk, range(10 * chunk, 10 * chunk + len(items)), pack(items)))

    def take(self) -> dict[str, Slot]:
        """Begin everything that may begin now; slots by item."""
        taken = {}
        while self.queue.poll(slot := self.queue.slot(0)) == 0.0:
            slot.index = slot.todo.popleft()
            taken[slot.chunk.values[slot.index]] = slot
        return taken

    def end(self, slot: Slot) -> None:
        self.now += 0.001
        self.queue.give_back(slot)


def test_each_host_has_what_it_may_have_and_the_others_do_not_wait_for_it() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1", "a/2", "a/3", "b/1", "b/2")
    first = desk.take()
    assert set(first) == {"a/1", "b/1"}
    desk.end(first["b/1"])
    assert set(desk.take()) == {"b/2"}
    desk.end(first["a/1"])
    assert set(desk.take()) == {"a/2"}


def test_a_delay_is_a_due_time_before_which_no_host_is_asked() -> None:
    desk = Desk(HostLimits(delay=2.0))
    desk.open(1, "a/1", "a/2")
    assert set(desk.take()) == {"a/1"}
    assert desk.queue.poll(desk.queue.slot(0)) == pytest.approx(2.0)
    desk.now += 2.0
    assert set(desk.take()) == {"a/2"}


def test_items_of_a_paused_chunk_leave_their_lines_and_come_back() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1", "a/2", "a/3")
    desk.open(2, "a/9")
    first = desk.take()
    desk.queue.pause(1)
    desk.end(first["a/1"])
    other = desk.take()
    assert set(other) == {"a/9"}
    desk.queue.resume(1)
    desk.end(other["a/9"])
    assert set(desk.take()) == {"a/2"}


def test_a_cancelled_chunk_gives_every_item_that_has_not_begun() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1", "a/2", "b/1", "a/3")
    desk.take()
    found = desk.queue.cancel(1)
    assert found is not None
    assert sorted(found[1]) == [1, 3]
    assert not desk.queue.has_waiting


def test_a_chunk_of_hosts_that_are_held_does_not_keep_the_next_chunk_away() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1", "a/2", "a/3")
    desk.take()
    assert desk.exhausted == []
    desk.queue.ask_for_more()
    assert desk.exhausted == [1]
    desk.queue.ask_for_more()
    assert desk.exhausted == [1]


def test_items_of_a_host_that_is_down_come_out_with_the_reason() -> None:
    desk = Desk(HostLimits())
    desk.open(1, "b/1", *(f"a/{n}" for n in range(40)))
    found = []
    for _ in range(200):
        for item, slot in desk.take().items():
            if item.startswith("a/"):
                slot.reserved_host = ""
                desk.gate.end_item("a", ok=False, status=None, seconds=0.0)
            desk.end(slot)
            desk.queue.host_changed("a")
        desk.now += 1.0
        found += desk.queue.take_down()
    assert found
    assert all(host == "a" and "failed repeatedly" in reason for _, _, host, reason in found)
    assert not desk.queue.has_waiting


def test_a_recalled_item_gives_its_reservation_back() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1")
    slot = desk.queue.slot(0)
    assert desk.queue.poll(slot) == 0.0
    desk.queue.pause(None)
    assert not slot.todo
    desk.queue.resume(None)
    assert set(desk.take()) == {"a/1"}


def test_an_item_that_is_put_off_keeps_its_attempts_for_an_hour_at_most() -> None:
    desk = Desk(HostLimits())
    desk.open(1, "a/1")
    (slot,) = desk.take().values()
    desk.end(slot)
    chunk = slot.chunk
    assert desk.queue.postpone_item(chunk, 0, "a", 1800.0)
    assert chunk.made == {}
    (slot,) = desk.take().values()
    desk.end(slot)
    assert not desk.queue.postpone_item(chunk, 0, "a", 1801.0)


def test_item_that_waits_for_a_host_is_replaced_until_many_wait_and_sent_back_then() -> None:
    desk = Desk(HostLimits(per_host=1), consumers=1)
    missing: list[int] = []
    desk.queue.on_missing = missing.append
    desk.open(1, *(f"a/{n}" for n in range(40)), "b/1")
    enter(desk.gate, "x")
    enter(desk.gate, "y")
    chunk = desk.queue.chunks[1]
    for n in range(32):
        slot = desk.queue.slot(n)
        slot.chunk, slot.index = chunk, n
        slot.begin_wait("a")
    assert missing == [1] * 32
    late = desk.queue.slot(40)
    late.chunk, late.index = chunk, 39
    with pytest.raises(ItemPostponed):
        late.begin_wait("a")
    late.begin_wait("a")  # once is enough: what it does before its request is not done for ever
    for _ in range(33):
        desk.queue.end_wait()
    # As many as are too many end when they ask for the next item.
    for _ in range(32):
        with pytest.raises(EOFError):
            desk.queue.poll(desk.queue.slot(0))
    assert desk.queue.consumers == 1


def test_a_rate_bounds_items_of_all_hosts_together() -> None:
    desk = Desk(HostLimits(), rate=2.0)
    desk.open(1, "a/1", "b/1", "c/1")
    assert len(desk.take()) == 1
    desk.now += 0.5
    assert len(desk.take()) == 1


def test_no_item_is_lost_or_taken_twice_whatever_commands_come() -> None:
    chance = random.Random(3)
    for _ in range(50):
        desk = Desk(HostLimits(per_host=chance.choice([1, 2, None]), delay=chance.choice([0.0, 0.5])))
        items = [f"{chance.choice('abc')}/{n}" for n in range(9)]
        desk.open(1, *items[:5])
        desk.open(2, *items[5:])
        done: list[str] = []
        running: dict[str, Slot] = {}
        for _ in range(300):
            match chance.randrange(6):
                case 0:
                    desk.queue.pause(chance.choice([None, 1, 2]))
                case 1 | 2:
                    desk.queue.resume(chance.choice([None, 1, 2]))
                case 3 if running:
                    item, slot = running.popitem()
                    chunk, index, host = slot.chunk, slot.index, slot.host
                    desk.end(slot)
                    if chance.random() < 0.3:
                        assert desk.queue.postpone_item(chunk, index, host, 0.1)
                    else:
                        done.append(item)
                case _:
                    desk.now += 0.25
                    taken = desk.take()
                    assert not set(taken) & (set(running) | set(done))
                    running |= taken
        for each in (None, 1, 2):
            desk.queue.resume(each)
        for _ in range(60):
            for item, slot in running.items():
                desk.end(slot)
                done.append(item)
            desk.now += 1.0
            running = desk.take()
        assert sorted(done) == sorted(items)


def test_queue_says_which_host_a_chunk_waits_for_and_for_how_long() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.gate.hold("a", 30.0)
    desk.open(1, "a/1", "a/2")
    desk.open(2, "b/1", "b/2")
    taken = desk.take()
    assert set(taken) == {"b/1"}
    desk.now += 10.0
    assert desk.queue.waits() == {1: ChunkWait("a", pytest.approx(20.0))}


def test_item_that_waits_for_its_host_names_it_while_it_waits() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1")
    slot = desk.take()["a/1"]
    slot.begin_wait("other")
    assert slot.held_by == "other"
    assert desk.queue.waits() == {1: ChunkWait("other", math.inf)}
    slot.end_wait(2.0)
    assert (slot.held_by, desk.queue.waits()) == ("", {})


def test_line_of_a_host_that_refused_is_due_when_its_cooldown_ends() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1", "a/2")
    slot = desk.take()["a/1"]
    assert desk.queue.waits() == {}, "one of its items is executed"
    desk.gate.hold("a", 30.0)
    slot.begin_wait("a")
    assert desk.queue.waits() == {1: ChunkWait("a", pytest.approx(30.0))}


def test_chunk_with_items_to_start_waits_for_the_host_that_holds_every_thread() -> None:
    desk = Desk(HostLimits(per_host=1))
    desk.open(1, "a/1")
    slot = desk.take()["a/1"]
    desk.open(2, "", "")  # of no host
    assert desk.queue.waits() == {}
    slot.begin_wait("a")
    assert desk.queue.waits() == {1: ChunkWait("a", math.inf), 2: ChunkWait("a", math.inf)}
