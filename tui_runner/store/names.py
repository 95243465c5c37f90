"""Which column a returned key goes to: column names that can be seen, typed and told apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN

_UNSEEN = re.compile(
    # C0, DEL and C1; marks of direction and zero-width ones; line and paragraph separators; byte order mark.
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_NAMELESS = "column"


def new_names(raws: Iterable[str], known: Mapping[str, str], existing: Collection[str]) -> dict[str, str]:
    """Column names for keys that have none yet, in their order.

    SQL does not tell `A` from `a`: whichever comes second becomes `a_1`. A key that is the name of a column nobody's
    key leads to yet (one that was added by hand) goes into that column.

    Args:
        raws: keys as a function returned them.
        known: the column of each key that has one.
        existing: all columns of the table, those that tui-runner adds to each row included.

    Returns:
        The column of each key of `raws` that `known` lacks.
    """
    taken = {name.lower() for name in existing}
    free = set(existing) - set(known.values()) - {RUN_COLUMN, ITEM_COLUMN}
    found: dict[str, str] = {}
    for raw in raws:
        if raw in known or raw in found:
            continue
        if raw in free:
            found[raw] = raw
            free.discard(raw)
            continue
        base = _UNSEEN.sub("_", raw) if raw.strip() else _NAMELESS
        name, number = base, 0
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        found[raw] = name
    return found


def distinct(names: Iterable[str]) -> list[str]:
    """`names` with a number behind those that are there before, so that each is there once."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        result.append(candidate)
    return result
