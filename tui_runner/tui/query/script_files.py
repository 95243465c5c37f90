"""Statements outside of the query screen: its history, files of statements, and `$EDITOR`."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from textual.app import App

from tui_runner.errors import UserError
from tui_runner.system.files import (
    check_links,
    expanded,
    open_own,
    read_regular,
    replaced,
    state_folder,
    written_atomically,
)
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.background import in_thread
from tui_runner.tui.dialogs.questions import AskTexts, Confirm
from tui_runner.tui.query.tab import QueryTab, TabHost
from tui_runner.tui.terminal.external_editor import edit_file

KEPT = 1_000
"""Statements in the history at most: months of work, in a file that is read in milliseconds."""
_LONGEST = 100_000
"""Characters of a statement in the history at most. Longer ones are generated."""
_LARGEST = 5_000_000
"""Bytes of a file of statements at most: a larger one is probably data with a wrong name."""


@dataclass(frozen=True, slots=True)
class PastStatement:
    """A statement that was run: its text, time (seconds since the epoch; None if unknown), and True if it failed."""

    sql: str
    at: float | None = None
    failed: bool = False


class History:
    """Statements that were run, newest last, in all databases; stored in a file that only its user may read.

    Errors of the file are ignored, so that statements can be run.

    Args:
        path: the file, which the first statement creates.
        clock: returns seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._entries: list[PastStatement] | None = None

    @classmethod
    def of_user(cls) -> History:
        """Return the history of the user who runs this process."""
        return cls(state_folder() / "queries.jsonl")

    @property
    def statements(self) -> list[str]:
        """The statements in the history, newest last, each once."""
        return [each.sql for each in self.entries]

    @property
    def entries(self) -> list[PastStatement]:
        """The statements in the history, with the time and outcome of their last run."""
        if self._entries is None:
            self._entries = self._read()
        return list(self._entries)

    def mark_failed(self, sql: str) -> None:
        """Mark the newest run of a statement as failed, if the statement is in the history."""
        if any(each.sql == sql for each in self.entries):
            self.add(sql, failed=True)

    def add(self, sql: str, *, failed: bool = False) -> None:
        """Add a statement as the newest one, with its outcome."""
        if not sql.strip() or len(sql) > _LONGEST:
            return
        # Another tui-runner may have added statements meanwhile.
        known = [each for each in self._read() if each.sql != sql]
        self._entries = [*known, PastStatement(sql, self._clock(), failed)][-KEPT:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not known:
                self._put_aside()
            with replaced(self._path) as stream:
                stream.writelines(json.dumps(asdict(each)).encode() + b"\n" for each in self._entries)
        except OSError:
            # On a full or read-only disk, only the history of the next start is lost.
            return

    def _put_aside(self) -> None:
        """Rename a history file without readable statements.

        Keep it, because a newer tui-runner, or the user, may be able to read it.
        """
        with contextlib.suppress(FileNotFoundError):  # there is no history yet
            if self._path.lstat().st_size:
                self._path.replace(self._path.with_name(f"{self._path.name}.unread"))

    def _read(self) -> list[PastStatement]:
        try:
            with open(self._path, "rb", opener=open_own) as file:
                lines = file.read().split(b"\n")
        except OSError:  # no history, or it cannot be read
            return list(self._entries or [])
        found: dict[str, PastStatement] = {}
        # If a line cannot be read, for example because of a byte that is not UTF-8, only that statement is lost.
        for line in lines:
            try:
                entry = _entry(json.loads(line))
            except (ValueError, OverflowError, RecursionError):
                continue
            if entry is not None:
                found.pop(entry.sql, None)
                found[entry.sql] = entry
        return list(found.values())[-KEPT:]


def _entry(found: object) -> PastStatement | None:
    """Return the entry in a line of the file: an object, or in early versions a text. Return None for anything else."""
    if isinstance(found, str):
        return PastStatement(found)
    if not isinstance(found, dict) or not isinstance(found.get("sql"), str):
        return None
    at = found.get("at")
    return PastStatement(found["sql"], float(at) if isinstance(at, int | float) else None, found.get("failed") is True)


def check_readable(path: Path) -> None:
    """Refuse a path that is not a file of statements, without reading it.

    Raises:
        UserError: there is no such file, it is a folder, pipe or device, or too large.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from error
    except ValueError as error:
        raise UserError("is not a file name", str(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError("is not a file", str(path))
    if found.st_size > _LARGEST:
        raise UserError("is too large for the editor", str(path), "use `tui-runner query -f`")


def check_writable(path: Path) -> None:
    """Refuse a path where statements cannot be saved.

    Raises:
        UserError: its folder does not exist, it is not a regular file, or the path has a link of another user.
    """
    check_links(path)
    try:
        if not path.parent.is_dir():
            raise UserError("its folder does not exist", str(path), "create the folder first")
        if path.exists() and not path.is_file():
            raise UserError("is not a file", str(path))
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", str(path)) from error


def read_statements(path: Path) -> str:
    """Return the text of a file of statements.

    Raises:
        UserError: it cannot be read, is not a regular file, is too large, or is not UTF-8 text.
    """
    path = expanded(path)
    check_readable(path)
    try:
        return read_regular(path, _LARGEST).decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("is not UTF-8 text", str(path)) from error


def write_statements(path: Path, text: str) -> None:
    """Save statements as a file.

    Raises:
        UserError: it cannot be written; the file is unchanged.
    """
    path = expanded(path)
    try:
        with written_atomically(path, replace=True) as stream:
            stream.write((text if text.endswith("\n") else text + "\n").encode())
    except UnicodeEncodeError as error:
        what = "the statements contain a lone surrogate, which is not a character"
        raise UserError(what, str(path), "remove it first") from error


def edited(app: App[object], text: str, environ: Mapping[str, str]) -> str:
    """Let `$VISUAL` or `$EDITOR` edit a text. Blocks the event loop, so that nothing draws over the editor.

    Raises:
        UserError: no editor is set, it cannot be started or fails, or the screen cannot be suspended.
    """
    with tempfile.TemporaryDirectory(prefix="tui-runner-") as folder:
        file = Path(folder) / "statements.sql"
        file.write_text(text, encoding="utf-8")
        edit_file(app, file, environ, unchanged="the statements are as before")
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, ValueError) as error:
            editor = environ.get("VISUAL") or environ.get("EDITOR", "")
            raise UserError(f"what the editor wrote cannot be read ({error})", editor) from error


def open_script(screen: TabHost) -> None:
    """Ask for a file, and open it in a new tab, or in this one if it is empty."""

    def answered(texts: list[str] | None) -> None:
        if texts is not None:
            screen.run_worker(_open(screen, file_named(texts)), name="open")

    hint = "A text file, such as queries.sql."
    screen.app.push_screen(
        AskTexts("Open statements", ["File"], hint=hint, check=lambda texts: check_readable(file_named(texts))),
        answered,
    )


def file_named(texts: list[str]) -> Path:
    """Return the path typed into a dialog with one field.

    Raises:
        UserError: nothing was typed, or the system knows no such user after `~`.
    """
    name = texts[0].strip()
    if not name:
        raise UserError("type the name of a file")
    return expanded(name)


async def _open(screen: TabHost, path: Path) -> None:
    try:
        text = await in_thread(lambda: read_statements(path), "tui-runner-file")
    except UserError as error:
        screen.complain(error)
        return
    tab = screen.tab
    if tab is None or tab.editor.text.strip():
        tab = await screen.add_tab(text)
    else:
        tab.editor.load_text(text)
    if tab is not None:
        tab.file, tab.saved = path, tab.editor.text
        screen.show_header()


def save_script(screen: TabHost, tab: QueryTab) -> None:
    """Ask for the file in which to save a tab's statements, and ask again before overwriting a file."""

    def answered(texts: list[str] | None) -> None:
        if texts is None:
            return
        path = file_named(texts)
        if path.exists() and path != tab.file:
            ask_overwrite(screen, path, lambda: _save(screen, tab, path))
        else:
            _save(screen, tab, path)

    known = "" if tab.file is None else str(tab.file)
    screen.app.push_screen(
        AskTexts("Save statements", ["File"], [known], check=lambda texts: check_writable(file_named(texts))), answered
    )


def _save(screen: TabHost, tab: QueryTab, path: Path) -> None:
    try:
        write_statements(path, tab.editor.text)
    except UserError as error:
        screen.complain(error)
        return
    tab.file, tab.saved = path, tab.editor.text
    screen.show_header()
    screen.notify(f"saved {safe_text(str(path), limit=200)}", markup=False)


def edit_elsewhere(screen: TabHost, tab: QueryTab) -> None:
    """Edit the statements with $EDITOR. Meanwhile the screen waits, but the run continues."""
    try:
        text = edited(screen.app, tab.editor.text, os.environ)
    except UserError as error:
        screen.complain(error)
        return
    if text != tab.editor.text:
        tab.editor.load_text(text)


def ask_overwrite(screen: TabHost, path: Path, then: Callable[[], None]) -> None:
    """Ask whether to replace a file, and call `then` on yes."""

    def answered(yes: bool | None) -> None:
        if yes:
            then()

    name = safe_text(path.name, limit=60)
    screen.app.push_screen(
        Confirm(f"Replace {name}?", "A file of this name exists; what is in it is lost.", "Replace", "Keep it"),
        answered,
    )
