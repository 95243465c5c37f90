"""Functions that each do something that a function should not do: the run ends, and the ledger has their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from tui_runner.engine.states import RunState

NASTY = """
    import ctypes, os, subprocess, sys, threading, time
    from tui_runner import job

    class Raises(Exception):
        def __str__(self):
            raise ValueError("no")

    class Endless(Exception):
        def __str__(self):
            return "x" * (100 << 20)

    class Messy:
        def __del__(self):
            raise RuntimeError("in __del__")

    kept = []
    written = threading.Semaphore(0)
    forking = threading.Lock()  # a fork amid Popen would hold the pipe by which Popen waits for its child

    def rows_for_ever():
        while True:
            yield {"text": "x" * (16 << 20)}

    @job(chunk_size=5, threads=4, retries=0)
    def nasty(kind: str):
        match kind:
            case "segfault": ctypes.string_at(0)
            case "leak": kept.append(bytearray(20 << 20))
            case "print":
                for n in range(50_000): print("flood", n)
            case "write":
                try:
                    for n in range(50_000): os.write(1, b"native flood\\n")
                finally:
                    written.release()
            case "no line end": print("y" * (5 << 20), end="")
            case "fork":
                if not os.fork():
                    return {"kind": "from the fork"}
            case "forked for long":
                with forking:
                    if not os.fork():
                        time.sleep(600)  # and holds the worker's pipes open
            case "child":
                with forking:
                    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            case "close":
                written.acquire(timeout=10)
                os.closerange(0, 3)
            case "del": Messy()
            case "raising str": raise Raises()
            case "long str": raise Endless()
            case "gigabyte": return {"text": "x" * (1 << 30)}
            case "endless": return rows_for_ever()
            case "many columns": return {f"column_{n}": n for n in range(200)}
        if kind.startswith("schema"):
            n = int(kind.split()[1])
            return {"same": [1, 2.5, "x", None, [1], {"a": 1}, b"b", True][n % 8], f"own_{n}": n}
        return {"kind": kind}

    @nasty.items
    def kinds():
        yield from (
            "segfault", "leak", "print", "write", "no line end", "fork", "forked for long", "child", "close", "del",
            "raising str", "long str", "gigabyte", "endless", "many columns",
        )
        for n in range(16):
            yield f"schema {n}"
"""


def test_whatever_a_function_does_the_ledger_is_right_and_nothing_is_left_behind(
    job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    run = new_run(job_file(NASTY), grace=1).start()
    snapshot = run.finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    errors = rows("SELECT item_text, type, message, length(traceback) FROM runner.errors WHERE final ORDER BY item")
    assert {(item, kind) for item, kind, _, _ in errors} == {
        ("segfault", "WorkerKilled"),
        ("raising str", "Raises"),
        ("long str", "Endless"),
        ("gigabyte", "RowError"),
        ("endless", "RowError"),
    }
    assert all(len(message) <= 10_000 and length <= 20_000 for _, _, message, length in errors)
    assert rows("SELECT state, count(*), sum(rows) FROM runner.items GROUP BY 1 ORDER BY 1") == [
        ("failed", 5, 0),
        ("ok", 26, 26),
    ]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM nasty") == [(26, 26)]
    assert rows("SELECT count(*) FROM nasty WHERE kind = 'from the fork'") == [(0,)]
    assert rows("SELECT column_99, own_7 FROM nasty WHERE column_99 > 0 OR own_7 > 0 ORDER BY 1") == [
        (99, None),
        (None, 7),
    ]
    # The server that workers are forked from stays for the next run; what the job has forked does not.
    grandchildren = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [line for line in grandchildren if "time.sleep(600)" in " ".join(line)]
    assert not [line for line in grandchildren if "nasty" in " ".join(line)]


POOLS = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from tui_runner import job

    @job(retries=0)
    def pools(kind: str):
        if kind == "pool":
            multiprocessing.Pool(1)
        with ProcessPoolExecutor(1) as executor:
            return executor.submit(abs, 1).result()

    @pools.items
    def kinds():
        return ["pool", "executor"]
"""


def test_a_function_that_starts_a_pool_fails_with_advice(
    job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    assert new_run(job_file(POOLS)).start().finish().items_failed == 2
    said = "daemonic processes are not allowed to have children; --workers N runs items in N processes"
    assert rows("SELECT DISTINCT message FROM runner.errors") == [(said,)]
