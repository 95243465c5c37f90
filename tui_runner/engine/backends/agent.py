"""Starts a host process on its machine, and keeps its reports until the program has received them.

The program fetches frames from an agent (`poll`) and sends frames to it (`send`). Calls may get lost, be repeated or
arrive late. So both sides number their frames from 1, keep a frame until it is acknowledged, and drop a frame whose
number they have seen. A repeated call therefore has no effect.
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
"""Most bytes of frames in the response to one poll. A larger single frame is sent alone. A response is copied several
times on its way."""
LEASE_SECONDS = 60.0
"""Seconds without a poll after which an agent ends its host process, because the program was killed or cannot reach it.
It is more than `remote.SILENCE_SECONDS`, after which the program gives the host process up."""
_LOOK_SECONDS = 1.0
"""Seconds between two checks of the lease; few beside `LEASE_SECONDS`, so a host process outlives its lease only
briefly."""

Frame = tuple[int, bytes]
"""The number of a report or command, and its content."""


@dataclass(frozen=True, slots=True)
class Polled:
    """The response of an agent to a poll.

    Attributes:
        frames: reports, in order.
        received: number of the last command that the agent has received.
        ended: reason why there will be no more reports; empty while the host process runs.
    """

    frames: tuple[Frame, ...]
    received: int
    ended: str = ""


class Courier(Protocol):
    """A connection to one agent. Every method may raise `CourierError`, even after a call that reached the agent.

    Attributes:
        host: name of the agent's machine, for the user.
    """

    host: str

    def poll(self, ack: int, wait: float) -> Polled:
        """Return the reports after number `ack`; wait up to `wait` seconds for the first one."""

    def send(self, frames: Sequence[Frame]) -> None:
        """Send commands to the agent."""

    def end(self) -> None:
        """End the agent and its host process."""


class CourierError(Exception):
    """Raised when a call failed or its response was lost; the call may be repeated."""


class AgentGone(Exception):
    """Raised when an agent has ended, so that its frames and its workers are lost."""


class Mailbox:
    """The reports and commands of one host process that are on their way. Thread-safe.

    Reports are numbered and kept until they are acknowledged. Each command is accepted once, in order.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        """Guards all fields below; notified at each change, because the host process's threads and the program's calls
        wait for each other."""
        self._reports: deque[Frame] = deque()
        self._numbered = 0
        self._received = 0
        self._commands: deque[bytes] = deque()
        self.ended = ""
        """The reason why no more reports will come; empty while there may be more."""

    def put(self, report: bytes) -> None:
        """Add a report with the next number."""
        with self._changed:
            self._numbered += 1
            self._reports.append((self._numbered, report))
            self._changed.notify_all()

    def poll(self, ack: int, wait: float) -> Polled:
        """Drop the reports up to `ack` and return those after it, see `Courier.poll`."""
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
        """Accept commands in order.

        A command whose number was seen before is dropped. A command after a gap is dropped as well, because the program
        will repeat it.
        """
        with self._changed:
            for number, content in frames:
                if number == self._received + 1:
                    self._received = number
                    self._commands.append(content)
            self._changed.notify_all()

    def take(self) -> deque[bytes]:
        """Wait for commands and return them. Return an empty deque after `finish` when all were taken."""
        with self._changed:
            while not self._commands and not self.ended:
                self._changed.wait()
            commands, self._commands = self._commands, deque()
            return commands

    def wait_for_end(self, seconds: float) -> bool:
        """Wait up to `seconds` for `finish`. Return True if no more reports will come."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, seconds) != ""

    def finish(self, reason: str) -> None:
        """Record the reason why no more reports will come, and wake all waiting threads."""
        with self._changed:
            self.ended = reason
            self._changed.notify_all()


class Agent:
    """The owner of a host process on this machine and of the mailbox for its frames.

    Args:
        environment: environment of the host process; None for the environment of this process.
        lease: seconds without a poll after which the host process is ended; None for no such limit.
        folder: current folder of the host process, which is removed when the host process ends. None for the folder of
            this process, which is not removed.
        memory: bytes that the host process's workers may use together; None for no limit.
        clock: returns monotonic seconds.
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
        # Linux kills the host process (PR_SET_PDEATHSIG) when the *thread* that forked it ends. So the forking thread
        # lives as long as the host process.
        self._process: subprocess.Popen[bytes] | None = None
        started = threading.Event()
        # daemon, like the threads that `_own` starts: all of them block in reads and writes of the host process's pipes
        threading.Thread(target=self._own, args=(environment, started), name="agent-host", daemon=True).start()
        # Callers may ask for `pid` at once, so wait until the process exists.
        started.wait()

    def poll(self, ack: int, wait: float) -> Polled:
        """Renew the lease and return reports, see `Courier.poll`."""
        self._polled_at = self._clock()
        polled = self._mail.poll(ack, wait)
        self._polled_at = self._clock()
        return polled

    def send(self, frames: Sequence[Frame]) -> None:
        """Accept commands, see `Courier.send`."""
        self._mail.send(frames)

    def end(self) -> None:
        """Kill the host process and every process that it has started."""
        process = self._process
        if process is not None and process.poll() is None:
            _kill_tree(process.pid)

    @property
    def pid(self) -> int:
        """The process id of the host process."""
        assert self._process is not None  # noqa: S101 - started in `__init__`
        return self._process.pid

    def _own(self, environment: dict[str, str] | None, started: threading.Event) -> None:
        """Start the host process and put its reports into the mailbox until it ends."""
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "tui_runner.engine.remote_host", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=self._folder,
            )
        except OSError as error:  # for example, the machine can start no more processes
            self._mail.finish(f"no host process can be started ({error.strerror or error})")
            return
        finally:
            started.set()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - asked for
        threading.Thread(target=self._write, args=(process.stdin,), name="agent-write", daemon=True).start()
        threading.Thread(target=self._watch_lease, name="agent-lease", daemon=True).start()
        for frame in read_frames(process.stdout):  # type: ignore[arg-type]  # `IO[bytes]` of a pipe is a `BinaryIO`
            self._mail.put(frame)
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # closing flushes, which fails because the host process has ended
                stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # if this fails, Dask removes the folder that contains it
        self._mail.finish(
            f"its host process ended with exit code {code}" if code >= 0 else f"its host process was killed ({-code})"
        )

    def _write(self, stream: BinaryIO) -> None:
        with contextlib.suppress(OSError, ValueError):  # the host process has ended; `_own` reports it
            while commands := self._mail.take():
                for command in commands:
                    write_frame(stream, command)

    def _watch_lease(self) -> None:
        while not self._mail.wait_for_end(_LOOK_SECONDS):
            if self._lease is not None and self._clock() - self._polled_at > self._lease:
                self.end()


def _kill_tree(pid: int) -> None:
    """Kill a host process, its fork server and the sessions of its workers."""
    with contextlib.suppress(psutil.Error):  # the host process has ended already
        children = psutil.Process(pid).children(recursive=True)
        for process in (psutil.Process(pid), *children):
            # First the whole session: processes that items have started may no longer be children of the host process.
            with contextlib.suppress(psutil.Error, OSError):  # the process leads no session, or has ended
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(psutil.Error):  # the call above has ended the process
                process.kill()
