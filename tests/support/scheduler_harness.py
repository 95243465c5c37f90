"""A desk to put events on: what tests of the scheduler have in common."""

from __future__ import annotations

from support.simulated_worker import by_index, flush
from support.simulated_world import cut
from tui_runner.engine.protocol import (
    ChunkExhausted,
    ChunkFinished,
    Counts,
    Ready,
    ResultBatch,
)
from tui_runner.engine.scheduling.events import Begin, InputEnded, ReadChunks, RecordState, SendChunk, SendOrder, Tell
from tui_runner.engine.scheduling.scheduler import Scheduler


class SchedulerHarness:
    """A scheduler at work: events go in, and the actions that matter to a test come out, without what was told."""

    def __init__(self, *, chunks: int = 0, ready: int = 1, items: int = 2, ended: bool = False, **settings) -> None:
        defaults = {"threads": 4, "workers": 1, "open_chunks": 2, "grace": 10.0}
        self.scheduler = Scheduler(**{**defaults, **settings})
        self.now = 500.0
        self.told: list[tuple[str, str]] = []
        self.begun = self(Begin())
        for worker in range(ready):
            self(Ready(worker, 1))
        self.sent = [action for event in cut([[False] * items] * chunks) for action in self(event)]
        if ended:
            self(InputEnded())

    def __call__(self, event):
        if isinstance(event, ResultBatch):
            event = by_index(event, self.scheduler)
        actions = self.scheduler.handle(event, self.now)
        self.told += [(action.level, action.text) for action in actions if isinstance(action, Tell)]
        return [action for action in actions if not isinstance(action, Tell | ReadChunks | RecordState)]

    def sent_items(self, actions):
        """Return for each chunk that was sent: its worker, and the positions of the items to run."""
        found = [action for action in actions if isinstance(action, SendChunk)]
        positions = {action.chunk: self.scheduler.chunks[action.chunk].left.positions for action in found}
        return [
            (
                action.worker,
                action.chunk,
                [
                    position
                    for index, position in enumerate(positions[action.chunk])
                    if action.run is None or index in action.run
                ],
            )
            for action in found
        ]

    def state(self, number):
        return self.scheduler.chunks[number].state

    def finish(self, number, *, worker=0, failed=(), cancelled=()):
        """Let the worker start every item of a chunk, flush them and report that it has finished."""
        self(ChunkExhausted(worker, number))
        pending = list(self.scheduler.chunks[number].left)
        attempts = {number: {**dict.fromkeys(failed, 1), **dict.fromkeys(cancelled, 0)}}
        good = len(pending) - len(failed) - len(cancelled)
        counts = {number: Counts(good, len(failed), len(cancelled))}
        return self(flush(worker, {number: pending}, attempts, counts)) + self(ChunkFinished(worker, number))

    @property
    def end(self):
        return (self.scheduler.status.state, self.scheduler.status.reason)


def sends(actions):
    return [(action.worker, action.chunk) for action in actions if isinstance(action, SendChunk)]


def orders(actions, kind=object):
    found = [action for action in actions if isinstance(action, SendOrder)]
    return [(action.worker, action.order) for action in found if isinstance(action.order, kind)]
