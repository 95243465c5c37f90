"""Secrets that are given on the command line: warned of where they can be read, taken from files and from a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli_jobs import write
from support.command_line import CommandLine

JOB = """
    from tui_runner import Secret, job

    @job(threads=1)
    def fetch(number: int, *, token: Secret, base: str = "x"):
        return {"size": len(token), "start": ord(token[0]), "base": base}
"""
RUN = ("run", "fetch.py", "--input", "range:0:1", "--backend", "inline", "--quiet", "--new")
WARNING = (
    "warning: the secret token is on the command line, where every user of this machine can read it; "
    "set TUI_RUNNER_SET_TOKEN, or write --set token=@FILE"
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    write(tmp_path, "fetch.py", JOB)
    (tmp_path / "token.txt").write_text("geheim-7\n")
    return tmp_path


def stored(cli: CommandLine, here: Path) -> str:
    asked = cli("query", "fetch.duckdb", 'SELECT size, start, base FROM "fetch" ORDER BY _run DESC', cwd=here)
    return asked.out.splitlines()[1]


def test_a_secret_on_the_command_line_is_warned_of_and_one_elsewhere_is_not(cli: CommandLine, here: Path) -> None:
    told = cli(*RUN, "--set", "token=geheim", cwd=here)
    assert (told.code, told.err.splitlines()) == (0, [WARNING])
    assert cli("try", "fetch.py", "--input", "range:0:1", "--set", "token=geheim", cwd=here).err.splitlines() == [
        WARNING
    ]
    quiet = cli(*RUN, cwd=here, environ={"TUI_RUNNER_SET_TOKEN": "geheim"})
    assert (quiet.code, quiet.err) == (0, "")
    assert (cli(*RUN, "--set", "token=@token.txt", cwd=here).err, stored(cli, here)) == ("", f"8,{ord('g')},x")


def test_a_secret_may_be_in_a_file_or_a_pipe_and_begin_with_the_sign_of_a_file(cli: CommandLine, here: Path) -> None:
    assert cli(*RUN, "--set", "token=@-", cwd=here, stdin="pipe\n").code == 0
    assert stored(cli, here) == f"4,{ord('p')},x"
    assert cli(*RUN, "--set", "token=@@me", cwd=here).err.splitlines() == [WARNING]
    assert stored(cli, here) == f"3,{ord('@')},x"
    # What is no secret is never a file.
    assert cli(*RUN, "--set", "token=@token.txt", "--set", "base=@token.txt", cwd=here).code == 0
    assert stored(cli, here) == f"8,{ord('g')},@token.txt"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--set", "token=@none.txt"],
            "none.txt for the secret token: cannot be read (no such file or directory); check the path",
        ),
        (["--set", "token=@empty"], "empty for the secret token: it is empty"),
        (["--set", "token=@latin"], "latin for the secret token: it is not UTF-8 text"),
        (["--set", "token=@."], ". for the secret token: cannot be read (is a directory)"),
    ],
)
def test_a_file_without_a_secret_is_refused(cli: CommandLine, here: Path, arguments: list[str], said: str) -> None:
    (here / "empty").write_text("\n")
    (here / "latin").write_bytes(b"\xe9")
    refused = cli(*RUN, *arguments, cwd=here)
    assert refused.code == 2
    assert said in refused.complaint
    assert not (here / "fetch.duckdb").exists()


def test_standard_input_is_read_for_one_thing_alone(cli: CommandLine, here: Path) -> None:
    refused = cli("run", "fetch.py", "--input", "-", "--set", "token=@-", cwd=here, stdin="1\n")
    assert refused.code == 2
    assert refused.complaint == (
        "standard input for the secret token: is taken already: the items come from it; give a file with @FILE"
    )
