"""The gate of hosts, for threads of a test."""

from __future__ import annotations

from tui_runner.jobs.http.blocking import WaitingThread, completed
from tui_runner.jobs.http.host_gate import HostGate


def enter(gate: HostGate, host: str, deadline: float | None = None) -> bool:
    """Wait in this thread until `host` may be asked; see `HostGate.admit`."""
    return completed(gate.admit(host, deadline, WaitingThread))
