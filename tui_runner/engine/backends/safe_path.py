"""Keeps the current folder off the path of the Python processes that workers come from, not of what a job starts."""

from __future__ import annotations

import os

SAFE_PATH = "PYTHONSAFEPATH"
"""The environment variable that has `python -c` not look for modules in the current folder."""
OURS = "tui-runner"
"""Its value when tui-runner has set it: any text but an empty one means yes."""


def forget_safe_path() -> None:
    """Unset the variable unless it is the user's own: a program that a job starts is to find what it would find."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]
