"""Hosts of a Dask cluster: Dask places, watches and replaces agents; a host process beside each of its workers works.

    this process                                     machine of a Dask worker
    ┌──────────────────────┐  actor_execute: bytes   ┌───────────────────────────────────┐
    │ RemoteBackend ─ DaskCourier ────────────────▶  │ DaskAgent (actor) ─ Agent ─pipe─▶ │ host ─▶ workers
    │ DaskCluster: watches │                         └───────────────────────────────────┘
    └──────────────────────┘

Chunks as Dask futures, with results in the memory of its workers, would have no live pause and no bound on bytes, so
items never become tasks. Calls go straight to the Dask worker; the scheduler passes them on where this machine cannot
reach that.

A trap, in distributed 2026.8: a task's function is unpickled by the scheduler, which need not have this package, hence
`pickle.loads` and its argument.
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
from tui_runner.engine.backends.dask_agent import Hello, Made
from tui_runner.engine.backends.dask_courier import FAILURES, PROBE_SECONDS, DaskCourier, release
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.errors import UserError
from tui_runner.system.process import available_processors
from tui_runner.text.messages import one_line, plain

PREFIX = "dask:"
_CONNECT_SECONDS = 10.0
"""Seconds for the scheduler to answer: a wrong address fails after them."""
_ENLIST_SECONDS = 30.0
"""Seconds in which a Dask worker has to start an agent: one whose threads are all busy starts none."""
_LOOK_SECONDS = 0.5
_KEEP_ALIVE_SECONDS = 60.0
_AGAIN_SECONDS, _LONGEST_AGAIN_SECONDS = 0.5, 300.0
"""Between two agents on a Dask worker whose first one has ended or could not be started; doubled each time."""
GONE_SECONDS = 600.0
"""Seconds without an answer of a scheduler after which the cluster counts as closed: Dask does not tell its clients,
so a closed one looks like one that restarts, and Kubernetes may take minutes for that."""
_LOGGERS = ("distributed", "distributed.client")
"""Loggers of distributed that have levels of their own. They would write tracebacks of every lost connection to the
terminal; what a lost machine or scheduler means for the run is said by the run."""
_ENCRYPTED = ("tls", "wss")
_AT_ONCE = 16
"""Agents that are started at the same time; each takes some 50 ms, mostly of waiting."""


class Pauses:
    """Pauses before a Dask worker whose agent has failed gets another one; each is twice as long as the last one."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}
        """The end of the pause, and its seconds, by address."""

    def begin(self, address: str, now: float) -> None:
        """Begin the next pause of a Dask worker."""
        _, last = self._until.get(address, (0.0, _AGAIN_SECONDS / 2))
        seconds = min(2 * last, _LONGEST_AGAIN_SECONDS)
        self._until[address] = now + seconds, seconds

    def over(self, addresses: set[str], now: float) -> set[str]:
        """Return those Dask workers that have no pause at `now`."""
        return {each for each in addresses if self._until.get(each, (now, 0.0))[0] <= now}

    def keep(self, addresses: set[str]) -> None:
        """Forget the pauses of all other Dask workers: they have left the cluster."""
        self._until = {address: until for address, until in self._until.items() if address in addresses}


