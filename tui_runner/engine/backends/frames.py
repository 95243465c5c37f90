"""Encodes orders and reports as frames of bytes, for workers on other machines.

Orders are pickled, because they are sent to machines that run the user's code anyway. Reports are not pickled, because
a user who may run tasks on a cluster must not be able to run code in this program. Reports are msgpack, decoded with
the annotations of `engine/protocol.py` as schema. Their rows are Arrow streams, which are validated before other code
reads them.
"""

from __future__ import annotations

import pickle
import struct
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, get_args

import msgspec
import pyarrow as pa

from tui_runner.engine.backends.code import Bundle
from tui_runner.engine.protocol import Order, Report, ResultBatch, WorkerConfig
from tui_runner.store.records import ADDED, ERRORS, ITEMS

Command = tuple[str, Any]
"""A command to a host: ("code", Bundle), ("start", WorkerConfig), ("send", (worker, Order)) or ("kill", worker)."""
_KINDS = {kind.__name__: kind for kind in get_args(Report)}
"""Types of reports by name. A report with another name is refused."""
_SIZES = struct.Struct("!I")
"""Format of the numbers at the head of a frame, in network byte order: the number of parts, and the size of each part
in bytes."""
LENGTH = struct.Struct("!I")
"""Format of the length that precedes each frame in a stream, in network byte order. So a frame has at most 4 GB."""
MOST_BUFFERS = 100_000
"""Most parts of a report. A larger number means that the frame is damaged or forged."""


class BadFrame(ValueError):
    """Raised for a report that no host process of this version sends."""


def pack_command(kind: str, content: Bundle | WorkerConfig | tuple[int, Order] | int) -> bytes:
    """Return the frame of a command."""
    return pickle.dumps((kind, content), protocol=pickle.HIGHEST_PROTOCOL)


def unpack_command(frame: bytes) -> Command:
    """Return the command in a frame. Called in a host process, which trusts the program that started it."""
    command: Command = pickle.loads(frame)  # noqa: S301 - from the program that has started this host process
    return command


def pack_report(report: Report) -> bytes:
    """Return the frame of a report: its fields as msgpack, then its Arrow streams.

    Values of failed items stay the bytes that the worker has pickled; only another worker unpickles them.
    `failing_since` is sent as an age in seconds, because monotonic clocks of two machines differ.
    """
    if isinstance(report, ResultBatch):
        report = replace(report, failing_since=time.monotonic() - report.failing_since)
    buffers: list[bytes] = []

    def hook(value: Any) -> Any:
        if isinstance(value, pa.Buffer):
            buffers.append(value.to_pybytes())
            return len(buffers) - 1
        if isinstance(value, array):
            return value.tolist()
        raise NotImplementedError(type(value))

    head = msgspec.msgpack.encode((type(report).__name__, report), enc_hook=hook)
    sizes = [len(head), *map(len, buffers)]
    return b"".join([_SIZES.pack(len(sizes)), *map(_SIZES.pack, sizes), head, *buffers])


def unpack_report(frame: bytes) -> Report:
    """Return the report in a frame.

    Raises:
        BadFrame: the frame is not a report, or its Arrow streams are not valid.
    """
    try:
        head, *buffers = _parts(frame)
        name, fields = msgspec.msgpack.decode(head, strict=False)
        report = _convert(_KINDS[name], fields)
        return _checked(report, buffers) if isinstance(report, ResultBatch) else report
    # All errors that damaged or forged bytes may cause.
    except (
        msgspec.MsgspecError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        struct.error,
        pa.ArrowException,
    ) as error:
        raise BadFrame(f"a report cannot be read ({error})") from error


def read_frames(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the frames of a stream until it ends; an incomplete last frame is dropped."""
    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        (size,) = LENGTH.unpack(head)
        frame = stream.read(size)
        if len(frame) < size:
            return
        yield frame


def write_frame(stream: BinaryIO, frame: bytes) -> None:
    """Write a frame to a stream. Not thread-safe.

    Raises:
        OSError: the reader has closed the stream.
    """
    stream.write(LENGTH.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _parts(frame: bytes) -> list[memoryview]:
    """Return the parts of a frame.

    Raises:
        ValueError: the number or the lengths of the parts are wrong.
    """
    view = memoryview(frame)
    (count,) = _SIZES.unpack_from(view)
    if not 0 < count <= MOST_BUFFERS:
        raise ValueError("it has no parts, or too many")
    sizes = [size for (size,) in _SIZES.iter_unpack(view[4 : 4 + 4 * count])]
    parts, start = [], 4 + 4 * count
    for size in sizes:
        parts.append(view[start : start + size])
        start += size
    if start != len(view):
        raise ValueError("the lengths of its parts are wrong")
    return parts


def _convert(kind: Any, fields: Any) -> Any:
    def hook(wanted: Any, value: Any) -> Any:
        if wanted is array:
            return array("q", value)
        raise NotImplementedError(wanted)

    return msgspec.convert(fields, kind, strict=False, dec_hook=hook, str_keys=False)


def _checked(batch: ResultBatch, buffers: Sequence[memoryview]) -> ResultBatch:
    """Return `batch` with the given Arrow streams in its fields, after validating each stream."""

    def stream(place: Any, schema: pa.Schema | None) -> pa.Buffer:
        buffer = pa.py_buffer(buffers[int(place)])
        with pa.ipc.open_stream(buffer) as reader:
            if schema is not None and reader.schema != schema:
                raise ValueError("its ledger rows do not have the expected columns")
            if schema is None and "_item" not in reader.schema.names:
                raise ValueError("its rows lack the column with the item")
            for rows in reader:
                rows.validate(full=True)
        return buffer

    return replace(
        batch,
        tables=tuple(stream(place, None) for place in batch.tables),
        items=stream(batch.items, ITEMS),
        errors=stream(batch.errors, ERRORS) if isinstance(batch.errors, int) else b"",
        added=stream(batch.added, ADDED) if isinstance(batch.added, int) else b"",
        failing_since=time.monotonic() - batch.failing_since,
    )
