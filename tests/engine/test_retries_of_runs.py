"""Real runs whose items are tried again: what the job says, what a server says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Rows = Callable[..., list[tuple[Any, ...]]]


class _Busy(BaseHTTPRequestHandler):
    """Answers 429 with `Retry-After: 1` to the first request for a path, 200 to the next."""

    asked: dict[str, list[float]]

    def do_GET(self) -> None:
        times = self.asked.setdefault(self.path, [])
        times.append(time.monotonic())
        self.send_response(200 if len(times) > 1 else 429)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def busy_server() -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Its address, and when each path was asked for."""
    asked: dict[str, list[float]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Busy", (_Busy,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("library", ["httpx", "urllib"])
def test_a_server_that_says_when_is_asked_again_then(
    job_file, new_run, busy_server: tuple[str, dict[str, list[float]]], library: str
) -> None:
    address, asked = busy_server
    get = {"httpx": "http.get(base + page).raise_for_status()", "urllib": "urllib.request.urlopen(base + page)"}
    source = f"""
        import urllib.request
        from tui_runner import http, job

        @job(retries=0)
        def fetch(page: str, *, base: str):
            {get[library]}

        @fetch.items
        def pages():
            return ["/a", "/b"]
    """
    snapshot = new_run(job_file(source), params={"base": address}).start().finish()
    # It costs the items none of their attempts: the host has refused, they have not failed.
    assert (snapshot.items_done, snapshot.retries) == (2, 0), snapshot.errors
    for first, second in asked.values():
        # Without the header the first retry comes within half a second.
        assert 1.0 <= second - first < 10.0


def test_a_job_names_the_errors_that_are_retried(job_file, new_run, rows: Rows) -> None:
    source = """
        from tui_runner import current, job

        class Busy(Exception):
            pass

        def rule(error):
            if isinstance(error, LookupError):
                raise RuntimeError("a mistake in the rule")
            return isinstance(error, Busy) or None

        @job(retries=1, retry_on=rule)
        def work(kind: str):
            errors = {"busy": Busy(), "wrong": ValueError(), "network": ConnectionError(), "lost": KeyError("x")}
            if current.attempt == 1:
                raise errors[kind]

        @work.items
        def kinds():
            return ["busy", "wrong", "network", "lost"]
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert rows("SELECT state, attempts FROM runner.items ORDER BY item") == [
        ("ok", 2),
        ("failed", 1),
        ("ok", 2),
        ("failed", 1),
    ]
    assert any("retry_on raised RuntimeError" in line.text for line in snapshot.log)
