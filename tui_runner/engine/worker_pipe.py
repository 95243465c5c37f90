"""Sends and receives messages through the pipe between the program and a worker process.

At each read, the `recv` of multiprocessing allocates a buffer for all remaining bytes of a message, although a pipe
returns only 64 to 200 kB. With a chunk of 8 MB, these allocations took half of a worker's time.
"""

from __future__ import annotations

import os
import pickle
import struct
from multiprocessing.connection import Connection
from typing import Any

_SIZE = struct.Struct("!Q")
"""Format of the numbers at the head of a message: the number of parts, and the size of each part in bytes. They have
64 bits, because a chunk may be larger than 4 GB."""
_MOST_VECTORS = 512
"""Buffers in one system call; must be below the system's IOV_MAX, which is 1,024 on Linux."""


def send_message(connection: Connection, message: object) -> None:
    """Send a message. Each `pickle.PickleBuffer` in it is sent without being copied. Not thread-safe.

    Raises:
        OSError: the receiver has closed the pipe.
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
    """Wait for a message and return it. Not thread-safe.

    Raises:
        EOFError: the sender has closed the pipe, perhaps within a message.
        OSError: the pipe cannot be read, for example because this process has closed it.
    """
    (count,) = _SIZE.unpack(_received(connection, _SIZE.size))
    sizes = [size for (size,) in _SIZE.iter_unpack(_received(connection, count * _SIZE.size))]
    data, *buffers = [_received(connection, size) for size in sizes]
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from a process that this program has started


def _received(connection: Connection, size: int) -> bytearray:
    data = bytearray(size)
    left = memoryview(data)
    while left:
        count = os.readv(connection.fileno(), [left])
        if not count:
            raise EOFError
        left = left[count:]
    return data
