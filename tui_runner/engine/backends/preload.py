"""Loaded once by the server process that workers are forked from: what is done here, no worker has to do again.

Nothing else imports it: it silences the process it is loaded in.
"""

from __future__ import annotations

import atexit
import os
import socket
from pathlib import Path

import httpx  # noqa: F401 - takes 0.1 s, and most jobs that wait wait for the network
import pyarrow as pa

import tui_runner.engine.worker.worker  # noqa: F401 - with all that it imports
from tui_runner.engine.backends.process import forget_safe_path
from tui_runner.system.private_folder import discard

forget_safe_path()

# The first array makes pyarrow look for pandas and, where that is installed, load it: 0.3 s.
pa.array([0])

# The standard output and error of the server are the terminal that shows the dashboard. Workers get their own.
_nowhere = os.open(os.devnull, os.O_RDWR)
for _descriptor in (0, 1, 2):
    os.dup2(_nowhere, _descriptor)
os.close(_nowhere)


def _own_address() -> Path | None:
    """The socket at which this server is asked for workers."""
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
