"""Requests of a job against servers that do as they like."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import ssl
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from jobs.raw_server import RawServer, answer, body_without_end, bomb, headers_without_end

from tui_runner import http
from tui_runner.engine.worker.retry import is_transient
from tui_runner.jobs.current import CONTEXT
from tui_runner.jobs.http import clients
from tui_runner.jobs.http.connection import MOST_HEADER_BYTES
from tui_runner.jobs.http.connections import Connections
from tui_runner.jobs.http.name_lookup import Names
from tui_runner.jobs.http.response import TooLargeError
from tui_runner.jobs.http.transport import MAX_BYTES


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    http.configure(per_host=None)
    http._options.clear()
    http._max_bytes = ...
    http.close()


@dataclass
class Item:
    """The part of an item's context that `http` reads."""

    deadline: float | None
    value: Any = None
    attempt: int = 1
    cancelled: bool = False
    started: float = 0.0
    reserved_host: str = ""

    def log(self, level: str, text: str) -> None:
        pass

    def add(self, items: tuple[object, ...]) -> None:
        pass

    def begin_wait(self, host: str) -> None:
        pass

    def end_wait(self, seconds: float) -> None:
        pass


@contextmanager
def item_with(seconds: float) -> Iterator[None]:
    token = CONTEXT.set(Item(time.monotonic() + seconds))
    try:
        yield
    finally:
        CONTEXT.reset(token)


def by_thread(method: str, url: str, **options: Any) -> httpx.Response:
    return http.request(method, url, **options)


def by_task(method: str, url: str, **options: Any) -> httpx.Response:
    if "max_bytes" in options:
        options["extensions"] = {MAX_BYTES: options.pop("max_bytes")}

    async def send() -> httpx.Response:
        try:
            return await http.async_client().request(method, url, **options)
        finally:
            await http.aclose()

    return asyncio.run(send())


Send = Callable[..., httpx.Response]
Fetched = Callable[..., httpx.Response]


