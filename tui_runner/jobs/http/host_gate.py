"""The gate that every request of `tui_runner.http` passes: it waits there until it may be sent to its host.

Theory of operation. A host (`host.Host`) decides when requests may be sent; the gate has the lock, the clock and the
queues of waiters. Requests are admitted in two ways. If the host of an item is not known before the item starts, its
*request* waits in the queue of the host. The first waiter in the queue watches the time, and a waiter that leaves wakes
the next one. Threads and tasks wait in the same queue. If the host is known, the *item* waits in the queue of the
worker and needs no thread. The worker's queue calls `reserve`, and the first request of the item to that host uses the
reservation.

An item that waits at the gate does not count as running (`ItemContext.begin_wait`): another thread runs an item
meanwhile, and the waiting item's duration and timeout are suspended.

The lock is held only for decisions. Waiters are woken after it is released.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tui_runner.errors import ItemError
from tui_runner.jobs.current import CONTEXT, ItemContext
from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.http.blocking import Waiter
from tui_runner.jobs.http.host import Host, HostCounts
from tui_runner.system.clock import time

MAX_HOSTS = 2_000
"""Hosts that a worker remembers. Above this number, it forgets hosts of which nothing needs to be remembered
(`Host.is_plain`). A host takes about a kilobyte; a smaller number would let a crawl forget and create them again."""


class HostDown(ItemError):
    """Raised instead of sending a request to a host that has failed repeatedly.

    Args:
        host: its name.
        last: description of its last response.
    """

    def __init__(self, host: str, last: str) -> None:
        super().__init__(f"{host} failed repeatedly (last: {last}), so no request was sent; retry this item later")
        self.host = host


class ItemPostponed(BaseException):
    """Raised in an item that waits for its host when the worker ends. The item runs again when the run is resumed."""


@dataclass(frozen=True, slots=True)
class HostState:
    """State of a host in a worker's report.

    Attributes:
        host: its name.
        open: requests that are open.
        waiting: requests that wait for it in this worker.
        slots: requests that this worker may have open; None for no limit.
        serial: serial number of the last grant of slots from the runner.
        delay: seconds between two requests.
        cooldown: seconds until the host's refusal ends; 0 without a refusal.
        named: seconds until the time that the host named in its refusals; 0 if it named none. The rest of `cooldown` is
            back-off of our own.
        paused: True if the user has paused it.
        failing: True if it failed so often that only occasional requests are sent.
        down: True if its items fail without a request.
        due: seconds until the next request is allowed by `delay`; another worker must wait equally long.
        asked_delay: seconds between two requests that the host demands (`Crawl-delay`); 0 for no demand.
        counts: counts since the last report.
    """

    host: str
    open: int
    waiting: int
    slots: int | None
    serial: int
    delay: float
    cooldown: float
    named: float
    paused: bool
    failing: bool
    down: bool
    due: float
    asked_delay: float
    counts: HostCounts


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """Functions of a worker that the gate calls.

    Attributes:
        on_change: called with a host to which requests may have become possible.
        on_news: called when the states of hosts should be reported soon.
        on_refusal: called with a host that has refused a request, the seconds of its cooldown, the seconds that the
            host named, and the status of the response.
    """

    on_change: Callable[[str], None]
    on_news: Callable[[], None]
    on_refusal: Callable[[str, float, float, int], None] = lambda host, seconds, named, status: None


class _Line:
    """A host and its queue of waiters. The gate's lock protects it."""

    __slots__ = ("asked_delay", "host", "waiters")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.asked_delay = 0.0
        self.waiters: deque[Waiter] = deque()


