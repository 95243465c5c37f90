"""A run over any kind of input that is killed and started again: each item is recorded once.

Every part of a run is killed: the program, a worker, the server that workers come from, all of them at once. CI kills
each kind of input once; `KILLS=25 pytest tests/faults/test_kill_inputs.py` does it 25 times each.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support.killed_runs import ITEMS, KINDS, KilledRun

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))


IN_CI = frozenset({"txt", "csv.gz", "parquet", "range", "function-objects", "sql-database", "stdin"})
"""Kinds that `.ci/run` takes: one for each way of reading and of naming an item. All take two minutes on two cores."""


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in IN_CI else pytest.mark.exhaustive) for kind in KINDS]
)
@pytest.mark.timeout(200 + 30 * KILLS)
def test_killed_at_any_moment_each_item_is_recorded_once(tmp_path: Path, kind: str) -> None:
    chance = random.Random(f"{SEED} {kind}")
    kills = round = 0
    print(f"seed {SEED}")
    while kills < KILLS:
        round += 1
        folder = tmp_path / str(round)
        folder.mkdir()
        run = KilledRun(folder, kind, chance)
        repeats = [] if "range" in kind else [*range(0, 100, 3)]
        numbers = [*range(ITEMS - len(repeats)), *repeats]
        run.write_input(numbers)
        for _ in range(min(4, KILLS - kills)):
            size = str(chance.choice([7, 40, 111]))
            code = run.killed("--chunk-size", size)
            assert code in (None, 1, 2, 3, -2, -15, 130, 143), (code, (folder / "stderr").read_text())
            if code == 1 and " finished:" in (folder / "stderr").read_text():
                break
        else:
            code = run.to_the_end()
        assert code == 1, (code, SEED, (folder / "stderr").read_text())  # something has failed
        kills += max(1, run.kills)
        run.check(numbers)
        (folder / "mended").touch()
        code = run.killed(command="retry")
        if code != 0:
            code = run.end_retry()
        assert code == 0, (code, SEED, (folder / "stderr").read_text())
        run.check(numbers, mended=True)
