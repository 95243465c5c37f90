"""`try`: calls the job with its first items in this process; no files remain."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import ROOT

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.planning.request import RunRequest
from tui_runner.engine.trial import run_trial
from tui_runner.errors import UserError
from tui_runner.system.private_folder import private_folder


@pytest.fixture
def tried(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Tries a job in `tmp_path`: the exit code, and what is printed. Looks that no file is left."""
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)

    def attempt(job: str, count: int = 3, **request: object) -> tuple[int, str]:
        out = io.StringIO()
        try:
            code = run_trial(RunRequest(job=job, limit=count, **request), out, CapturedOutput())  # type: ignore[arg-type]
        finally:
            assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in ([], ["__pycache__"])
            assert list(private_folder().iterdir()) == []
        return code, out.getvalue()

    return attempt


def test_items_columns_and_rows_are_shown(job_file: Callable[..., str], tried: Callable[..., tuple[int, str]]) -> None:
    path = job_file("""
        from datetime import date
        from tui_runner import current, job

        @job(table="pages")
        def fetch(number):
            current.log(f"at {number}\\x1b[2J")
            print("printed")
            return [{"number": number, "day": date(2026, 1, 31), "tags": ["a", "b"]}] * number

        @fetch.items
        def numbers():
            return range(1000)
    """)
    code, out = tried(path)
    log, shown = out.split("item 0: ", 1)
    assert code == 0
    assert log.splitlines() == ["at 0␛[2J", "printed", "at 1␛[2J", "printed", "at 2␛[2J", "printed"]
    lines = shown.splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines[:3]] == [
        "done, 0 rows",
        "item 1: done, 1 row",
        "item 2: done, 2 rows",
    ]
    assert lines[4:8] == ["table pages: 3 rows, 3 columns", "  number: BIGINT", "  day: DATE", "  tags: JSON"]
    assert lines[-2:] == ['    2       2  2026-01-31  ["a","b"]', "(3 rows)"]


def test_a_job_that_is_async_works(job_file: Callable[..., str], tried: Callable[..., tuple[int, str]]) -> None:
    path = job_file("""
        import asyncio

        async def fetch(number):
            await asyncio.sleep(0)
            return number * 1.5
    """)
    code, out = tried(f"{path}:fetch", 1, input="range:3:9")
    assert code == 0
    assert "3 (item 0): done, 1 row, " in out
    assert "table fetch: 1 row, 1 column\n  value: DOUBLE\n" in out
    assert out.endswith("    0    4.5\n(1 row)\n")


def test_failing_item_is_shown_with_its_traceback_and_tried_once(
    job_file: Callable[..., str], tried: Callable[..., tuple[int, str]]
) -> None:
    path = job_file("""
        from tui_runner import job

        @job(retries=5)
        def fetch(number):
            raise ValueError("no\\x1b[2J")
    """)
    code, out = tried(path, 1, input="range:0:9")
    assert code == 1
    assert out.startswith("item 0: failed, ")
    assert 'in fetch\n    raise ValueError("no' in out
    assert out.endswith("ValueError: no␛[2J\n")
    assert out.count("Traceback") == 1


def test_no_items_and_no_rows_are_said(job_file: Callable[..., str], tried: Callable[..., tuple[int, str]]) -> None:
    path = job_file("def nothing(number): return None")
    assert tried(f"{path}:nothing", input="range:0:0") == (0, "the input has no items\n")
    code, out = tried(f"{path}:nothing", 1, input="range:0:5")
    assert (code, out.split(",")[:2]) == (0, ["item 0: done", " 0 rows"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@fetch.setup\ndef prepare():\n    raise ValueError('no key')", "fetch: .*no key"),
        ("@fetch.items\ndef numbers():\n    yield 1 / 0", "ZeroDivisionError"),
        ("", "no items of its own"),
    ],
    ids=["setup", "items", "no items"],
)
def test_a_job_at_fault_is_one_message(
    job_file: Callable[..., str], tried: Callable[..., tuple[int, str]], source: str, message: str
) -> None:
    items = "" if "items" in source or not source else "\nfetch.items(lambda: [1])\n"
    path = job_file(f"from tui_runner import job\n\n@job\ndef fetch(number): return number\n\n{source}{items}")
    with pytest.raises(UserError, match=message):
        tried(path)


def test_a_process_that_has_tried_a_job_ends_without_a_word_of_its_libraries(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tui_runner", "try", "flaky"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.stdout and done.stderr == b""


def test_the_rows_of_an_item_are_shown_as_it_returned_them(
    job_file: Callable[..., str], tried: Callable[..., tuple[int, str]]
) -> None:
    path = job_file("""
        from tui_runner import job

        @job(table="books")
        def fetch(number):
            return [{"title": f"book {number * 100 + place}"} for place in range(30)]

        @fetch.items
        def numbers():
            return range(3)
    """)
    _, shown = tried(path)
    titles = [line.split("book ")[1] for line in shown.splitlines() if "book " in line]
    assert titles == [str(place) for place in range(20)]
