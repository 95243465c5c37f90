"""What happens when the file of a job is a script that starts its run itself.

    squares = job(...)
    run(squares, range(100))        # no `if __name__ == "__main__":` around it

A worker loads that file to have the function, and comes to the call of `run` too. It must not begin another run, and
nothing behind it may happen in a worker. When `run` was called in the program, nothing behind it had happened either:
so this is where the file ends for whoever loads it.
"""

from __future__ import annotations

import sys

_LOADING = "tui_runner.loading"


class ScriptEnds(BaseException):
    """Raised by `run` while a job's file is being loaded: the loader takes it for the end of the file.

    No `Exception`, so that a script which catches those around its call of `run` does not go on.
    """


def end_if_loading() -> None:
    """Raise `ScriptEnds` when the caller is code that is being loaded for its job."""
    frame = sys._getframe()  # the documented way to ask who calls
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == _LOADING:
            raise ScriptEnds("run() was called while the job was loaded; put the call under if __name__ == '__main__':")