@pytest.fixture(params=[by_thread, by_task])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends a request as a thread does, and as a task."""
    way: Send = request.param
    return way


@pytest.fixture
def fetched(send: Send) -> Fetched:
    """Gives what a client makes of the bytes that a server sends."""

    def fetch(sent: bytes | Callable[[socket.socket], None], **options: Any) -> httpx.Response:
        with RawServer({"/": sent}) as server:
            return send("GET", f"{server.url}/", **options)

    return fetch


# --- headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Powered by nothing",
        "X Header: 1",
        ": 1",
        "X-Bytes: \xff\xfe",
        "\x01\x02: 3",
        "X-Folded: a\r\n  b",
        "=",
        "a" * 9_000,
    ],
)
def test_odd_header_line_is_passed_over(fetched: Fetched, line: str) -> None:
    response = fetched(answer(b"ok", line, "X-After: 1"))
    assert (response.text, response.headers["x-after"]) == ("ok", "1")


def test_lines_that_end_without_a_carriage_return_are_read(fetched: Fetched) -> None:
    assert fetched(b"HTTP/1.1 200 OK\nContent-Length: 2\nX-A: b\n\nok").headers["x-a"] == "b"


def test_interim_answers_are_passed_over(fetched: Fetched) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    assert fetched(interim + answer(b"ok")).text == "ok"


def test_headers_without_end_are_an_error(fetched: Fetched) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match=f"{MOST_HEADER_BYTES // 1024} KiB"):
        fetched(headers_without_end)


def test_cookie_bomb_is_an_answer_like_any_other() -> None:
    cookies = [f"Set-Cookie: c{number}={'x' * 100}; Path=/" for number in range(1_500)]
    with RawServer({"/": answer(b"ok", *cookies), "/next": answer(b"fine")}) as server:
        assert http.get(f"{server.url}/").text == "ok"
        assert http.get(f"{server.url}/next").text == "fine"
        assert b"Cookie" not in server.requests[1]


@pytest.mark.parametrize(
    "sent", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/2 200\r\n\r\n", b"\0" * 100, b"HTTP/1.1 2", b"<html>"]
)
def test_answer_that_is_not_http_is_an_error(fetched: Fetched, sent: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        fetched(sent)
    assert is_transient(caught.value)


# --- lengths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"half", length=8),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\nabc",
    ],
    ids=lambda sent: repr(sent[-24:]),
)
def test_body_of_a_wrong_length_is_an_error(fetched: Fetched, sent: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        fetched(sent)
    assert is_transient(caught.value)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\nk\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
def test_body_ends_where_it_says(fetched: Fetched, sent: bytes) -> None:
    assert fetched(sent).content == b"ok"


def test_bytes_behind_a_body_do_not_become_the_next_answer() -> None:
    more = answer(b"ok") + answer(b"smuggled")
    with RawServer({"/": more, "/next": answer(b"fine")}, keep=True) as server:
        assert http.get(f"{server.url}/").content == b"ok"
        assert http.get(f"{server.url}/next").content == b"fine"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("method", "status"), [("GET", "304 Not Modified"), ("GET", "204 No Content"), ("HEAD", "200 OK")]
)
def test_answers_without_a_body_have_none(send: Send, method: str, status: str) -> None:
    sent = answer(b"", "Content-Encoding: gzip", status=status, length=1_000)
    with RawServer({"/": [sent, answer(b"fine")]}, keep=True) as server:
        assert send(method, f"{server.url}/").content == b""
        assert send("GET", f"{server.url}/").content == b"fine"


# --- sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [body_without_end, bomb, answer(b"x", length=10**18)])
def test_body_is_at_most_as_large_as_it_may_be(fetched: Fetched, sent: Any) -> None:
    tracemalloc.start()
    with pytest.raises(TooLargeError, match=r"1\.0 MB") as caught:
        fetched(sent, max_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert not is_transient(caught.value)


def test_configured_size_holds_for_every_request_and_a_stream_has_none() -> None:
    http.configure(max_bytes=10)
    with RawServer({"/": answer(b"x" * 11), "/small": answer(b"x" * 10)}) as server:
        with pytest.raises(TooLargeError):
            http.get(f"{server.url}/")
        with pytest.raises(TooLargeError):
            http.client().get(f"{server.url}/")
        assert http.get(f"{server.url}/small").content == b"x" * 10
        assert http.get(f"{server.url}/", max_bytes=None).content == b"x" * 11
        with http.stream("GET", f"{server.url}/") as response:
            assert b"".join(response.iter_bytes(4)) == b"x" * 11
        with http.stream("GET", f"{server.url}/", max_bytes=10) as response, pytest.raises(TooLargeError):
            list(response.iter_bytes())


def test_unknown_encoding_is_named(fetched: Fetched) -> None:
    with pytest.raises(httpx.DecodingError, match="exotic") as caught:
        fetched(answer(b"soup", "Content-Encoding: exotic"))
    assert not is_transient(caught.value)


# --- redirects ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:alert(1)", "data:text/html,x"]
)
def test_redirect_to_another_scheme_is_refused(fetched: Fetched, target: str) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, httpx.InvalidURL)) as caught:
        fetched(answer(b"", f"Location: {target}", status="302 Found"))
    assert not is_transient(caught.value)


def test_redirects_in_a_circle_end(send: Send) -> None:
    with (
        pytest.raises(httpx.TooManyRedirects) as caught,
        RawServer({"/": answer(b"", "Location: /", status="302 Found")}) as server,
    ):
        send("GET", f"{server.url}/")
    assert not is_transient(caught.value)


def test_redirect_keeps_its_history_and_the_cookies_of_the_way(send: Send) -> None:
    moved = answer(b"", "Location: /there", "Set-Cookie: way=1", status="302 Found")
    with RawServer({"/": moved, "/there": answer(b"here")}) as server:
        response = send("GET", f"{server.url}/")
    assert response.text == "here"
    assert [each.status_code for each in response.history] == [302]
    assert str(response.url).endswith("/there")
    assert b"Cookie: way=1" in server.requests[1]


def test_each_host_of_a_redirect_counts_for_itself(send: Send) -> None:
    http.configure(per_host=1)
    with (
        RawServer({"/there": answer(b"here")}) as other,
        RawServer({"/": answer(b"", f"Location: http://localhost:{other.port}/there", status="302 Found")}) as server,
    ):
        asked: list[str] = []
        admit = http.gate.admit

        async def noted(host: str, deadline: float | None, waiter: Any) -> bool:
            asked.append(host)
            return await admit(host, deadline, waiter)

        http.gate.admit = noted  # type: ignore[method-assign]
        try:
            assert send("GET", f"{server.url}/").text == "here"
        finally:
            del http.gate.admit
    assert asked == ["127.0.0.1", "localhost"]


# --- connections --------------------------------------------------------------------------------------------


def test_connection_that_the_server_closed_is_opened_again() -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(answer(b"ok"))
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer({"/": once}, keep=True) as server:
        assert [http.get(f"{server.url}/").text for _ in range(3)] == ["ok"] * 3


def test_request_that_a_kept_connection_loses_is_sent_again_unless_it_changes_something() -> None:
    def lose(connection: socket.socket) -> None:
        connection.close()

    with RawServer({"/": [answer(b"ok"), lose, answer(b"again")]}, keep=True) as server:
        assert [http.get(f"{server.url}/").text for _ in range(2)] == ["ok", "again"]
    with RawServer({"/": [answer(b"ok"), lose, answer(b"again")]}, keep=True) as server:
        http.get(f"{server.url}/")
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(f"{server.url}/")


def test_headers_without_a_line_end_in_them_are_sent_alone() -> None:
    with RawServer({"/": answer(b"ok")}) as server:
        for headers in ({"X-A": "b\r\nX-C: d"}, {"X A": "b"}, {"": "b"}):
            with pytest.raises(httpx.LocalProtocolError):
                http.get(f"{server.url}/", headers=headers)
    assert server.requests == []


def test_answer_that_is_dropped_half_read_gives_its_place_back() -> None:
    http.configure(per_host=1)
    with RawServer({"/": answer(b"x" * 300_000)}) as server:
        own = http.client()
        response = own.send(own.build_request("GET", f"{server.url}/"), stream=True)
        pieces = response.iter_raw()
        next(pieces)
        circle: dict[str, Any] = {"pieces": pieces}
        circle["itself"] = circle
        del response, pieces, circle
        gc.collect()
        with item_with(10):
            assert len(http.get(f"{server.url}/").content) == 300_000


def test_garbage_may_be_collected_anywhere() -> None:
    """A collection begins in every function of the transport while there is a half-read answer to collect."""
    http.configure(per_host=2)
    with RawServer({"/": answer(b"x" * 300_000)}) as server:
        for name in ("take", "put", "enter", "leave", "_arrive", "_advance", "_exchange"):
            own = http.client()
            response = own.send(own.build_request("GET", f"{server.url}/"), stream=True)
            circle: dict[str, Any] = {"pieces": response.iter_raw()}
            next(circle["pieces"])
            circle["itself"] = circle
            del response, circle

            def collect(frame: Any, event: str, argument: object, name: str = name) -> None:
                if event == "call" and frame.f_code.co_name == name:
                    gc.collect()

            with item_with(10):
                sys.setprofile(collect)
                try:
                    assert len(http.get(f"{server.url}/").content) == 300_000
                finally:
                    sys.setprofile(None)
            gc.collect()


def test_many_threads_and_hosts_keep_connections_apart() -> None:
    answers = {f"/{number}": answer(str(number).encode()) for number in range(50)}
    with RawServer(dict(answers), keep=True) as one, RawServer(dict(answers), keep=True) as other:
        urls = [f"{server.url}/{number}" for number in range(50) for server in (one, other)] * 4

        def is_right(url: str) -> bool:
            return http.get(url).text == url.rpartition("/")[2]

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(is_right, urls))
        assert one.connections <= 24


def test_silent_name_server_is_left_at_the_deadline(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()

    def wait(host: str, port: int) -> list[Any]:
        stuck.wait(10)
        return []

    names = Names(wait)
    monkeypatch.setattr(clients, "NAMES", names)
    monkeypatch.setattr(clients, "CONNECTIONS", Connections(names))
    http.configure(headers={})  # the next client is a new one
    try:
        began = time.monotonic()
        with item_with(0.2), pytest.raises(httpx.ConnectTimeout, match="not resolved"):
            send("GET", "http://stuck.test/")
        assert time.monotonic() - began < 5
    finally:
        stuck.set()


def test_server_that_trickles_its_headers_is_left_at_the_deadline(fetched: Fetched) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            connection.sendall(b"X")
            time.sleep(0.05)

    began = time.monotonic()
    with item_with(0.3), pytest.raises(httpx.ReadTimeout, match="deadline"):
        fetched(trickle)
    assert time.monotonic() - began < 4


def test_a_lack_of_descriptors_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*args: object, **options: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(httpx.ConnectError, match="too many open files: a process may have") as caught:
        http.get("http://127.0.0.1:9/")
    assert is_transient(caught.value)


CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A certificate of `localhost`, valid until 2126, with its key."""


