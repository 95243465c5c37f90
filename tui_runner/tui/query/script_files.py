"""Statements kept between two starts of the query screen: its history, files of statements, and `$EDITOR`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from textual.app import App, SuspendNotSupported

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
from tui_runner.tui.terminal.driver import captured_output_of

KEPT = 1_000
"""Statements that are remembered: months of work, and a file that is read in milliseconds."""
_LONGEST = 100_000
"""Characters of a statement that is remembered. Longer ones are generated."""
_LARGEST = 5_000_000
"""Bytes of a file of statements that is opened: a larger one is data under a wrong name."""


@dataclass(frozen=True, slots=True)
class PastStatement:
    """A statement that was run: its text, when (seconds since the epoch; None where unknown), whether it failed."""

    sql: str
    at: float | None = None
    failed: bool = False


class History:
    """Statements that were run, newest last, over all databases; kept in a file that only its user may read.

    Whatever is wrong with the file, statements can be run: it is not read, or not written.

    Args:
        path: the file; made at the first statement.
        clock: seconds since the epoch.
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
        """Every statement that is remembered, newest last, each once."""
        return [each.sql for each in self.entries]

    @property
    def entries(self) -> list[PastStatement]:
        """The same statements, with when they were run last and how that ended."""
        if self._entries is None:
            self._entries = self._read()
        return list(self._entries)

    def mark_failed(self, sql: str) -> None:
        """Remember that the newest run of a statement has failed; one that is not remembered stays so."""
        if any(each.sql == sql for each in self.entries):
            self.add(sql, failed=True)

    def add(self, sql: str, *, failed: bool = False) -> None:
        """Remember a statement as the newest, and whether it has failed."""
        if not sql.strip() or len(sql) > _LONGEST:
            return
        # Another tui-runner may have added some meanwhile.
        known = [each for each in self._read() if each.sql != sql]
        self._entries = [*known, PastStatement(sql, self._clock(), failed)][-KEPT:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not known:
                self._put_aside()
            with replaced(self._path) as stream:
                stream.writelines(json.dumps(asdict(each)).encode() + b"\n" for each in self._entries)
        except OSError:
            # A full or read-only disk costs the history of the next start, nothing else.
            return

    def _put_aside(self) -> None:
        """Keep a file in which no statement could be read: a newer tui-runner, or the user, may be able to read it."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.lstat().st_size:
                self._path.replace(self._path.with_name(f"{self._path.name}.unread"))

    def _read(self) -> list[PastStatement]:
        try:
            with open(self._path, "rb", opener=open_own) as file:
                lines = file.read().split(b"\n")
        except OSError:
            return list(self._entries or [])
        found: dict[str, PastStatement] = {}
        # A line that cannot be read, for one byte that is not UTF-8, say, costs that statement alone.
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
    """Return what a line of the file says: an object, or the text alone, as it was written at first."""
    if isinstance(found, str):
        return PastStatement(found)
    if not isinstance(found, dict) or not isinstance(found.get("sql"), str):
        return None
    at = found.get("at")
    return PastStatement(found["sql"], float(at) if isinstance(at, int | float) else None, found.get("failed") is True)


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
        raise UserError("is not a file name", str(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError("is not a file", str(path))
    if found.st_size > _LARGEST:
        raise UserError("is too large for the editor", str(path), "use `tui-runner query -f`")


def check_writable(path: Path) -> None:
    """Refuse to save statements where no file of them can be.

    Raises:
        UserError: its folder does not exist, there is something else than a file, or another user's link leads to it.
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
        UserError: it cannot be read, is no file, is too large, or is no UTF-8 text.
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
        UserError: it cannot be written, and stays as it was.
    """
    path = expanded(path)
    try:
        with written_atomically(path, replace=True) as stream:
            stream.write((text if text.endswith("\n") else text + "\n").encode())
    except UnicodeEncodeError as error:
        what = "the statements contain a lone surrogate, which is not a character"
        raise UserError(what, str(path), "remove it first") from error


def edited(app: App[object], text: str, environ: Mapping[str, str]) -> str:
    """Let `$VISUAL` or `$EDITOR` edit a text; blocks, and with it everything that would draw over the editor.

    Raises:
        UserError: none is set, it cannot be started or fails, or the screen cannot be left for it.
    """
    command = environ.get("VISUAL") or environ.get("EDITOR")
    if not command:
        raise UserError("no editor is set", do="set EDITOR")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"$EDITOR is not a command ({error})", do="set EDITOR") from error
    output = captured_output_of(app)  # standard output itself is caught
    with tempfile.TemporaryDirectory(prefix="tui-runner-") as folder:
        file = Path(folder) / "statements.sql"
        file.write_text(text, encoding="utf-8")
        failure: Exception | None = None
        code = 0
        try:
            with app.suspend():
                # Nothing may be raised in here: the screen would stay suspended.
                try:
                    code = subprocess.run(  # noqa: S603 - the user's own
                        [*words, str(file)], stdout=output.out, stderr=output.err, check=False
                    ).returncode
                except Exception as error:
                    failure = error
        except SuspendNotSupported as error:
            raise UserError("this terminal cannot be handed to an editor") from error
        if failure is not None:
            raise UserError(f"the editor could not be started ({failure})", words[0], "set EDITOR")
        if code:
            raise UserError(f"the editor ended with code {code}; the statements are as before", words[0])
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"what the editor wrote cannot be read ({error})", words[0]) from error


def open_script(screen: TabHost) -> None:
    """Ask for a file, and open it in a new tab, or in this one when it is empty."""

    def answered(texts: list[str] | None) -> None:
        if texts is not None:
            screen.run_worker(_open(screen, file_named(texts)), name="open")

    hint = "A text file, such as queries.sql."
    screen.app.push_screen(
        AskTexts("Open statements", ["File"], hint=hint, check=lambda texts: check_readable(file_named(texts))),
        answered,
    )


def file_named(texts: list[str]) -> Path:
    """Return the file that was typed into a dialog's only field.

    Raises:
        UserError: nothing was typed, or `~` names nobody.
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
    """Ask for the file to save a tab's statements in, and again before another one is overwritten."""

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
    """Edit the statements with $EDITOR; the screen waits meanwhile, the run does not."""
    try:
        text = edited(screen.app, tab.editor.text, os.environ)
    except UserError as error:
        screen.complain(error)
        return
    if text != tab.editor.text:
        tab.editor.load_text(text)


def ask_overwrite(screen: TabHost, path: Path, then: Callable[[], None]) -> None:
    """Ask whether to replace a file, and go on if so."""

    def answered(yes: bool | None) -> None:
        if yes:
            then()

    name = safe_text(path.name, limit=60)
    screen.app.push_screen(
        Confirm(f"Replace {name}?", "A file of this name exists; what is in it is lost.", "Replace", "Keep it"),
        answered,
    )
