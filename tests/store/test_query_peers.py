"""Clients that are answered, and owners that are asked: lock files, ports and other processes are not trusted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.waiting import eventually

from tui_runner.errors import EXIT_DATABASE, DatabaseError
from tui_runner.store.access import RemoteAccess, open_access
from tui_runner.store.database import Database
from tui_runner.store.lock import DatabaseInUse, LockRecord
from tui_runner.store.remote import endpoint, handshake
from tui_runner.store.remote import server as query_server
from tui_runner.store.remote.client import OwnerGone, OwnerSilent, RemoteConsole, RemoteLimits
from tui_runner.store.remote.endpoint import Endpoint, connect, listen
from tui_runner.store.remote.handshake import PROTOCOL, Token, admit, introduce, is_own_peer
from tui_runner.store.remote.server import QueryServer, ServerLimits, serve
from tui_runner.store.remote.wire import ARROW, BUSY, END, FAILED, HELLO, PROGRESS, PROOF, receive_frame, send_frame

pytestmark = pytest.mark.usefixtures("runtime")

STRANGER = 65_534
"""Number of a user that has nothing to do with the tests'."""
SECRET_STATEMENT = "SELECT 'confidential'"
SHORT = RemoteLimits(greeting=0.3, silence=0.5)
ENDLESS = "SELECT range AS a, repeat('x', 100) AS b FROM range(100_000_000_000)"
CROSS_JOIN = "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE hash(a.range + b.range) % 7 = 3"
OWNER = """
import sys
from pathlib import Path
from tui_runner.store.database import Database
from tui_runner.store.remote.server import serve

with Database.open(Path(sys.argv[1])) as database:
    server = serve(database) if sys.argv[2] == "serves" else None
    print("ready", flush=True)
    sys.stdin.read()
    if server is not None:
        server.close()
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


@contextlib.contextmanager
def as_stranger() -> Iterator[None]:
    """Let system calls be made for another user."""
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def port_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have servers listen on a port."""
    monkeypatch.setattr(endpoint, "KNOWS_PEERS", False)


@pytest.fixture
def on_port(port_only: None, database: Database) -> Iterator[QueryServer]:
    """A server on a port."""
    server = serve(database, ServerLimits(handshake=0.2))
    yield server
    server.close()


@pytest.fixture
def false_owner() -> Iterator[socket.socket]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def new_token(runtime: Path, content: bytes = b"a" * 64, mode: int = 0o600) -> Path:
    path = runtime / "queries-0123abcd"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def console_at(address: str, limits: RemoteLimits = SHORT) -> RemoteConsole:
    """Return a console that was told that this very process answers at `address`."""
    record = LockRecord(os.getpid(), psutil.Process().create_time(), None, address)
    return RemoteConsole(Path("books.duckdb"), record, address, limits)


def soon() -> float:
    return time.monotonic() + 60


