"""Hosts of a cluster on this machine, without a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from tui_runner.engine.backends.agent import Agent, Frame, Polled


class LocalCourier:
    """Calls an agent in this process. See `Courier`."""

    def __init__(self, agent: Agent, host: str = "localhost") -> None:
        self.host = host
        self.agent = agent

    def poll(self, ack: int, wait: float) -> Polled:
        """Return reports of the agent."""
        return self.agent.poll(ack, wait)

    def send(self, frames: Sequence[Frame]) -> None:
        """Send commands to the agent."""
        self.agent.send(frames)

    def end(self) -> None:
        """End the agent and its host."""
        self.agent.end()
