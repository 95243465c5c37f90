"""The errors screen, `tui-runner errors` and the ready-made query count the same failures."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from pathlib import Path

from support.command_line import CommandLine
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import screen_text, settled

from tui_runner.engine.states import RunState
from tui_runner.store.access import LocalAccess
from tui_runner.store.database import Database
from tui_runner.store.query.catalog import catalog, query_templates
from tui_runner.tui.app import RunnerApp

JOB = """
    from pathlib import Path
    from tui_runner import job

    @job(threads=1, retries=0)
    def work(n: int):
        if n in (3, 7) and not (n == 3 and Path("mended").exists()):
            raise ValueError(f"page {n} is empty")
        return n

    @work.items
    def numbers():
        return range(10)
"""


async def test_screen_command_and_query_agree_after_a_retry_mended_one_of_two_items(
    cli: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB))
    assert cli("run", "work.py", cwd=tmp_path).code == 1
    (tmp_path / "mended").touch()
    retried = cli("retry", "work.duckdb", cwd=tmp_path)
    assert retried.code == 1

    told = cli("errors", "work.duckdb", cwd=tmp_path).out
    assert "  1 × ValueError: page 7 is empty (+1 attempt later succeeded)\n" in retried.err
    assert re.search(r"^1 × ValueError: page 7 is empty\n +1 item failed \(\+1 attempt later succeeded\)", told)

    with Database.open(tmp_path / "work.duckdb", create=False) as database:
        with LocalAccess(database).console() as console:
            (failures,) = (query for query in query_templates(catalog(console)) if query.title == "Failures by type")
            with console.query(failures.sql) as result:
                (row,) = result.read_all().to_pylist()
        assert (row["type"], row["alike"], row["items_failed"], row["attempts"]) == (
            "ValueError", "page N is empty", 1, 3,
        )  # fmt: skip

        control = FakeRunControl(replace(busy(), run_id=1, state=RunState.FINISHED, items_failed=1))
        control.database = database
        async with driven(RunnerApp(control), size=(120, 40)) as pilot:
            await settled(pilot)
            await pilot.press("e")
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
            assert "1 item failed  3 failed attempts of 1 kind" in screen_text(pilot.app)