def test_answers_come_over_tls(send: Send) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    http.configure(verify=ssl.create_default_context(cafile=CERTIFICATE))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                with contextlib.suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as own:
                    own.recv(65_536)
                    own.sendall(answer(b"x" * 1_000_000))

        threading.Thread(target=serve, daemon=True).start()
        url = f"https://localhost:{listening.getsockname()[1]}/"
        assert send("GET", url).content == b"x" * 1_000_000
        http.configure(verify=True)  # the certificate is signed by no other authority
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            send("GET", url)


def test_server_that_speaks_no_tls_cannot_be_connected_to(send: Send) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 not TLS\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(httpx.ConnectError):
            send("GET", f"https://127.0.0.1:{listening.getsockname()[1]}/")


# --- tasks of an event loop ----------------------------------------------------------------------------------


async def test_tasks_keep_connections_and_open_others_for_those_that_the_server_closed() -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(answer(b"closed"))
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer({"/": answer(b"ok"), "/once": once}, keep=True) as server:
        client = http.async_client()
        assert [(await client.get(f"{server.url}/")).text for _ in range(3)] == ["ok"] * 3
        assert server.connections == 1
        for _ in range(2):
            assert (await client.get(f"{server.url}/once")).text == "closed"
        found = await asyncio.gather(*(client.get(f"{server.url}/") for _ in range(20)))
        assert [each.text for each in found] == ["ok"] * 20
        await http.aclose()


