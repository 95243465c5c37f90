"""What the query screen keeps between two starts: the statements that were run, and files of statements."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.system.files import open_own, replaced, written_whole
from tui_runner.tui.state import state_folder

KEPT = 1_000
"""Statements that are remembered."""
_LONGEST = 100_000
"""Characters of a statement that is remembered."""
_LARGEST = 5_000_000
"""Bytes of a file of statements that is opened."""


class History:
    """Statements that were run, newest last, over all databases; kept in a file that only its user may read.

    Whatever is wrong with the file, statements can be run: it is not read, or not written.

    Args:
        path: the file; made at the first statement.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statements: list[str] | None = None

    @classmethod
    def of_user(cls) -> History:
        """The history of whoever runs this process."""
        return cls(state_folder(os.environ) / "queries.jsonl")

    @property
    def statements(self) -> list[str]:
        """Every statement that is remembered, newest last, each once."""
        if self._statements is None:
            self._statements = self._read()
        return list(self._statements)

    def add(self, sql: str) -> None:
        """Remember a statement as the newest."""
        if not sql.strip() or len(sql) > _LONGEST:
            return
        # Another tui-runner may have added some meanwhile.
        known = [each for each in self._read() if each != sql]
        self._statements = [*known, sql][-KEPT:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replaced(self._path) as stream:
                stream.writelines(json.dumps(each).encode() + b"\n" for each in self._statements)
        except OSError:
            # A full or read-only disk costs the history of the next start, nothing else.
            return

    def _read(self) -> list[str]:
        try:
            with open(self._path, "rb", opener=open_own) as file:
                lines = file.read().decode().splitlines()
        except (OSError, ValueError):
            return list(self._statements or [])
        found: dict[str, None] = {}
        for line in lines:
            try:
                sql = json.loads(line)
            except ValueError:
                continue
            if isinstance(sql, str):
                found.pop(sql, None)
                found[sql] = None
        return list(found)[-KEPT:]


def check_readable(path: Path) -> None:
    """Refuse what is no file of statements, without reading it.

    Raises:
        UserError: there is no such file, it is a folder, pipe or device, or too large.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from error
    except ValueError as error:
        raise UserError("is no name of a file", str(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError("is no file", str(path))
    if found.st_size > _LARGEST:
        raise UserError("is too large for the editor", str(path), "use `tui-runner query -f`")


def check_writable(path: Path) -> None:
    """Refuse to save statements where no file of them can be.

    Raises:
        UserError: its folder does not exist, or there is something else than a file.
    """
    try:
        if not path.parent.is_dir():
            raise UserError("its folder does not exist", str(path), "create the folder first")
        if path.exists() and not path.is_file():
            raise UserError("is no file", str(path))
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", str(path)) from error


def read_statements(path: Path) -> str:
    """The text of a file of statements.

    Raises:
        UserError: it cannot be read, is no file, is too large, or is no UTF-8 text.
    """
    path = path.expanduser()
    check_readable(path)
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("is not UTF-8 text", str(path)) from error


def write_statements(path: Path, text: str) -> None:
    """Save statements as a file.

    Raises:
        UserError: it cannot be written, and stays as it was.
    """
    path = path.expanduser()
    try:
        with written_whole(path, replace=True) as stream:
            stream.write((text if text.endswith("\n") else text + "\n").encode())
    except UnicodeEncodeError as error:
        raise UserError("the statements hold what is no character", str(path), "remove it first") from error
