"""Agents: a host that is polled no more ends, with all processes that it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.local_courier import LocalCourier
from support.waiting import eventually

from tui_runner.engine.backends import agent as agents
from tui_runner.engine.backends import remote
from tui_runner.engine.backends.agent import Agent
from tui_runner.engine.backends.frames import pack_command
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.engine.protocol import Ready, WorkerConfig, WorkerLost
from tui_runner.engine.scheduling.events import Tell
from tui_runner.engine.worker.params import pack_params
from tui_runner.jobs.loading import load_job
from tui_runner.jobs.reference import JobReference

JOB = """
    from tui_runner import job

    @job
    def work(n: int):
        return n
"""


class Clock:
    """A clock that changes only when it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of agents, who look at it often."""
    monkeypatch.setattr(agents, "_LOOK_SECONDS", 0.01)
    return Clock()


@pytest.fixture
def agent(clock: Clock, tmp_path: Path) -> Iterator[Agent]:
    """An agent with a lease of a minute, and its folder."""
    folder = tmp_path / "agent"
    folder.mkdir()
    agent = Agent(lease=60.0, folder=folder, clock=clock)
    yield agent
    agent.end()


@pytest.fixture
def config(job_file: Callable[..., str]) -> WorkerConfig:
    """A worker that can start."""
    path = job_file(JOB)
    packed = pack_params(load_job(path), {})
    return WorkerConfig(1, JobReference(path, True, "work"), {}, packed, (), False, False, 1, 0)


def started(agent: Agent, config: WorkerConfig) -> list[psutil.Process]:
    """Start a worker, and return everything that the agent has started."""
    agent.send([(1, pack_command("start", config))])
    assert agent.poll(0, 60.0).frames, "the worker is not ready"
    host = psutil.Process(agent.pid)
    return [host, *host.children(recursive=True)]


def test_a_host_that_is_not_polled_ends_with_its_workers(
    agent: Agent, clock: Clock, config: WorkerConfig, tmp_path: Path
) -> None:
    everything = started(agent, config)
    assert len(everything) >= 2
    clock.now += 60.5
    eventually(lambda: not any(map(psutil.Process.is_running, everything)), "the end of the host")
    eventually(lambda: agent.poll(1, 1.0).ended, "the news")
    assert agent.poll(1, 0.0).ended == "its host process was killed (9)"
    assert not (tmp_path / "agent").exists()


def test_a_host_that_is_polled_lives_longer_than_a_lease(agent: Agent, clock: Clock, config: WorkerConfig) -> None:
    everything = started(agent, config)
    looks = 0

    def look() -> float:
        nonlocal looks
        looks += 1
        return clock.now

    agent._clock = look
    for _ in range(5):
        clock.now += 59.0
        agent.poll(1, 0.0)
        before = looks
        eventually(lambda before=before: looks > before + 1, "a look at the lease")
    assert all(map(psutil.Process.is_running, everything))
    assert not agent.poll(1, 0.0).ended


def test_a_program_that_was_silent_for_longer_starts_its_workers_elsewhere(
    agent: Agent, clock: Clock, config: WorkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_POLL_SECONDS", 0.01)
    got: list[Any] = []
    backend = RemoteBackend(got.append)

    class Silent(LocalCourier):
        """Its calls take two minutes from a certain one on: the program was stopped for so long."""

        silent = False

        def poll(self, ack: int, wait: float) -> Any:
            if self.silent:
                self.silent = False
                clock.now += 120.0
                eventually(lambda: self.agent._mail.ended, "the end of the lease")
            return super().poll(ack, wait)

    courier = Silent(agent)
    backend.add(courier)
    backend.start_worker(config)
    eventually(lambda: any(isinstance(each, Ready) for each in got), "the start")
    courier.silent = True
    eventually(lambda: any(isinstance(each, WorkerLost) for each in got), "the loss")
    lost = next(each for each in got if isinstance(each, WorkerLost))
    assert lost == WorkerLost(1, "its machine is lost", blame=False)
    assert Tell("WARNING", "machine localhost is lost: its host process was killed (9)") in got
    assert not backend.hosts
    backend.close()
