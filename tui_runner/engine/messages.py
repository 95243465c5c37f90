"""Sends and receives messages through the pipe between the program and a worker.

multiprocessing's own `recv` asks for all that is left of a message with each read; a pipe gives 64 to 200 kB of it:
the buffers for a chunk of 8 MB cost a worker half of its time.
"""

from __future__ import annotations

import os
import pickle
import struct
from multiprocessing.connection import Connection
from typing import Any

_SIZE = struct.Struct("!Q")
_MOST_VECTORS = 512
"""Buffers of one system call; Linux takes 1,024."""


def send_message(connection: Connection, message: object) -> None:
    """Send a message; one thread at a time. What is a `pickle.PickleBuffer` in it goes as it is, without a copy.

    Raises:
        OSError: there is no receiver.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    parts = [memoryview(data), *(buffer.raw() for buffer in buffers)]
    sizes = [len(parts), *map(len, parts)]
    descriptor = connection.fileno()
    left = [memoryview(b"".join(map(_SIZE.pack, sizes))), *filter(len, parts)]
    while left:
        written = os.writev(descriptor, left[:_MOST_VECTORS])
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]


def receive_message(connection: Connection) -> Any:
    """Wait for a message; one thread at a time.

    Raises:
        EOFError: there are no more.
        OSError: the sender has gone, perhaps in the middle of one.
    """
    (count,) = _SIZE.unpack(_received(connection, _SIZE.size))
    sizes = [size for (size,) in _SIZE.iter_unpack(_received(connection, count * _SIZE.size))]
    data, *buffers = [_received(connection, size) for size in sizes]
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from a process that this program has made


def _received(connection: Connection, size: int) -> bytearray:
    data = bytearray(size)
    left = memoryview(data)
    while left:
        count = os.readv(connection.fileno(), [left])
        if not count:
            raise EOFError
        left = left[count:]
    return data
