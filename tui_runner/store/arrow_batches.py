"""Splits and gathers Arrow batches, and converts tables to and from Arrow IPC streams.

DuckDB returns batches with the requested number of rows, however wide the rows are; internally it works on 2,048 rows
at a time. So few rows are requested. Small batches are gathered, large ones are split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

READ_ROWS = 512
"""Rows requested from DuckDB at a time. With 256, reading ordinary rows takes half as long again. With 2,048, a batch
of wide rows takes as much memory as DuckDB itself uses for them."""
PIECE_BYTES = 4 << 20
"""Approximate bytes of a piece, unless a single row is larger. As Python objects its values take several times that."""
PIECE_ROWS = 4_096
"""Rows of a piece at most. Converting them to Python objects holds the interpreter lock for some milliseconds."""

_MEASURED_FROM = 1 << 17
"""The size of a stream is measured before it is written if its table has at least this many bytes. A growing buffer is
copied each time it doubles: writing 2 MB took 2.0 ms. Into a buffer of the right size it takes 0.8 ms, and measuring
takes 5 µs."""


def gathered(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """Return the next rows of a reader of small batches, enough to make a piece; None after the last ones."""
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
    """Yield the rows of `batches` in pieces. Each is a view of its batch: release it before requesting the next one."""
    for batch in batches:
        rows = min(PIECE_ROWS, max(1, batch.num_rows * PIECE_BYTES // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
        del batch  # frees its memory before the next batch is read


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
