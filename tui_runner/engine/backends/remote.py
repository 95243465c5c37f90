"""Workers on other machines: a link to each host, whatever carries its frames.

Each link has a thread that polls and delivers in order, and one that sends. A worker is lost exactly once, after its
last report: when its own backend reports it, or when its link is given up. Frames of a link that was given up are never
polled, and what is not polled cannot be recorded, so every row comes once.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol

from tui_runner.engine.backends import Deliver
from tui_runner.engine.backends.agent import AgentGone, Courier, CourierError, Frame
from tui_runner.engine.backends.code import Bundle
from tui_runner.engine.backends.frames import BadFrame, pack_command, unpack_report
from tui_runner.engine.protocol import Drain, LogLine, LogLines, Order, Ready, WorkerConfig, WorkerFailed, WorkerLost
from tui_runner.engine.scheduling.events import ChangeWorkers, Hold, Recycle, Release, StopRun, Tell
from tui_runner.engine.states import PauseCause, RunState

SILENCE_SECONDS = 45.0
"""Seconds of polls that failed after which a host is given up."""
_POLL_SECONDS = 1.0
_AGAIN_SECONDS = 0.2
_END_SECONDS = 5.0
_MISSING = re.compile(r"no module (?:named )?'?(\w[\w.]*)", re.IGNORECASE)
"""A module that is missing, in the words of Python and of `jobs/loading.py`."""


class _Link:
    """The way to one host, and the workers that it has.

    Args:
        courier: carries the frames.
        deliver: takes the reports.
        on_lost: called once, with the reason, when there is no host any more; without one if it was retired.
        silence: seconds after which a host that does not answer is given up.
        joined: True if it came during the run: if the job cannot be loaded there, only this host is given up.
    """

    def __init__(
        self,
        courier: Courier,
        deliver: Deliver,
        on_lost: Callable[[_Link, str], None],
        silence: float,
        *,
        joined: bool = False,
    ) -> None:
        self.courier = courier
        self.workers: set[int] = set()
        """Changed under `_guard` alone."""
        self._deliver = deliver
        self._on_lost = on_lost
        self._silence = silence
        self._changed = threading.Condition()
        self._commands: deque[Frame] = deque()
        self._numbered = 0
        self._closed = False
        self._guard = threading.Lock()
        self._over = False
        self.is_retired = False
        self._is_unproven = joined
        threading.Thread(target=self._poll, name=f"poll {courier.host}", daemon=True).start()
        threading.Thread(target=self._send, name=f"send {courier.host}", daemon=True).start()

    def take(self, worker: int) -> bool:
        """Give the host another worker. Return False if it takes none any more."""
        with self._guard:
            if self._over or self.is_retired:
                return False
            self.workers.add(worker)
            return True

    def retire(self) -> list[int]:
        """Take no more workers, and end the host when those that it has are gone; return these."""
        with self._guard:
            self.is_retired = True
            workers = sorted(self.workers)
        if not workers:
            self._give_up("")
        return workers

    def command(self, frame: bytes) -> None:
        """Queue a command; returns at once."""
        with self._changed:
            self._numbered += 1
            self._commands.append((self._numbered, frame))
            self._changed.notify_all()

    def close(self) -> threading.Thread:
        """End the host; return the thread that does so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        thread = threading.Thread(target=self._end_courier, name="end host", daemon=True)
        thread.start()
        return thread

    def _end_courier(self) -> None:
        try:
            self.courier.end()
        except (CourierError, AgentGone):
            return  # its lease will end it

    def _poll(self) -> None:
        ack, heard_at = 0, time.monotonic()
        while not self._closed:
            try:
                polled = self.courier.poll(ack, _POLL_SECONDS)
            except CourierError as error:
                if time.monotonic() - heard_at > self._silence:
                    return self._give_up(f"silent for {self._silence:g} s ({error})")
                time.sleep(_AGAIN_SECONDS)
                continue
            except AgentGone as error:
                return self._give_up(str(error))
            heard_at = time.monotonic()
            self._acknowledge(polled.received)
            for number, content in polled.frames:
                if number == ack + 1:
                    ack = number
                    self._received(content)
            if polled.ended and (not polled.frames or polled.frames[-1][0] <= ack):
                return self._give_up(polled.ended)
        return None

    def _received(self, content: bytes) -> None:
        try:
            report = unpack_report(content)
        except BadFrame as error:
            text = f"host {self.courier.host}: {error}"
            self._deliver(LogLines(None, (LogLine(time.time(), "ERROR", text),)))
            return self._give_up("it sent a report that cannot be read")
        worker = report.worker
        if worker not in self.workers:
            return None  # from a worker that was reported as lost
        if isinstance(report, Ready):
            self._is_unproven = False
            report = replace(report, host=self.courier.host)
        if isinstance(report, WorkerFailed):
            if self._is_unproven:
                return self._give_up(f"it cannot run the job: {report.message}")
            report = replace(report, message=_of_host(self.courier.host, report.message))
        is_last = False
        if isinstance(report, WorkerLost):
            with self._guard:
                if report.worker not in self.workers:
                    return None
                self.workers.remove(report.worker)
                is_last = self.is_retired and not self.workers
        self._deliver(report)
        return self._give_up("") if is_last else None

    def _acknowledge(self, received: int) -> None:
        with self._changed:
            while self._commands and self._commands[0][0] <= received:
                self._commands.popleft()

    def _send(self) -> None:
        sent, tried_at = 0, 0.0
        while True:
            with self._changed:
                while not self._closed and (not self._commands or self._commands[-1][0] <= sent):
                    self._changed.wait(_POLL_SECONDS)
                    if self._commands and time.monotonic() - tried_at > _POLL_SECONDS:
                        break  # not acknowledged: once more
                if self._closed:
                    return
                frames = [frame for frame in self._commands if frame[0] > sent or self._commands[-1][0] <= sent]
            if not frames:
                continue
            tried_at = time.monotonic()
            try:
                self.courier.send(frames)
                sent = frames[-1][0]
            except CourierError:
                sent = frames[0][0] - 1
                time.sleep(_AGAIN_SECONDS)
            except AgentGone:
                return  # the thread that polls reports it

    def _give_up(self, reason: str) -> None:
        """Report the workers of this host as lost, without blame for their items."""
        with self._guard:
            if self._over:
                return
            self._over = True
            workers, self.workers = sorted(self.workers), set()
        self.close()
        self._on_lost(self, reason)
        for worker in workers:
            self._deliver(WorkerLost(worker, "its host is lost", blame=False))


