"""Builds the control sequences for the title of the terminal's window and for a notification of the desktop.

Texts of jobs pass `safe_text`, so that no job can end a sequence early or begin a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import duration
from tui_runner.text.safe_text import safe_text

_END = "\x1b\\"
KEEP_TITLE = "\x1b[22;2t"
"""Sequence with which the terminal stores the title of its window (XTWINOPS)."""
RESTORE_TITLE = "\x1b[23;2t"
"""Sequence with which the terminal restores the stored title."""
BELL = "\a"

_OSC_9 = ("iterm", "wezterm", "kitty", "ghostty", "vscode")
"""Parts of the names of terminals that show a notification for the control sequence OSC 9."""
_OSC_777 = ("foot", "rxvt")
"""Parts of the names of terminals that show a notification for the control sequence OSC 777."""
_NAME = 60
"""Most characters of the job's name in a title or notification. Desktops cut longer texts."""


def title(snapshot: Snapshot) -> str:
    """Return the window title of a run, such as `38 % books`.

    The percentage is a whole number, so that the title changes only about 100 times in a run.
    """
    job = safe_text(snapshot.job, limit=_NAME)
    if snapshot.state is not RunState.RUNNING:
        return f"{snapshot.state} {job}"
    if snapshot.stalled_seconds is not None:
        return f"stalled {job}"
    if not snapshot.items_total:
        return job
    return f"{100 * snapshot.items_finished // snapshot.items_total} % {job}"


def set_title(text: str) -> str:
    """Return the sequence that makes `text`, which must be safe, the title of the window."""
    return f"\x1b]2;{text}{_END}"


def ended_text(snapshot: Snapshot) -> str:
    """Return one line with the outcome of an ended run: its job, state, numbers of items, and active time."""
    failed = f", {snapshot.items_failed:,} failed" if snapshot.items_failed else ""
    job = safe_text(snapshot.job, limit=_NAME)
    done = f"{snapshot.items_done:,} done{failed}, in {duration(snapshot.active_seconds)}"
    return f"{job} {snapshot.state}: {done}"


def notification(text: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that rings the bell and, if the terminal supports it, shows a notification of the desktop.

    Args:
        text: text of the notification, which must be safe.
        environ: the environment, which names the terminal.
    """
    names = f"{environ.get('TERM_PROGRAM', '')} {environ.get('TERM', '')}".lower()
    # In these sequences, a semicolon separates the title from the text.
    text = text.replace(";", ",")
    if environ.get("VTE_VERSION") or any(name in names for name in _OSC_777):
        return f"{BELL}\x1b]777;notify;tui-runner;{text}{_END}"
    if environ.get("WT_SESSION") or any(name in names for name in _OSC_9):
        return f"{BELL}\x1b]9;tui-runner: {text}{_END}"
    return BELL
