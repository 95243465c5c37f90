"""Loaded once by the server process that workers are forked from: what is done here, no worker has to do again.

Nothing else imports it: it silences the process it is loaded in.
"""

from __future__ import annotations

import os

import httpx  # noqa: F401 - takes 0.1 s, and most jobs that wait wait for the network
import pyarrow as pa

import tui_runner.engine.worker  # noqa: F401 - with all that it imports

# The first array makes pyarrow look for pandas and, where that is installed, load it: 0.3 s.
pa.array([0])

# The standard output and error of the server are the terminal that shows the dashboard. Workers get their own.
_nowhere = os.open(os.devnull, os.O_RDWR)
for _descriptor in (0, 1, 2):
    os.dup2(_nowhere, _descriptor)
os.close(_nowhere)
