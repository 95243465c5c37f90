"""Entry point of the program: installs a handler for Ctrl-C before anything else is loaded.

Loading the modules of a command takes half a second. A Ctrl-C in this time must end the program without a traceback and
with `EXIT_KILLED`.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # `signal` itself loads `enum`: longer than all else here
import os

_KILLED = 130
"""Value of `errors.EXIT_KILLED`, repeated here because that module is loaded later."""


def end_at_once(*_: object) -> None:
    """End the process at once; handles SIGINT until a run begins."""
    os._exit(_KILLED)


def main() -> None:
    """Run the command line of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored, as with `nohup`
        signal.signal(signal.SIGINT, end_at_once)
    from tui_runner.cli.main import main as run

    run()
