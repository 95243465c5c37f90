"""Native libraries share the processors among workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, sys
import numpy
import threadpoolctl
from tui_runner.system.process import limit_native_threads
limit_native_threads(1)
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
print(json.dumps([pools, os.environ.get("OMP_NUM_THREADS")]))
"""


def limited(**environ: str) -> tuple[list[int], str | None]:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | environ, capture_output=True, text=True, check=True
    )
    pools, variable = json.loads(done.stdout)
    return pools, variable


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_a_library_that_is_loaded_uses_no_more_threads_than_it_may() -> None:
    pools, variable = limited()
    assert set(pools) == {1}
    assert variable == "1", "for libraries that are loaded later, and programs that items start"


def test_thread_variables_of_the_user_stay() -> None:
    pools, variable = limited(OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2")
    assert variable == "2"
    assert 1 not in pools or len(os.sched_getaffinity(0)) < 2
