"""Splits and concatenates Arrow batches, and converts tables to and from Arrow IPC streams.

DuckDB returns batches with the requested number of rows, even if the rows are very wide; internally it works on 2,048
rows at a time. So few rows are requested at a time. Small batches are then concatenated, and large ones split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

READ_ROWS = 512
"""Rows requested from DuckDB at a time. With 256, reading ordinary rows takes half as long again. With 2,048, a batch
of wide rows takes as much memory as DuckDB itself uses for them."""
PIECE_BYTES = 4 << 20
"""Approximate largest size of a piece in bytes; a single row may be larger. As Python objects, the values take several
times as much memory."""
PIECE_ROWS = 4_096
"""Largest number of rows in a piece. Converting so many rows to Python objects holds the interpreter lock for some
milliseconds."""

_MEASURED_FROM = 1 << 17
"""Bytes of a table from which the size of its stream is computed before the stream is written. A growing buffer is
copied each time its size doubles: writing 2 MB took 2.0 ms. It takes 0.8 ms into a buffer of the right size, and
computing that size takes 5 µs."""


def gathered(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """Return the next rows of a reader, in one batch of about a piece's size; None after the last rows."""
    parts: list[pa.RecordBatch] = []
    rows = nbytes = 0
    while rows + READ_ROWS <= PIECE_ROWS and nbytes < PIECE_BYTES:
        try:
            part = reader.read_next_batch()
        except StopIteration:  # the last batch was read
            break
        parts.append(part)
        rows += part.num_rows
        nbytes += part.nbytes
    if len(parts) > 1:
        return pa.concat_batches(parts)
    return parts[0] if parts else None


def pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches` in pieces. Each is a view of its batch: release it before requesting the next."""
    for batch in batches:
        rows = min(PIECE_ROWS, max(1, batch.num_rows * PIECE_BYTES // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
        del batch  # free its memory before the next batch is read


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
    """Return the table in an Arrow IPC stream. Its columns share the memory of `stream`."""
    return pa.ipc.open_stream(stream).read_all()
