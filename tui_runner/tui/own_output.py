"""What Python code prints while a screen has the terminal becomes lines of the process's own output."""

from __future__ import annotations

from typing import Any

from textual.app import App, ReturnType

from tui_runner.engine.captured_output import OwnOutput


def own_output_of(app: App[Any]) -> OwnOutput:
    """Return what has the streams to the terminal beside `app`."""
    return app.own_output if isinstance(app, KeepsOutput) else OwnOutput()


class KeepsOutput(App[ReturnType]):
    """An application beside which code of others runs in this process.

    Args:
        own_output: takes what is printed, and has the stream to the terminal; None for one of its own.
        args: of Textual's application.
        options: likewise.

    Attributes:
        own_output: what was printed while it was shown.
    """

    def __init__(self, *args: Any, own_output: OwnOutput | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.own_output = own_output or OwnOutput()

    def _print(self, text: str, stderr: bool = False) -> None:
        self.own_output.write(text, complaint=stderr)
        super()._print(text, stderr)
