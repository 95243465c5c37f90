"""Runs command lines in processes of their own, quickly: each is forked from one that has everything imported.

Exit codes, files, locks, and what goes to standard output and standard error are those of a real process. Where the
start of Python itself is at stake (arguments as bytes, signals, what is imported) tests start Python instead.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error, without the name of the program."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("tui-runner: ")
        assert lines[0].isprintable()
        return lines[0].removeprefix("tui-runner: ")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON events on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Calls `tui-runner` with arguments."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def __call__(
        self, *arguments: object, cwd: Path, stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> Finished:
        """Run one command line in the folder `cwd`."""
        config = {"XDG_CONFIG_HOME": str(cwd / "no-config")}
        request = [list(map(str, arguments)), str(cwd), stdin, config | dict(environ or {})]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Finished(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process that the others are forked from."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve() -> None:
    """Answer requests of `CommandLine` until there are no more."""
    import tui_runner.cli.doctor
    import tui_runner.cli.query
    import tui_runner.cli.reports
    import tui_runner.engine.trial  # noqa: F401 - so that every forked process has it
    from tui_runner.cli.main import main

    # Typer imports more when it first parses options.
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        main(["run", "no/such/job.py", "--limit", "1"])
    gc.freeze()
    for line in sys.stdin:
        arguments, folder, text, environ = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(text.encode())
            given.seek(0)
            child = os.fork()
            if child == 0:
                _be(arguments, folder, environ, (given.fileno(), out.fileno(), err.fileno()))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answer = [code]
            for stream in (out, err):
                stream.seek(0)
                answer.append(stream.read().decode())
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _be(arguments: list[str], folder: str, environ: dict[str, str], descriptors: tuple[int, int, int]) -> None:
    """Be a `tui-runner` with these arguments, and end."""
    from tui_runner.cli.main import main

    code = 99
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        # As Python makes them when it starts; they stay open until the end.
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        os.environ.update(environ)
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
