"""Calls to the agent on a Dask worker, straight or through the scheduler.

Traps, in distributed 2026.8: `Actor` proxies never return for a key that is lost, hence `actor_execute` by hand; a call
to an address that is dead is tried for 30 s, hence a timeout for each.
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
"""Errors that distributed raises; a client that closes cancels its calls."""
PROBE_SECONDS = 5.0
_CALL_SECONDS = 10.0
_MEASURE_SECONDS = 30.0
_REFUSAL_SECONDS = 1.0


class DaskCourier:
    """Reaches one agent. See `Courier`.

    Attributes:
        host: machine and address of the Dask worker.
        hello: facts about its machine.
        gone: the reason why it has ended; empty as long as it may be alive.
        is_direct: True if calls go straight to the Dask worker, False if the scheduler passes them on.
    """

    def __init__(self, client: Any, address: str, key: str, future: Any) -> None:
        self._client, self._key, self._future = client, key, future
        self.address = address
        self.gone = ""
        self.is_direct = True
        self._is_doubtful = False
        """True if the last call has failed."""
        try:
            self.hello = self.greet()
        except CourierError:
            self.is_direct = False
            self.hello = self.greet()
        self.host = f"{plain(self.hello.host)[:80]} ({plain(address.partition('://')[2])})"

    def greet(self) -> Hello:
        """Ask the agent for its machine."""
        return msgspec.msgpack.decode(self._call(PROBE_SECONDS, "hello"), type=Hello)

    def begin(self) -> None:
        """Start the host."""
        self._call(_CALL_SECONDS, "begin")

    def poll(self, ack: int, wait: float) -> Polled:
        """Ask the agent."""
        answer = self._call(wait + _CALL_SECONDS, "poll", ack, wait)
        try:
            received, ended, frames = msgspec.msgpack.decode(
                answer, type=tuple[int, str, tuple[tuple[int, bytes], ...]]
            )
        except msgspec.MsgspecError as error:
            raise AgentGone(f"its agent sent what cannot be read: {error}") from None
        return Polled(frames, received, ended)

    def send(self, frames: Sequence[Frame]) -> None:
        """Give frames to the agent."""
        self._call(_CALL_SECONDS, "send", msgspec.msgpack.encode(frames))

    def end(self) -> None:
        """End the agent and release its actor."""
        try:
            self._call(PROBE_SECONDS, "end")
        finally:
            release(self._client, self._future)

    def measure(self, nbytes: int) -> float:
        """Return the seconds that an answer of `nbytes` takes."""
        began = time.perf_counter()
        self._call(_MEASURE_SECONDS, "echo", b"", nbytes)
        return time.perf_counter() - began

    def _call(self, timeout: float, function: str, *args: Any) -> bytes:
        if self._is_doubtful and self.is_direct and _refuses(self.address):
            # Its port was closed with its process. Without a scheduler nothing else tells that in less than the
            # seconds of silence, and distributed itself would try to connect for 30 s.
            self.gone = self.gone or "its Dask worker has ended"
        if self.gone:
            raise AgentGone(self.gone)
        if _is_closed(self._client):
            raise CourierError("the connection to its scheduler is closed")
        try:
            answer = self._client.sync(self._execute, function, args, callback_timeout=timeout)
        except KeyError:
            raise AgentGone("its Dask worker has released it") from None
        except FAILURES as error:  # tornado, distributed and sockets raise anything; each means that the call failed
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
    """Let Dask end an agent; returns at once."""
    if not _is_closed(client):
        with contextlib.suppress(*FAILURES):  # the cluster may be closed; the lease ends the host
            client.cancel([future])


def _is_closed(client: Any) -> bool:
    """Return True if a client takes no calls any more: its loop leaves them unfinished, and Python warns."""
    return client.status in ("closing", "closed")


def _refuses(address: str) -> bool:
    """Return True if nothing listens at an address of a machine that answers."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REFUSAL_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False
