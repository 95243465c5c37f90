"""Reads the input ahead of the run, in a thread of its own: an input may be slow, and is the user's code."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tui_runner.engine.events import InputEnded, InputFailed
from tui_runner.engine.selection import Selection
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


class InputReader:
    """Cuts chunks from the input, as many as are asked for.

    Args:
        chunks: the input, cut.
        selection: which items are to run.
        deliver: takes `ItemsRead`, and in the end `InputEnded` or `InputFailed`.
    """

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

    def start(self) -> None:
        """Begin; nothing is read before the first `read`."""
        self._thread.start()

    def read(self, count: int) -> None:
        """Cut this many chunks more."""
        self._wanted.put(count)

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
