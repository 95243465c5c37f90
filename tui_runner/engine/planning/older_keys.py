"""Finds the columns that form the keys of a run of ledger version 2, which does not record them.

They are the columns that the job's function took at that time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from tui_runner.engine.planning.request import RunPlan
from tui_runner.errors import UserError
from tui_runner.inputs.keys import KeyColumns, key_columns, keyed, plain_key
from tui_runner.inputs.source import iterate
from tui_runner.store.ledger.recorded import RecordedItems
from tui_runner.text.messages import plain

_PROBED_ITEMS = 1_000
"""Items that are compared with the ledger: enough to find matches even if most items of the run have failed."""
_PROBE_SECONDS = 5.0
"""Seconds for trying subsets of columns. The number of subsets doubles with each column, and the user is waiting."""
_SUBSETS_AT_ONCE = 32
"""Subsets whose keys are looked up together, because the ledger is scanned once for all of them."""


def found_columns(plan: RunPlan, recorded: RecordedItems) -> KeyColumns:
    """Return the columns with which the largest number of the input's first items have a recorded key.

    Only the subsets that can be tried in `_PROBE_SECONDS` count.

    Return all columns if nothing can be compared: the input cannot be read, its items are no rows, or no item is
    recorded.

    Raises:
        UserError: no columns of the input yield a key that the ledger has.
    """
    source = plan.source
    every = key_columns(source.columns)
    if source.lost or isinstance(every, str) or not every or not recorded.end:
        return every
    items = [value for value in islice(iterate(source.open()), _PROBED_ITEMS) if isinstance(value, dict)]
    until = time.monotonic() + _PROBE_SECONDS
    best: KeyColumns = every
    most = 0
    taken = plan.job.wanted_columns(source.columns) or every
    candidates = _nearest(every, taken)
    while subsets := list(islice(candidates, _SUBSETS_AT_ONCE)):
        keys = {subset: [plain_key(keyed(item, subset)) for item in items] for subset in subsets}
        known = recorded.known_keys([key for each in keys.values() for key in each])
        for subset, own in keys.items():
            matches = sum(key in known for key in own)
            if matches > most:
                best, most = subset, matches
        if most == len(items) or time.monotonic() > until:
            break
    if not most:
        what = "none of its first items has a recorded key, whichever columns the key is made of"
        where = f"the input of run {recorded.run_id} of {plain(plan.database)}"
        raise UserError(what, where, "resume with the input that the run began with, or start a new run with --new")
    return best


def _nearest(every: Sequence[str], taken: Sequence[str]) -> Iterator[KeyColumns]:
    """Yield the subsets of columns, beginning with those most similar to `taken`."""
    for changes in range(len(every) + 1):
        for changed in combinations(every, changes):
            subset = tuple(name for name in every if (name in taken) is not (name in changed))
            if subset:
                yield subset
            if len(subset) == 1:
                # If the file had only this column, its items were the values themselves.
                yield subset[0]
