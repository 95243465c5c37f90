"""Pilots that wait until their keys have taken effect.

Textual's own waits until the process uses little time of the CPU, which on a busy machine it may do before a key has
been carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from tui_runner.tui.terminal.key_order import OrderedKeys


class OrderedPilot(Pilot[Any]):
    """A pilot of an application that carries out its keys in order."""

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until all of them have been carried out."""
        await super().press(*keys)
        await self._keys_are_done()

    async def pause(self, delay: float | None = None) -> None:
        """Wait until keys have been carried out, then as Textual does."""
        await self._keys_are_done()
        await super().pause(delay)

    async def _keys_are_done(self) -> None:
        app = self.app
        while isinstance(app, OrderedKeys) and app.is_running and not app.keys_are_done:  # noqa: ASYNC110
            await asyncio.sleep(0)


@asynccontextmanager
async def driven(app: App[Any], **options: Any) -> AsyncIterator[OrderedPilot]:
    """Run an application as `App.run_test` does, with these options of it."""
    async with app.run_test(**options) as pilot:
        yield OrderedPilot(pilot.app)
