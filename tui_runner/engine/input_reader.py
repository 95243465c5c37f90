"""Reads the input ahead of the run in a thread of its own, and keeps the items of chunks that are not yet done."""

from __future__ import annotations

import queue
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tui_runner.engine.planning.open_run import Selection
from tui_runner.engine.protocol import OpenChunk, pack
from tui_runner.engine.scheduling.events import (
    ChunkEnded,
    ChunkRead,
    EndRun,
    InputEnded,
    InputFailed,
    ReadChunks,
    SendChunk,
    Tell,
)
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import InputChunk
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.describe import describe


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """A chunk was cut from the input; of its items those at `pending` are to run, the others have `rows` rows.

    Those at `known`, among `pending`, had failed before.
    """

    chunk: InputChunk
    pending: Collection[int]
    rows: int
    known: Collection[int] = ()


class PendingItems:
    """Keys and values of items by chunk and position. Owned by the runner's thread."""

    takes = frozenset({ItemsRead, ChunkEnded})
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self._chunks: dict[int, dict[int, tuple[str, object]]] = {}

    def handle(self, message: ItemsRead | ChunkEnded, now: float) -> Iterable[ChunkRead]:
        """Hold the items of a chunk that was read, before the scheduler knows of it; let go of one that has ended."""
        match message:
            case ItemsRead(chunk, pending, rows, known):
                self.add(chunk, pending)
                yield ChunkRead(chunk.number, chunk.first_item, len(chunk.keys), pending, rows, known)
            case ChunkEnded(number, failed):
                self.keep_only(number, failed)

    def add(self, chunk: InputChunk, pending: Collection[int]) -> None:
        """Hold those items of `chunk` that are at `pending`."""
        first = chunk.first_item
        if pending:
            self._chunks[chunk.number] = {
                position: (chunk.keys[position - first], chunk.values[position - first]) for position in pending
            }

    def keys(self, chunk: int, positions: Iterable[int]) -> list[str]:
        """Keys of held items."""
        items = self._chunks[chunk]
        return [items[position][0] for position in positions]

    def keep_only(self, chunk: int, positions: Collection[int]) -> None:
        """Let go of all items of a chunk but those at `positions`."""
        items = self._chunks.pop(chunk, {})
        if positions:
            self._chunks[chunk] = {position: items[position] for position in positions}

    def order(self, send: SendChunk, attempts: Mapping[int, int], tries: Mapping[int, int]) -> OpenChunk:
        """The order that opens a chunk with the items that `send` names.

        Args:
            send: which items.
            attempts: attempts made already, by position.
            tries: those of them that count as retries.
        """
        items = self._chunks[send.chunk]
        values = [items[position][1] for position in send.positions]
        made = {position: attempts[position] for position in send.positions if position in attempts}
        failed = {position: tries[position] for position in send.positions if position in tries}
        return OpenChunk(
            send.chunk, array("q", send.positions), pack(values), None, made, failed, send.refusals, send.paused
        )


class InputReader:
    """Cuts chunks from the input, as many as are asked for.

    Args:
        chunks: the input, cut.
        selection: which items are to run.
        deliver: takes `ItemsRead`, and in the end `InputEnded` or `InputFailed`.
    """

    takes = frozenset({ReadChunks, EndRun})
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        chunks: Iterator[InputChunk],
        selection: Selection,
        deliver: Callable[[ItemsRead | InputEnded | InputFailed], None],
    ) -> None:
        self._chunks = chunks
        self._selection = selection
        self._deliver = deliver
        self._wanted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="input", daemon=True)

    def handle(self, message: ReadChunks | EndRun, now: float) -> Iterable[Tell]:
        """Cut more chunks; when every item has run, warn of what the input did not have."""
        match message:
            case ReadChunks(count):
                self._wanted.put(count)
            case EndRun(RunState.FINISHED):
                yield from (Tell("WARNING", warning) for warning in self._selection.warnings())

    def start(self) -> None:
        """Begin; nothing is read before the first `ReadChunks`."""
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more. An input that is being waited for cannot be interrupted; the thread is left behind."""
        self._wanted.put(0)

    def _run(self) -> None:
        with no_exit_at_once():
            self._read()

    def _read(self) -> None:
        try:
            while count := self._wanted.get():
                for _ in range(count):
                    chunk = next(self._chunks, None)
                    if chunk is None:
                        self._deliver(InputEnded())
                        return
                    pending = self._selection.pending(chunk.first_item, chunk.keys)
                    known = self._selection.known(chunk.first_item, chunk.keys)
                    self._deliver(ItemsRead(chunk, pending, self._selection.recorded_rows(chunk.keys), known))
        except UserError as error:
            self._deliver(InputFailed(str(error)))
        except BaseException as error:  # the input is the user's generator, which may raise anything
            failure = describe(error)
            self._deliver(InputFailed(f"the input ended with {failure.type}: {failure.message}"))
