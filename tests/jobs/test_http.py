"""`tui_runner.jobs.http` against a real server on loopback."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from support.host_gate import enter

from tui_runner import __version__, http
from tui_runner.jobs.current import CONTEXT


class Server(ThreadingHTTPServer):
    """Answers, and remembers what was asked of it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lock = threading.Lock()
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self.open = 0
        self.most_open = 0
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def finish(self) -> None:
        super().finish()
        self.server.closed.release()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.path.split("?")[0]:
            case "/echo":
                said = {
                    "method": self.command,
                    "path": self.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "content": content.decode(),
                }
                self.answer(json.dumps(said).encode(), Set_Cookie="seen=yes; Path=/")
            case "/moved":
                self.answer(b"", 302, Location="/echo")
            case "/held":
                with self.server.lock:
                    self.server.open += 1
                    self.server.most_open = max(self.server.most_open, self.server.open)
                self.server.arrived.release()
                self.server.go_on.wait(30)
                with self.server.lock:
                    self.server.open -= 1
                self.answer(b"done")
            case "/trickle":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while not self.server.go_on.wait(0.05):
                    self.wfile.write(b"1\r\nx\r\n")
            case "/broken":
                self.close_connection = True
            case _:
                self.answer(b"no such page", 404)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        http.close()
        running.go_on.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Undo what a test has configured."""
    yield
    http.configure(per_host=None)
    http._options.clear()
    http.close()


@dataclass
class Item:
    """The part of an item's context that `http` reads."""

    deadline: float | None
    value: Any = None
    attempt: int = 1
    cancelled: bool = False
    reserved_host: str = ""

    def log(self, level: str, text: str) -> None:
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


def test_importing_it_does_not_import_httpx() -> None:
    code = "import sys, tui_runner.jobs.http as http; http.configure(per_host=3); assert 'httpx' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_method_reaches_the_server(server: Server) -> None:
    for method in (http.get, http.post, http.put, http.patch, http.delete):
        assert method(f"{server.url}/echo").json()["method"] == method.__name__.upper()
    assert http.head(f"{server.url}/echo").status_code == 200
    assert http.request("GET", f"{server.url}/echo", params={"q": "a b"}).json()["path"] == "/echo?q=a+b"
    assert json.loads(http.post(f"{server.url}/echo", json={"a": 1}).json()["content"]) == {"a": 1}


def test_a_method_in_lower_case_is_sent_in_upper_case(server: Server) -> None:
    assert http.request("get", f"{server.url}/echo").json()["method"] == "GET"


def test_a_post_without_a_body_declares_its_length(server: Server) -> None:
    assert http.post(f"{server.url}/echo").json()["headers"]["content-length"] == "0"


def test_an_invalid_method_is_refused_before_anything_is_sent(server: Server) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        http.request("GET /echo HTTP/1.1\r\nX: y\r\n\r\nGET", f"{server.url}/echo")
    assert server.connections == 0


def test_defaults_follow_redirects_and_name_tui_runner(server: Server) -> None:
    response = http.get(f"{server.url}/moved")
    assert response.url.path == "/echo"
    assert response.json()["headers"]["user-agent"] == f"tui-runner/{__version__}"
    timeout = http.client().timeout
    assert (timeout.connect, timeout.read) == (http.CONNECT_SECONDS, http.ANSWER_SECONDS)


def test_an_answer_of_404_is_an_answer(server: Server) -> None:
    response = http.get(f"{server.url}/nowhere")
    assert response.status_code == 404
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()


def test_stream_gives_the_answer_in_pieces(server: Server) -> None:
    with http.stream("GET", f"{server.url}/echo") as response:
        assert b"".join(response.iter_bytes()).startswith(b"{")


def test_configured_options_hold_in_every_thread(server: Server) -> None:
    http.client()
    http.configure(headers={"user-agent": "me", "X-Token": "t"}, cookies={"login": "1"})
    with ThreadPoolExecutor(1) as other:
        answers = [http.get(f"{server.url}/echo"), other.submit(http.get, f"{server.url}/echo").result()]
    for answer in answers:
        headers = answer.json()["headers"]
        assert (headers["user-agent"], headers["x-token"], headers["cookie"]) == ("me", "t", "login=1")


def test_cookies_do_not_go_from_one_item_to_the_next(server: Server) -> None:
    http.get(f"{server.url}/echo")
    assert "cookie" not in http.get(f"{server.url}/echo").json()["headers"]


def test_the_client_of_a_thread_keeps_a_session(server: Server) -> None:
    session = http.client()
    session.get(f"{server.url}/echo")
    assert session.get(f"{server.url}/echo").json()["headers"]["cookie"] == "seen=yes"


def test_threads_share_connections_and_have_clients_of_their_own(server: Server) -> None:
    for _ in range(5):
        http.get(f"{server.url}/echo")
    mine = http.client()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(http.client).result() is not mine
        other.submit(http.get, f"{server.url}/echo").result()
    assert server.connections == 1
    assert http.client() is mine


