"""Checks the Arrow stream of another process before its values are read.

Arrow's reader does not check the lengths, offsets and indices that the other side wrote; reading values by forged ones
reads other memory, or crashes. `validate(full=True)` checks all of them, in 5 to 8 % of the time that a result of a
million rows takes to arrive. It also refuses values that DuckDB has and Arrow does not: a HUGEINT of 39 digits, the
time 24:00:00. They do no harm, so decimals are checked as bytes and times as integers.
"""

from __future__ import annotations

import pyarrow as pa

from tui_runner.batches import PIECE_ROWS
from tui_runner.store.result import TYPE_KEY


class AnswerCheck:
    """Checks the batches of one answer.

    Args:
        schema: as the other side sent it.

    Raises:
        ValueError: no tui-runner sends such a schema.
    """

    def __init__(self, schema: pa.Schema) -> None:
        names = schema.names
        if not names or len(set(names)) < len(names):
            raise ValueError("columns without distinct names")
        for field in schema:
            _check_text(field)
        self._types = [_stored(field.type) for field in schema]

    def check(self, batch: pa.RecordBatch) -> None:
        """Raise an error if a batch describes memory that is not part of it.

        Raises:
            ValueError, pa.ArrowException: it does.
        """
        if batch.num_rows > PIECE_ROWS:
            raise ValueError("more rows than a tui-runner sends at once")
        batch.validate()  # what `view` relies on
        for column, kind in zip(batch.columns, self._types, strict=True):
            (column if kind == column.type else column.view(kind)).validate(full=True)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of `kind` are checked as.

    Raises:
        ValueError: `store/readable.py` lets no such type through.
    """
    types = pa.types
    if types.is_decimal(kind):
        return pa.binary(kind.byte_width)
    if types.is_time(kind):
        return pa.int64() if types.is_time64(kind) else pa.int32()
    if types.is_struct(kind):
        return pa.struct([_stored_field(field) for field in kind])
    if types.is_large_list(kind):
        return pa.large_list(_stored_field(kind.value_field))
    if types.is_list(kind):
        return pa.list_(_stored_field(kind.value_field))
    if types.is_fixed_size_list(kind):
        return pa.list_(_stored_field(kind.value_field), kind.list_size)
    if types.is_map(kind):
        return pa.map_(_stored_field(kind.key_field), _stored_field(kind.item_field))
    if any(is_such(kind.value_type if types.is_dictionary(kind) else kind) for is_such in _SCALARS):
        return kind
    raise ValueError(f"{kind} is no type of an answer")


_SCALARS = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def _stored_field(field: pa.Field) -> pa.Field:
    _check_text(field)
    return field.with_type(_stored(field.type))


def _check_text(field: pa.Field) -> None:
    """Raise a ValueError if the name of a field, or DuckDB's name of its type, is no text."""
    field.name.encode()
    (field.metadata or {}).get(TYPE_KEY, b"").decode()
