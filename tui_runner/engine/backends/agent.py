"""Starts a host process, and keeps its reports until the program has received them.

The program asks an agent for frames (`poll`) and gives it frames (`send`); both may be lost, come twice or late on
their way. Each direction numbers its frames from 1. What was sent is kept until it is acknowledged, and a frame that
has come before is dropped, so a call that is repeated does nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import psutil

from tui_runner.engine.backends.frames import read_frames, write_frame

MOST_BYTES = 8 << 20
"""Bytes of the frames of one answer, if it has several."""
LEASE_SECONDS = 60.0
"""Seconds without a poll after which an agent ends its host: the program was killed, or cannot reach it."""
_LOOK_SECONDS = 1.0

Frame = tuple[int, bytes]
"""A number and a content."""


@dataclass(frozen=True, slots=True)
class Polled:
    """The answer of an agent.

    Attributes:
        frames: reports, in their order.
        received: the number of the last command that it has.
        ended: why there will be no more reports; empty as long as its host lives.
    """

    frames: tuple[Frame, ...]
    received: int
    ended: str = ""


class Courier(Protocol):
    """Carries frames to and from one agent. Every method may raise `CourierError`, and may have taken effect.

    Attributes:
        host: what the agent's machine is called.
    """

    host: str

    def poll(self, ack: int, wait: float) -> Polled:
        """Return reports after number `ack`; wait for the first at most `wait` seconds."""

    def send(self, frames: Sequence[Frame]) -> None:
        """Pass commands on."""

    def end(self) -> None:
        """End the agent and its host."""


class CourierError(Exception):
    """A call that failed, or whose answer was lost; it may be repeated."""


class AgentGone(Exception):
    """An agent that has ended: its frames and its workers are lost."""


class Mailbox:
    """Numbers reports and keeps them until they are acknowledged; takes commands in order, each once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reports: deque[Frame] = deque()
        self._numbered = 0
        self._received = 0
        self._commands: deque[bytes] = deque()
        self.ended = ""
        """The reason why there will be no more reports; empty as long as there may be."""

    def put(self, report: bytes) -> None:
        """Add a report."""
        with self._changed:
            self._numbered += 1
            self._reports.append((self._numbered, report))
            self._changed.notify_all()

    def poll(self, ack: int, wait: float) -> Polled:
        """Return what `Courier.poll` does; the first frame is returned whatever its size."""
        until = time.monotonic() + wait
        with self._changed:
            while self._reports and self._reports[0][0] <= ack:
                self._reports.popleft()
            while not self._reports and not self.ended and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            frames: list[Frame] = []
            nbytes = 0
            for number, content in self._reports:
                if frames and nbytes + len(content) > MOST_BYTES:
                    break
                frames.append((number, content))
                nbytes += len(content)
            ended = self.ended if len(frames) == len(self._reports) else ""
            return Polled(tuple(frames), self._received, ended=ended)

    def send(self, frames: Sequence[Frame]) -> None:
        """Take in frames; drop those that came before, and those behind a gap."""
        with self._changed:
            for number, content in frames:
                if number == self._received + 1:
                    self._received = number
                    self._commands.append(content)
            self._changed.notify_all()

    def take(self) -> deque[bytes]:
        """Wait for commands and return them; return none at the end."""
        with self._changed:
            while not self._commands and not self.ended:
                self._changed.wait()
            commands, self._commands = self._commands, deque()
            return commands

    def wait_for_end(self, seconds: float) -> bool:
        """Wait at most `seconds`. Return True if there will be no more reports."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, seconds) != ""

    def finish(self, reason: str) -> None:
        """Note that no more reports will come, and why."""
        with self._changed:
            self.ended = reason
            self._changed.notify_all()


class Agent:
    """Owns a host process on this machine.

    Args:
        environment: what its host has in place of this process' own.
        lease: seconds without a poll after which it ends its host; None for never.
        folder: the host's current folder, which is removed at its end; None for that of this process, which stays.
        memory: bytes that its workers may have together; None for what the run says.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        environment: dict[str, str] | None = None,
        lease: float | None = LEASE_SECONDS,
        folder: Path | None = None,
        memory: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mail = Mailbox()
        self._folder = folder
        self._arguments = [] if memory is None else [str(memory)]
        self._lease = lease
        self._clock = clock
        self._polled_at = clock()
        # Linux sends PR_SET_PDEATHSIG when the thread ends that forked the process, so a thread that stays forks it.
        self._process: subprocess.Popen[bytes] | None = None
        started = threading.Event()
        threading.Thread(target=self._own, args=(environment, started), name="agent-host", daemon=True).start()
        started.wait()

    def poll(self, ack: int, wait: float) -> Polled:
        """Return reports, see `Courier.poll`; renews the lease."""
        self._polled_at = self._clock()
        polled = self._mail.poll(ack, wait)
        self._polled_at = self._clock()
        return polled

    def send(self, frames: Sequence[Frame]) -> None:
        """Pass commands on, see `Courier.send`."""
        self._mail.send(frames)

    def end(self) -> None:
        """End the host and everything that it has started."""
        process = self._process
        if process is not None and process.poll() is None:
            _kill_tree(process.pid)

    @property
    def pid(self) -> int:
        """Process id of the host."""
        assert self._process is not None  # noqa: S101 - started in `__init__`
        return self._process.pid

    def _own(self, environment: dict[str, str] | None, started: threading.Event) -> None:
        """Start the host and pass its reports on until it ends."""
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "tui_runner.engine.host", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=self._folder,
            )
        except OSError as error:
            self._mail.finish(f"no host process can be started ({error.strerror or error})")
            return
        finally:
            started.set()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - asked for
        threading.Thread(target=self._write, args=(process.stdin,), name="agent-write", daemon=True).start()
        threading.Thread(target=self._watch_lease, name="agent-lease", daemon=True).start()
        for frame in read_frames(process.stdout):  # type: ignore[arg-type]  # a buffered reader is one
            self._mail.put(frame)
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be written any more
                stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # Dask clears the folder around it
        self._mail.finish(
            f"its host process ended with exit code {code}" if code >= 0 else f"its host was killed ({-code})"
        )

    def _write(self, stream: BinaryIO) -> None:
        with contextlib.suppress(OSError, ValueError):  # the host has ended; its output ends, too
            while commands := self._mail.take():
                for command in commands:
                    write_frame(stream, command)

    def _watch_lease(self) -> None:
        while not self._mail.wait_for_end(_LOOK_SECONDS):
            if self._lease is not None and self._clock() - self._polled_at > self._lease:
                self.end()


class LocalCourier:
    """Reaches an agent in this process. See `Courier`."""

    def __init__(self, agent: Agent, host: str = "localhost") -> None:
        self.host = host
        self.agent = agent

    def poll(self, ack: int, wait: float) -> Polled:
        """Ask the agent."""
        return self.agent.poll(ack, wait)

    def send(self, frames: Sequence[Frame]) -> None:
        """Give them to the agent."""
        self.agent.send(frames)

    def end(self) -> None:
        """End the agent."""
        self.agent.end()


def _kill_tree(pid: int) -> None:
    """Kill a host, its server of workers and their sessions."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children(recursive=True)
        for process in (psutil.Process(pid), *children):
            with contextlib.suppress(psutil.Error, OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(psutil.Error):
                process.kill()
