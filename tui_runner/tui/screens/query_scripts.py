"""Files of statements on the query screen: opened, saved, edited elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_runner.errors import UserError
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.external_editor import edited
from tui_runner.tui.query_files import check_readable, check_writable, read_statements, write_statements
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.screens.query_ask import AskTexts
from tui_runner.tui.threads import in_thread
from tui_runner.tui.widgets.query_tab import QueryTab

if TYPE_CHECKING:
    from tui_runner.tui.screens.query import QueryScreen


def open_script(screen: QueryScreen) -> None:
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
    """The file that was typed into a dialog's only field.

    Raises:
        UserError: nothing was typed, or `~` names nobody.
    """
    name = texts[0].strip()
    if not name:
        raise UserError("type the name of a file")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError("there is no such user", name.split("/")[0]) from error


async def _open(screen: QueryScreen, path: Path) -> None:
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


def save_script(screen: QueryScreen, tab: QueryTab) -> None:
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


def _save(screen: QueryScreen, tab: QueryTab, path: Path) -> None:
    try:
        write_statements(path, tab.editor.text)
    except UserError as error:
        screen.complain(error)
        return
    tab.file, tab.saved = path, tab.editor.text
    screen.show_header()
    screen.notify(f"saved {safe_text(str(path), limit=200)}", markup=False)


def edit_elsewhere(screen: QueryScreen, tab: QueryTab) -> None:
    """Edit the statements with $EDITOR; the screen waits meanwhile, the run does not."""
    try:
        text = edited(screen.app, tab.editor.text, os.environ)
    except UserError as error:
        screen.complain(error)
        return
    if text != tab.editor.text:
        tab.editor.load_text(text)


def ask_overwrite(screen: QueryScreen, path: Path, then: Callable[[], None]) -> None:
    """Ask whether to replace a file, and go on if so."""

    def answered(yes: bool | None) -> None:
        if yes:
            then()

    name = safe_text(path.name, limit=60)
    screen.app.push_screen(
        Confirm(f"Replace {name}?", "A file of this name exists; what is in it is lost.", "Replace", "Keep it"),
        answered,
    )
