"""An input that changes while a run is killed and started again, twice: each item ever read is recorded once.

CI takes every thirteenth case; `CASES=all pytest -m slow tests/faults/test_changed_inputs_killed.py` takes them all.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.killed_runs import ITEMS, KilledRun

SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))

Change = Callable[[list[int], random.Random], list[int]]


def _shuffled(numbers: list[int], chance: random.Random) -> list[int]:
    return chance.sample(numbers, len(numbers))


CHANGES: dict[str, Change] = {
    "a line in front": lambda numbers, _: [max(numbers) + 1, *numbers],
    "reordered": _shuffled,
    "appended": lambda numbers, _: [*numbers, *range(max(numbers) + 1, max(numbers) + 60)],
    "repeats removed": lambda numbers, _: list(dict.fromkeys(numbers)),
    "repeats added": lambda numbers, chance: [*chance.sample(numbers, 50), *numbers, *numbers[:50]],
    "items removed": lambda numbers, chance: [n for n in numbers if n % 3 or chance.random() < 0.5],
    "a column more": lambda numbers, _: numbers,
    "the function takes a column more": lambda numbers, _: numbers,
    "another chunk size": lambda numbers, _: numbers,
    "a limit": lambda numbers, _: [max(numbers) + 1, *numbers],
}

CASES = [
    *[
        (kind, change)
        for kind in ("txt", "csv", "jsonl", "parquet", "stdin", "sql-database", "function-list", "function-generator",
                     "function-objects", "glob-csv")
        for change in ("a line in front", "reordered", "appended", "repeats removed", "repeats added", "items removed")
    ],
    *[(kind, "a column more") for kind in ("csv", "jsonl", "parquet", "glob-csv", "csv.gz")],
    *[(kind, "the function takes a column more") for kind in ("csv", "parquet", "csv.gz", "glob-csv")],
    *[(kind, "another chunk size") for kind in ("range", "txt", "txt.gz", "csv", "parquet", "jsonl", "function-range")],
    *[(kind, "a limit") for kind in ("txt", "csv", "function-list", "stdin")],
]  # fmt: skip
if os.environ.get("CASES") != "all":
    CASES = CASES[::13]


@pytest.mark.parametrize(("kind", "change"), CASES)
@pytest.mark.timeout(300)
def test_each_item_that_was_ever_read_is_recorded_once(tmp_path: Path, kind: str, change: str) -> None:
    print(f"seed {SEED}")
    chance = random.Random(f"{SEED} {kind} {change}")
    run = KilledRun(tmp_path, kind, chance)
    repeats = [] if "range" in kind else [*range(0, 100, 3)]
    numbers = [*range(ITEMS - len(repeats)), *repeats]
    limit = ["--limit", str(ITEMS - 100)] if change == "a limit" else []

    def seen() -> list[int]:
        return numbers[: ITEMS - 100] if limit else numbers

    run.write_input(numbers)
    ever = Counter(seen())
    for last in (False, True):
        code = run.killed("--chunk-size", str(chance.choice([7, 40, 111])), *limit, how="app")
        assert code in (None, 1), (code, (tmp_path / "stderr").read_text())
        if code == 1:
            break  # it was faster: what would follow is another run
        numbers = CHANGES[change](numbers, chance)
        run.write_input(numbers, more_columns=change in ("a column more", "the function takes a column more"))
        if change == "the function takes a column more" and last:
            run.write_job(takes_more=True)
        ever |= Counter(seen())
    else:
        code = run.to_the_end("--chunk-size", str(chance.choice([13, 70])), *limit)
    assert code == 1, (code, SEED, (tmp_path / "stderr").read_text())  # something has failed
    gone = list((ever - Counter(seen())).elements())
    run.check(seen(), gone=gone)
    again = run.to_the_end(command="retry")
    assert again == 1, (again, SEED, (tmp_path / "stderr").read_text())
    run.check(seen(), gone=gone)
    (tmp_path / "mended").touch()
    code = run.to_the_end(command="retry")
    assert code == 0, (code, SEED, (tmp_path / "stderr").read_text())
    run.check(seen(), gone=gone, mended=True)
