"""Text in the user's own editor, in place of the screen."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from textual.app import App, SuspendNotSupported

from tui_runner.errors import UserError
from tui_runner.tui.own_output import own_output_of


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
        raise UserError(f"$EDITOR is no command ({error})", do="set EDITOR") from error
    output = own_output_of(app)  # standard output itself is caught
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
