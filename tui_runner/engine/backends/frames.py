"""Orders and reports as frames, for workers on other machines.

Orders go where the user's code runs anyhow, so they are pickled. Reports come from there: who may run tasks on a
cluster must not thereby run code here. They are read with a schema, the annotations of `engine/protocol.py`, and their
rows are Arrow streams, which are checked before anything reads them.
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
from tui_runner.store.records import ERRORS, ITEMS

Command = tuple[str, Any]
"""A command for a host: ("code", Bundle), ("start", WorkerConfig), ("send", (worker, Order)), ("kill", worker)."""
_KINDS = {kind.__name__: kind for kind in get_args(Report)}
_SIZES = struct.Struct("!I")
LENGTH = struct.Struct("!I")
MOST_BUFFERS = 100_000


class BadFrame(ValueError):
    """A report that no host of this version sends."""


def pack_command(kind: str, content: Bundle | WorkerConfig | tuple[int, Order] | int) -> bytes:
    """Return a command as its frame has it."""
    return pickle.dumps((kind, content), protocol=pickle.HIGHEST_PROTOCOL)


def unpack_command(frame: bytes) -> Command:
    """Return the command of a frame; in a host, which trusts the program that has started it."""
    command: Command = pickle.loads(frame)  # noqa: S301 - from the program that has started this host
    return command


def pack_report(report: Report) -> bytes:
    """Return a report as its frame has it: the fields as msgpack, then the Arrow streams it has.

    The values of what failed for good stay the bytes that the worker has made: only a worker unpickles them.
    `failing_since` is an age on the way, because the clocks of two machines differ.
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
    """Return the report of a frame.

    Raises:
        BadFrame: it is none, or its rows are not what they say they are.
    """
    try:
        head, *buffers = _parts(frame)
        name, fields = msgspec.msgpack.decode(head, strict=False)
        report = _convert(_KINDS[name], fields)
        return _checked(report, buffers) if isinstance(report, ResultBatch) else report
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
    """Yield the frames of a stream until it ends; one that is cut is dropped."""
    while len(head := stream.read(LENGTH.size)) == LENGTH.size:
        (size,) = LENGTH.unpack(head)
        frame = stream.read(size)
        if len(frame) < size:
            return
        yield frame


def write_frame(stream: BinaryIO, frame: bytes) -> None:
    """Write a frame to a stream; one thread at a time.

    Raises:
        OSError: its reader has closed it.
    """
    stream.write(LENGTH.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _parts(frame: bytes) -> list[memoryview]:
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
        raise ValueError("its parts are not as long as they say")
    return parts


def _convert(kind: Any, fields: Any) -> Any:
    def hook(wanted: Any, value: Any) -> Any:
        if wanted is array:
            return array("q", value)
        raise NotImplementedError(wanted)

    return msgspec.convert(fields, kind, strict=False, dec_hook=hook, str_keys=False)


def _checked(batch: ResultBatch, buffers: Sequence[memoryview]) -> ResultBatch:
    """Put the Arrow streams of a batch into their places, checked."""

    def stream(place: Any, schema: pa.Schema | None) -> pa.Buffer:
        buffer = pa.py_buffer(buffers[int(place)])
        with pa.ipc.open_stream(buffer) as reader:
            if schema is not None and reader.schema != schema:
                raise ValueError("its ledger rows have other columns")
            if schema is None and "_item" not in reader.schema.names:
                raise ValueError("its rows do not say which items they are of")
            for rows in reader:
                rows.validate(full=True)
        return buffer

    return replace(
        batch,
        tables=tuple(stream(place, None) for place in batch.tables),
        items=stream(batch.items, ITEMS),
        errors=stream(batch.errors, ERRORS) if isinstance(batch.errors, int) else b"",
        failing_since=time.monotonic() - batch.failing_since,
    )