def test_the_end_of_a_thread_closes_its_client(server: Server) -> None:
    clients: list[httpx.Client] = []
    thread = threading.Thread(target=lambda: clients.append(http.client()))
    thread.start()
    thread.join()
    gc.collect()
    assert clients[0].is_closed


def test_close_ends_the_connections(server: Server) -> None:
    http.get(f"{server.url}/echo")
    http.close()
    assert server.closed.acquire(timeout=5), "the server still has the connection"


def test_close_lets_the_next_request_open_another(server: Server) -> None:
    first = http.client()
    http.close()
    http.close()
    assert first.is_closed
    assert http.get(f"{server.url}/echo").status_code == 200


def test_a_broken_connection_does_not_spoil_the_next_request(server: Server) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"{server.url}/broken")
    assert http.get(f"{server.url}/echo").status_code == 200


def test_a_silent_server_is_left_at_the_deadline_of_the_item(server: Server) -> None:
    began = time.monotonic()
    with item_with(1.0), pytest.raises(httpx.ReadTimeout):
        http.get(f"{server.url}/held")
    assert 0.2 <= time.monotonic() - began < 5


def test_a_trickling_server_is_left_at_the_deadline_of_the_item(server: Server) -> None:
    began = time.monotonic()
    with item_with(0.3), pytest.raises(httpx.ReadTimeout, match="deadline"):
        http.get(f"{server.url}/trickle")
    assert 0.3 <= time.monotonic() - began < 5


def test_a_shorter_timeout_of_the_request_stays(server: Server) -> None:
    with item_with(60), pytest.raises(httpx.ReadTimeout):
        http.get(f"{server.url}/held", timeout=0.05)


def test_after_the_deadline_nothing_is_sent(server: Server) -> None:
    with item_with(-1), pytest.raises(httpx.TimeoutException, match="deadline"):
        http.get(f"{server.url}/echo")
    assert server.connections == 0


def get_held(server: Server, requests: int, at_once: int) -> int:
    """Send requests from as many threads; the most that were open together, when `at_once` have arrived."""
    with ThreadPoolExecutor(requests) as pool:
        answers = [pool.submit(http.get, f"{server.url}/held") for _ in range(requests)]
        for _ in range(at_once):
            assert server.arrived.acquire(timeout=10)
        server.go_on.set()
        assert [answer.result().text for answer in answers] == ["done"] * requests
        for _ in range(requests):
            pool.submit(http.close)
    return server.most_open


def open_requests() -> int:
    return sum(state.open for state in http.gate.states())


def test_per_host_limits_the_open_requests_to_a_host(server: Server) -> None:
    http.configure(per_host=2)
    assert get_held(server, requests=8, at_once=2) == 2


def test_without_per_host_all_are_open_together(server: Server) -> None:
    assert get_held(server, requests=8, at_once=8) == 8


def test_waiting_for_the_host_ends_at_the_deadline_of_the_request(server: Server) -> None:
    http.configure(per_host=1)

    with ThreadPoolExecutor(1) as other:
        with http.stream("GET", f"{server.url}/echo"):
            assert not other.submit(enter, http.gate, "127.0.0.1", time.monotonic() + 0.05).result()
        assert other.submit(http.get, f"{server.url}/echo").result().status_code == 200


def test_errors_and_streams_give_their_slot_back(server: Server) -> None:
    http.configure(per_host=1)
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"{server.url}/broken")
    with http.stream("GET", f"{server.url}/echo"):
        pass
    with item_with(5):
        assert http.get(f"{server.url}/echo").status_code == 200
    assert open_requests() == 0


def test_per_host_must_be_positive() -> None:
    with pytest.raises(ValueError, match="per_host"):
        http.configure(per_host=0)


async def test_tasks_share_one_client_and_its_limits(server: Server) -> None:
    http.configure(per_host=2)
    client = http.async_client()
    assert client is http.async_client()
    asked = [asyncio.create_task(client.get(f"{server.url}/held")) for _ in range(6)]
    for _ in range(2):
        assert await asyncio.to_thread(server.arrived.acquire, timeout=10)
    server.go_on.set()
    assert [answer.text for answer in await asyncio.gather(*asked)] == ["done"] * 6
    assert server.most_open == 2
    async with client.stream("GET", f"{server.url}/echo") as response:
        assert (await response.aread()).startswith(b"{")
    assert open_requests() == 0
    await http.aclose()
    assert client.is_closed


async def test_the_deadline_holds_for_tasks(server: Server) -> None:
    # A second is enough to connect, also on a busy machine.
    with item_with(1.0), pytest.raises(httpx.ReadTimeout):
        await http.async_client().get(f"{server.url}/held")
    with item_with(1.0), pytest.raises(httpx.ReadTimeout, match="deadline"):
        await http.async_client().get(f"{server.url}/trickle")
    await http.aclose()


def test_async_client_needs_a_loop() -> None:
    with pytest.raises(RuntimeError):
        http.async_client()
