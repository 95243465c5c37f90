"""Answers queries of other processes while this process has the database open.

One thread accepts connections. Each connection has two threads. One executes its statement and sends the rows as they
come. The statement has its own read-only console or, while a run is active, its own process. The other thread waits
until the client closes the connection, which ends the statement. No client can block the run: only a few statements are
executed at once, further ones wait for a limited time, and a client that reads nothing is disconnected. Processes of
other users get no answer (`handshake.py`).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import TooManyQueries
from tui_runner.store.remote.endpoint import Endpoint, listen
from tui_runner.store.remote.handshake import Token, admit, is_own_peer
from tui_runner.store.remote.query_process import LEAST_BYTES, QueryProcess, answer
from tui_runner.store.remote.wire import (
    BUSY,
    FAILED,
    PROGRESS,
    REQUEST,
    REQUEST_BYTES,
    pack_error,
    receive_frame,
    send_frame,
    unpack_request,
)

_JOIN_SECONDS = 5.0
"""Seconds to wait for threads when the server is closed. A thread that hangs must not keep the run from ending."""
_TURN_SECONDS = 0.1
"""Seconds between two checks that a waiting client is still connected. A client that is gone must not occupy a place in
the queue."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits for clients.

    Attributes:
        at_once: statements that are executed at once in this process.
        connections: connections of this user at once; further ones are refused.
        unproved: connections to a port at once that have not yet proved that they belong to this user. When there are
            more, the oldest is closed, so that processes of other users cannot occupy all places.
        patience: seconds for which a statement waits until others have ended.
        stall: seconds that a client may take to receive one frame before it is disconnected.
        handshake: seconds for the proof. Shorter than `stall`, because every user can connect to a port.
        progress: seconds between two checks of a statement's progress. It is sent if it has changed.
        alive: seconds after which a frame is sent even if the progress has not changed. Clients give up when the owner
            was silent for four times as long (`RemoteLimits.silence`).
        memory: bytes that a statement may use in its own process, while a run is active.
        beside_at_once: statements that are executed at once in their own processes.
        beside_stall: seconds that a client may take to receive one frame of such a statement. They are many, because a
            user may be reading a page of the result, and an open statement only delays checkpoints of the database.
    """

    at_once: int = 3  # each takes a thread and DuckDB's memory in this process
    connections: int = 32  # each takes two threads; more terminals and programs than any user has open
    unproved: int = 32  # as many as `connections`
    patience: float = 10.0  # after that time a user wants a result or an error
    stall: float = 20.0  # enough for a frame, which has 1 MB at most, over any connection within a machine
    handshake: float = 5.0  # both sides send at once, which takes milliseconds
    progress: float = 0.25  # a bar that moves four times a second looks smooth
    alive: float = 2.0  # a quarter of `RemoteLimits.silence`
    memory: int = LEAST_BYTES
    beside_at_once: int = 8  # several terminals with `watch`; each is a process of some 100 MB
    beside_stall: float = 3600.0  # an hour, so that a user can read a page in peace


class _Slots:
    """Semaphores that limit statements in this process (`here`) and in processes of their own (`beside`)."""

    def __init__(self, limits: ServerLimits) -> None:
        self.here = threading.Semaphore(limits.at_once)
        self.beside = threading.Semaphore(limits.beside_at_once)


class QueryServer:
    """A server that answers queries for one open database. Created and started by `serve`."""

    def __init__(self, database: Database, limits: ServerLimits | None = None) -> None:
        self._database = database
        self._limits = limits or ServerLimits()
        self._slots = _Slots(self._limits)
        self._guard = threading.Lock()
        """Protects the collections below, which the accepting thread and the threads of all connections change."""
        self._conversations: set[_Conversation] = set()
        self._unproved: dict[_Conversation, None] = {}
        """Connections that have not proved that they belong to this user, oldest first. A dict, because it is ordered.
        """
        self._closing = False
        self._endpoint: Endpoint | None = None
        # a daemon thread, because `close` stops waiting for it after `_JOIN_SECONDS`
        self._thread = threading.Thread(target=self._accept, name="tui-runner-queries", daemon=True)

    def start(self) -> None:
        """Listen, and write the address into the database's lock file.

        Raises:
            OSError: neither a socket nor a port can be opened.
        """
        self._endpoint = listen(self._limits.connections)
        self._thread.start()
        self._database.note_socket(self._endpoint.address)

    def close(self) -> None:
        """End all statements and stop answering. Call it before the database is closed. Repeated calls do nothing."""
        # `_accept` adds conversations while it holds the same lock, so none can be added later and be missed.
        with self._guard:
            if self._closing:
                return
            self._closing = True
        if self._endpoint is not None:
            if self._thread.ident is not None:
                self._database.note_socket(None)
                self._endpoint.wake(_JOIN_SECONDS)
                self._thread.join(_JOIN_SECONDS)
            self._endpoint.close()
        with self._guard:
            conversations = [*self._conversations, *self._unproved]
        for conversation in conversations:
            conversation.end()
        deadline = time.monotonic() + _JOIN_SECONDS
        for conversation in conversations:
            conversation.thread.join(max(deadline - time.monotonic(), 0))

    def _accept(self) -> None:
        """Accept connections until `close`. The main function of the server's thread."""
        endpoint = self._endpoint
        while endpoint is not None and not self._closing:
            try:
                connection, _ = endpoint.listener.accept()
            except OSError:
                # For example, there is no free file descriptor: wait until a client has released one.
                time.sleep(_TURN_SECONDS)
                continue
            if endpoint.token is None and not is_own_peer(connection):
                connection.close()
                continue
            connection.settimeout(self._limits.stall)
            conversation = _Conversation(
                connection, self._database, self._slots, self._limits, self._keep, self._forget, endpoint.token
            )
            dropped: _Conversation | None = None
            with self._guard:
                welcome = not self._closing and len(self._conversations) < self._limits.connections
                if welcome and endpoint.token is None:
                    self._conversations.add(conversation)
                elif welcome:
                    if len(self._unproved) >= self._limits.unproved:
                        dropped = next(iter(self._unproved))
                        del self._unproved[dropped]
                    self._unproved[conversation] = None
            if dropped is not None:
                dropped.end()
            if welcome:
                conversation.thread.start()
            else:
                conversation.refuse()

    def _keep(self, conversation: _Conversation) -> bool:
        """Count a connection as one of this user's. Return False if it was closed before its proof."""
        with self._guard:
            if conversation in self._unproved:
                del self._unproved[conversation]
                self._conversations.add(conversation)
            return conversation in self._conversations

    def _forget(self, conversation: _Conversation) -> None:
        with self._guard:
            self._conversations.discard(conversation)
            self._unproved.pop(conversation, None)