class Answering(threading.Thread):
    """A thread that is the other side of a connection, and hands on what went wrong in it."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        self.join(60)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


# --- Unix sockets: whose process it is ---------------------------------------------------------------------------


@needs_root
def test_a_client_of_another_user_is_hung_up_on_without_a_word(
    database: Database, path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = listen(4)
    for folder in (runtime, *runtime.parents[:2]):
        folder.chmod(0o711)  # so that only the number of the user can be what it is refused for
    Path(place.address).chmod(0o666)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        with as_stranger():
            client.connect(place.address)
        monkeypatch.setattr(query_server, "listen", lambda backlog: place)
        server = serve(database)
        assert client.recv(100) == b""
    for folder in (runtime, *runtime.parents[:2]):
        folder.chmod(0o700)
    with open_access(path) as access, access.console() as console:
        assert console.query("SELECT 1 AS a").read_all().num_rows == 1
    server.close()


@needs_root
def test_an_owner_of_another_user_is_not_asked(runtime: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(runtime / "queries-0123abcd"))
    with as_stranger():
        listener.listen(1)  # the system notes now whose it is; the file is the tests' user's
    with pytest.raises(OwnerGone):
        console_at(listener.getsockname()).query(SECRET_STATEMENT)
    heard, _ = listener.accept()
    assert heard.recv(100) == b""
    heard.close()
    listener.close()


def test_a_process_of_this_user_is_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert is_own_peer(one) and is_own_peer(other)


def test_where_the_platform_does_not_know_peers_a_port_is_used(port_only: None) -> None:
    place = listen(1)
    assert place.address.startswith("tcp:") and place.token is not None
    place.close()


def test_without_a_way_to_know_peers_none_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(connection: socket.socket) -> int:
        raise OSError("no such option")

    monkeypatch.setattr(handshake, "_peer_uid", unknown)
    one, other = socket.socketpair()
    with one, other:
        assert not is_own_peer(one)
        with pytest.raises(PermissionError):
            introduce(one, None, soon(), "books.duckdb")


# --- ports: who knows the token ----------------------------------------------------------------------------------


def test_both_sides_prove_the_token_without_sending_it() -> None:
    token = Token(os.urandom(64), 1234)
    (client, relay_in), (relay_out, server) = socket.socketpair(), socket.socketpair()
    said: list[bytes] = []

    def relay() -> None:
        for source, target in ((relay_out, relay_in), (relay_in, relay_out), (relay_out, relay_in)):
            kind, content = receive_frame(source, 1024)
            said.append(content)
            send_frame(target, kind, content)

    admitted: list[bool] = []
    threads = [Answering(relay), Answering(lambda: admitted.append(admit(server, token, soon())))]
    introduce(client, token, soon(), "books.duckdb")
    for each in threads:
        each.end()
    assert admitted == [True]
    assert [len(content) for content in said] == [2 + 32, 32 + 32, 32]
    wire = b"".join(said)
    assert not any(token.secret[start : start + 8] in wire for start in range(len(token.secret) - 7))
    for each in (client, relay_in, relay_out, server):
        each.close()


@pytest.mark.parametrize("proof", [b"", b"\0" * 64, b"short"])
def test_a_client_that_does_not_know_the_token_is_not_answered(on_port: QueryServer, path: Path, proof: bytes) -> None:
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        port = int(access.record.socket.split(":")[1])
    with socket.create_connection(("127.0.0.1", port)) as client:
        kind, _ = receive_frame(client, 1024)
        assert kind == HELLO
        send_frame(client, PROOF, proof)
        with pytest.raises((EOFError, ConnectionResetError)):
            receive_frame(client, 1024)


def test_a_stranger_that_dawdles_is_hung_up_on(on_port: QueryServer, path: Path) -> None:
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        port = int(access.record.socket.split(":")[1])
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as client:
        receive_frame(client, 1024)
        client.settimeout(0.05)  # a byte so often: each of them is in time
        with contextlib.suppress(ConnectionError):
            while True:
                client.sendall(PROOF)
                with contextlib.suppress(TimeoutError):
                    if client.recv(1) == b"":
                        break
    assert time.monotonic() - began < 5 < ServerLimits().stall


def test_strangers_that_keep_connections_do_not_keep_this_user_from_asking(port_only: None, database: Database) -> None:
    server = serve(database, ServerLimits(connections=2, unproved=3, handshake=60))
    with open_access(database.path) as access, contextlib.ExitStack() as opened:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        port = int(access.record.socket.split(":")[1])
        strangers = []
        for _ in range(10):
            strangers.append(opened.enter_context(socket.create_connection(("127.0.0.1", port))))
            assert receive_frame(strangers[-1], 1024)[0] == HELLO
        with access.console() as one, access.console() as other, access.console() as refused:
            results = [each.query(ENDLESS) for each in (one, other)]
            with pytest.raises(DatabaseError, match="too many queries"):
                refused.query("SELECT 1")
            for result in results:
                result.close()
        for stranger in strangers[:8]:  # seven were dropped for other strangers, and one for a query
            assert stranger.recv(1) == b""
        assert len(server._unproved) == 2
    server.close()


def test_a_false_owner_of_a_port_hears_no_more_than_a_proof(false_owner: socket.socket, runtime: Path) -> None:
    token = new_token(runtime)
    heard = bytearray()

    def act() -> None:
        connection, _ = false_owner.accept()
        with connection:
            send_frame(connection, HELLO, PROTOCOL.to_bytes(2) + b"n" * 32)
            kind, content = receive_frame(connection, 1024)
            assert (kind, len(content)) == (PROOF, 64)
            send_frame(connection, PROOF, b"\0" * 32)
            heard.extend(content)
            with contextlib.suppress(ConnectionResetError):
                heard.extend(connection.recv(1024))

    answering = Answering(act)
    with pytest.raises(OwnerGone):
        console_at(f"tcp:{port_of(false_owner)}:{token}", RemoteLimits()).query(SECRET_STATEMENT)
    answering.end()
    assert len(heard) == 64 and token.read_bytes() not in heard


def test_a_false_owner_cannot_pass_the_proof_on(on_port: QueryServer, path: Path, false_owner: socket.socket) -> None:
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        _, port, token = access.record.socket.split(":")
    heard: list[bytes] = []

    def act() -> None:
        connection, _ = false_owner.accept()
        with connection, socket.create_connection(("127.0.0.1", int(port))) as true:
            send_frame(connection, *receive_frame(true, 1024))
            heard.append(receive_frame(connection, 1024)[1])
            send_frame(true, PROOF, heard[0])
            with pytest.raises((EOFError, ConnectionResetError)):
                receive_frame(true, 1024)

    answering = Answering(act)
    with pytest.raises(OwnerGone):
        console_at(f"tcp:{port_of(false_owner)}:{token}", RemoteLimits()).query(SECRET_STATEMENT)
    answering.end()
    assert len(heard[0]) == 64


def linked(runtime: Path) -> Path:
    path = runtime / "queries-11111111"
    path.symlink_to(new_token(runtime))
    return path


def doubled(runtime: Path) -> Path:
    path = runtime / "queries-11111111"
    path.hardlink_to(new_token(runtime))
    return path


def outside(runtime: Path) -> Path:
    return new_token(runtime.parent)


def of_stranger(runtime: Path) -> Path:
    path = new_token(runtime)
    os.chown(path, STRANGER, STRANGER)
    return path


@pytest.mark.parametrize(
    "make",
    [
        linked,
        doubled,
        outside,
        pytest.param(of_stranger, marks=needs_root),
        lambda runtime: new_token(runtime, b"a" * 63),
        lambda runtime: new_token(runtime, b"a" * 65),
        lambda runtime: new_token(runtime, mode=0o644),
        lambda runtime: new_token(runtime, mode=0o620),
        lambda runtime: runtime / "missing",
        lambda runtime: runtime,
    ],
    ids=["link", "hard link", "outside", "stranger", "short", "long", "0644", "0620", "missing", "folder"],
)
def test_a_token_that_is_not_as_we_make_them_is_not_used(
    false_owner: socket.socket, runtime: Path, make: Callable[[Path], Path]
) -> None:
    path = make(runtime)
    mode = path.lstat().st_mode if path.exists() else None
    with pytest.raises(OSError):
        connect(f"tcp:{port_of(false_owner)}:{path}", soon())
    false_owner.settimeout(0)
    with pytest.raises(BlockingIOError):
        false_owner.accept()
    assert mode is None or path.lstat().st_mode == mode


def test_a_socket_outside_of_our_folders_is_not_connected_to(runtime: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="agent-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent,
    ):
        agent.bind(f"{folder}/agent.1")
        agent.listen(1)
        agent.settimeout(0)
        link = runtime / "queries-11111111"
        link.symlink_to(f"{folder}/agent.1")
        plain = runtime / "queries-22222222"
        plain.touch()
        for address in (f"{folder}/agent.1", str(link), str(plain), f"{runtime}/../{runtime.name}/../../agent.1"):
            with pytest.raises(OSError):
                connect(address, soon())
        with pytest.raises(BlockingIOError):
            agent.accept()


@needs_root
def test_a_socket_of_another_user_is_not_connected_to() -> None:
    place = listen(1)
    os.chown(place.address, STRANGER, STRANGER)
    with pytest.raises(PermissionError):
        connect(place.address, soon())
    place.close()


@pytest.mark.parametrize(
    "address",
    [
        *("", "tcp:", "tcp:1", "tcp:x:/y", "tcp:-1:/y", "tcp:0:/y", "tcp:65536:/y", f"tcp:{10**900}:/y", "tcp:²:/y"),
        *("\0", "\ud800", "/t/tui-runner-0/1-abcdef/\0", "tcp:1:/t/tui-runner-0/1-abcdef/\ud800", "x" * 1000, "/"),
    ],
)
def test_an_address_that_is_none_does_not_answer(address: str) -> None:
    with pytest.raises(OwnerGone):
        console_at(address).query(SECRET_STATEMENT)


# --- owners that are there and do not answer ---------------------------------------------------------------------


@pytest.fixture
def owner(path: Path, runtime: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open; its parameter is whether it answers queries."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path), getattr(request, "param", "serves")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert process.returncode == 0


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the stop")


def test_an_owner_that_is_stopped_is_named_within_ten_seconds(owner: subprocess.Popen[str], path: Path) -> None:
    stop(owner)
    began = time.monotonic()
    with pytest.raises(OwnerSilent) as caught:
        open_access(path)
    assert time.monotonic() - began < 10
    assert str(caught.value) == (
        f"{path}: in use by tui-runner (pid {owner.pid}), which is stopped and does not answer; "
        "continue it (fg) or end it"
    )
    assert caught.value.exit_code == EXIT_DATABASE


@pytest.mark.parametrize("owner", ["does not serve"], indirect=True)
def test_an_owner_that_is_stopped_and_has_no_socket_is_named(owner: subprocess.Popen[str], path: Path) -> None:
    stop(owner)
    with pytest.raises(DatabaseInUse, match=rf"pid {owner.pid}\), which is stopped"):
        open_access(path, patience=0.1)


def test_a_stopped_owner_whose_backlog_is_full_is_named(owner: subprocess.Popen[str], path: Path) -> None:
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        stop(owner)
        with contextlib.ExitStack() as waiting:
            with contextlib.suppress(BlockingIOError):  # its backlog is full
                while True:
                    client = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                    client.settimeout(0)
                    client.connect(access.record.socket)
            with access.console() as console, pytest.raises(OwnerSilent, match="is stopped"):
                console.query("SELECT 1")


def test_an_owner_that_is_stopped_in_the_middle_of_an_answer_is_named(owner: subprocess.Popen[str], path: Path) -> None:
    with open_access(path, limits=RemoteLimits(silence=1.0)) as access, access.console() as console:
        result = console.query(ENDLESS)
        rows = iter(result)
        next(rows)
        stop(owner)
        with pytest.raises(OwnerSilent, match=rf"pid {owner.pid}\), which is stopped"):
            for _ in rows:
                pass
        assert result.closed and not result.complete


def test_an_owner_that_is_stopped_before_the_first_rows_is_named(owner: subprocess.Popen[str], path: Path) -> None:
    with open_access(path, limits=RemoteLimits(silence=3.0)) as access, access.console() as console:
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                console.query(CROSS_JOIN)
            except DatabaseError as error:
                caught.append(error)

        asking = Answering(ask)
        eventually(lambda: console.progress() is not None, "a running statement")
        stop(owner)
        asking.end()
        assert isinstance(caught[0], OwnerSilent)


@contextlib.contextmanager
def scripted(*frames: tuple[bytes, bytes]) -> Iterator[Endpoint]:
    """Yield an owner that says `frames` on each of its connections, whatever it is asked, and leaves them open."""
    place = listen(4)
    connections: list[socket.socket] = []
    over = threading.Event()

    def act() -> None:
        while not over.is_set():
            connection, _ = place.listener.accept()
            connections.append(connection)
            with contextlib.suppress(OSError):  # the client has hung up
                for kind, content in frames:
                    send_frame(connection, kind, content)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield place
    over.set()
    place.wake(60)
    thread.join(60)
    place.close()
    for each in connections:
        each.close()


GREETING = (HELLO, PROTOCOL.to_bytes(2))
SAID = {"what": "wrong", "where": "", "do": ""}


def test_an_owner_that_hangs_is_asked_once(path: Path) -> None:
    Database.open(path).close()
    with scripted() as place, Database.open(path) as database:
        database.note_socket(place.address)
        began = time.monotonic()
        with pytest.raises(OwnerSilent, match=rf"pid {os.getpid()}\), which does not answer; wait until it does"):
            open_access(path, limits=RemoteLimits(greeting=0.2))
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("frames", [[], [(PROGRESS, b"")], [(PROGRESS, b"10"), (ARROW, b"\xff")]])
def test_an_owner_that_falls_silent_after_its_greeting_is_named(frames: list[tuple[bytes, bytes]]) -> None:
    began = time.monotonic()
    with scripted(GREETING, *frames) as place, pytest.raises(OwnerSilent, match="does not answer"):
        console_at(place.address).query("SELECT 1")
    assert time.monotonic() - began < 10


def test_an_owner_that_greets_byte_by_byte_is_not_waited_for() -> None:
    client, server = socket.socketpair()
    over = threading.Event()

    def act() -> None:
        with contextlib.suppress(BrokenPipeError):
            for byte in HELLO + (1000).to_bytes(4) + bytes(1000):
                server.sendall(bytes([byte]))
                over.wait(0.05)  # each of them is in time

    answering = Answering(act)
    with pytest.raises(TimeoutError):
        introduce(client, None, time.monotonic() + 0.3, "books.duckdb")
    client.close()
    over.set()
    answering.end()
    server.close()


def test_another_protocol_is_one_line_that_says_what_to_do(path: Path) -> None:
    other = PROTOCOL + 1
    with scripted((HELLO, other.to_bytes(2) + b"more")) as place, Database.open(path) as database:
        database.note_socket(place.address)
        with pytest.raises(DatabaseError, match="use the same tui-runner on both sides") as caught:
            open_access(path)
    assert f"protocol ({other}, this one {PROTOCOL})" in str(caught.value)
    assert caught.value.exit_code == EXIT_DATABASE


def test_a_busy_owner_is_there(path: Path) -> None:
    with scripted((BUSY, b"")) as place, Database.open(path) as database:
        database.note_socket(place.address)
        with (
            open_access(path) as access,
            access.console() as console,
            pytest.raises(DatabaseError, match="too many queries"),
        ):
            console.query("SELECT 1")


@pytest.mark.parametrize(
    "frame",
    [
        (PROGRESS, b"x"),
        (PROGRESS, b"-1"),
        (PROGRESS, b"1001"),
        (PROGRESS, b"9" * 4_000),
        (PROGRESS, b"9" * 5_000),
        (b"?", b""),
        (HELLO, b""),
        (END, b""),
        (FAILED, b"[" * 100_000),
        (FAILED, b"\xff"),
        (
            FAILED,
            json.dumps({"what": "", "where": "", "do": "", "type": "QueryError", "line": [], "column": 1}).encode(),
        ),
        (FAILED, json.dumps({"what": "", "where": "", "do": "", "type": []}).encode()),
        (ARROW, b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 100),
    ],
)
def test_an_answer_that_is_none_is_one_line(frame: tuple[bytes, bytes]) -> None:
    with (
        scripted(GREETING, frame, (END, b"")) as place,
        console_at(place.address) as console,
        pytest.raises(DatabaseError, match="the answer cannot be read; use the same tui-runner on both sides"),
    ):
        console.query("SELECT 1").read_all()


def test_cancelling_ends_the_wait_for_a_greeting() -> None:
    with scripted() as place:
        console = console_at(place.address, RemoteLimits(greeting=60))
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                console.query("SELECT 1")
            except Exception as error:
                caught.append(error)

        asking = Answering(ask)
        eventually(lambda: console._frames is not None, "the connection")
        console.cancel()
        asking.end()
        assert re.search("cancelled", str(caught[0]))
