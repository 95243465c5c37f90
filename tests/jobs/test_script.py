"""A job's file that starts its run itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.jobs.loading import ScriptEnds, abort_if_importing, load_job


def test_outside_of_the_loader_nothing_ends() -> None:
    assert abort_if_importing() is None


def test_an_end_is_no_error_that_a_script_would_catch() -> None:
    assert not issubclass(ScriptEnds, Exception)


def test_loading_a_script_neither_runs_nor_does_what_comes_behind(tmp_path: Path, job_file: Callable[..., str]) -> None:
    path = job_file("""
        from pathlib import Path
        from tui_runner import job, run

        @job
        def squares(number):
            return number * number

        def main():
            run(squares, range(5), database=Path(__file__).with_name("x.duckdb"))

        try:
            main()
        except Exception:
            pass
        Path(__file__).with_name("behind").touch()
    """)
    with contextlib.suppress(UserError):
        load_job(path)
    assert [each.name for each in tmp_path.iterdir() if each.name != "__pycache__"] == ["work.py"]
