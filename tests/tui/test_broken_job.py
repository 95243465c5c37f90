"""The dashboard of a run that waits for the user, because nearly all items fail permanently."""

from __future__ import annotations

from dataclasses import replace

from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import screen_text, settled

from tui_runner.engine.states import RunState
from tui_runner.tui.app import RunnerApp


async def test_header_message_and_key_of_a_broken_job_offer_the_same() -> None:
    offers = "the run waits for you to try one item; if it fails too, you can continue anyway"
    reason = f"9 of the last 9 failed (KeyError: 'x'): {offers}"
    control = FakeRunControl(replace(busy(), state=RunState.PAUSED, in_outage=True, trial_seconds=None, reason=reason))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        shown = screen_text(await settled(pilot))
        assert "⏸ WAITING for you" in shown and "waits for you to try one item" in shown
        assert "space try one item" in shown
        await pilot.press("space")
        control.change(at=775.0)
        assert "space continue anyway" in screen_text(await settled(pilot))
