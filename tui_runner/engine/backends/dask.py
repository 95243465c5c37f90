"""Runs host processes on a Dask cluster: Dask places agents, and a host process beside each Dask worker does the work.

    this process                                     machine of a Dask worker
    ┌──────────────────────┐  actor_execute: bytes   ┌───────────────────────────────────┐
    │ RemoteBackend ─ DaskCourier ────────────────▶  │ DaskAgent (actor) ─ Agent ─pipe─▶ │ host ─▶ workers
    │ DaskCluster: watches │                         └───────────────────────────────────┘
    └──────────────────────┘

Items and chunks are not Dask tasks, because Dask tasks cannot be paused, and their results in the memory of Dask
workers would have no limit on unwritten bytes. Calls go directly to the Dask worker; if this machine cannot reach it,
the Dask scheduler forwards them.

In distributed 2026.8, the scheduler unpickles the function of a task, but tui-runner need not be installed on the
scheduler's machine. So the function is `pickle.loads`, and its argument is the pickled agent.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import pickle
import platform
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tui_runner._version import __version__
from tui_runner.engine.backends.agent import LEASE_SECONDS, AgentGone, Courier, CourierError
from tui_runner.engine.backends.dask_agent import Hello, PickledAgent
from tui_runner.engine.backends.dask_courier import FAILURES, PROBE_SECONDS, DaskCourier, release
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.errors import UserError
from tui_runner.system.process import available_processors
from tui_runner.text.messages import one_line, plain

PREFIX = "dask:"
"""Beginning of `--backend` for a Dask cluster; the address follows."""
_CONNECT_SECONDS = 10.0
"""Seconds that the scheduler has to respond. After this time, the address is reported as wrong. A response takes
milliseconds, but a first packet that is lost is sent again after 1, 3 and 7 s."""
_ENLIST_SECONDS = 30.0
"""Seconds in which a Dask worker must start an agent, which takes about 50 ms. They are many, because it starts only
when a thread of the Dask worker is free."""
_LOOK_SECONDS = 0.5
"""Seconds between two checks for Dask workers that have joined or left. A new host process waits at most 0.5 s."""
_KEEP_ALIVE_SECONDS = 60.0
"""Seconds between two small tasks that keep Dask from closing the cluster as idle. Dask does not see our items."""
_AGAIN_SECONDS, _LONGEST_AGAIN_SECONDS = 0.5, 300.0
"""First and longest pause in seconds before a Dask worker whose agent failed gets another agent. The pause doubles each
time, so a Dask worker on which no agent works is tried rarely."""
GONE_SECONDS = 600.0
"""Seconds without a response of the scheduler after which the run is stopped. Dask does not tell clients that a cluster
is closed. So a closed cluster looks like a restarting one, and on Kubernetes a restart may take minutes."""
_LOGGERS = ("distributed", "distributed.client")
"""Loggers of distributed that have levels of their own. They would write tracebacks of each lost connection to the
terminal; the run itself logs the consequences of losing a machine or scheduler."""
_ENCRYPTED = ("tls", "wss")
"""Schemes of Dask's addresses whose connections are encrypted."""
_AT_ONCE = 16
"""Most agents that are started at the same time. Starting one takes about 50 ms, mostly waiting."""


class Pauses:
    """Pauses before a Dask worker whose agent failed gets another agent.

    Each pause is twice as long as the previous one.
    """

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}
        """End of the current pause and its length in seconds, by address."""

    def begin(self, address: str, now: float) -> None:
        """Begin the next pause of a Dask worker."""
        _, last = self._until.get(address, (0.0, _AGAIN_SECONDS / 2))
        seconds = min(2 * last, _LONGEST_AGAIN_SECONDS)
        self._until[address] = now + seconds, seconds

    def over(self, addresses: set[str], now: float) -> set[str]:
        """Return the Dask workers in `addresses` that are not paused at `now`."""
        return {each for each in addresses if self._until.get(each, (now, 0.0))[0] <= now}

    def keep(self, addresses: set[str]) -> None:
        """Drop the pauses of Dask workers that are not in `addresses`, because they have left the cluster."""
        self._until = {address: until for address, until in self._until.items() if address in addresses}


