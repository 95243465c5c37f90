"""The gate that every request of a worker passes: the request waits there until it may be sent to its host.

Theory of operation. A host (`host.Host`) decides when requests may be sent; the gate has the lock, the clock and the
queues of waiters. There are two ways in. A *request* waits in the line of its host, first come, first served: only the
first in line watches the time, and a waiter that leaves the line wakes the next. Threads and tasks wait in the same
line. An *item* whose host is known before it starts waits in the queue of the worker and needs no thread: the queue
calls `reserve`, and the first request of the item to that host uses that reservation.

An item that waits at the gate is not counted by its pool (`ItemContext.begin_wait`): another thread takes its place,
and its duration and its timeout are suspended.

The lock is held only for decisions; waiters are woken after it is released.
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
"""Hosts that a worker remembers. If there are more, it forgets hosts without a limit, refusal or failure."""


class HostDown(ItemError):
    """A host failed repeatedly, so no request was sent.

    Args:
        host: its name.
        last: description of its last answer.
    """

    def __init__(self, host: str, last: str) -> None:
        super().__init__(f"{host} failed repeatedly (last: {last}), so no request was sent; retry this item later")
        self.host = host


class ItemPostponed(BaseException):
    """The worker ends while an item waits for its host: the item runs again when the run is resumed."""


@dataclass(frozen=True, slots=True)
class HostState:
    """State of a host in a worker's report.

    Attributes:
        host: its name.
        open: requests that are open.
        waiting: requests and items that wait for it.
        slots: requests that this worker may have open; None for no limit.
        serial: serial of the last grant of slots.
        delay: seconds between two requests.
        cooldown: seconds until a refusal ends, 0 for none.
        paused: True if the user has paused it.
        failing: True if it failed so often that only occasional requests are sent.
        down: True if its items fail without a request.
        due: seconds until the next request if there is a delay; another worker must wait equally long.
        asked_delay: seconds between two requests that the host demands (`Crawl-delay`); 0 for none.
        counts: counts since the last report.
    """

    host: str
    open: int
    waiting: int
    slots: int | None
    serial: int
    delay: float
    cooldown: float
    paused: bool
    failing: bool
    down: bool
    due: float
    asked_delay: float
    counts: HostCounts


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """A worker that uses the gate.

    Attributes:
        on_change: called with a host to which requests may be possible now.
        on_news: called when states should be reported soon.
        on_refusal: called with a host that has refused, and the seconds of its cooldown.
    """

    on_change: Callable[[str], None]
    on_news: Callable[[], None]
    on_refusal: Callable[[str, float], None] = lambda host, seconds: None


class _Line:
    """A host and its waiters, guarded by the gate's lock."""

    __slots__ = ("asked_delay", "host", "waiters")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.asked_delay = 0.0
        self.waiters: deque[Waiter] = deque()


