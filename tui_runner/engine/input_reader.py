"""Reads the input in its own thread, ahead of the items that run, and keeps the packed items of unended chunks."""

from __future__ import annotations

import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Sequence

from tui_runner.engine.packed_items import pack_again
from tui_runner.engine.planning.cutting import Cutter, ItemsRead
from tui_runner.engine.protocol import LogLine, LogLines, OpenChunk, ResultBatch
from tui_runner.engine.scheduling.events import (
    ChunkEnded,
    ChunkRead,
    ChunksSkipped,
    Committed,
    EndRun,
    InputEnded,
    InputFailed,
    ReadChunks,
    RunAgain,
    SendChunk,
    Tell,
)
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import InputChunk
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.describe import describe
from tui_runner.text.items import Refused
from tui_runner.text.redaction import redact

_KEPT_BYTES = 64 << 20
"""Most bytes of failed items that are kept in memory, so that the user can retry them during the run. Failed items
beyond that can be retried only with `tui-runner retry`, which takes them from the ledger or reads the input again."""


class PendingItems:
    """The packed items of open chunks, and the values of failed items. Owned by the runner's thread."""

    takes = frozenset({ItemsRead, ResultBatch, ChunkEnded, RunAgain})
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self._chunks: dict[int, InputChunk] = {}
        self._failed: dict[int, dict[int, bytes]] = {}
        """Pickled values of failed items, by chunk and position."""
        self._kept_bytes = 0

    def handle(self, message: ItemsRead | ResultBatch | ChunkEnded | RunAgain, now: float) -> Iterable[ChunkRead]:
        """Store the items of a chunk before the scheduler learns of the chunk. Drop them when the chunk has ended.

        The values of failed items are kept until their chunk ends without failures.
        """
        match message:
            case ItemsRead(chunk, pending, rows, known):
                if pending:
                    self._chunks[chunk.number] = chunk
                nbytes = len(chunk.packed)
                yield ChunkRead(chunk.number, chunk.positions, pending, rows, known, nbytes, chunk.byte_offset)
            case ResultBatch():
                self._keep_values(message)
            case ChunkEnded(number, failed):
                self._chunks.pop(number, None)
                if not failed:
                    self._drop_values(number)
            case RunAgain(number, positions):
                self._run_again(number, positions)

    def _keep_values(self, batch: ResultBatch) -> None:
        for number, failed in batch.failed.items():
            values = self._failed.setdefault(number, {})
            for position in failed:
                value = batch.values.get(position)
                if value is not None and self._kept_bytes + len(value) <= _KEPT_BYTES:
                    self._kept_bytes += len(value) - len(values.get(position, b""))
                    values[position] = value

    def _drop_values(self, number: int) -> None:
        self._kept_bytes -= sum(map(len, self._failed.pop(number, {}).values()))

    def _run_again(self, number: int, positions: Sequence[int]) -> None:
        """Pack the items at `positions`, which failed in an ended chunk, in the order of `positions`.

        From now on, the chunk consists of these items only.
        """
        values = self._failed.get(number, {})
        dropped = Refused("LookupError", _NOT_KEPT)
        packed = pack_again(values.get(place, dropped) for place in positions)
        self._chunks[number] = InputChunk(number, array("q", positions), packed)
        self._kept_bytes -= sum(len(values.pop(place, b"")) for place in positions)

    def order(self, send: SendChunk) -> OpenChunk:
        """Return the order that opens a chunk in a worker with the items that `send` names."""
        chunk = self._chunks[send.chunk]
        return OpenChunk(
            chunk=send.chunk,
            positions=chunk.positions,
            values=chunk.packed,
            run=send.run,
            attempts=send.attempts,
            tries=send.tries,
            refusals=send.refusals,
            paused=send.paused,
        )


_NOT_KEPT = "its value was too large to keep for another attempt: use tui-runner retry after the run"
"""Error message of an item that cannot run again, because its value is not in memory."""


class InputReader:
    """The thread that cuts chunks from the input when the scheduler requests them.

    Args:
        cutter: cuts the input.
        chunk_size: items per chunk, unless the request has another size.
        deliver: called with `ItemsRead`, `ChunksSkipped`, log lines, and at the end `InputEnded` or `InputFailed`.
        redact: removes secrets from the traceback of the user's code that makes the items.
    """

    takes = frozenset({ReadChunks, Committed, EndRun})
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        cutter: Cutter,
        chunk_size: int,
        deliver: Callable[[ItemsRead | ChunksSkipped | InputEnded | InputFailed | LogLines], None],
        redact: Callable[[str], str] = redact,
    ) -> None:
        self._redact = redact
        self._cutter = cutter
        self._chunk_size = chunk_size
        self._deliver = deliver
        self._wanted: queue.SimpleQueue[ReadChunks | None] = queue.SimpleQueue()
        # daemon: reading from a pipe may block for as long as its writer sends nothing
        self._thread = threading.Thread(target=self._run, name="input", daemon=True)

    def handle(self, message: ReadChunks | Committed | EndRun, now: float) -> Iterable[Tell]:
        """Pass requests for chunks to the reading thread, and commits to the cutter.

        When the run has finished, return the cutter's warnings.
        """
        match message:
            case ReadChunks():
                self._wanted.put(message)
            case Committed():
                self._cutter.committed()
            case EndRun(RunState.FINISHED):
                yield from (Tell("WARNING", warning) for warning in self._cutter.warnings())

    def start(self) -> None:
        """Start the thread; nothing is read before the first `ReadChunks`."""
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more. A read that blocks cannot be interrupted, so its daemon thread is not waited for."""
        self._wanted.put(None)
        self._cutter.stop()

    def _run(self) -> None:
        with no_exit_at_once():
            self._read()

    def _read(self) -> None:
        """Cut the requested chunks from the input and deliver them, until the input ends or fails."""
        try:
            while (wanted := self._wanted.get()) is not None:
                left = wanted.count
                while left:
                    read = self._cutter.next(wanted.size or self._chunk_size)
                    if read is None:
                        self._deliver(InputEnded(self._cutter.missed))
                        return
                    self._deliver(read)
                    left -= isinstance(read, ItemsRead)  # skipped chunks do not count, because they have no item to run
        except UserError as error:
            if error.__cause__ is not None:  # an error of user code, which needs its traceback to be understood
                now, lines = time.time(), self._redact(describe(error.__cause__).traceback).splitlines()
                self._deliver(LogLines(None, tuple(LogLine(now, "ERROR", line) for line in lines)))
            self._deliver(InputFailed(str(error)))
        except BaseException as error:  # the input may be the user's generator, which may raise anything
            failure = describe(error)
            self._deliver(InputFailed(f"the input ended with {failure.type}: {failure.message}"))
