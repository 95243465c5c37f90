"""Arrow batches: cut into pieces, gathered, and as bytes of an IPC stream.

DuckDB makes batches of as many rows as it was asked for, however wide these are; beneath them it has 2,048 rows in any
case. So it is asked for few, which are put together where they are small and taken apart where they are large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

READ_ROWS = 512
"""Rows to ask DuckDB for at a time: with 256 it takes half as long again for ordinary rows, with 2,048 a batch of wide
ones is as large as all that DuckDB itself has of them."""
PIECE_BYTES = 4 << 20
"""Of a piece, about, unless a single row has more: its values as Python objects take several times as much."""
PIECE_ROWS = 4_096
"""Of a piece at most: the interpreter is held while they become Python objects, for some milliseconds."""

_MEASURED_FROM = 1 << 17
"""Bytes from which a stream is measured before it is written. A buffer that grows is copied each time that it doubles:
2 MB took 2.0 ms, and take 0.8 ms in one of their size; measuring takes 5 µs."""


def gathered(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next rows of a reader of small batches, as many as make a piece; None behind the last."""
    parts: list[pa.RecordBatch] = []
    rows = nbytes = 0
    while rows + READ_ROWS <= PIECE_ROWS and nbytes < PIECE_BYTES:
        try:
            part = reader.read_next_batch()
        except StopIteration:
            break
        parts.append(part)
        rows += part.num_rows
        nbytes += part.nbytes
    if len(parts) > 1:
        return pa.concat_batches(parts)
    return parts[0] if parts else None


def pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of `batches`, each piece a view of its batch: let go of it before the next one is asked for."""
    for batch in batches:
        rows = min(PIECE_ROWS, max(1, batch.num_rows * PIECE_BYTES // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
        del batch  # not to be there beside the next one


def serialize(table: pa.Table) -> pa.Buffer:
    """Return a table as an Arrow IPC stream, in a buffer that can be pickled without a copy."""
    if table.nbytes < _MEASURED_FROM:
        sink = pa.BufferOutputStream()
        _write_stream(sink, table)
        return sink.getvalue()
    measure = pa.MockOutputStream()
    _write_stream(measure, table)
    buffer = pa.allocate_buffer(measure.size())
    _write_stream(pa.FixedSizeBufferWriter(buffer), table)
    return buffer


def _write_stream(sink: pa.NativeFile, table: pa.Table) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def deserialize(stream: pa.Buffer | bytes) -> pa.Table:
    """Return the table of an Arrow IPC stream; its columns share the memory of `stream`."""
    return pa.ipc.open_stream(stream).read_all()