class DaskCluster:
    """Finds the workers of a Dask cluster and starts an agent on each. See `remote.Cluster`.

    Args:
        address: the part of the setting behind `dask:`.
        insecure: True if secrets may go over connections that are not encrypted.
        secrets: True if the run has any.
        lease: see `Agent`.
        patience: seconds without a scheduler after which the run is stopped.
        tolerant: True to list Dask workers of no use in `unfit` instead of raising an error.

    Attributes:
        workers: Dask workers that were there at first.
        unfit: what is wrong with those of no use.

    Raises:
        UserError: no cluster is there, or it is of no use.
    """

    def __init__(
        self,
        address: str,
        *,
        insecure: bool = False,
        secrets: bool = False,
        lease: float = LEASE_SECONDS,
        patience: float | None = None,
        tolerant: bool = False,
    ) -> None:
        try:
            import distributed  # noqa: F401 - the extra
        except ImportError:
            raise UserError(
                "Dask is not installed", f"--backend {PREFIX}{plain(address)}", "pip install 'tui-runner[dask]'"
            ) from None
        self._address, self._lease = address, lease
        self._patience = GONE_SECONDS if patience is None else patience
        self._where = f"--backend {PREFIX}{plain(address)}"
        self._keeps_secrets = secrets and not insecure
        self._is_open_way = self._told_open_way = False
        """True if anything goes to another machine unencrypted, and if the user was told."""
        self._tolerant = tolerant
        self.unfit: list[str] = []
        self._closed = threading.Event()
        self._couriers: dict[str, DaskCourier | None] = {}
        """By address; None for a Dask worker that is being asked, or is of no use."""
        self._pauses = Pauses()
        self._retiring: set[str] = set()
        """Dask workers that a user asked to retire; Dask refuses while they have an agent."""
        self._complaints: set[str] = set()
        """Errors that were told; a Dask worker of no use is asked again and again."""
        self._guard = threading.Lock()
        self._backend: RemoteBackend | None = None
        self._tell: Callable[[str, str], None] = lambda level, text: None
        self._local: Any = None
        self._client: Any = None
        self._alive_at = time.monotonic()
        try:
            if not address.startswith("local") and not _is_file(address):
                self._check_way(address, self._where)  # before anything is sent there
            self._open()
            first = self._addresses()
            self.workers = max(1, len(first))
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dask-enlist") as pool:
                self._first = [each for each in pool.map(self._enlisted_at_first, first) if each is not None]
        except BaseException:
            self.close()
            raise

    @property
    def couriers(self) -> list[DaskCourier]:
        """Couriers of the Dask workers that were there at first."""
        return self._first

    def start(self, backend: RemoteBackend, tell: Callable[[str, str], None]) -> None:
        """Add the hosts that are there to `backend`, and those that come."""
        self._backend, self._tell = backend, tell
        tell("INFO", f"{self._where}: hosts {', '.join(each.host for each in self._first) or 'have yet to join'}")
        self._tell_open_way()
        for courier in self._first:
            self._use(courier)
        threading.Thread(target=self._watch, name="dask-watch", daemon=True).start()

    def _use(self, courier: DaskCourier, *, joined: bool = False) -> None:
        if not courier.is_direct:
            self._tell("WARNING", f"{courier.host} is reached through the scheduler only, which is slower")
        assert self._backend is not None  # noqa: S101 - set before anything is used
        self._backend.add(courier, joined=joined)

    def lost(self, courier: Courier) -> None:
        """Start another agent where one has ended, a while later each time."""
        if isinstance(courier, DaskCourier) and self._couriers.get(courier.address) is courier:
            self._try_later(courier.address)

    def _try_later(self, address: str) -> None:
        with self._guard:
            self._pauses.begin(address, time.monotonic())
            self._couriers.pop(address, None)

    def pids(self) -> list[int]:
        """Return the Dask workers of a local cluster, whose memory is that of workers and not of this process."""
        nannies = () if self._local is None else list(self._local.workers.values())
        return [pid for nanny in nannies if (pid := nanny.pid)]

    def close(self) -> None:
        """Release every actor and close the client; a local cluster ends with it."""
        self._closed.set()
        if self._client is not None:
            with contextlib.suppress(*FAILURES):  # else the scheduler logs that it cannot tell this client of its end
                self._client.unsubscribe_topic("all")
        for each in (self._client, self._local):
            if each is not None:
                with contextlib.suppress(*FAILURES):  # a cluster that is gone fails in many ways
                    each.close(timeout=PROBE_SECONDS)

    def _check_way(self, address: str, where: str) -> None:
        """Refuse to send secrets to an address where others could read them; raises `UserError`."""
        if not _is_open_way(address):
            return
        if self._keeps_secrets:
            what = "secret parameters would go to another machine unencrypted"
            raise UserError(what, where, "use dask:tls://…, or --insecure if the network is your own")
        self._is_open_way = True

    def _tell_open_way(self) -> None:
        if self._is_open_way and not self._told_open_way:
            self._told_open_way = True
            self._tell("WARNING", f"{self._where}: items and rows travel unencrypted; dask:tls://… encrypts them")

    def _open(self) -> None:
        import dask
        from distributed import Client

        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        dask.config.set({"distributed.comm.retry.count": 0})
        kind, _, count = self._address.partition(":")
        target: dict[str, Any]
        if kind == "local":
            if count and not (count.isdigit() and int(count)):
                raise UserError(f"{plain(count)} is no number of workers", self._where, "say dask:local:2, for example")
            self._local = self._local or _local_cluster(int(count or available_processors()))
            target = {"address": self._local.scheduler_address}
        elif _is_file(self._address):
            self._check_way(self._address_in_file(), self._where)
            target = {"scheduler_file": self._address}
        else:
            target = {"address": self._address}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other versions of libraries that we do not use
                self._client = Client(
                    **target, timeout=_CONNECT_SECONDS, set_as_default=False, name="tui-runner", direct_to_workers=True
                )
        except Exception as error:  # bad name, bad certificate, no answer: distributed raises anything
            what = f"no Dask scheduler answers ({one_line(str(error) or type(error).__name__)})"
            raise UserError(what, self._where, "check the address, and that `dask scheduler` runs there") from None
        self._client.subscribe_topic("all", self._noted)

    def _address_in_file(self) -> str:
        """Return the scheduler's address in a scheduler file; raises `UserError`."""
        do = "give the scheduler file of the cluster"
        if not Path(self._address).is_file():
            raise UserError("there is no such file", self._where, do)
        try:
            return str(json.loads(Path(self._address).read_bytes())["address"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError("it is no scheduler file", self._where, do) from None

    def _noted(self, event: Any) -> None:
        """Take in an event of the scheduler; called in the client's own thread, where no call would return."""
        _, content = event
        if isinstance(content, dict) and content.get("action") == "retire-workers":
            with self._guard:
                self._retiring.update(map(str, content.get("could-not-retire") or ()))

    def _addresses(self) -> list[str]:
        identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=PROBE_SECONDS)
        return list(identity["workers"])

    def _watch(self) -> None:
        """Look for Dask workers that have come or gone, and for another scheduler when there is none."""
        heard_at, is_lost = time.monotonic(), False
        while not self._closed.wait(_LOOK_SECONDS):
            try:
                if self._client.status in ("closed", "closing"):
                    self._open()
                    if self._closed.is_set():
                        return self.close()  # the run has ended meanwhile
                    self._forget_agents()
                there = set(self._addresses())
                if time.monotonic() - self._alive_at > _KEEP_ALIVE_SECONDS:
                    self._alive_at = time.monotonic()
                    self._client.submit(int, 0, pure=False)  # an idle cluster may close itself (distributed#5675)
            except FAILURES as error:  # no scheduler: told once, then tried again
                if not is_lost and not self._closed.is_set():
                    is_lost = True
                    text = f"{self._where}: the scheduler does not answer ({type(error).__name__}); it is tried again"
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
        """Give up every agent: what a client had started, the scheduler releases when that client is closed."""
        with self._guard:
            for courier in self._couriers.values():
                if courier is not None:
                    courier.gone = "the connection to its scheduler was lost"
            self._couriers.clear()

    def _retire(self) -> None:
        """Let hosts of Dask workers that a user retires finish their items, and send them no more."""
        with self._guard:
            couriers = [courier for each in self._retiring if (courier := self._couriers.get(each)) is not None]
            self._retiring.clear()
            # None keeps the address from being asked again as long as its Dask worker is there.
            self._couriers.update(dict.fromkeys((courier.address for courier in couriers), None))
        for courier in couriers:
            assert self._backend is not None  # noqa: S101 - set before anything is watched
            self._backend.retire(courier)

    def _compare(self, there: set[str]) -> None:
        with self._guard:
            for address in set(self._couriers) - there:
                courier = self._couriers.pop(address)
                if courier is not None:
                    courier.gone = "its Dask worker has left the cluster"
            self._pauses.keep(there)
            new = self._pauses.over(there - set(self._couriers), time.monotonic())
            self._couriers.update(dict.fromkeys(new))
        for address in new:
            threading.Thread(target=self._join, args=(address,), name=f"dask-join {address}", daemon=True).start()

    def _join(self, address: str) -> None:
        try:
            courier = self._enlisted(address)
        except UserError as error:
            if self._closed.is_set():
                return
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                self._tell("ERROR", f"{error}; it is not used")
            self._try_later(address)
        else:
            self._tell("INFO", f"host {courier.host} has joined")
            self._tell_open_way()
            self._use(courier, joined=True)

    def _enlisted_at_first(self, address: str) -> DaskCourier | None:
        try:
            return self._enlisted(address)
        except UserError as error:
            if not self._tolerant:
                raise
            self.unfit.append(str(error))
            return None

    def _enlisted(self, address: str) -> DaskCourier:
        """Start an agent on a Dask worker and return what reaches it.

        Raises:
            UserError: it is of no use; says which worker, and why.
        """
        where = f"Dask worker {plain(address)}"
        self._check_way(address, where)
        key = f"tui-runner-{uuid.uuid4().hex}"
        blob = pickle.dumps(Made(key, self._lease))
        future = None
        try:
            future = self._client.submit(
                pickle.loads, blob, actor=True, workers=[address], allow_other_workers=False, pure=False, key=key
            )
            courier = self._courier(address, where, key, future)
        except BaseException as error:
            if future is not None:
                release(self._client, future)  # one that waits for a thread would start later
            if isinstance(error, UserError) or not isinstance(error, FAILURES):
                raise
            what = f"it starts no agent within {_ENLIST_SECONDS:g} s ({type(error).__name__})"
            raise UserError(what, where, "look whether its threads are all busy") from None
        with self._guard:
            self._couriers[address] = courier
        return courier

    def _courier(self, address: str, where: str, key: str, future: Any) -> DaskCourier:
        """Return what reaches an agent that was submitted, when it has started; raises `UserError`, or any failure."""
        failure = future.exception(timeout=_ENLIST_SECONDS)
        if isinstance(failure, ImportError):
            what = f"it cannot load tui-runner ({one_line(str(failure))})"
            raise UserError(what, where, f"pip install 'tui-runner[dask]=={__version__}' there")
        if failure is not None:
            raise UserError(f"its agent failed ({one_line(repr(failure))})", where, "look into its log")
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


def _is_open_way(address: str) -> bool:
    """Return True if what goes to an address can be read on its way: it leaves this machine unencrypted."""
    protocol, _, rest = address.rpartition("://")
    if protocol in _ENCRYPTED:
        return False
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(rest.rpartition(":")[0].strip("[]"), None)}
    except (OSError, UnicodeError):  # an unknown name is not this machine
        return True
    here = {each.address for many in psutil.net_if_addrs().values() for each in many}
    return not all(each in here or ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


def _is_file(address: str) -> bool:
    return address.endswith(".json") and "://" not in address


def _local_cluster(count: int) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        # Without a dashboard its scheduler still serves HTTP, and warns where the usual port is taken.
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=50,
    )
