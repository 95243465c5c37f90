"""Answers one request: sends the rows of a statement as frames."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.arrow_batches import pieces
from tui_runner.store.query.console import Console
from tui_runner.store.remote.wire import ARROW, END, FAILED, FrameSink, Request, pack_error


class Say(Protocol):
    """A function that sends one frame to the client."""

    def __call__(self, kind: bytes, content: bytes | memoryview = b"") -> None:
        """Send a frame. Raise OSError if the other side is gone."""


def answer(console: Console, request: Request, say: Say) -> None:
    """Run the statement and send its rows as an Arrow IPC stream, then END; or FAILED at any point.

    The schema is sent at once, so that the client knows that the statement runs.

    Raises:
        OSError: the client is gone or accepts no data.
    """
    try:
        with console.query(request.sql, request.parameters) as result:
            sink = FrameSink(lambda content: say(ARROW, content))
            with pa.ipc.new_stream(sink, result.schema) as writer:
                sink.flush()
                for piece in pieces(result):
                    writer.write_batch(piece)
                    sink.flush()
            sink.flush()
    except UserError as error:  # the client gets the message instead of rows
        say(FAILED, pack_error(error))
    else:
        say(END)
