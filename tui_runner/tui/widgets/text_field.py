"""A line to type into, as every dialog and form has it."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from tui_runner.tui.own_keys import does_own_key


class TextField(Input):
    """An `Input` whose keys are carried out in the order in which they were pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if not await does_own_key(self, event):
            await super()._on_key(event)