class HostGate:
    """Lets requests to hosts through, within the limits of each host.

    Args:
        limits: limits of every host.
        clock: returns monotonic seconds.
    """

    def __init__(self, limits: HostLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or HostLimits()
        self._clock = clock
        self._lock = threading.Lock()
        """Guards the lines, grants and limits of all hosts. Waiters are woken after it is released."""
        self._lines: dict[str, _Line] = {}
        self._grants: dict[str, tuple[int, int]] = {}
        """Slots of each host that the runner has granted to this worker, if several workers share the limits, and
        serials of the grants."""
        self._own: dict[str, HostLimits] = {}
        """Limits of hosts that have their own."""
        self._shared = False
        self._seen: set[str] = set()
        """The first two hosts seen; two are enough to know that there are several."""
        self._listeners: tuple[Listener, ...] = ()

    # --- requests: called by many threads and tasks ---------------------------------------------------------

    async def admit(self, host: str, deadline: float | None, make_waiter: Callable[[], Waiter]) -> bool:
        """Wait until a request may be sent to `host`, and count it as open until `leave`.

        The deadline of an item that waits is postponed: read `current.deadline` again afterwards.

        Args:
            host: name of the host.
            deadline: time until which to wait, by `time.monotonic()`; None for no limit. The item's own deadline does
                not count.
            make_waiter: `WaitingThread` or `WaitingTask`, as the caller is.

        Returns:
            False if the deadline passed before a request could be sent.

        Raises:
            HostDown: the host failed repeatedly, so no request is sent.
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
        self._set_down(context)
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
        """Record that a request has ended. Never waits, so event loops may call it.

        Args:
            host: name of the host.
            status: status of the answer; None for no answer.
            seconds: from the request to the head of its answer, without the wait at the gate.
            sent: when the request was sent, by the clock of the gate; None for `seconds` ago.
            retry_after: seconds until the server accepts another request; None if it did not say.
        """
        if self._end(host, status=status, seconds=seconds, sent=sent, retry_after=retry_after):
            self.changed(host)

    # --- items whose host is known: called by the queue ------------------------------------------------------

    def reserve(self, host: str) -> float:
        """Count a request of an item as open if one may be sent now, and return 0; else return the seconds to wait.

        The seconds are infinite if they depend on other requests. Then `Listener.on_change` is called later.

        Raises:
            HostDown: no more requests are sent to the host.
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
        """Record the end of an item whose requests did not pass this gate; see `leave`.

        Return True if the caller, not `Listener.on_change`, must check the items that wait for the host.
        """
        return self._end(host, status=status, seconds=seconds, retry_after=retry_after, ok=ok)

    def drop(self, host: str) -> bool:
        """Record that a reservation is not used. Return True in the same case as `end_item`."""
        with self._lock:
            line = self._lines[host]
            line.host.drop()
            wake = self._next(line)
        return _woken(wake)

    def refuse(self, host: str, retry_after: float | None, sent: float) -> None:
        """Record the refusal of a request, sent at `sent`, that did not pass this gate."""
        with self._lock:
            asked, now = self._line(host).host, self._clock()
            before = asked.cooldown_until
            asked.refuse(now, retry_after, sent, may_open=self.has_several)
            held = asked.cooldown_until - now if asked.cooldown_until > before else 0.0
        if held > 0:
            self._refused(host, held)

    def cooldown(self, host: str) -> float:
        """Return the seconds until the cooldown of a host ends."""
        with self._lock:
            line = self._lines.get(host)
            return 0.0 if line is None else max(0.0, line.host.cooldown_until - self._clock())

    @property
    def limits(self) -> HostLimits:
        """Return the limits of every host."""
        return self._limits

    @property
    def has_several(self) -> bool:
        """Return True if requests were sent to more than one host."""
        return len(self._seen) > 1

    # --- steering ------------------------------------------------------------------------------------------

    def set_limits(self, limits: HostLimits, host: str = "", *, shared: bool | None = None) -> None:
        """Change limits; open requests above a lower limit are completed.

        Args:
            limits: the new limits.
            host: host to which they apply; empty for every host without its own limits.
            shared: True if other workers share them, so that the runner grants slots; None for no change.
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
        self._look_again(hosts)

    def grant(self, host: str, slots: int, serial: int, due: float = 0.0) -> None:
        """Let this worker have `slots` requests open to a host, the first in `due` seconds; `serial` is reported."""
        with self._lock:
            self._grants[host] = slots, serial
            line = self._line(host)
            line.host.slots = self._slots(host)
            line.host.news = True
            line.host.postpone(self._clock() + due)
        self._look_again([host])
        self._news()

    def hold(self, host: str, seconds: float) -> None:
        """Send no requests to a host for `seconds`, because it has refused another worker."""
        with self._lock:
            self._line(host).host.hold(self._clock() + seconds)

    def ask_delay(self, host: str, seconds: float) -> None:
        """Keep `seconds` between two requests to a host, because it demands that. Other workers are informed.

        A longer delay of the host is kept. A delay that the user sets later takes precedence.
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
        """Send no requests to a host until it is resumed, or resume it."""
        with self._lock:
            line = self._line(host)
            line.host.paused = paused
            line.host.news = True
        self._look_again([host])

    def add(self, listener: Listener) -> None:
        """Add a worker that uses the gate. The first one clears the state of earlier workers."""
        with self._lock:
            if not self._listeners:
                self._grants.clear()
                self._own.clear()
                self._seen.clear()
                self._lines = {name: line for name, line in self._lines.items() if line.waiters or line.host.open}
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Record that a worker ends. After the last one, all waiters are sent back with `ItemPostponed`."""
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)
            waiters = [waiter for line in self._lines.values() for waiter in line.waiters if not self._listeners]
            for waiter in waiters:
                waiter.is_sent_back = True
        for waiter in waiters:
            waiter.wake()

    def changed(self, host: str) -> None:
        """Make workers check the items that wait for a host again."""
        for listener in self._listeners:
            listener.on_change(host)

    def _refused(self, host: str, seconds: float) -> None:
        for listener in self._listeners:
            listener.on_refusal(host, seconds)

    def _news(self) -> None:
        for listener in self._listeners:
            listener.on_news()

    def touch(self, hosts: Iterable[str]) -> None:
        """Report hosts again, because other items wait for them now."""
        with self._lock:
            for host in hosts:
                self._line(host).host.news = True

    def states(self) -> list[HostState]:
        """Return the hosts that have changed since the last call."""
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

    # --- with the lock, or taking it --------------------------------------------------------------------------

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
        """Forget hosts that were reported and have no limit, refusal or failure."""
        for name, line in list(self._lines.items()):
            if not line.waiters and not line.host.news and line.host.is_plain(now):
                del self._lines[name]
                self._grants.pop(name, None)

    def _check_down(self, name: str, host: Host) -> None:
        if host.down and host.wait(self._clock()) > 0:
            last = "no answer" if host.last_status is None else f"status {host.last_status}"
            raise HostDown(name, last)

    def _send_reserved(self, host: str) -> float:
        """Return 0 if the reserved request may be sent, the seconds until then, or -1.0 if it must wait in line.

        If the host has refused since the item began, the reservation is invalid.
        """
        with self._lock:
            line, now = self._lines[host], self._clock()
            if line.host.is_refusing(now):
                line.host.drop()
                return -1.0
            return line.host.send_reserved(now)

    def _arrive(self, host: str, make_waiter: Callable[[], Waiter]) -> Waiter | None:
        """Enter at once if possible, and return None. Otherwise join the line of a host and return the waiter."""
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
        """Enter and return 0 if this waiter may enter; else return the seconds until it should check again."""
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
        """Leave the line, and wake the waiter that is now first."""
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
            held = line.host.cooldown_until - now if line.host.cooldown_until > before else 0.0
            everybody = line.host.down and not was_down
            wakes = [waiter.wake for waiter in line.waiters] if everybody else [self._next(line)]
        if held > 0:
            self._refused(host, held)
        if self._shared and line.host.slots is not None:
            self._news()
        return all([_woken(wake) for wake in wakes])

    @staticmethod
    def _next(line: _Line) -> Callable[[], object] | None:
        return line.waiters[0].wake if line.waiters else None

    def _look_again(self, hosts: list[str]) -> None:
        for host in hosts:
            with self._lock:
                line = self._lines.get(host)
                wakes = [] if line is None else [waiter.wake for waiter in line.waiters]
            for wake in wakes:
                wake()
            self.changed(host)

    # --- the item that waits -----------------------------------------------------------------------------------

    def _set_down(self, context: ItemContext | None) -> None:
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
    """Wake a waiter. Return True if there is no waiter, so that items in the queue may start."""
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
        paused=host.paused,
        failing=host.failing,
        down=host.down,
        due=host.due_in(now),
        asked_delay=line.asked_delay,
        counts=host.counts,
    )


def _use_reservation(context: ItemContext | None, host: str) -> bool:
    """Use the current item's reservation of this host. Return True if it had one."""
    if context is None or context.reserved_host != host:
        return False
    context.reserved_host = ""
    return True


def _own_deadline(context: ItemContext | None, deadline: float | None) -> float | None:
    """Return the deadline of the request itself.

    Return None if it is the item's deadline, which is suspended while the item waits.
    """
    if context is None or deadline is None or context.deadline is None or deadline < context.deadline:
        return deadline
    return None