class HostGate:
    """A gate that lets requests to hosts through within the limits of each host.

    Args:
        limits: limits for every host.
        clock: returns monotonic seconds.
    """

    def __init__(self, limits: HostLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or HostLimits()
        self._clock = clock
        self._lock = threading.Lock()
        """Protects the lines, grants and limits of all hosts. Waiters are woken after it is released."""
        self._lines: dict[str, _Line] = {}
        self._grants: dict[str, tuple[int, int]] = {}
        """Slots and serial number of the runner's last grant for each host. Used if several workers share the limits.
        """
        self._own: dict[str, HostLimits] = {}
        """Limits of the hosts that have their own limits."""
        self._shared = False
        self._seen: set[str] = set()
        """The first two hosts that the gate has seen, by a request or a waiting item. Two are enough to know that there
        are several."""
        self._listeners: tuple[Listener, ...] = ()

    async def admit(self, host: str, deadline: float | None, make_waiter: Callable[[], Waiter]) -> bool:
        """Wait until a request may be sent to `host`, and count it as open until `leave`.

        Waiting postpones the item's deadline, so read `current.deadline` again afterwards.

        Args:
            host: name of the host.
            deadline: time until which to wait, by `time.monotonic()`; None for no limit. If it is the item's own
                deadline, it is postponed while the item waits, so there is no limit.
            make_waiter: `WaitingThread` in a thread, `WaitingTask` in a task.

        Returns:
            True if the request may be sent now; False if the deadline passed before.

        Raises:
            HostDown: the host has failed repeatedly, so no request is sent.
            ItemPostponed: the worker ended while the request waited.
        """
        context = CONTEXT.get()
        if _use_reservation(context, host):
            while (seconds := self._send_reserved(host)) > 0:
                await make_waiter().wait(seconds)
            if seconds == 0:
                return True
        waiter = self._arrive(host, make_waiter)
        if waiter is None:
            return True
        self._drop_reservation(context)
        deadline = _own_deadline(context, deadline)
        waited_from = self._begin_wait(context, host, waiter)
        try:
            while (seconds := self._advance(host, waiter)) > 0:
                left = math.inf if deadline is None else deadline - self._clock()
                if left <= 0:
                    return False
                await waiter.wait(min(seconds, left))
            return True
        finally:
            self._depart(host, waiter)
            self._end_wait(context, waited_from)

    def leave(
        self,
        host: str,
        *,
        status: int | None,
        seconds: float,
        sent: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Record that a request has ended. This never waits, so event loops may call it.

        Args:
            host: name of the host.
            status: status of the response; None for no response.
            seconds: time from sending the request to the head of the response.
            sent: time at which the request was sent, by the clock of the gate; None for `seconds` ago.
            retry_after: seconds until the server accepts another request; None if it named no time.
        """
        if self._end(host, status=status, seconds=seconds, sent=sent, retry_after=retry_after):
            self.changed(host)

    def reserve(self, host: str) -> float:
        """Reserve a request for an item and return 0, or return the seconds until one may be sent.

        The seconds are infinite if another request must end first, other requests wait in the queue of the host, or the
        user has paused it. Then `Listener.on_change` is called later.

        Raises:
            HostDown: the host has failed repeatedly, so no request is sent.
        """
        with self._lock:
            line = self._line(host)
            if line.waiters:
                return math.inf
            self._check_down(host, line.host)
            now = self._clock()
            seconds = line.host.wait(now)
            if seconds == 0:
                line.host.start(now, reserved=True)
            return seconds

    def end_item(
        self, host: str, *, ok: bool, status: int | None, seconds: float, retry_after: float | None = None
    ) -> bool:
        """Record the end of an item whose requests did not pass this gate.

        Return True if items that wait for the host may start now. The caller must check them, because this method does
        not call `Listener.on_change`, as `leave` does.

        Args:
            host: the host of the item.
            ok: True if the item succeeded. It decides instead of `status`, which is None for an item that succeeded.
            status: see `leave`.
            seconds: see `leave`.
            retry_after: see `leave`.
        """
        return self._end(host, status=status, seconds=seconds, retry_after=retry_after, ok=ok)

    def drop(self, host: str) -> bool:
        """Record that a reservation is not used. Return True if items that wait for the host may start now."""
        with self._lock:
            line = self._lines[host]
            line.host.drop()
            wake = self._next(line)
        return _woken(wake)

    def refuse(self, host: str, status: int, retry_after: float | None, sent: float) -> None:
        """Record that a request was refused that did not pass this gate and was sent at the time `sent`."""
        with self._lock:
            asked, now = self._line(host).host, self._clock()
            before = asked.cooldown_until
            asked.refuse(now, retry_after, sent, may_open=self.has_several)
            cooldown = asked.cooldown_until - now if asked.cooldown_until > before else 0.0
        if cooldown > 0:
            self._refused(host, cooldown, asked.named_until - now, status)

    def cooldown(self, host: str) -> float:
        """Return the seconds until the cooldown of a host ends; 0 if it has none."""
        with self._lock:
            line = self._lines.get(host)
            return 0.0 if line is None else max(0.0, line.host.cooldown_until - self._clock())

    @property
    def limits(self) -> HostLimits:
        """Limits for every host without its own limits."""
        return self._limits

    @property
    def has_several(self) -> bool:
        """True if the gate has seen more than one host, by a request or a waiting item."""
        return len(self._seen) > 1

    def set_limits(self, limits: HostLimits, host: str = "", *, shared: bool | None = None) -> None:
        """Change limits. Requests that are open are completed, even if they exceed a lower limit.

        Args:
            limits: the new limits.
            host: host to which `limits` apply; empty for every host without its own limits.
            shared: True if several workers share the limits, so that the runner grants slots to each; None for no
                change.
        """
        with self._lock:
            if host:
                self._own[host] = limits
            else:
                self._limits = limits
            if shared is not None:
                self._shared = shared
            for name, line in self._lines.items():
                line.host.change(self._limits_of(name))
                line.host.slots = self._slots(name)
            hosts = list(self._lines)
        self._recheck(hosts)

    def grant(self, host: str, slots: int, serial: int, due: float = 0.0) -> None:
        """Allow this worker `slots` open requests to a host, the first in `due` seconds. `serial` is reported back."""
        with self._lock:
            self._grants[host] = slots, serial
            line = self._line(host)
            line.host.slots = self._slots(host)
            line.host.news = True
            line.host.postpone(self._clock() + due)
        self._recheck([host])
        self._news()

    def hold(self, host: str, seconds: float) -> None:
        """Send no requests to a host for `seconds`, because it has refused a request of another worker."""
        with self._lock:
            self._line(host).host.hold(self._clock() + seconds)

    def ask_delay(self, host: str, seconds: float) -> None:
        """Keep `seconds` between two requests to a host, because it demands that. The runner informs other workers.

        If the host already has a longer delay, that is kept. A delay that the user sets later takes precedence.
        """
        with self._lock:
            line = self._line(host)
            limits = self._limits_of(host)
            line.asked_delay = seconds
            line.host.news = True
        if seconds > limits.delay:
            self.set_limits(replace(limits, delay=seconds), host)
        self._news()

    def pause(self, host: str, paused: bool) -> None:
        """Send no requests to a host until it is resumed, or if `paused` is False, resume it."""
        with self._lock:
            line = self._line(host)
            line.host.paused = paused
            line.host.news = True
        self._recheck([host])

    def add(self, listener: Listener) -> None:
        """Add a worker that uses the gate. The first one clears the state left by earlier workers."""
        with self._lock:
            if not self._listeners:
                self._grants.clear()
                self._own.clear()
                self._seen.clear()
                # Threads that a worker has given up may still send requests here, and will release them.
                self._lines = {name: line for name, line in self._lines.items() if line.waiters or line.host.open}
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Remove a worker that ends. After the last one, all waiters end with `ItemPostponed`."""
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)
            waiters = [waiter for line in self._lines.values() for waiter in line.waiters if not self._listeners]
            for waiter in waiters:
                waiter.is_sent_back = True
        for waiter in waiters:
            waiter.wake()

    def changed(self, host: str) -> None:
        """Make workers check again the items that wait for a host."""
        for listener in self._listeners:
            listener.on_change(host)

    def _refused(self, host: str, seconds: float, named: float, status: int) -> None:
        for listener in self._listeners:
            listener.on_refusal(host, seconds, max(named, 0.0), status)

    def _news(self) -> None:
        for listener in self._listeners:
            listener.on_news()

    def touch(self, hosts: Iterable[str]) -> None:
        """Report hosts at the next opportunity, because the number of items that wait for them has changed."""
        with self._lock:
            for host in hosts:
                self._line(host).host.news = True

    def states(self) -> list[HostState]:
        """Return the states of the hosts that have changed since the last call."""
        with self._lock:
            now = self._clock()
            found = []
            for name, line in self._lines.items():
                host = line.host
                if host.news:
                    host.news = False
                    found.append(_state(name, line, self._grants.get(name, (0, 0))[1], now))
                    host.counts = HostCounts()
            if len(self._lines) > MAX_HOSTS:
                self._forget(now)
            return found

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(Host(self._limits_of(name), self._slots(name), self._clock()))
            if len(self._seen) < 2:
                self._seen.add(name)
        return line

    def _limits_of(self, host: str) -> HostLimits:
        return self._own.get(host, self._limits)

    def _slots(self, host: str) -> int | None:
        limits = self._limits_of(host)
        if limits.per_host is None and not (self._shared and limits.is_exclusive):
            return None
        if self._shared:
            return self._grants.get(host, (0, 0))[0]
        return limits.per_host

    def _forget(self, now: float) -> None:
        """Forget hosts that were reported, have no waiter, and of which nothing needs to be remembered."""
        for name, line in list(self._lines.items()):
            if not line.waiters and not line.host.news and line.host.is_plain(now):
                del self._lines[name]
                self._grants.pop(name, None)

    def _check_down(self, name: str, host: Host) -> None:
        if host.down and host.wait(self._clock()) > 0:
            last = "no answer" if host.last_status is None else f"status {host.last_status}"
            raise HostDown(name, last)

    def _send_reserved(self, host: str) -> float:
        """Return 0 if the reserved request may be sent, the seconds until then, or -1.0 if it must wait in the queue.

        The last applies if the host has refused a request since the item began, which makes the reservation invalid.
        """
        with self._lock:
            line, now = self._lines[host], self._clock()
            if line.host.is_refusing(now):
                line.host.drop()
                return -1.0
            return line.host.send_reserved(now)

    def _arrive(self, host: str, make_waiter: Callable[[], Waiter]) -> Waiter | None:
        """Admit a request at once and return None if possible, otherwise add a waiter to the queue and return it."""
        with self._lock:
            line = self._line(host)
            self._check_down(host, line.host)
            if not line.waiters:
                now = self._clock()
                if line.host.wait(now) == 0:
                    line.host.start(now)
                    return None
            waiter = make_waiter()
            line.waiters.append(waiter)
            line.host.news = True
        if self._shared:
            self._news()
        return waiter

    def _advance(self, host: str, waiter: Waiter) -> float:
        """Admit this waiter's request and return 0 if possible, otherwise return the seconds until the next check."""
        with self._lock:
            if waiter.is_sent_back:
                raise ItemPostponed
            line = self._lines[host]
            self._check_down(host, line.host)
            if line.waiters[0] is not waiter:
                return math.inf
            now = self._clock()
            seconds = line.host.wait(now)
            if seconds == 0:
                line.host.start(now)
            return seconds

    def _depart(self, host: str, waiter: Waiter) -> None:
        """Remove a waiter from the host's queue, and wake the waiter that is now first."""
        with self._lock:
            line = self._lines[host]
            line.waiters.remove(waiter)
            line.host.news = True
            wake = self._next(line)
        if _woken(wake):
            self.changed(host)

    def _end(
        self,
        host: str,
        *,
        status: int | None,
        seconds: float,
        sent: float | None = None,
        retry_after: float | None,
        ok: bool | None = None,
    ) -> bool:
        with self._lock:
            line = self._lines[host]
            now = self._clock()
            before, was_down = line.host.cooldown_until, line.host.down
            several = self.has_several
            line.host.end(
                now, status=status, seconds=seconds, sent=sent, retry_after=retry_after, ok=ok, may_open=several
            )
            cooldown = line.host.cooldown_until - now if line.host.cooldown_until > before else 0.0
            went_down = line.host.down and not was_down
            wakes = [waiter.wake for waiter in line.waiters] if went_down else [self._next(line)]
        if cooldown > 0 and status is not None:
            self._refused(host, cooldown, line.host.named_until - now, status)
        if self._shared and line.host.slots is not None:
            self._news()
        return all([_woken(wake) for wake in wakes])

    @staticmethod
    def _next(line: _Line) -> Callable[[], object] | None:
        return line.waiters[0].wake if line.waiters else None

    def _recheck(self, hosts: list[str]) -> None:
        for host in hosts:
            with self._lock:
                line = self._lines.get(host)
                wakes = [] if line is None else [waiter.wake for waiter in line.waiters]
            for wake in wakes:
                wake()
            self.changed(host)

    def _drop_reservation(self, context: ItemContext | None) -> None:
        """Drop the reservation of an item that waits for another host: two such items could wait for each other."""
        if context is not None and (reserved := context.reserved_host):
            context.reserved_host = ""
            if self.drop(reserved):
                self.changed(reserved)

    def _begin_wait(self, context: ItemContext | None, host: str, waiter: Waiter) -> float:
        if context is not None:
            try:
                context.begin_wait(host)
            except BaseException:
                self._depart(host, waiter)
                raise
        return self._clock()

    def _end_wait(self, context: ItemContext | None, since: float) -> None:
        if context is not None:
            context.end_wait(self._clock() - since)


def _woken(wake: Callable[[], object] | None) -> bool:
    """Wake the waiter whose `wake` this is. Return True for None: no request waits, so waiting items may start."""
    if wake is not None:
        wake()
    return wake is None


def _state(name: str, line: _Line, serial: int, now: float) -> HostState:
    host = line.host
    return HostState(
        host=name,
        open=host.open,
        waiting=len(line.waiters),
        slots=host.slots,
        serial=serial,
        delay=host.delay(now),
        cooldown=max(0.0, host.cooldown_until - now),
        named=max(0.0, host.named_until - now),
        paused=host.paused,
        failing=host.failing,
        down=host.down,
        due=host.due_in(now),
        asked_delay=line.asked_delay,
        counts=host.counts,
    )


def _use_reservation(context: ItemContext | None, host: str) -> bool:
    """Use up the current item's reservation for this host. Return True if it had one."""
    if context is None or context.reserved_host != host:
        return False
    context.reserved_host = ""
    return True


def _own_deadline(context: ItemContext | None, deadline: float | None) -> float | None:
    """Return the deadline that applies while a request waits.

    The item's own deadline is suspended while the item waits. If no earlier deadline applies, return None.
    """
    if context is None or deadline is None or context.deadline is None or deadline < context.deadline:
        return deadline
    return None
