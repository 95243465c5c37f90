"""Lets the user edit a file with the program of `$EDITOR`, while the screen of the application is suspended."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from tui_runner.errors import UserError
from tui_runner.tui.terminal.driver import captured_output_of


def has_editor(environ: Mapping[str, str]) -> bool:
    """Return True if the environment names the user's editor."""
    return bool(environ.get("VISUAL") or environ.get("EDITOR"))


def edit_file(app: App[Any], path: Path, environ: Mapping[str, str], *, unchanged: str = "") -> None:
    """Let the user edit a file with the program in `$VISUAL` or `$EDITOR`.

    The call blocks the event loop on purpose, so that no frame is drawn over the editor.

    Args:
        app: the application whose screen is suspended.
        path: the file.
        environ: the environment.
        unchanged: end of the message after an error of the editor, which says what has not changed; empty for none.

    Raises:
        UserError: no editor is set, the editor cannot be started or ends with an error, or the screen cannot be
            suspended.
    """
    command = environ.get("VISUAL") or environ.get("EDITOR")
    if not command:
        raise UserError("no editor is set", do="set EDITOR")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"$EDITOR is not a command ({error})", do="set EDITOR") from error
    output = captured_output_of(app)  # has the stream to the terminal, because standard output itself is captured
    failure: Exception | None = None
    code = 0
    try:
        with app.suspend():
            # No exception may leave this block, because Textual would not resume the screen (Textual issue 6692).
            try:
                code = subprocess.run(  # noqa: S603 - the command is the user's
                    [*words, str(path)], stdout=output.out, stderr=output.err, check=False
                ).returncode
            except Exception as error:
                failure = error
    except SuspendNotSupported as error:
        raise UserError("this terminal cannot be handed to an editor") from error
    if failure is not None:
        raise UserError(f"the editor could not be started ({failure})", words[0], "set EDITOR")
    if code:
        kept = f"; {unchanged}" if unchanged else ""
        raise UserError(f"the editor ended with code {code}{kept}", words[0])
