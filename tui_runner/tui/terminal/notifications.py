"""Builds sequences that do not belong to the screen: the title of the window, and a notification when a run has ended.

All texts are our own or passed `safe_text`, so that no job can end a sequence early or begin its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import duration
from tui_runner.text.safe_text import safe_text

_END = "\x1b\\"
KEEP_TITLE = "\x1b[22;2t"
"""Stores the title of the window (XTWINOPS)."""
RESTORE_TITLE = "\x1b[23;2t"
"""Restores the stored title."""
BELL = "\a"

_OSC_9 = ("iterm", "wezterm", "kitty", "ghostty", "vscode")
_OSC_777 = ("foot", "rxvt")
"""Terminals that show a notification for OSC 9 or OSC 777, by parts of their names."""
_NAME = 60
"""Characters of the job in a notification: desktops cut longer titles."""


def title(snapshot: Snapshot) -> str:
    """Return the window title of a run: `38 % books`, with whole percents, so that it is written at most 100 times."""
    job = safe_text(snapshot.job, limit=_NAME)
    if snapshot.state is not RunState.RUNNING:
        return f"{snapshot.state} {job}"
    if snapshot.stalled_seconds is not None:
        return f"stalled {job}"
    if not snapshot.items_total:
        return job
    return f"{100 * snapshot.items_finished // snapshot.items_total} % {job}"


def set_title(text: str) -> str:
    """Return the sequence that makes a safe text the title of the window."""
    return f"\x1b]2;{text}{_END}"


def ended_text(snapshot: Snapshot) -> str:
    """Return one line about an ended run."""
    failed = f", {snapshot.items_failed:,} failed" if snapshot.items_failed else ""
    job = safe_text(snapshot.job, limit=_NAME)
    done = f"{snapshot.items_done:,} done{failed}, in {duration(snapshot.active_seconds)}"
    return f"{job} {snapshot.state}: {done}"


def notification(text: str, environ: Mapping[str, str]) -> str:
    """Return the bell and, for terminals that support it, a notification with a safe text: OSC 777 or OSC 9."""
    names = f"{environ.get('TERM_PROGRAM', '')} {environ.get('TERM', '')}".lower()
    # A semicolon separates the parts of the sequence.
    text = text.replace(";", ",")
    if environ.get("VTE_VERSION") or any(name in names for name in _OSC_777):
        return f"{BELL}\x1b]777;notify;tui-runner;{text}{_END}"
    if environ.get("WT_SESSION") or any(name in names for name in _OSC_9):
        return f"{BELL}\x1b]9;tui-runner: {text}{_END}"
    return BELL