def _surplus(hosts: list[list[int]]) -> list[int]:
    """Return the workers to take from the fullest hosts, so that one without any gets its share of all."""
    share = max(1, sum(map(len, hosts)) // len(hosts))
    taken: list[int] = []
    while len(taken) < share and len(fullest := max(hosts, key=len)) > 1:
        taken.append(fullest.pop())
    return taken


def _of_host(host: str, message: str) -> str:
    """Return why a host cannot run a job, with its name, and what to do about a module that is only here."""
    missing = _MISSING.search(message)
    if missing is None:
        return f"host {host}: {message}"
    return f"host {host} has no module {missing[1]}, which the job needs; pip install it there, or send it: --ship DIR"


class Cluster(Protocol):
    """Finds hosts."""

    def start(self, backend: RemoteBackend, tell: Callable[[str, str], None]) -> None:
        """Add every host that is there, or comes, to `backend`; `tell` takes level and text of a line for the log.

        It also retires hosts, and stops the run when there will be no more of them.
        """

    def lost(self, courier: Courier) -> None:
        """Start another host on the machine of one that was given up, if it is still there."""

    def pids(self) -> Collection[int]:
        """Return the processes of this machine that hosts were started in; none for a cluster of other machines."""

    def close(self) -> None:
        """Release everything; called after the hosts have ended."""


class RemoteBackend:
    """Runs workers on hosts that are reached through couriers. See `Backend`.

    While there is no host the run is held. When a host joins that has room, workers of fuller ones are replaced by
    others on it.

    Args:
        deliver: takes the reports of all workers, and what holds and releases the run.
        silence: seconds after which a host that does not answer is given up.
        bundle: the code of the job, where the hosts do not have it.
        cluster: finds hosts; None where they are added by hand.
        grows_from: the workers of the run, to which another host adds one; None for a number that does not change.
    """

    def __init__(
        self,
        deliver: Callable[[Any], None],
        silence: float = SILENCE_SECONDS,
        bundle: Bundle | None = None,
        cluster: Cluster | None = None,
        grows_from: int | None = None,
    ) -> None:
        self._workers_at_first = self._most = grows_from
        self._deliver = deliver
        self._silence = silence
        self._bundle = bundle
        self._cluster = cluster
        self._held = False
        self._guard = threading.Lock()
        self._links: list[_Link] = []
        self._of_worker: dict[int, _Link] = {}
        self._waiting: deque[WorkerConfig] = deque()
        self._closed = False
        if cluster is not None:
            cluster.start(self, self._tell)

    def add(self, courier: Courier, *, joined: bool = False) -> None:
        """Use another host; workers that wait for one start there.

        Args:
            courier: reaches it.
            joined: True if it came during the run.
        """
        with self._guard:
            closed = self._closed
            if not closed:
                link = _Link(courier, self._deliver, self._lost, self._silence, joined=joined)
                if self._bundle is not None:
                    link.command(pack_command("code", self._bundle))
                self._links.append(link)
                waiting, self._waiting = self._waiting, deque()
                moving = _surplus([sorted(each.workers) for each in self._links if not each.is_retired])
                grows = self._most is not None and len(self._links) > self._most
                if grows:
                    self._most = len(self._links)
                was_held, self._held = self._held, False
        if closed:
            with contextlib.suppress(CourierError, AgentGone):  # its lease will end it
                courier.end()
            return
        if was_held:
            self._deliver(Release(PauseCause.HOSTS))
        for config in waiting:
            self.start_worker(config)
        if grows and self._most is not None:
            self._deliver(ChangeWorkers(self._most))
        elif not waiting:
            for worker in moving:
                self._deliver(Recycle(worker, f"host {courier.host} has room"))

    def retire(self, courier: Courier) -> None:
        """Use a host no more: its workers finish what they execute, others take their places elsewhere."""
        with self._guard:
            link = next((each for each in self._links if each.courier is courier), None)
        if link is not None:
            self._tell("INFO", f"host {courier.host} is being retired: it finishes its items and gets no more")
            for worker in link.retire():
                self._deliver(Recycle(worker, f"host {courier.host} is being retired"))

    def stop(self, reason: str) -> None:
        """Stop the run in order: there will be no more hosts."""
        self._deliver(StopRun(RunState.STOPPED, reason))

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Name and number of workers of each host."""
        with self._guard:
            return tuple((link.courier.host, len(link.workers)) for link in self._links)

    @property
    def waiting(self) -> int:
        """Return the number of workers that wait for a host."""
        return len(self._waiting)

    def start_worker(self, config: WorkerConfig) -> None:
        """Start a worker on the host that has the fewest; without any host it waits for one, and the run is held."""
        with self._guard:
            for link in sorted(self._links, key=lambda each: len(each.workers)):
                if link.take(config.worker):
                    self._of_worker[config.worker] = link
                    break
            else:
                self._waiting.append(config)
                is_news, self._held = not self._held, True
                link = None
            if self._workers_at_first is not None and self._most is not None:
                # Bytes that are not yet written are bounded over all workers, and there are more than planned.
                share = config.max_buffered_bytes * self._workers_at_first // self._most
                config = replace(config, max_buffered_bytes=share)
        if link is not None:
            link.command(pack_command("start", replace(config, params={})))
        elif is_news:
            text = "no host is left to run on; no rows were lost, the run continues when a host joins the cluster"
            self._deliver(Hold(PauseCause.HOSTS, text))

    def send(self, worker: int, order: Order) -> None:
        """Pass an order on; a worker that waits for a host has nothing to finish, so `Drain` ends it at once."""
        if isinstance(order, Drain):
            self._forget_waiting(worker)
        self._command(worker, "send", (worker, order))

    def kill_worker(self, worker: int) -> None:
        """Kill a worker; one that waits for a host is lost at once."""
        self._forget_waiting(worker)
        self._command(worker, "kill", worker)

    def _forget_waiting(self, worker: int) -> None:
        with self._guard:
            waits = next((config for config in self._waiting if config.worker == worker), None)
            if waits is not None:
                self._waiting.remove(waits)
        if waits is not None:
            self._deliver(WorkerLost(worker, "no host was there for it", blame=False))

    def pids(self) -> Collection[int]:
        """Return the processes of this machine in which workers are, if the cluster is here."""
        return () if self._cluster is None else self._cluster.pids()

    def close(self) -> None:
        """End every host."""
        with self._guard:
            self._closed = True
            links = list(self._links)
        ends = [link.close() for link in links]
        for end in ends:
            end.join(_END_SECONDS)  # their leases end those that cannot be reached
        if self._cluster is not None:
            self._cluster.close()

    def _command(self, worker: int, kind: str, content: Any) -> None:
        link = self._of_worker.get(worker)
        if link is not None and worker in link.workers:
            link.command(pack_command(kind, content))

    def _lost(self, link: _Link, reason: str) -> None:
        with self._guard:
            if link in self._links:
                self._links.remove(link)
            closed = self._closed
        if closed:
            return
        if not reason:
            return self._tell("INFO", f"host {link.courier.host} has finished and is released")
        self._tell("WARNING", f"host {link.courier.host} is lost: {reason}")
        if self._cluster is not None:
            self._cluster.lost(link.courier)

    def _tell(self, level: str, text: str) -> None:
        self._deliver(Tell(level, text))
