"""A world for the scheduler: an input and workers that do what real ones do, one small step at a time.

Orders and reports travel through queues, so a test may deliver them as late as it likes, and lose a worker between
any two of them. The world keeps its own books of what has been received, and complains about any action of the
scheduler that would run an item twice at once, run one that is done, or talk to a worker that is gone.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Sequence

from support.simulated_worker import SimulatedFlush, SimulatedWorker, chosen
from tui_runner.engine.protocol import (
    Counts,
    Drain,
    OpenChunk,
    WorkerLost,
)
from tui_runner.engine.scheduling.chunks import MAX_KEPT_BYTES
from tui_runner.engine.scheduling.events import (
    Action,
    Begin,
    ChunkEnded,
    ChunkRead,
    EndRun,
    Event,
    Hold,
    InputEnded,
    ItemsRejected,
    KillWorker,
    ReadChunks,
    Release,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    RunAgain,
    SendChunk,
    SendOrder,
    StartWorker,
    Tell,
    Tick,
)
from tui_runner.engine.scheduling.pace import AHEAD_BYTES
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, PauseCause, RunState


def cut(
    chunks: Sequence[Sequence[bool]], known: Collection[int] = (), *, by_key: bool = False, item_bytes: int = 0
) -> list[ChunkRead]:
    """Chunks as the reader delivers them; of each item is given whether it was recorded before, then with 7 rows.

    Those at `known` had failed before, if they were not. Where items keep the positions that their keys have in the
    ledger (`by_key`), these are out of order and have gaps.
    """
    read, first = [], 0
    for number, items in enumerate(chunks):
        positions = range(first, first + len(items))
        if by_key:
            positions = array("q", [(place ^ 1) + 2 * (place // 4) for place in positions])
        pending = [position for position, recorded in zip(positions, items, strict=True) if not recorded]
        known_here = [position for position in pending if position in known]
        read.append(ChunkRead(number, positions, pending, 7 * sum(items), known_here, item_bytes * len(items)))
        first += len(items)
    return read


class World:
    """The scheduler, its input and its workers; `ledger` says what has been received of each item."""

    def __init__(
        self, scheduler: Scheduler, chunks: Sequence[ChunkRead], *, permanent: bool = False, bounded: bool = True
    ) -> None:
        self.scheduler = scheduler
        self._is_bounded = bounded
        """True if the user has set `open_chunks`."""
        self._lasting = permanent
        self.now = 1000.0
        self.unread = deque(chunks)
        self.input_over = False
        self.requested = 0
        self.workers: dict[int, SimulatedWorker] = {}
        self.ledger: dict[int, str] = {}
        self.rows = 0
        self.retries: dict[tuple[int, int], int] = {}
        self.holders: dict[int, int] = {}
        self.ended_chunks: set[int] = set()
        self.deaths: dict[int, int] = {}
        """Workers that died by themselves while an item was in flight; that item must run alone afterwards."""
        self.unexplained: dict[int, int] = {}
        """Workers that died, unasked, with nothing in flight, while they had the item; after two it runs alone, too."""
        self.given_up: set[int] = set()
        self.holds: dict[str, str] = {}
        self.attempts: dict[int, int] = {}
        """Known attempts at each item."""
        self.told: list[str] = []
        self.end: EndRun | None = None
        self._opened: dict[int, int] = {}
        self._positions = {chunk.number: chunk.positions for chunk in chunks}
        """Of the items of each chunk."""
        self._held = dict(self._positions)
        """Numbers of the items of its indexes; if its failures run again, only theirs."""
        self._item_bytes = max((chunk.nbytes // chunk.items for chunk in chunks), default=0)
        for chunk in chunks:
            for position in chunk.positions:
                if position not in chunk.pending:
                    self.ledger[position] = "skipped"
        self.tell(Begin())

    # --- what may happen -----------------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Action]:
        """Pass an event to the scheduler, and carry out its actions."""
        if isinstance(event, Hold):
            self.holds[event.cause] = event.reason
        elif isinstance(event, Release):
            self.holds.pop(event.cause, None)
        actions = self.scheduler.handle(event, self.now)
        for action in actions:
            self._perform(action)
        sent_to = [action.worker for action in actions if isinstance(action, SendChunk) and not action.paused]
        if sent_to:
            self._check_open_chunks(sent_to)
        return actions

    def read(self) -> None:
        """Let the input deliver a requested chunk, or its end."""
        if self.unread:
            self.requested -= 1
            self.rows += self.unread[0].rows
            self.tell(self.unread.popleft())
        else:
            self.input_over = True
            self.tell(InputEnded())

    @property
    def readable(self) -> bool:
        """True while the input has not answered a request."""
        return self.requested > 0 and not self.input_over and self.end is None

    def deliver(self, worker: SimulatedWorker) -> None:
        """Let the oldest report of a worker arrive."""
        report = worker.reports.popleft()
        if isinstance(report, SimulatedFlush):
            for position, state in report.states.items():
                assert position not in self.ledger, f"item {position} ended twice"
                self.ledger[position] = state
                self.attempts[position] = worker.attempts.get(position, 0)
                self.deaths.pop(position, None)
                self.unexplained.pop(position, None)
                assert self.holders.pop(position) == worker.number
                self.rows += state == "ok"
            for number, counts in report.flush.counts.items():
                self.retries[self._opened[number], number] = counts.retries
            for attempts in report.flush.retried.values():
                self.attempts.update(attempts)
            report = report.flush
        self.tell(report)

    def lose(self, worker: SimulatedWorker, reason: str = "killed by SIGKILL", delivered: int = 10_000) -> None:
        """Lose a worker; the first `delivered` of its reports still arrive."""
        while worker.reports and delivered and self.end is None:
            self.deliver(worker)
            delivered -= 1
        if self.end is not None:
            return
        del self.workers[worker.number]
        unreported = [item for item, holder in self.holders.items() if holder == worker.number]
        self.holders = {item: holder for item, holder in self.holders.items() if holder != worker.number}
        in_flight = [item for item in worker.in_flight if item not in self.ledger]
        wanted = worker.drains or (worker.killed and not worker.blamed)
        if not wanted and self.scheduler.status.state is not RunState.DRAINING:
            for item in in_flight:
                self.deaths[item] = self.deaths.get(item, 0) + 1
            if not in_flight:
                self._died_idle(worker, unreported)
        self.attempts.update((item, worker.attempts[item]) for item in in_flight)
        self.tell(WorkerLost(worker.number, reason, {item: worker.attempts[item] for item in in_flight}))

    def _died_idle(self, worker: SimulatedWorker, unreported: list[int]) -> None:
        if worker.alone and len(unreported) == 1:
            (item,) = unreported
            self.deaths[item] += 1
            self.attempts[item] = self.attempts.get(item, 0) + 1
        for item in unreported if not worker.alone else ():
            self.unexplained[item] = self.unexplained.get(item, 0) + 1
            if self.unexplained[item] >= 2:
                self.deaths.setdefault(item, 0)

    def reject(self, which: int) -> None:
        """Let the database refuse the rows of an item that succeeded."""
        ended_well = [position for position, state in self.ledger.items() if state == "ok"]
        if not ended_well:
            return
        position = ended_well[which % len(ended_well)]
        (number,) = (number for number, positions in self._positions.items() if position in positions)
        self.ledger[position] = "rejected"
        self.rows -= 1
        self.tell(ItemsRejected({number: [position]}, {number: 1}, "it is no UTF-8"))

    def cooperate(
        self,
        *,
        rounds: int = 1_000,
        failing: Collection[int] = (),
        lethal: Collection[int] = (),
        ruinous: Collection[int] = (),
        retry_late: bool = False,
        stubborn: bool = False,
        alone: bool = False,
    ) -> None:
        """From now on pause nothing, and let input and workers answer every request.

        Args:
            rounds: how much patience there is. Two items that fail, and whose workers die, in every one of five outages
                took 445.
            failing: positions of items that fail.
            lethal: positions of items that kill their worker.
            ruinous: positions of items that end, but whose worker dies before it can say so.
            retry_late: whether what failed is to run again, once, when the workers are being sent home already.
            stubborn: whether every other worker does not go home by itself.
            alone: whether nobody resumes a run that has paused itself because of an outage, so that it must do so.
        """
        for turn in range(rounds):
            if self.end is not None:
                return
            if retry_late and self.input_over and all(chunk.state.ended for chunk in self.scheduler.chunks):
                self.tell(RetryChunks(range(len(self.scheduler.chunks))))
                retry_late, failing = False, ()
            if alone and turn and self.scheduler.status.is_paused:
                self.now += 400.0
            else:
                self.tell(ResumeRun())
            self.tell(ResumeChunks(range(len(self.scheduler.chunks))))
            while self.readable:
                self.read()
            for worker in list(self.workers.values()):
                self._advance(worker, failing, lethal, ruinous, leaves=not stubborn or worker.number % 2 == 0)
            self.now += 10.0
            if self.end is None:
                self.tell(Tick())

    def _advance(
        self,
        worker: SimulatedWorker,
        failing: Collection[int],
        lethal: Collection[int],
        ruinous: Collection[int],
        leaves: bool,
    ) -> None:
        for step in ("get ready", "obey", "start"):
            while step in worker.steps():
                worker.do(step)
        if not worker.killed and not worker.drained and any(item in lethal for item in worker.in_flight):
            self.lose(worker, "killed by SIGSEGV")
            return
        ruined = not worker.killed and not worker.drained and any(item in ruinous for item in worker.in_flight)
        worker.end_all(failing)
        if ruined:
            self.lose(worker, "ended with exit code 1")
            return
        for step in ("get the pipe", "collect", "leave") if leaves else ("get the pipe", "collect"):
            if step in worker.steps():
                worker.do(step)
        while worker.reports and self.end is None:
            self.deliver(worker)
        if (worker.drained or worker.killed) and self.end is None:
            self.lose(worker, "" if worker.drained else "killed by tui-runner")

    # --- the actions of the scheduler ----------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        assert self.end is None, "an action after the end of the run"
        match action:
            case ReadChunks(count):
                assert count > 0
                self.requested += count
            case StartWorker(number, threads, paused):
                assert number not in self.workers
                assert threads >= 1
                assert not self.nothing_left, "a worker is started for nothing"
                status = self.scheduler.status
                assert paused == status.is_paused or status.phase is RunState.DRAINING
                alone = self.scheduler.workers[number].slot is None
                assert not alone or threads == 1
                self.workers[number] = SimulatedWorker(number, threads, paused, alone=alone, permanent=self._lasting)
            case SendChunk():
                self._send(action)
            case SendOrder(number, order):
                self.workers[number].orders.append(order)
            case KillWorker(number):
                self.workers[number].killed = True
                self.workers[number].blamed = bool(self.scheduler.workers[number].fault)
            case ChunkEnded(number, failed):
                chunk = self.scheduler.chunks[number]
                assert number not in self.ended_chunks
                self.ended_chunks.add(number)
                positions = self._positions[number]
                expected = sorted(p for p in positions if self.ledger[p] in ("failed", "cancelled"))
                assert sorted(failed) == expected or (not failed and self._kept_bytes(expected) > MAX_KEPT_BYTES)
                assert chunk.state.ended
                self._held[number] = failed
            case RunAgain(number, positions):
                self.ended_chunks.remove(number)
                lost = {*positions} < {*self._held[number]} and not self._lasting
                assert lost or positions == self._held[number], (
                    "only what an outage made fail runs again without others"
                )
                self._held[number] = positions
                for position in positions:
                    assert self.ledger.pop(position) in ("failed", "cancelled")
                for position in self.given_up.intersection(positions):
                    self.given_up.discard(position)
                    self.deaths[position] = 1
            case Tell(_, text):
                self.told.append(text)
            case EndRun():
                assert not self.workers, "the run ended before its workers"
                self.end = action

    def _kept_bytes(self, positions: Collection[int]) -> int:
        """Return bytes of all failed items that are kept, if those at `positions` are kept as well."""
        kept = sum(
            len(self._held[number]) for number in self.ended_chunks if self._held[number] is not self._positions[number]
        )
        return self._item_bytes * (kept + len(positions))

    def _send(self, action: SendChunk) -> None:
        worker = self.workers[action.worker]
        assert worker.ready and not worker.killed
        assert not any(isinstance(order, Drain) for order in worker.orders) and not worker.draining
        order = OpenChunk(
            action.chunk, self._held[action.chunk], b"", action.run, action.attempts, action.tries, action.refusals,
            action.paused,
        )  # fmt: skip
        positions = chosen(order)
        assert positions
        if not action.paused:
            status = self.scheduler.status
            assert status.starts_items or status.has(PauseCause.OUTAGE), "a chunk was sent while the run does not run"
        for position in positions:
            assert position not in self.holders, f"item {position} is with two workers"
            assert position not in self.ledger, f"item {position} runs again though it is done"
            self.holders[position] = worker.number
            if not action.paused:
                assert worker.alone == (position in self.deaths), "suspects, and only they, run alone"
            assert (position in action.refusals) == (not action.paused and self.deaths.get(position, 0) >= 3)
            worker.attempts[position] = action.attempts.get(position, 0)
            assert worker.attempts[position] == self.attempts.get(position, 0)
        self.given_up.update(action.refusals)
        self._opened[action.chunk] = self._opened.get(action.chunk, 0) + 1
        worker.orders.append(order)

    # --- what must hold ------------------------------------------------------------------------------------

    def _check_open_chunks(self, sent_to: Collection[int]) -> None:
        """Sending takes the number of chunks with items to start beyond the limit only for workers that had none.

        Who goes home starts none.
        """
        scheduler = self.scheduler
        running = [chunk for chunk in scheduler.chunks if chunk.state is ChunkState.RUNNING]
        opened_chunks = [
            chunk
            for chunk in running
            if not chunk.exhausted and not chunk.cancelling
            if not self.workers[chunk.worker].alone and not self.workers[chunk.worker].sent_home
        ]
        opened = [chunk.worker for chunk in opened_chunks]
        least = 2 * scheduler.workers.size if scheduler.workers.size > 1 else 1
        # Those too small for the threads are sent ahead, an item a thread.
        smallest = min(chunk.items for chunk in scheduler.chunks)
        tiny = -(-scheduler.workers.threads // smallest) if smallest < scheduler.workers.threads else 0
        within = len(opened) <= max(scheduler.open_chunks, least, tiny) or not self._is_bounded
        within = within and sum(chunk.nbytes for chunk in opened_chunks) <= AHEAD_BYTES
        # PoisonItems are sent apart from that, and chunks that were resumed count as well.
        sent_to = [number for number in sent_to if not self.workers[number].alone]
        assert within or all(opened.count(worker) == 1 for worker in sent_to)

    def check(self) -> None:
        """Compare what the scheduler believes with what has been received."""
        states = list(self.ledger.values())
        total = Counts()
        read = 0
        for chunk in self.scheduler.chunks:
            mine = [self.ledger.get(position) for position in self._positions[chunk.number]]
            read += sum(state is not None for state in mine)
            assert chunk.counts.done == mine.count("ok") + mine.count("skipped")
            assert chunk.counts.failed == mine.count("failed") + mine.count("rejected")
            assert chunk.counts.cancelled == mine.count("cancelled")
            assert len(chunk.left) == mine.count(None)
            assert {*chunk.left} == {p for p in self._positions[chunk.number] if p not in self.ledger}
            assert chunk.state.ended == (chunk.number in self.ended_chunks)
            if chunk.state.ended:
                assert None not in mine and chunk.worker is None
                expected = ChunkState.FAILED if chunk.counts.failed else ChunkState.DONE
                assert chunk.state is (ChunkState.CANCELLED if "cancelled" in mine else expected)
            if chunk.worker is not None:
                assert chunk.worker in self.workers
            total += chunk.counts
        counts = self.scheduler.counts
        assert counts == total
        assert counts.finished == read
        assert counts.rows == self.rows
        assert counts.retries == sum(self.retries.values())
        for worker in self.workers.values():
            if worker.ready and not worker.sent_home and not worker.orders:
                self._check_obedience(worker)
        workers = self.scheduler.workers
        shares = [workers.share(each) for each in workers if each.slot is not None and not each.is_expected_to_end]
        assert sum(shares) <= max(1, workers.threads // workers.divisor), "more items at once than were asked for"
        status = self.scheduler.status
        if status.phase is RunState.DRAINING:
            assert status.reason, "nobody knows why it stops"
        elif status.is_paused and not status.has(PauseCause.USER) and self.holds:
            assert status.reason in self.holds.values(), "it does not say what holds it"
        assert status.reason not in {"no room: disk", "no room: memory"} - {*self.holds.values()}
        assert not self.holds or not status.starts_items
        if self.end is not None:
            self._check_end(self.end, states)

    @property
    def nothing_left(self) -> bool:
        """Return True if the input and all its chunks have ended."""
        return self.input_over and all(chunk.state.ended for chunk in self.scheduler.chunks)

    def _check_obedience(self, worker: SimulatedWorker) -> None:
        """A worker that has obeyed all its orders does what the scheduler believes it does."""
        scheduler = self.scheduler
        assert worker.paused == scheduler.status.is_paused
        assert not worker.passes or not scheduler.status.has(PauseCause.USER), "the user has paused it"
        assert worker.threads == scheduler.workers.share(scheduler.workers[worker.number])
        for number, held in worker.chunks.items():
            chunk = scheduler.chunks[number]
            if chunk.worker == worker.number:
                assert held.cancelled == chunk.cancelling
                assert held.paused == (chunk.state is ChunkState.PAUSED) or held.cancelled

    def _check_end(self, end: EndRun, states: list[str]) -> None:
        assert self.scheduler.status.phase is end.state and end.state.ended
        if end.state is RunState.FINISHED:
            assert self.nothing_left
            assert not end.reason
            assert len(states) == sum(chunk.items for chunk in self.scheduler.chunks)
        assert not self.holders, "items are with workers that are gone"
