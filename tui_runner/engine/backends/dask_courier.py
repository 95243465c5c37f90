"""Calls the agent on a Dask worker, directly or through the Dask scheduler.

Two problems of distributed 2026.8 are avoided. `Actor` proxies never return for a key that is lost, so `actor_execute`
is called directly. A call to a dead address is tried for 30 s, so each call has a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from tui_runner.engine.backends.agent import AgentGone, CourierError, Frame, Polled
from tui_runner.engine.backends.dask_agent import Hello
from tui_runner.text.messages import plain

FAILURES = (Exception, asyncio.CancelledError)
"""Errors of calls: distributed may raise anything, and a client that is closed cancels its calls."""
PROBE_SECONDS = 5.0
"""Timeout in seconds of small calls, which take some milliseconds unless the other side hangs."""
_CALL_SECONDS = 10.0
"""Timeout in seconds of calls that start a process or carry data, which take longer than small calls. The time that a
poll waits is added."""
_MEASURE_SECONDS = 30.0
"""Timeout in seconds of a measurement, for which `doctor` requests 32 MB: enough for a network of about 1 MB/s."""
_REFUSAL_SECONDS = 1.0
"""Timeout in seconds of a connection that is made only to find out if a port is closed. A closed port refuses at
once."""


class DaskCourier:
    """A courier to one agent on a Dask worker. See `Courier`.

    Attributes:
        host: machine and address of the Dask worker.
        hello: facts about the machine.
        gone: reason why the agent has ended; empty while it may be alive. Set by `DaskCluster`, too.
        is_direct: True if calls go directly to the Dask worker; False if the Dask scheduler forwards them.
    """

    def __init__(self, client: Any, address: str, key: str, future: Any) -> None:
        self._client, self._key, self._future = client, key, future
        self.address = address
        self.gone = ""
        self.is_direct = True
        self._is_doubtful = False
        """True if the last call failed."""
        try:
            self.hello = self.greet()
        except CourierError:  # this machine cannot reach the Dask worker itself: try through the scheduler
            self.is_direct = False
            self.hello = self.greet()
        self.host = f"{plain(self.hello.host)[:80]} ({plain(address.partition('://')[2])})"

    def greet(self) -> Hello:
        """Return the facts about the agent's machine. Raise `CourierError` if it cannot be reached."""
        return msgspec.msgpack.decode(self._call(PROBE_SECONDS, "hello"), type=Hello)

    def begin(self) -> None:
        """Make the agent start its host process. Nothing happens if it has started already."""
        self._call(_CALL_SECONDS, "begin")

    def poll(self, ack: int, wait: float) -> Polled:
        """Return reports of the agent, see `Courier.poll`."""
        answer = self._call(wait + _CALL_SECONDS, "poll", ack, wait)
        try:
            received, ended, frames = msgspec.msgpack.decode(
                answer, type=tuple[int, str, tuple[tuple[int, bytes], ...]]
            )
        except msgspec.MsgspecError as error:  # an agent of another version, or a damaged response
            raise AgentGone(f"its agent sent an answer that cannot be read: {error}") from None
        return Polled(frames, received, ended)

    def send(self, frames: Sequence[Frame]) -> None:
        """Send commands to the agent."""
        self._call(_CALL_SECONDS, "send", msgspec.msgpack.encode(frames))

    def end(self) -> None:
        """End the agent and release its actor."""
        try:
            self._call(PROBE_SECONDS, "end")
        finally:
            release(self._client, self._future)

    def measure(self, nbytes: int) -> float:
        """Return the seconds that a response of `nbytes` bytes takes."""
        began = time.perf_counter()
        self._call(_MEASURE_SECONDS, "echo", b"", nbytes)
        return time.perf_counter() - began

    def _call(self, timeout: float, function: str, *args: Any) -> bytes:
        """Call a function of the agent and return its result. Raise AgentGone or CourierError."""
        if self._is_doubtful and self.is_direct and _is_port_closed(self.address):
            # The port is closed, so the process has ended. Without this check, its end would be noticed only after
            # `SILENCE_SECONDS` if the scheduler is gone as well, and distributed would try to connect for 30 s.
            self.gone = self.gone or "its Dask worker has ended"
        if self.gone:
            raise AgentGone(self.gone)
        if _is_closed(self._client):
            raise CourierError("the connection to its scheduler is closed")
        try:
            answer = self._client.sync(self._execute, function, args, callback_timeout=timeout)
        except KeyError:  # Dask raises it for an unknown actor
            raise AgentGone("its Dask worker has released its agent") from None
        except FAILURES as error:  # tornado, distributed and sockets raise many types; all mean that the call failed
            self._is_doubtful = True
            raise CourierError(f"{type(error).__name__}: {error}") from error
        if answer["status"] != "OK":
            raise AgentGone(f"its agent failed: {answer.get('exception')!r}")
        self._is_doubtful = False
        result = answer["result"]
        if not isinstance(result, bytes | bytearray | memoryview):
            raise AgentGone("its agent sent no bytes")
        return bytes(result)

    async def _execute(self, function: str, args: tuple[Any, ...]) -> Any:
        from distributed.protocol.serialize import to_serialize

        message = {"function": function, "actor": self._key, "args": [to_serialize(each) for each in args]}
        if self.is_direct:
            return await self._client.rpc(self.address).actor_execute(**message, kwargs={})
        request = {"op": "actor_execute", **message, "kwargs": {}}
        answer = await self._client.scheduler.proxy(worker=self.address, msg=request)
        return answer


def release(client: Any, future: Any) -> None:
    """Let Dask end an agent. Returns at once."""
    if not _is_closed(client):
        with contextlib.suppress(*FAILURES):  # if the cluster is closed, the agent's lease ends the host process
            client.cancel([future])


def _is_closed(client: Any) -> bool:
    """Return True if a client is closed. Calls through a closed client never finish, and Python warns about them."""
    return client.status in ("closing", "closed")


def _is_port_closed(address: str) -> bool:
    """Return True if the machine at an address refuses the connection, because no process listens on the port."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REFUSAL_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):  # a timeout, or an address without a port, proves nothing
        return False
    return False