class DaskCluster:
    """A Dask cluster with an agent on each of its Dask workers. See `remote.Cluster`.

    Args:
        address: the part of the setting `--backend` after `dask:`.
        insecure: True if secrets may be sent over unencrypted connections.
        secrets: True if the run has secret parameters.
        patience: seconds without a scheduler after which the run is stopped; None for `GONE_SECONDS`.
        tolerant: True to list unusable Dask workers in `unfit` instead of raising an error.

    Attributes:
        workers: number of Dask workers at the start; 1 if none has joined yet.
        unfit: error messages of unusable Dask workers.

    Raises:
        UserError: the cluster cannot be reached or is not usable.
    """

    def __init__(
        self,
        address: str,
        *,
        insecure: bool = False,
        secrets: bool = False,
        patience: float | None = None,
        tolerant: bool = False,
    ) -> None:
        try:
            import distributed  # noqa: F401 - the extra
        except ImportError:  # the extra `dask` is optional
            raise UserError(
                "Dask is not installed", f"--backend {PREFIX}{plain(address)}", "pip install 'tui-runner[dask]'"
            ) from None
        self._address = address
        self._patience = GONE_SECONDS if patience is None else patience
        self._where = f"--backend {PREFIX}{plain(address)}"
        self._keeps_secrets = secrets and not insecure
        self._is_unencrypted = self._has_warned_unencrypted = False
        """The first is True if data is sent to another machine unencrypted. The second is True once the log has a
        warning about that."""
        self._tolerant = tolerant
        self.unfit: list[str] = []
        self._closed = threading.Event()
        """Set by `close`; ends the watching thread."""
        self._couriers: dict[str, DaskCourier | None] = {}
        """Couriers by address; None for a Dask worker whose agent is being started, or that is not usable."""
        self._pauses = Pauses()
        self._retiring: set[str] = set()
        """Addresses of Dask workers that the user asked Dask to retire. Dask refuses while they have an agent."""
        self._complaints: set[str] = set()
        """Errors that were logged, so that the error of a Dask worker is logged once although the worker is tried
        repeatedly."""
        self._guard = threading.Lock()
        """Guards `_couriers`, `_pauses` and `_retiring`, which the watching thread and Dask's own threads use."""
        self._backend: RemoteBackend | None = None
        self._tell: Callable[[str, str], None] = lambda level, text: None
        self._local: Any = None
        self._client: Any = None
        self._alive_at = time.monotonic()
        try:
            if not address.startswith("local") and not _is_file(address):
                self._check_encryption(address, self._where)  # before the client sends anything
            self._open()
            first = self._addresses()
            self.workers = max(1, len(first))
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dask-enlist") as pool:
                self._first = [each for each in pool.map(self._enlist_first, first) if each is not None]
        except BaseException:  # a constructor that fails must not leave a client or a local cluster behind
            self.close()
            raise

    @property
    def couriers(self) -> list[DaskCourier]:
        """The couriers of the Dask workers at the start."""
        return self._first

    def start(self, backend: RemoteBackend, tell: Callable[[str, str], None]) -> None:
        """Add the existing host processes to `backend`, and watch for host processes that join later."""
        self._backend, self._tell = backend, tell
        tell("INFO", f"{self._where}: machines {', '.join(each.host for each in self._first) or 'have yet to join'}")
        self._warn_unencrypted()
        for courier in self._first:
            self._use(courier)
        # daemon: the thread may wait for a response of the scheduler when the program ends
        threading.Thread(target=self._watch, name="dask-watch", daemon=True).start()

    def _use(self, courier: DaskCourier, *, joined: bool = False) -> None:
        if not courier.is_direct:
            self._tell("WARNING", f"{courier.host} is reached through the scheduler only, which is slower")
        assert self._backend is not None  # noqa: S101 - set before anything is used
        self._backend.add(courier, joined=joined)

    def lost(self, courier: Courier) -> None:
        """Start another agent in place of one that has ended, after a pause that grows each time."""
        if isinstance(courier, DaskCourier) and self._couriers.get(courier.address) is courier:
            self._try_later(courier.address)

    def _try_later(self, address: str) -> None:
        with self._guard:
            self._pauses.begin(address, time.monotonic())
            self._couriers.pop(address, None)

    def pids(self) -> list[int]:
        """Return the process ids of a local cluster's Dask workers.

        Their memory counts as memory of the run's workers.
        """
        nannies = () if self._local is None else list(self._local.workers.values())
        return [pid for nanny in nannies if (pid := nanny.pid)]

    def close(self) -> None:
        """Release every actor and close the client. A local cluster is closed too."""
        self._closed.set()
        if self._client is not None:
            with contextlib.suppress(*FAILURES):  # otherwise the scheduler logs an error about this client's end
                self._client.unsubscribe_topic("all")
        for each in (self._client, self._local):
            if each is not None:
                with contextlib.suppress(*FAILURES):  # closing a cluster that is gone fails in many ways
                    each.close(timeout=PROBE_SECONDS)

    def _check_encryption(self, address: str, where: str) -> None:
        """Check that secrets may be sent to an address.

        Raise `UserError` if others could read the secrets on the way.
        """
        if not _is_unencrypted(address):
            return
        if self._keeps_secrets:
            what = "secret parameters would go to another machine unencrypted"
            raise UserError(what, where, "use dask:tls://…, or --insecure if the network is your own")
        self._is_unencrypted = True

    def _warn_unencrypted(self) -> None:
        if self._is_unencrypted and not self._has_warned_unencrypted:
            self._has_warned_unencrypted = True
            self._tell("WARNING", f"{self._where}: items and rows travel unencrypted; dask:tls://… encrypts them")

    def _open(self) -> None:
        """Connect to the scheduler, after starting it for `dask:local`."""
        import dask
        from distributed import Client

        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        dask.config.set({"distributed.comm.retry.count": 0})
        kind, _, count = self._address.partition(":")
        target: dict[str, Any]
        if kind == "local":
            if count and not (count.isdigit() and int(count)):
                raise UserError(f"{plain(count)} is not a number of workers", self._where, "for example, dask:local:2")
            self._local = self._local or _local_cluster(int(count or available_processors()))
            target = {"address": self._local.scheduler_address}
        elif _is_file(self._address):
            self._check_encryption(self._address_in_file(), self._where)
            target = {"scheduler_file": self._address}
        else:
            target = {"address": self._address}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about other versions of libraries that this program does not use
                self._client = Client(
                    **target, timeout=_CONNECT_SECONDS, set_as_default=False, name="tui-runner", direct_to_workers=True
                )
        except Exception as error:  # a bad name, a bad certificate, no answer: distributed raises many types
            what = f"no Dask scheduler answers ({one_line(str(error) or type(error).__name__)})"
            raise UserError(what, self._where, "check the address, and that `dask scheduler` runs there") from None
        self._client.subscribe_topic("all", self._record_event)

    def _address_in_file(self) -> str:
        """Return the scheduler's address from a scheduler file.

        Raise `UserError` if the file is not a scheduler file.
        """
        do = "give the scheduler file of the cluster"
        if not Path(self._address).is_file():
            raise UserError("there is no such file", self._where, do)
        try:
            return str(json.loads(Path(self._address).read_bytes())["address"])
        except (OSError, ValueError, KeyError, TypeError):  # unreadable, not JSON, or JSON without an address
            raise UserError("it is not a scheduler file", self._where, do) from None

    def _record_event(self, event: Any) -> None:
        """Record an event of the scheduler. Runs in the client's own thread, where calls to Dask would never return."""
        _, content = event
        if isinstance(content, dict) and content.get("action") == "retire-workers":
            with self._guard:
                self._retiring.update(map(str, content.get("could-not-retire") or ()))

    def _addresses(self) -> list[str]:
        identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=PROBE_SECONDS)
        return list(identity["workers"])

    def _watch(self) -> None:
        """Look for Dask workers that have joined or left, and reconnect when the scheduler is gone."""
        heard_at, is_lost = time.monotonic(), False
        while not self._closed.wait(_LOOK_SECONDS):
            try:
                if self._client.status in ("closed", "closing"):
                    self._open()
                    if self._closed.is_set():
                        return self.close()  # the run ended while this was connecting
                    self._forget_agents()
                there = set(self._addresses())
                if time.monotonic() - self._alive_at > _KEEP_ALIVE_SECONDS:
                    self._alive_at = time.monotonic()
                    self._client.submit(int, 0, pure=False)  # an idle cluster may close (distributed#5675)
            except FAILURES as error:  # no scheduler; logged once, then tried again
                if not is_lost and not self._closed.is_set():
                    is_lost = True
                    text = f"{self._where}: the scheduler does not answer ({type(error).__name__}); trying again"
                    self._tell("WARNING", text)
                if time.monotonic() - heard_at > self._patience and not self._closed.is_set():
                    assert self._backend is not None  # noqa: S101 - set before anything is watched
                    self._backend.stop(f"the cluster is gone: no scheduler has answered for {self._patience:g} s")
                    return
                continue
            heard_at = time.monotonic()
            if is_lost:
                is_lost = False
                self._tell("INFO", f"{self._where}: the scheduler answers again")
            self._compare(there)
            self._retire()

    def _forget_agents(self) -> None:
        """Mark every agent as ended.

        When a client is closed, the scheduler releases the agents that the client has started.
        """
        with self._guard:
            for courier in self._couriers.values():
                if courier is not None:
                    courier.gone = "the connection to its scheduler was lost"
            self._couriers.clear()

    def _retire(self) -> None:
        """Retire the host processes of Dask workers that the user retires.

        Such host processes finish their items and get no more.
        """
        with self._guard:
            couriers = [courier for each in self._retiring if (courier := self._couriers.get(each)) is not None]
            self._retiring.clear()
            # None keeps the address from being enlisted again while its Dask worker still exists.
            self._couriers.update(dict.fromkeys((courier.address for courier in couriers), None))
        for courier in couriers:
            assert self._backend is not None  # noqa: S101 - set before anything is watched
            self._backend.retire(courier)

    def _compare(self, there: set[str]) -> None:
        """Use new Dask workers, and give up vanished ones.

        `there` has the addresses of the Dask workers that exist now.
        """
        with self._guard:
            for address in set(self._couriers) - there:
                courier = self._couriers.pop(address)
                if courier is not None:
                    courier.gone = "its Dask worker has left the cluster"
            self._pauses.keep(there)
            new = self._pauses.over(there - set(self._couriers), time.monotonic())
            self._couriers.update(dict.fromkeys(new))
        for address in new:
            # Use a thread for each Dask worker, because one that does not respond takes `_ENLIST_SECONDS`. The
            # threads are daemons, because the run may end meanwhile.
            threading.Thread(target=self._join, args=(address,), name=f"dask-join {address}", daemon=True).start()

    def _join(self, address: str) -> None:
        """Start an agent on a Dask worker that has joined, and use its host process; the main function of a thread."""
        try:
            courier = self._enlist(address)
        except UserError as error:  # this Dask worker cannot be used; the run continues with the others
            if self._closed.is_set():
                return  # `close` was called meanwhile
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                self._tell("ERROR", f"{error}; it is not used")
            self._try_later(address)
        else:
            self._tell("INFO", f"machine {courier.host} has joined")
            self._warn_unencrypted()
            self._use(courier, joined=True)

    def _enlist_first(self, address: str) -> DaskCourier | None:
        try:
            return self._enlist(address)
        except UserError as error:
            if not self._tolerant:  # an unusable worker is an error for a run, and a line for `doctor`
                raise
            self.unfit.append(str(error))
            return None

    def _enlist(self, address: str) -> DaskCourier:
        """Start an agent on a Dask worker and return the courier to it.

        Raises:
            UserError: the Dask worker is not usable; the message names it and the reason.
        """
        where = f"Dask worker {plain(address)}"
        self._check_encryption(address, where)
        key = f"tui-runner-{uuid.uuid4().hex}"
        blob = pickle.dumps(PickledAgent(key, LEASE_SECONDS))
        future = None
        try:
            future = self._client.submit(
                pickle.loads, blob, actor=True, workers=[address], allow_other_workers=False, pure=False, key=key
            )
            courier = self._courier(address, where, key, future)
        except BaseException as error:
            if future is not None:
                release(self._client, future)  # otherwise the agent would start when a thread becomes free
            if isinstance(error, UserError) or not isinstance(error, FAILURES):
                raise
            what = f"it starts no agent within {_ENLIST_SECONDS:g} s ({type(error).__name__})"
            raise UserError(what, where, "check whether all of its threads are busy") from None
        with self._guard:
            self._couriers[address] = courier
        return courier

    def _courier(self, address: str, where: str, key: str, future: Any) -> DaskCourier:
        """Wait for a submitted agent to start and return the courier to it. Raise `UserError`, or an error of Dask."""
        failure = future.exception(timeout=_ENLIST_SECONDS)
        if isinstance(failure, ImportError):
            what = f"it cannot load tui-runner ({one_line(str(failure))})"
            raise UserError(what, where, f"pip install 'tui-runner[dask]=={__version__}' there")
        if failure is not None:
            raise UserError(f"its agent failed ({one_line(repr(failure))})", where, "see its log")
        try:
            courier = DaskCourier(self._client, address, key, future)
            _check_versions(courier.hello, where)
            courier.begin()
        except (CourierError, AgentGone, msgspec.MsgspecError) as error:
            what = f"its agent cannot be reached ({one_line(str(error))})"
            raise UserError(what, where, "check the network") from None
        return courier


