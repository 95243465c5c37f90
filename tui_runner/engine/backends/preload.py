"""Imports modules in the fork server, from which workers are forked. So they are imported once, not in each worker.

Only the fork server may import this module, because the import redirects the standard streams of the process.
"""

from __future__ import annotations

import atexit
import os
import socket
from pathlib import Path

from tui_runner.system.arrow import prepare_arrow
from tui_runner.system.fork_server import end_workers, forget_safe_path
from tui_runner.system.garbage import collect_and_keep
from tui_runner.system.private_folder import discard

# Redirect the streams before anything else. The server inherits the program's output, which may be the terminal with
# the dashboard or a pipe whose reader waits for the end of the pipe. Workers get their own output.
_nowhere = os.open(os.devnull, os.O_RDWR)
for _descriptor in (0, 1, 2):
    os.dup2(_nowhere, _descriptor)
os.close(_nowhere)

forget_safe_path()
prepare_arrow()

import tui_runner.engine.worker.worker  # noqa: E402, F401 - imported for the workers, with everything it imports


def _own_address() -> Path | None:
    """Return the path of the socket on which this server accepts requests for workers; None if it is not found."""
    for descriptor in range(3, 64):  # a server that has just started has few descriptors
        try:
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and isinstance(found.getsockname(), str):
                    return Path(found.getsockname())
        except OSError:  # no such descriptor, or not a socket
            continue
    return None


# Workers exit with `os._exit`, so these functions run only in the server, when the program has ended in any way.
if _address := _own_address():
    atexit.register(discard, _address.parent)
    atexit.register(end_workers)

# Workers share the server's memory pages until one writes to them, and a garbage collection writes to every object.
collect_and_keep()
