"""The traceback of a fault as text that may be shown."""

from __future__ import annotations

import traceback

from tui_runner.redaction import redact
from tui_runner.safe_text import safe_text


def safe_traceback(error: BaseException) -> str:
    """The traceback of an exception, several lines: without values of variables, secrets and control sequences."""
    return safe_text(redact("".join(traceback.format_exception(error))), newlines=True)
