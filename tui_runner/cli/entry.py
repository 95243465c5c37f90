"""Entry of the program: the steps before anything else is loaded.

Loading what a command needs takes half a second. A Ctrl-C meanwhile ends the program with its exit code, and without
the traceback of whatever was being loaded: that is seen to before anything else is.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # `signal` itself loads `enum`: longer than all else here
import os

_KILLED = 130
"""`errors.EXIT_KILLED`, which is loaded later."""


def end_at_once(*_: object) -> None:
    """End the process as Ctrl-C does before a run has begun; a handler of SIGINT."""
    os._exit(_KILLED)


def main() -> None:
    """Run the command line of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as behind `nohup`
        signal.signal(signal.SIGINT, end_at_once)
    from tui_runner.cli.main import main as run

    run()
