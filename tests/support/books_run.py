"""The run in the pictures of the documentation: pretended workers report 100,000 pages to the real scheduler.

Figures of a snapshot and rows of the ledger are counted from the same attempts, so that they agree with each other.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from random import Random

import pyarrow as pa

from support.sent_batches import EMPTY_BATCH
from support.snapshot_harness import builder
from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.metrics import Durations
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.progress.snapshot_builder import RecordSample, SnapshotBuilder
from tui_runner.engine.protocol import (
    Cancel,
    ChunkExhausted,
    ChunkFinished,
    Counts,
    Drain,
    Drained,
    InFlight,
    Pause,
    Progress,
    Ready,
    ResultBatch,
    Resume,
    WorkerLost,
    ranges_of,
)
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.store.database import Database
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.records import ERRORS, ITEMS, SampleRecord, insert_errors_sql
from tui_runner.text.describe import shape

ITEMS_TOTAL, CHUNK, ROWS, THREADS = 100_000, 500, 20, 64
"""Pages, pages of a chunk, books on a page, pages that are fetched at once."""
NOW = 792.0
"""Seconds from the start of the run to the moment of the pictures."""
SEED = 66
"""With this one, two chunks run at that moment, one of them has a failed page, and another chunk is paused."""
_NO_TABLE = range(63, ITEMS_TOTAL, 9_389)
"""Pages that the job cannot read."""
START = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
_STEP = 0.5
"""Seconds between two reports of a worker."""
_COMMANDS: dict[float, events.Event] = {
    125.0: events.CancelChunks([12]),
    620.0: events.PauseRun(),
    645.0: events.ResumeRun(),
    781.5: events.PauseChunks([74]),
    820.0: events.ResumeChunks([74]),
}
"""Commands of the user, by the time at which they are given."""
_CANCELLED = "cancelled"
_TAKEN = tuple(SnapshotBuilder.takes)


def text(item: int) -> str:
    """Return the text of an item."""
    return f"https://books.example/page-{item}.html"


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=round(seconds, 3))


def _rate(now: float) -> float:
    """Return the items per second that the shop can serve."""
    return 50 + 9 * math.sin(now / 29) + 4 * math.sin(now / 7.3)


@dataclass
class _Worker:
    """A pretended worker: chunks with the items to start, items in flight, and what it has not reported yet."""

    number: int
    threads: int
    paused: bool
    chunks: dict[int, deque[int]] = field(default_factory=dict)
    paused_chunks: set[int] = field(default_factory=set)
    exhausted: set[int] = field(default_factory=set)
    retries: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, item and number of each attempt to come."""
    in_flight: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Start and number of the attempt, by item."""
    ended: list[tuple[int, str, int, float, float]] = field(default_factory=list)
    """Item, error, number, start and end of each attempt that was not reported. The error is empty if there was none,
    and `_CANCELLED` if there was no attempt."""
    counts: dict[int, Counts] = field(default_factory=dict)

    def next(self, now: float) -> tuple[int, int] | None:
        """Return the item to start at `now` and the number of the attempt; None if there is none."""
        if self.paused or len(self.in_flight) >= self.threads:
            return None
        if self.retries and self.retries[0][0] <= now:
            return heappop(self.retries)[1:]
        for number, items in self.chunks.items():
            if items and number not in self.paused_chunks:
                return items.popleft(), 1
        return None


class BooksRun:
    """The run until some moment, with what is in its ledger.

    Attributes:
        items: ledger rows of items, as in `records.ITEMS`.
        errors: ledger rows of failed attempts, as in `records.ERRORS`.
        samples: ledger rows of samples.
    """

    def __init__(self, until: float) -> None:
        self.items: list[tuple[object, ...]] = []
        self.errors: list[tuple[object, ...]] = []
        self.samples: list[SampleRecord] = []
        self._random = Random(SEED)
        self._now = 0.0
        self._ends: list[tuple[float, int, int]] = []
        """End, item and worker of the attempts in flight."""
        self._failing: dict[int, tuple[str, int]] = {}
        """Error and number of attempts that end with it, by item."""
        self._workers: dict[int, _Worker] = {}
        self._begun: dict[int, float] = {}
        self.ended = False
        self._cut = 0
        """Items that were cut from the input into chunks."""
        self._answers: deque[events.Event] = deque()
        self._scheduler = Scheduler(
            threads=THREADS, workers=2, open_chunks=None, grace=10.0, chunk_size=CHUNK, items_total=ITEMS_TOTAL
        )
        database = "/data/scrape/books.duckdb"
        start = START.timestamp()
        self._board = builder(self._scheduler, 0.0, items_total=ITEMS_TOTAL, database=database, started_at=start)
        self._tell(events.Begin())
        while self._now < until and not self.ended:
            self._advance()
        self.snapshot: Snapshot = replace(self._board.snapshot(self._now), began_at=start, memory_limit=4_000_000_000)

    def _tell(self, event: events.Event) -> None:
        """Pass an event to the scheduler. What the input and the workers answer follows after it."""
        for action in self._scheduler.handle(event, self._now):
            match action:
                case events.ReadChunks(count):
                    for _ in range(count):
                        items = range(self._cut, self._cut + CHUNK)
                        self._answers.append(events.ChunkRead(self._cut // CHUNK, items, items))
                        self._cut += CHUNK
                case events.StartWorker(number, threads, paused):
                    self._workers[number] = _Worker(number, threads, paused)
                    self._answers.append(Ready(number, 4_001 + number))
                case events.SendChunk(number, chunk):
                    self._workers[number].chunks[chunk] = deque(range(chunk * CHUNK, (chunk + 1) * CHUNK))
                    self._workers[number].counts[chunk] = Counts()
                case events.SendOrder(number, order):
                    self._obey(self._workers[number], order)
                case _ if isinstance(action, _TAKEN):
                    self._handle(action)
                    self.ended |= isinstance(action, events.EndRun)
        if isinstance(event, _TAKEN):
            self._handle(event)  # after the scheduler, as in a run
        while self._answers:
            answer = self._answers.popleft()
            is_over = isinstance(answer, events.ChunkRead) and answer.first_item >= ITEMS_TOTAL
            self._tell(events.InputEnded() if is_over else answer)

    def _handle(self, message: object) -> None:
        for record in self._board.handle(message, self._now):
            assert isinstance(record, RecordSample)
            self.samples.append(replace(record.sample, sampled_at=_at(self._now)))

    def _obey(self, worker: _Worker, order: object) -> None:
        match order:
            case Pause(None) | Resume(None):
                worker.paused = isinstance(order, Pause)
            case Pause(int(chunk)):
                worker.paused_chunks.add(chunk)
            case Resume(int(chunk)):
                worker.paused_chunks.discard(chunk)
            case Cancel(chunk):
                worker.ended += [(item, _CANCELLED, 0, self._now, self._now) for item in worker.chunks[chunk]]
                worker.chunks[chunk].clear()
            case Drain():
                del self._workers[worker.number]
                self._answers += [Drained(worker.number), WorkerLost(worker.number, "", {})]

    def _advance(self) -> None:
        """Let the time until the next reports pass."""
        self._now += _STEP
        while self._ends and self._ends[0][0] <= self._now:
            end, item, number = heappop(self._ends)
            worker = self._workers[number]
            begun, attempt = worker.in_flight.pop(item)
            error, failures = self._failing.get(item, ("", 0))
            error = error if attempt <= failures else ""
            worker.ended.append((item, error, attempt, begun, end))
            if error and attempt < 3:
                heappush(worker.retries, (end + attempt, item, attempt + 1))
            self._start(worker, end)
        if self._now in _COMMANDS:
            self._tell(_COMMANDS[self._now])
        for worker in list(self._workers.values()):
            self._start(worker, self._now)
            self._report(worker)
        if self._now % 1.0 == 0.0:
            app, workers = 90e6 + 25_000 * self._now, 250e6 + 60e6 * abs(math.sin(self._now / 25))
            db_bytes, each = 4_000_000 + 60 * self._scheduler.counts.rows, int(workers / 2)
            self._handle(MemoryMeasured(int(app), 2 * each, db_bytes, {4_001: each, 4_002: each}))
            self._board.snapshot(self._now)

    def _start(self, worker: _Worker, now: float) -> None:
        """Start items in the idle threads of a worker."""
        while found := worker.next(now):
            item, attempt = found
            if attempt == 1:
                self._begun.setdefault(item // CHUNK, now)
                self._plan(item, now)
            z = 2 * (self._random.random() + self._random.random() + self._random.random() - 1.5)
            seconds = THREADS / _rate(now) * math.exp(0.5 * z - 0.125)
            if self._failing.get(item, ("", 0))[0] == "ReadTimeout" and attempt <= self._failing[item][1]:
                seconds = 10.0
            worker.in_flight[item] = now, attempt
            heappush(self._ends, (now + seconds, item, worker.number))

    def _plan(self, item: int, now: float) -> None:
        """Decide how many attempts at an item fail: more timeouts while the shop is slow."""
        chance = self._random.random()
        if chance < 0.0015 * (50 / _rate(now)) ** 3:
            self._failing[item] = "ReadTimeout", self._random.choice((1, 1, 1, 1, 2, 3))
        elif item in _NO_TABLE:
            self._failing[item] = "ValueError", 3

    def _report(self, worker: _Worker) -> None:
        """Send what has ended, and the items in flight."""
        if worker.ended:
            self._tell(self._batch(worker))
        in_flight = Counter(item // CHUNK for item in worker.in_flight)
        oldest = sorted((begun, item, attempt) for item, (begun, attempt) in worker.in_flight.items())[:20]
        flying = tuple(
            InFlight(item // CHUNK, item, text(item), attempt, self._now - begun) for begun, item, attempt in oldest
        )
        self._tell(Progress(worker.number, in_flight, flying, worker.threads, 0, False, delayed=len(worker.retries)))
        for number in list(worker.chunks):
            if not worker.chunks[number] and number not in worker.exhausted:
                worker.exhausted.add(number)
                self._tell(ChunkExhausted(worker.number, number))
            if worker.counts[number].finished == CHUNK:
                del worker.chunks[number]
                self._tell(ChunkFinished(worker.number, number))

    def _batch(self, worker: _Worker) -> ResultBatch:
        """Return what has ended since the last batch, and add it to the rows of the ledger."""
        numbers = sorted({item // CHUNK for item, *_ in worker.ended})
        ended: dict[int, list[int]] = {number: [] for number in numbers}
        failed: dict[int, dict[int, int]] = {number: {} for number in numbers}
        retried: dict[int, dict[int, int]] = {number: {} for number in numbers}
        groups, final, examples = Counter(), Counter(), {}
        for item, error, attempt, begun, end in worker.ended:
            number, cancelled, last = item // CHUNK, error == _CANCELLED, not error or attempt in (0, 3)
            if error and not cancelled:
                self._add_error(item, error, attempt, end)
                message = self.errors[-1][4]
                group = error, shape(message)
                groups[group] += 1
                final[group] += last
                examples[group] = message
            if last:
                ended[number].append(item)
                self._add_item(item, _CANCELLED if cancelled else "failed" if error else "ok", attempt, begun, end)
            else:
                retried[number][item] = attempt
            if last and error:
                failed[number][item] = attempt
            worker.counts[number] += Counts(
                done=last and not error,
                failed=last and bool(error) and not cancelled,
                cancelled=cancelled,
                retries=not last,
                rows=0 if error else ROWS,
                busy_seconds=end - begun,
            )
        batch = replace(
            EMPTY_BATCH,
            worker=worker.number,
            ended={number: ranges_of(sorted(item % CHUNK for item in items)) for number, items in ended.items()},
            failed=failed,
            retried=retried,
            counts={number: worker.counts[number] for number in numbers},
            error_groups=groups,
            final_groups=+final,
            examples=examples,
            cancelled=Counter(item // CHUNK for item, error, *_ in worker.ended if error == _CANCELLED),
            begun={number: self._now - self._begun.pop(number) for number in numbers if number in self._begun},
            latencies=Durations.of([end - begun for *_, attempt, begun, end in worker.ended if attempt]),
        )
        worker.ended = []
        return batch

    def _add_item(self, item: int, state: str, attempts: int, begun: float, end: float) -> None:
        rows = ROWS if state == "ok" else 0
        key, value = f"{item:016x}", None if state == "ok" else f'"{text(item)}"'
        self.items.append((item, item // CHUNK, key, state, attempts, rows, end - begun, _at(end), text(item), value))

    def _add_error(self, item: int, error: str, attempt: int, end: float) -> None:
        line, code, message = _ERRORS[error]
        message = message.format(item)
        trace = f'Traceback (most recent call last):\n  File "scrape.py", line {line}, in books\n    {code}\n'
        trace += f"{error}: {message}\n"
        row = item, item // CHUNK, attempt, error, message, trace, _at(end), attempt == 3, shape(message), text(item)
        self.errors.append(row)

    def write(self, database: Database, job: str) -> None:
        """Write the run into the ledger of a database, paused if it has not ended."""
        cursor, shown = database.cursor(), self.snapshot
        ensure_ledger(cursor, create=True)
        cursor.execute(
            """INSERT INTO runner.runs (run_id, job, job_path, table_name, params, settings, state, items_total,
                started_at, ended_at, active_seconds, wall_seconds, host, version)
                VALUES (3, 'books', ?, 'books', ?, ?, ?, ?, ?, ?, ?, ?, 'host', '1')""",
            [job, '{"base": "https://books.example"}', f'{{"threads": {THREADS}, "workers": 2, "chunk_size": {CHUNK}}}',
             "finished" if self.ended else "paused", ITEMS_TOTAL, START, _at(self._now) if self.ended else None,
             shown.elapsed, shown.wall_seconds],
        )  # fmt: skip
        for table, rows, schema in (("items", self.items, ITEMS), ("errors", self.errors, ERRORS)):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
            cursor.register(f"new_{table}", pa.Table.from_arrays(arrays, schema=schema))
        cursor.execute("INSERT INTO runner.items BY NAME SELECT 3 AS run_id, * FROM new_items")
        for statement in insert_errors_sql("new_errors", "3"):
            cursor.execute(statement)
        cursor.execute(
            f"""INSERT INTO runner.chunks SELECT 3, chunk, {CHUNK} * chunk, {CHUNK}, NULL, NULL, $1[chunk + 1],
                count_if(state = 'ok'), count_if(state = 'failed'), sum(rows), sum(greatest(attempts - 1, 0)),
                min(finished_at - to_seconds(seconds)), max(finished_at), sum(seconds)
                FROM new_items GROUP BY chunk""",
            [[str(chunk.state) for chunk in shown.chunks]],
        )
        names = [name.name for name in fields(SampleRecord)]
        samples = pa.Table.from_pylist([{name: getattr(each, name) for name in names} for each in self.samples])
        cursor.register("new_samples", samples)
        cursor.execute("INSERT INTO runner.samples BY NAME SELECT 3 AS run_id, * FROM new_samples")
        database.close_cursor(cursor)

    def write_results(self, database: Database) -> None:
        """Write the table of results: the books on each page that was fetched."""
        cursor = database.cursor()
        cursor.execute(
            f"""CREATE TABLE books AS SELECT run_id AS _run, item AS _item, 'Book no. ' || (item * {ROWS} + n) AS title,
                (10 + (item + 7 * n) % 50) + 0.25 AS price, CASE WHEN n % 7 <> 0 THEN 1 + n % 5 END AS stars
                FROM runner.items, range({ROWS}) books(n) WHERE state = 'ok'"""
        )
        database.close_cursor(cursor)


_ERRORS = {
    "ReadTimeout": (40, "response = http.get(url)", "read timed out"),
    "ValueError": (41, "table = parse(response.text)", "no table on page {}"),
}
"""Line, code and message of each kind of error."""


@cache
def books_run(until: float = NOW) -> BooksRun:
    """Return the run until some moment; until its end if that is infinite."""
    return BooksRun(until)


@contextmanager
def books_ledger(path: Path, run: BooksRun, job: str = "scrape.py:books") -> Iterator[Database]:
    """Yield a database with the ledger of the run of a job."""
    with Database.open(path) as database:
        run.write(database, job)
        yield database
