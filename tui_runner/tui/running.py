"""Shows the dashboard of a run from its start until it is left."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path

from tui_runner.engine.captured_output import OwnOutput
from tui_runner.engine.control import RunControl
from tui_runner.store.access import Access
from tui_runner.system import terminal
from tui_runner.system.memory import settle_garbage_collection
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.preferences import read_preferences
from tui_runner.tui.screen_fault import ScreenFailed


class Left(Enum):
    """How the dashboard was left."""

    ENDED = auto()
    GOING_ON = auto()
    """The terminal is gone, and the run goes on."""
    TO_RETRY = auto()
    """The run has ended, and what failed in it is to run again."""


def run_app(
    control: RunControl,
    *,
    access: Callable[[], Access] | None = None,
    theme: str | None = None,
    keymap: Mapping[str, str] | None = None,
    own_output: OwnOutput | None = None,
) -> Left:
    """Show the dashboard until its user leaves it; then the run has ended, unless the terminal went away.

    Args:
        control: the run, not yet started.
        access: gives the run's database to the query screen; None for none.
        theme: name of a theme; None for the one configured or chosen last.
        keymap: keys by action; they go before those of the configuration.
        own_output: what this process writes natively, and the stream to the terminal; None for one of its own.

    Returns:
        How it was left.

    Raises:
        UserError: there is no theme of that name, or the run could not start.
        ScreenFailed: the screen ended by a fault of its own, and the run goes on without it.
    """
    preferences = read_preferences(Path.cwd(), os.environ)
    app = RunnerApp(control, access=access, theme=theme, keymap=keymap, preferences=preferences, own_output=own_output)
    # A search for cycles among all modules stops the screen for 40 ms, now and then; among the rest for 3.
    settle_garbage_collection()
    try:
        with terminal.signals({signal.SIGTERM: app.terminated, signal.SIGHUP: app.hung_up}):
            app.run()
    except OSError:  # what Textual makes of a terminal that is gone, when no signal has said so before
        app.lost = app.lost or terminal.is_lost()
        if not app.lost:
            raise
    finally:
        gc.unfreeze()
        app.close()
        if app.fault is not None and not app.lost and terminal.is_lost():
            app.lose()  # no fault of the screen's
        # However the screen ended: what is in flight is written before the end.
        alone = app.failure is not None or app.lost or app.fault is not None
        if not alone and not control.snapshot().state.ended:
            control.stop()
            control.join()
    if app.failure is not None:
        raise app.failure
    if app.fault is not None and not app.lost:
        if not app.started:
            raise app.fault
        control.abandon(f"the screen has failed ({type(app.fault).__name__}); the run goes on without it")
        raise ScreenFailed from app.fault
    if app.lost and not control.snapshot().state.ended:
        return Left.GOING_ON
    return Left.TO_RETRY if app.retries else Left.ENDED