async def test_task_sends_a_body_in_pieces_to_a_server_that_reads_slowly() -> None:
    size = 3_000_000

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (size // 3)

    received: list[int] = []

    def read(connection: socket.socket) -> None:
        received.append(len(server.requests[-1]))
        connection.sendall(answer(b"got it"))

    with RawServer({"/": read}) as server:
        response = await http.async_client().post(
            f"{server.url}/", content=pieces(), headers={"Content-Length": str(size)}
        )
        await http.aclose()
    assert response.text == "got it"
    assert received[0] > size


async def test_task_reads_a_large_answer_in_pieces_and_may_leave_it() -> None:
    def flow(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n")
        connection.sendall(b"x" * 8_000_000)

    http.configure(per_host=1)
    with RawServer({"/": flow}) as server:
        async with http.async_client().stream("GET", f"{server.url}/") as response:
            assert len(await anext(response.aiter_bytes(1_000))) == 1_000
        # The place of the one that was left is free again.
        assert len((await http.async_client().get(f"{server.url}/")).content) == 8_000_000
        await http.aclose()


async def test_cancelled_task_gives_its_place_back() -> None:
    loop, is_asked, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def stick(connection: socket.socket) -> None:
        loop.call_soon_threadsafe(is_asked.set)
        may_end.wait(10)

    http.configure(per_host=1)
    with RawServer({"/": answer(b"ok"), "/stuck": stick}) as server:
        asking = asyncio.create_task(http.async_client().get(f"{server.url}/stuck"))
        await is_asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await http.async_client().get(f"{server.url}/")).text == "ok"
        may_end.set()
        await http.aclose()


# --- the quick way and the whole one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a/b?x=1&y=%20z",
        "/%C3%A9;a=b",
        "/a?b#fragment",
        "/ä b",
        "/a/../b",
        "/a'b?c='d'",
        "/?q=ü",
        "",
        "/a|b",
        "/a%zz",
    ],
)
def test_both_ways_ask_for_the_same(path: str) -> None:
    paths = [httpx.URL(f"http://h{path}").raw_path.decode()]
    with RawServer({each: answer(b"ok") for each in paths}) as server:
        quick = http.get(server.url + path)
        whole = http.client().request("GET", server.url + path)
        first, second = (set(request.split(b"\r\n")) for request in server.requests)
    assert first == second
    assert quick.url == whole.url
    assert quick.request.headers == whole.request.headers
    assert quick.raise_for_status() is quick
    assert quick.elapsed.total_seconds() > 0


def test_proxy_and_own_transport_are_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer({"http://far.test/": answer(b"by proxy")}) as proxy:
        http.configure(proxy=proxy.url)
        assert http.get("http://far.test/").text == "by proxy"
    assert proxy.requests[0].startswith(b"GET http://far.test/ HTTP/1.1")
    http.configure(proxy=None, transport=httpx.MockTransport(lambda request: httpx.Response(200, text="mine")))
    assert http.get("http://far.test/").text == "mine"


def test_proxy_of_the_environment_is_used(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer({"http://far.test/": answer(b"by proxy")}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        http.configure(headers={})
        http.configure(timeout=5)
        assert send("GET", "http://far.test/").text == "by proxy"


def test_body_is_sent_as_httpx_makes_it() -> None:
    # A server that closes without saying so may do it while the second POST is under way; no POST is repeated.
    with RawServer({"/": answer(b"ok")}, keep=True) as server:
        http.post(f"{server.url}/", content=iter([b"ab", b"", b"cde"]))
        http.post(f"{server.url}/", json={"a": 1})
    assert server.requests[0].endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
    assert server.requests[1].endswith(b'\r\n\r\n{"a":1}')