def serve(database: Database, limits: ServerLimits | None = None) -> QueryServer:
    """Return a started server for the queries of other processes. Close it before the database.

    If no socket or port can be opened, the returned server is closed and answers nothing.
    """
    server = QueryServer(database, limits)
    try:
        server.start()
    except OSError:
        # A run is more important than queries of other processes. Those get the message that the database is in use.
        server.close()
    return server


class _Conversation:
    """One connection: a request and the answer to it."""

    def __init__(
        self,
        connection: socket.socket,
        database: Database,
        slots: _Slots,
        limits: ServerLimits,
        keep: Callable[[_Conversation], bool],
        forget: Callable[[_Conversation], None],
        token: Token | None,
    ) -> None:
        # daemon threads, because `close` stops waiting for them after `_JOIN_SECONDS`
        self.thread = threading.Thread(target=self._serve, name="tui-runner-answer", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="tui-runner-watch", daemon=True)
        self._connection = connection
        self._database = database
        self._slots = slots
        self._limits = limits
        self._keep = keep
        self._forget = forget
        self._token = token
        self._sending = threading.Lock()
        """Held while a frame is sent, because two threads send rows and progress, and their frames must not be
        interleaved."""
        # Used by the watching thread: the progress that was last sent, and when it was sent.
        self._sent_progress, self._sent_at = b"", time.monotonic()
        self._console = Console(database)
        self._process = QueryProcess(database, limits.memory)
        self._ended = threading.Event()
        """Set when the statement must end."""
        self._over = threading.Event()
        """Set when the answer was sent or has failed. Then the watching thread ends."""

    def end(self) -> None:
        """End the statement, because the client is gone or the server closes. Thread-safe."""
        self._ended.set()
        self._console.cancel()
        self._process.cancel()
        with contextlib.suppress(OSError):  # the client has closed the connection
            self._connection.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Tell the client that there are too many connections, and close the connection."""
        with contextlib.suppress(OSError):  # the client has closed the connection
            send_frame(self._connection, BUSY)
        self._connection.close()

    def _serve(self) -> None:
        """Admit the client and answer its request. The main function of the answering thread."""
        try:
            if self._is_admitted() and self._keep(self):
                kind, content = receive_frame(self._connection, REQUEST_BYTES)
                if kind == REQUEST:
                    self._watcher.start()
                    self._answer(content)
        except (OSError, EOFError):
            pass  # the client is gone or reads nothing, so it gets no error
        finally:
            self._over.set()
            self._console.close()
            self.end()
            if self._watcher.ident is not None:
                self._watcher.join(_JOIN_SECONDS)
            self._connection.close()
            self._forget(self)

    def _is_admitted(self) -> bool:
        """Greet the client. Return True if it runs for the same user as this process."""
        if self._token is not None:
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the client does
        admitted = admit(self._connection, self._token, time.monotonic() + self._limits.handshake)
        self._connection.settimeout(self._limits.stall)
        return admitted

    def _watch(self) -> None:
        """Send progress until the client closes the connection or the conversation ends, then cancel the statement.

        The main function of the watching thread.
        """
        with selectors.DefaultSelector() as heard, selectors.DefaultSelector() as room:
            heard.register(self._connection, selectors.EVENT_READ)
            room.register(self._connection, selectors.EVENT_WRITE)
            while not self._ended.is_set():
                if heard.select(self._limits.progress):
                    # A client sends nothing after its request, so this is the end of the connection.
                    self.end()
                elif room.select(0):
                    # Send progress only if the socket's buffer has room. Otherwise the client is still reading earlier
                    # frames, and a blocking send could run into the time limit and disconnect it.
                    self._tell_progress()
        # Repeated, because cancelling has no effect before the statement has started.
        while not self._over.wait(_TURN_SECONDS):
            self._console.cancel()

    def _tell_progress(self) -> None:
        """Send the statement's progress if it has changed, or after `alive` seconds an empty frame.

        No frame is sent while rows are being sent, because rows also show that this process lives.
        """
        progress, now = self._console.progress() or self._process.progress(), time.monotonic()
        text = b"" if progress is None else str(round(progress * 1000)).encode()
        is_news = text not in (b"", self._sent_progress)
        # Do not wait for the lock: the thread that holds it is sending rows.
        if (is_news or now - self._sent_at >= self._limits.alive) and self._sending.acquire(blocking=False):
            try:
                send_frame(self._connection, PROGRESS, text)
            except OSError:  # the client is gone
                self.end()
            finally:
                self._sending.release()
            self._sent_progress, self._sent_at = text, now

    def _say(self, kind: bytes, content: bytes | memoryview = b"") -> None:
        with self._sending:
            send_frame(self._connection, kind, content)

    def _answer(self, content: bytes) -> None:
        """Execute a request; in a separate process if a run uses the database, unless the request is `light`."""
        try:
            request = unpack_request(content)
            beside = self._database.run_id is not None and not request.light
            slots = self._slots.beside if beside else self._slots.here
            self._take_turn(slots)
            try:
                if beside:
                    self._connection.settimeout(self._limits.beside_stall)
                    self._process.answer(content, self._say)
                else:
                    answer(self._console, request, self._say)
            finally:
                slots.release()
        except UserError as error:
            self._say(FAILED, pack_error(error))

    def _take_turn(self, slots: threading.Semaphore) -> None:
        """Wait for a slot. Raise `TooManyQueries` after `patience` seconds, `EOFError` after `end`."""
        until = time.monotonic() + self._limits.patience
        while not slots.acquire(timeout=_TURN_SECONDS):
            if self._ended.is_set():
                raise EOFError
            if time.monotonic() > until:
                raise TooManyQueries(str(self._database.path))
        if self._ended.is_set():
            # `end` was called when neither console nor process had anything to cancel.
            slots.release()
            raise EOFError
