"""Fixture that makes every test begin without known hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tui_runner import http
from tui_runner.jobs.http.host_gate import HostGate


@pytest.fixture(autouse=True)
def _fresh_gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    http.close()  # the client of this thread has the gate of the test before
    monkeypatch.setattr(http, "gate", HostGate())
    yield
    http.close()
