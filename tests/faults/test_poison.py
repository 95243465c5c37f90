"""Items that kill their process: these are found and recorded as failed, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.waiting import eventually

from tui_runner.engine.states import RunState

POISON = """
    import ctypes, os, signal, threading
    from tui_runner import current, job

    @job(chunk_size=25, threads=8)
    def work(n: int):
        if n % 2:  # so that something is in flight beside those that kill
            threading.Event().wait(0.02)
        if n == 12:
            os._exit(0)
        if n == 40:
            ctypes.string_at(0)
        if n == 77:
            os.kill(os.getpid(), signal.SIGKILL)
        if n == 78 and current.attempt == 1:
            os.abort()
        return n

    @work.items
    def numbers():
        return range(100)
"""


def test_items_that_kill_their_worker_three_times_fail_and_the_others_do_not(
    job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    snapshot = new_run(job_file(POISON)).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert (snapshot.items_done, snapshot.items_failed) == (97, 3)
    assert rows("SELECT item, state, attempts FROM runner.items WHERE state <> 'ok' ORDER BY 1") == [
        (12, "failed", 3),
        (40, "failed", 3),
        (77, "failed", 3),
    ]
    assert rows("SELECT item, attempt, type, message, item_text, final FROM runner.errors WHERE final ORDER BY 1") == [
        (12, 3, "WorkerKilled", "killed its worker 3 times (the last time: ended by itself)", "12", True),
        (40, 3, "WorkerKilled", "killed its worker 3 times (the last time: killed by SIGSEGV)", "40", True),
        (77, 3, "WorkerKilled", "killed its worker 3 times (the last time: killed by SIGKILL)", "77", True),
    ]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM work") == [(97, 97)]
    ((most,),) = rows("SELECT max(attempts) FROM runner.items WHERE state = 'ok'")
    assert 1 < most <= 3, "an innocent item runs once more for each time it was in bad company"
    deaths = [event for event in snapshot.events if "is lost" in event.text or "death" in event.text]
    assert len(deaths) <= 3 * 3 + 1


RUIN = """
    import os
    from tui_runner import job

    @job(chunk_size=5, threads=4)
    def work(n: int):
        if n == 5:
            os.closerange(3, 256)  # the worker's connection, too: it learns of that when it reports
        return n

    @work.items
    def numbers():
        return range(40)
"""


def test_an_item_that_ruins_its_worker_and_returns_fails_and_the_others_do_not(
    job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    snapshot = new_run(job_file(RUIN)).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT item, state, attempts FROM runner.items WHERE state <> 'ok'") == [(5, "failed", 3)]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM work") == [(39, 39)]


def test_deaths_are_remembered_when_the_run_is_resumed(
    folder: Path, job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    """Killed after two deaths of its workers, a resumed run needs one more to give the item up."""
    job = job_file(
        """
        import os, pathlib, time
        from tui_runner import job

        @job(chunk_size=4, threads=1, retries=0)
        def poison(n: int):
            if n == 2:
                with pathlib.Path("deaths").open("a") as file:
                    file.write("x")
                while pathlib.Path("hold").exists() and pathlib.Path("deaths").stat().st_size > 2:
                    time.sleep(0.01)
                os._exit(9)
            return {"n": n}

        @poison.items
        def items():
            return range(8)
        """
    )
    hold = Path("hold")
    hold.touch()
    run = new_run(job, threads=1).start()
    eventually(lambda: Path("deaths").exists() and Path("deaths").stat().st_size == 3, "the third attempt")
    eventually(lambda: "death 2 of 3" in Path(run.runner.snapshot().log_file).read_text(), "the second death")
    run.runner.kill()
    run.finish()
    hold.unlink()
    assert rows("SELECT item, type, final FROM runner.errors") == [(2, "WorkerKilled", False)] * 2
    snapshot = new_run(job, threads=1, resume=True).start().finish()
    assert (snapshot.items_done, snapshot.items_failed) == (7, 1)
    assert Path("deaths").stat().st_size == 4
    assert rows("SELECT message FROM runner.errors WHERE final") == [
        ("killed its worker 3 times (the last time: ended with exit code 9)",)
    ]
