"""The items of chunks that are not yet done: what a lost worker had is sent again from here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tui_runner.engine.events import SendChunk
from tui_runner.engine.protocol import OpenChunk, Refused, pack
from tui_runner.inputs import InputChunk
from tui_runner.text.describe import item_text


class HeldItems:
    """Keys and values of items by chunk and position. Owned by the runner's thread."""

    def __init__(self) -> None:
        self._chunks: dict[int, dict[int, tuple[str, object]]] = {}

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
        chosen = [items[position] for position in send.positions]
        values = [value for _, value in chosen]
        made = [attempts.get(position, 0) for position in send.positions] if attempts else []
        for index, position in enumerate(send.positions) if send.refusals else ():
            if position in send.refusals:
                values[index] = Refused("WorkerKilled", send.refusals[position], item_text(values[index]))
                made[index] = max(0, made[index] - 1)  # saying so is no attempt of its own
        keys = [key for key, _ in chosen]
        failed = [tries.get(position, 0) for position in send.positions] if tries else ()
        return OpenChunk(send.chunk, list(send.positions), keys, pack(values), made, failed, send.paused)
