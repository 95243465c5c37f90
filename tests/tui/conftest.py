"""What holds for every test of the interface: no state of whoever runs it, and no cursor that blinks."""

from __future__ import annotations

import pytest
from textual.widgets import Input, TextArea


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _cursors_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a picture is taken half a second later, when the cursor is not there."""
    for widget in (Input, TextArea):
        monkeypatch.setattr(widget.cursor_blink, "_default", False)
