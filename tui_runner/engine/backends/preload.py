"""Imports for the server process that workers are forked from, made once instead of in each worker.

Nothing else imports it: it silences the process it is loaded in.
"""

from __future__ import annotations

import atexit
import gc
import os
import socket
from pathlib import Path

from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.fork_server import end_workers, forget_safe_path
from tui_runner.system.private_folder import discard

# First: its standard output and error are those of the program, a terminal that shows the dashboard, say, or a pipe
# whose reader waits for its end. Workers get their own.
_nowhere = os.open(os.devnull, os.O_RDWR)
for _descriptor in (0, 1, 2):
    os.dup2(_nowhere, _descriptor)
os.close(_nowhere)

forget_safe_path()
prepare_arrow()

import tui_runner.engine.worker.worker  # noqa: E402, F401 - with all that it imports


def _own_address() -> Path | None:
    """Return the path of the socket on which this server takes requests for workers."""
    for descriptor in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and isinstance(found.getsockname(), str):
                    return Path(found.getsockname())
        except OSError:  # no such descriptor, or no socket
            continue
    return None


# Workers leave by `os._exit`, so this happens in the server alone: when the program has ended, however it has.
if _address := _own_address():
    atexit.register(discard, _address.parent)
    atexit.register(end_workers)

# Workers share with the server what none of them changes, and a look for garbage changes what it looks at.
gc.collect()
gc.freeze()
gc.enable()  # the program that this was forked from looks for no garbage while it starts
