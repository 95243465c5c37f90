"""Agents on the machines of Dask workers, as Dask actors.

There is one actor on each Dask worker for the whole run, which Dask treats as a single task. The actor's methods are
coroutines on the Dask worker's event loop. They take and return bytes or numbers, so that Dask does not pickle
anything.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from tui_runner._version import __version__
from tui_runner.engine.backends.agent import Agent
from tui_runner.system.process import available_processors

_GUARD_SECONDS = 0.2
"""Seconds between two checks that Dask has not released the actor. A host process should not outlive its actor for
long."""
_ALIVE = ("running", "paused", "closing_gracefully")
"""States of a Dask worker in which its host process continues. The last state occurs briefly while Dask refuses to
retire the worker."""
_MEMORY_SHARE = 0.7
"""Share of a Dask worker's memory limit for our workers. Dask's nanny does not count the memory of our processes, so
the other 30 % must be enough for the Dask worker itself."""


class Hello(msgspec.Struct):
    """Facts about the machine of an agent.

    Attributes:
        host: name of the machine.
        python: version of Python.
        version: version of tui-runner.
        processors: number of processors that the agent's process may use.
        time: wall clock time, seconds since the epoch.
    """

    host: str
    python: str
    version: str
    processors: int
    time: float


class DaskAgent:
    """An agent as a Dask actor; `DaskCourier` calls its methods.

    Args:
        key: the actor's key in Dask.
        lease: see `Agent`.
    """

    def __init__(self, key: str, lease: float) -> None:
        from distributed import get_worker

        self._key, self._lease = key, lease
        self._worker: Any = get_worker()
        self._agent: Agent | None = None
        self._starting = threading.Lock()
        """Held while the agent is started, because a repeated call must not start a second host process."""
        # Polls wait in these threads. There are four, so that a command such as a pause never queues behind polls.
        self._calls = ThreadPoolExecutor(4, thread_name_prefix="tui-runner-agent")

    async def hello(self) -> bytes:
        """Return a packed `Hello`."""
        hello = Hello(socket.gethostname(), platform.python_version(), __version__, available_processors(), time.time())
        return msgspec.msgpack.encode(hello)

    async def echo(self, content: bytes, nbytes: int) -> bytes:
        """Return `nbytes` zeros, to measure the throughput of the network."""
        return bytes(nbytes)

    async def begin(self) -> bytes:
        """Start the host process unless it was started before."""
        await asyncio.get_running_loop().run_in_executor(self._calls, self._begin)
        return b""

    async def poll(self, ack: int, wait: float) -> bytes:
        """Return the packed result of `Agent.poll`."""
        polled = await asyncio.get_running_loop().run_in_executor(self._calls, self._begin().poll, ack, wait)
        return msgspec.msgpack.encode(
            (polled.received, polled.ended, polled.frames),
        )

    async def send(self, frames: bytes) -> bytes:
        """Unpack commands and pass them to the host process."""
        unpacked = msgspec.msgpack.decode(frames, type=list[tuple[int, bytes]])
        await asyncio.get_running_loop().run_in_executor(self._calls, self._begin().send, unpacked)
        return b""

    async def end(self) -> bytes:
        """Kill the host process."""
        if self._agent is not None:
            await asyncio.get_running_loop().run_in_executor(self._calls, self._agent.end)
        return b""

    def _begin(self) -> Agent:
        with self._starting:
            if self._agent is None:
                limit = self._worker.memory_manager.memory_limit
                folder = Path(tempfile.mkdtemp(prefix="tui-runner-", dir=self._worker.local_directory))
                memory = None if not limit else int(limit * _MEMORY_SHARE)
                self._agent = Agent(_environment(), self._lease, folder, memory)
                # daemon: the thread runs as long as the actor, and must not keep the Dask worker from ending
                threading.Thread(target=self._guard, args=(self._agent,), name="agent-guard", daemon=True).start()
            return self._agent

    def _guard(self, agent: Agent) -> None:
        """Kill the host process as soon as Dask releases this actor or closes its worker."""
        while self._worker.state.actors.get(self._key) is self and self._worker.status.name in _ALIVE:
            time.sleep(_GUARD_SECONDS)
        agent.end()


class PickledAgent:
    """An object that is unpickled as a new `DaskAgent`, so that Dask creates the actor on the Dask worker."""

    def __init__(self, *args: Any) -> None:
        self._args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return DaskAgent, self._args


def _environment() -> dict[str, str]:
    """Return the environment without the variables that Dask's nanny set for its own tasks (OMP_NUM_THREADS=1)."""
    import dask

    environment = dict(os.environ)
    for group in ("environ", "pre-spawn-environ"):
        for name, value in (dask.config.get(f"distributed.nanny.{group}", {}) or {}).items():
            if environment.get(name) == str(value):
                del environment[name]
    # Dask's nanny sets it in addition, without an entry in the configuration.
    environment.pop("PYTHONHASHSEED", None)
    return environment
