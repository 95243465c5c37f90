"""`os._exit` while a job is imported."""

from __future__ import annotations

import os
import re
import signal
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine

from tui_runner.system import process
from tui_runner.system.process import no_exit_at_once

Rows = Callable[..., list[tuple[Any, ...]]]


def test_os_exit_raises_within_the_guard_and_is_itself_again_afterwards() -> None:
    others = bool(process._guarded)  # generators of other tests that block for ever
    with no_exit_at_once():
        with pytest.raises(SystemExit) as ended, no_exit_at_once():
            os._exit(7)
        assert ended.value.code == 7
        assert os._exit is not process._exit_at_once
    assert others or os._exit is process._exit_at_once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_meanwhile_ends_as_it_wants_to() -> None:
    with no_exit_at_once():
        child = os.fork()
        if not child:
            try:
                os._exit(7)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)  # if it raised, this copy of the tests must not continue
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_another_thread_can_end_the_program_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(process, "_exit_at_once", ended.append)
    with no_exit_at_once():
        other = threading.Thread(target=os._exit, args=(3,))
        other.start()
        other.join()
        assert ended == [3]
        with pytest.raises(SystemExit):
            os._exit(4)
    monkeypatch.undo()
    os._exit = process._exit_at_once


JOB = """
    import os
    from tui_runner import job

    class Last:
        def __reduce__(self):
            return os._exit, (9,)

    @job
    def ends(n: object):
        return {"n": str(n)}

    @ends.items
    def numbers():
        yield 1
        yield Last()
        yield 3
"""


def test_neither_an_item_nor_the_items_end_the_program(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "ends.py").write_text(textwrap.dedent(JOB))
    assert cli("run", "ends.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path).code == 1
    assert rows("SELECT item, state FROM runner.items ORDER BY item") == [(0, "ok"), (1, "failed"), (2, "ok")]
    items = JOB.replace("yield Last()", "os._exit(0)")
    (tmp_path / "ends.py").write_text(textwrap.dedent(items))
    stopped = cli("run", "ends.py", "--db", "y.duckdb", "--quiet", cwd=tmp_path)
    assert stopped.code in (2, 3)  # as none or one of the items before had ended
    assert re.search(r"ends.py:\d+: making the items failed: SystemExit: 0$", stopped.err, re.MULTILINE)