def _check_versions(hello: Hello, where: str) -> None:
    mine, theirs = platform.python_version_tuple()[:2], hello.python.split(".")[:2]
    if list(mine) != theirs:
        what = f"it has Python {plain(hello.python)}, this is {platform.python_version()}"
        raise UserError(what, where, "give both the same minor version: items are pickled")
    if hello.version != __version__:
        what = f"it has tui-runner {plain(hello.version)}, this is {__version__}"
        raise UserError(what, where, f"pip install tui-runner=={__version__} there")


def _is_unencrypted(address: str) -> bool:
    """Return True if data sent to an address leaves this machine unencrypted."""
    protocol, _, rest = address.rpartition("://")
    if protocol in _ENCRYPTED:
        return False
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(rest.rpartition(":")[0].strip("[]"), None)}
    except (OSError, UnicodeError):  # a name that does not resolve is not this machine
        return True
    here = {each.address for many in psutil.net_if_addrs().values() for each in many}
    return not all(each in here or ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


def _is_file(address: str) -> bool:
    return address.endswith(".json") and "://" not in address


def _local_cluster(count: int) -> Any:
    """Start a Dask cluster of `count` workers on this machine."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        # Even without a dashboard the scheduler serves HTTP, and it warns if the default port is in use.
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=50,  # logging.CRITICAL
    )
