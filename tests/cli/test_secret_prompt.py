"""A secret that is needed and not given is asked for at the terminal, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tui_runner.cli import run
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.planning.request import RunRequest
from tui_runner.errors import UserError
from tui_runner.text.streams import SafeStream

pytestmark = pytest.mark.slow

JOB = """
    from tui_runner import Secret, job

    @job
    def work(n: int, *, token: Secret):
        return n
"""


@pytest.fixture
def request_for(job_file: Callable[[str], str], tmp_path: Path) -> RunRequest:
    return RunRequest(job_file(JOB), input="range:0:3", database=tmp_path / "x.duckdb")


def test_missing_secret_is_asked_for(request_for: RunRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    # What stands in for a stream while user code is loaded is no terminal.
    monkeypatch.setattr(run, "is_terminal", lambda stream: not isinstance(stream, SafeStream))
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompts.append(prompt) or "sesame")
    runner = run._planned(request_for, run.Display(), CapturedOutput())
    runner.close()
    assert prompts == ["token (secret, not shown): "]
    assert runner.plan.params == {"token": "sesame"}
    assert runner.plan.stored_params == {"token": "***"}


def test_without_a_terminal_the_message_says_how_to_give_it(
    request_for: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "is_terminal", lambda stream: False)
    with pytest.raises(UserError, match="needs the parameter token; give it as --set token=@FILE"):
        run._planned(request_for, run.Display(), CapturedOutput())
