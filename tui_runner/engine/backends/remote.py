"""Workers on other machines, reached by links to host processes that do not depend on the network library.

Each link has one thread that polls and delivers reports in order, and one that sends commands. A worker is reported as
lost exactly once, after its last report: by its own backend, or when its link is given up. A link that was given up is
never polled again. So no later report of its workers is recorded, and every row is recorded once.
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
"""Seconds of failed polls after which a host process is given up. It is less than `LEASE_SECONDS`, so that the program
gives a host process up before the agent ends it."""
_POLL_SECONDS = 1.0
"""Seconds that a poll waits for a report. Commands that are not acknowledged for this time are sent again. With a
shorter time, more calls would be made while nothing happens; with a longer one, a lost command would be repeated
later."""
_AGAIN_SECONDS = 0.2
"""Seconds between two attempts at a call. Without this pause, a call that fails at once would be repeated in a busy
loop."""
_END_SECONDS = 5.0
"""Seconds to wait for the end of each host process when the backend is closed. Host processes that have not ended by
then are ended by their leases. The end of the program waits no longer than this."""
_MISSING = re.compile(r"no module (?:named )?'?(\w[\w.]*)", re.IGNORECASE)
"""Matches the name of a missing module in messages of Python and of `jobs/loading.py`."""


class _Link:
    """The connection to one host process, and the workers on it.

    Args:
        courier: carries the frames.
        deliver: called with the reports.
        on_lost: called once when the host process has ended, with the reason. The reason is empty if the host process
            was retired.
        silence: seconds of failed polls after which a host process is given up.
        joined: True if the host process joined during the run. If such a host process cannot load the job, only the
            host process is given up.
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
        """Numbers of the workers on this host process; only changed under `_guard`."""
        self._deliver = deliver
        self._on_lost = on_lost
        self._silence = silence
        self._changed = threading.Condition()
        """Guards `_commands` and `_closed`; notified when a command is queued."""
        self._commands: deque[Frame] = deque()
        self._numbered = 0
        self._closed = False
        self._guard = threading.Lock()
        """Guards `workers`, `_over` and `is_retired`, so that each worker is reported as lost exactly once."""
        self._over = False
        self.is_retired = False
        self._is_unproven = joined
        # daemon: both threads may block in a call to a host process that no longer responds
        threading.Thread(target=self._poll, name=f"poll {courier.host}", daemon=True).start()
        threading.Thread(target=self._send, name=f"send {courier.host}", daemon=True).start()

    def take(self, worker: int) -> bool:
        """Assign a worker to the host process. Return False if the host process takes no more workers."""
        with self._guard:
            if self._over or self.is_retired:
                return False
            self.workers.add(worker)
            return True

    def retire(self) -> list[int]:
        """Take no more workers, and end the host process when its current workers have ended.

        Return the current workers.
        """
        with self._guard:
            self.is_retired = True
            workers = sorted(self.workers)
        if not workers:
            self._give_up("")
        return workers

    def command(self, frame: bytes) -> None:
        """Queue a command. Returns at once."""
        with self._changed:
            self._numbered += 1
            self._commands.append((self._numbered, frame))
            self._changed.notify_all()

    def close(self) -> threading.Thread:
        """Stop both threads and end the host process in a new thread, which is returned."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # In a thread, because a host process that no longer responds must not delay the end of other host processes.
        # As a daemon, because it must not delay the end of this process, either.
        thread = threading.Thread(target=self._end_courier, name="end host", daemon=True)
        thread.start()
        return thread

    def _end_courier(self) -> None:
        try:
            self.courier.end()
        except (CourierError, AgentGone):
            return  # the lease of its agent will end it

    def _poll(self) -> None:
        """Receive the reports of the host process until it is given up; the main function of a thread."""
        ack, heard_at = 0, time.monotonic()
        while not self._closed:
            try:
                polled = self.courier.poll(ack, _POLL_SECONDS)
            except CourierError as error:  # the connection may come back
                if time.monotonic() - heard_at > self._silence:
                    return self._give_up(f"silent for {self._silence:g} s ({error})")
                time.sleep(_AGAIN_SECONDS)
                continue
            except AgentGone as error:  # no later call can succeed
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
        """Deliver a report, unless its worker was already reported as lost.

        Give the host process up if the report cannot be read, or says that the host process cannot run the job at all.
        """
        try:
            report = unpack_report(content)
        except BadFrame as error:
            text = f"machine {self.courier.host}: {error}"
            self._deliver(LogLines(None, (LogLine(time.time(), "ERROR", text),)))
            return self._give_up("it sent a report that cannot be read")
        worker = report.worker
        if worker not in self.workers:
            return None  # the worker was already reported as lost
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
        """Send commands, again if they are not acknowledged; the main function of a thread."""
        sent, tried_at = 0, 0.0
        while True:
            with self._changed:
                while not self._closed and (not self._commands or self._commands[-1][0] <= sent):
                    self._changed.wait(_POLL_SECONDS)
                    if self._commands and time.monotonic() - tried_at > _POLL_SECONDS:
                        break  # no acknowledgement for a while: send again
                if self._closed:
                    return
                frames = [frame for frame in self._commands if frame[0] > sent or self._commands[-1][0] <= sent]
            if not frames:
                continue
            tried_at = time.monotonic()
            try:
                self.courier.send(frames)
                sent = frames[-1][0]
            except CourierError:  # send all again: some commands may have arrived, but the agent drops repeats
                sent = frames[0][0] - 1
                time.sleep(_AGAIN_SECONDS)
            except AgentGone:
                return  # the polling thread reports it

    def _give_up(self, reason: str) -> None:
        """End the link and report its workers as lost, without blaming their items."""
        with self._guard:
            if self._over:
                return
            self._over = True
            workers, self.workers = sorted(self.workers), set()
        self.close()
        self._on_lost(self, reason)
        for worker in workers:
            self._deliver(WorkerLost(worker, "its machine is lost", blame=False))


def _surplus(hosts: list[list[int]]) -> list[int]:
    """Return the workers to move from the fullest host processes to one without workers, as its equal share."""
    share = max(1, sum(map(len, hosts)) // len(hosts))
    taken: list[int] = []
    while len(taken) < share and len(fullest := max(hosts, key=len)) > 1:
        taken.append(fullest.pop())
    return taken


def _of_host(host: str, message: str) -> str:
    """Return a message with the name of its machine, and with advice if a module is missing on the machine."""
    missing = _MISSING.search(message)
    if missing is None:
        return f"machine {host}: {message}"
    return (
        f"machine {host} has no module {missing[1]}, which the job needs; pip install it there, or send it: --ship DIR"
    )


class Cluster(Protocol):
    """A source of host processes, which it adds to a `RemoteBackend` and retires."""

    def start(self, backend: RemoteBackend, tell: Callable[[str, str], None]) -> None:
        """Add every host process to `backend`: existing ones now, others when they join.

        The cluster also retires host processes, and stops the run when no more host processes will come.

        Args:
            backend: the backend.
            tell: logs an event; called with its level and text.
        """

    def lost(self, courier: Courier) -> None:
        """Start a host process in place of one that was given up, if its machine still exists."""

    def pids(self) -> Collection[int]:
        """Return the ids of the local processes that start host processes; empty for a cluster of other machines."""

    def close(self) -> None:
        """Release all resources; called after the host processes have ended."""


class RemoteBackend:
    """A backend that runs workers on host processes, which it reaches through couriers. See `Backend`.

    The run is paused while there is no host process. When a host process joins, it gets workers in one of three ways.
    Workers that wait for a host process start there. If the number of workers may grow and is below that of the host
    processes, another worker starts. Otherwise some workers of fuller host processes are replaced by workers on the new
    one.

    Args:
        deliver: called with the reports of all workers, and with the events that hold and release the run.
        silence: seconds of failed polls after which a host process is given up.
        bundle: code of the job, which each host process writes to its machine; None if the machines have it.
        cluster: finds host processes; None if they are added by calling `add`.
        grows_from: number of workers at the start. When there are more host processes than workers, the number of
            workers grows to that of the host processes. None for a fixed number.
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
        self._has_held = False
        """True while the run is paused, because there is no host process."""
        self._guard = threading.Lock()
        """Guards the fields below: host processes join and leave in threads of the cluster, while the runner's thread
        sends orders."""
        self._links: list[_Link] = []
        self._of_worker: dict[int, _Link] = {}
        self._waiting: deque[WorkerConfig] = deque()
        self._early: dict[int, list[tuple[str, Any]]] = {}
        """Commands for each worker that has not started on a host process yet; they are sent when it starts."""
        self._closed = False
        if cluster is not None:
            cluster.start(self, self._tell)

    def add(self, courier: Courier, *, joined: bool = False) -> None:
        """Use one more host process. Workers that wait for a host process start on it.

        Args:
            courier: connection to the host process.
            joined: True if the host process joined during the run.
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
                was_held, self._has_held = self._has_held, False
        if closed:
            with contextlib.suppress(CourierError, AgentGone):  # the lease of its agent will end it
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
                self._deliver(Recycle(worker, f"machine {courier.host} has joined"))

    def retire(self, courier: Courier) -> None:
        """Stop using a host: its workers finish their current items, and new workers start elsewhere."""
        with self._guard:
            link = next((each for each in self._links if each.courier is courier), None)
        if link is not None:
            self._tell("INFO", f"machine {courier.host} is being retired: it finishes its items and gets no more")
            for worker in link.retire():
                self._deliver(Recycle(worker, f"machine {courier.host} is being retired"))

    def stop(self, reason: str) -> None:
        """Stop the run in order, because no more host processes will come."""
        self._deliver(StopRun(RunState.STOPPED, reason))

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """The machine and the number of workers of each host process."""
        with self._guard:
            return tuple((link.courier.host, len(link.workers)) for link in self._links)

    @property
    def waiting(self) -> int:
        """The number of workers that wait for a host process."""
        return len(self._waiting)

    def start_worker(self, config: WorkerConfig) -> None:
        """Start a worker on the host process with the fewest workers.

        Without a host process, it waits and the run is paused.
        """
        is_news = False
        with self._guard:
            for link in sorted(self._links, key=lambda each: len(each.workers)):
                if link.take(config.worker):
                    self._start_on(link, config)
                    break
            else:
                self._waiting.append(config)
                self._early.setdefault(config.worker, [])
                is_news, self._has_held = not self._has_held, True
        if is_news:
            text = "no machine is left to run on; no rows were lost, the run continues when one joins the cluster"
            self._deliver(Hold(PauseCause.HOSTS, text))

    def _start_on(self, link: _Link, config: WorkerConfig) -> None:
        """Start a worker on a host process. The caller holds the guard, so that no later command comes first."""
        self._of_worker[config.worker] = link
        if self._workers_at_first is not None and self._most is not None:
            # The limit on unwritten bytes applies to all workers together, and more workers may run than at first.
            share = config.max_buffered_bytes * self._workers_at_first // self._most
            config = replace(config, max_buffered_bytes=share)
        link.command(pack_command("start", replace(config, params={})))
        for kind, content in self._early.pop(config.worker, ()):
            link.command(pack_command(kind, content))

    def send(self, worker: int, order: Order) -> None:
        """Send an order to a worker; if it still waits for a host process, when it starts.

        `Drain` reports a worker that still waits as lost at once.
        """
        if isinstance(order, Drain):
            self._forget_waiting(worker)
        self._command(worker, "send", (worker, order))

    def kill_worker(self, worker: int) -> None:
        """Kill a worker. A worker that still waits for a host process is reported as lost at once."""
        self._forget_waiting(worker)
        self._command(worker, "kill", worker)

    def _forget_waiting(self, worker: int) -> None:
        with self._guard:
            waits = next((config for config in self._waiting if config.worker == worker), None)
            if waits is not None:
                self._waiting.remove(waits)
                del self._early[worker]
        if waits is not None:
            self._deliver(WorkerLost(worker, "no machine was available for it", blame=False))

    def pids(self) -> Collection[int]:
        """Return the ids of local processes in which workers run, if the cluster is on this machine."""
        return () if self._cluster is None else self._cluster.pids()

    def close(self) -> None:
        """End every host process, then the cluster."""
        with self._guard:
            self._closed = True
            links = list(self._links)
        ends = [link.close() for link in links]
        for end in ends:
            end.join(_END_SECONDS)  # a host process that cannot be reached is ended by its lease
        if self._cluster is not None:
            self._cluster.close()

    def _command(self, worker: int, kind: str, content: Any) -> None:
        with self._guard:
            if (early := self._early.get(worker)) is not None:
                early.append((kind, content))
                return
            link = self._of_worker.get(worker)
        if link is not None and worker in link.workers:
            link.command(pack_command(kind, content))

    def _lost(self, link: _Link, reason: str) -> None:
        """Forget a host process that has ended. `reason` is empty if it was retired and has finished."""
        with self._guard:
            if link in self._links:
                self._links.remove(link)
            closed = self._closed
        if closed:
            return
        if not reason:
            return self._tell("INFO", f"machine {link.courier.host} has finished and is released")
        self._tell("WARNING", f"machine {link.courier.host} is lost: {reason}")
        if self._cluster is not None:
            self._cluster.lost(link.courier)

    def _tell(self, level: str, text: str) -> None:
        self._deliver(Tell(level, text))
