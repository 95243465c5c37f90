"""Which failures are tried again, and how long that is put off."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
import sys
import types
import urllib.error

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.worker.retry import BASE_SECONDS, CAP_SECONDS, RetryPolicy, is_transient, retry_rule

REQUEST = httpx.Request("GET", "http://example.test")


def http_status_error(status):
    return httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(status, request=REQUEST))


class Fault(Exception):
    """An exception with any attributes."""

    def __init__(self, **attributes):
        super().__init__("fault")
        self.__dict__.update(attributes)


class Hostile(Exception):
    """An exception whose attributes raise."""

    def __getattr__(self, name):
        raise RuntimeError(name)


@given(st.integers(1, 10_000))
def test_delays_grow_with_full_jitter_up_to_the_cap(attempts):
    bounds = []
    policy = RetryPolicy(3, uniform=lambda low, high: bounds.append((low, high)) or high)
    delay = policy.delay(attempts)
    assert bounds == [(0.0, delay)]
    assert delay == min(CAP_SECONDS, BASE_SECONDS * 2.0 ** (attempts - 1) if attempts < 60 else CAP_SECONDS)


def test_delays_are_spread():
    policy = RetryPolicy(1, base=8.0)
    delays = [policy.delay(1) for _ in range(200)]
    assert all(0 <= delay <= 8 for delay in delays)
    assert min(delays) < 2 < 6 < max(delays)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        http.client.RemoteDisconnected(),
        http.client.IncompleteRead(b""),
        ssl.SSLEOFError(),
        OSError(errno.EMFILE, "Too many open files"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        http_status_error(429),
        http_status_error(503),
        urllib.error.HTTPError("http://x", 502, "Bad Gateway", {}, None),
        urllib.error.URLError(ConnectionRefusedError(111, "refused")),
        urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
        Fault(response=types.SimpleNamespace(status_code=500)),
        Fault(status=408),
    ],
    ids=repr,
)
def test_network_trouble_is_transient(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "no"),
        OSError("without a number"),
        ssl.SSLCertVerificationError("self-signed"),
        http.client.InvalidURL("spaces"),
        httpx.InvalidURL("spaces"),
        http_status_error(404),
        http_status_error(501),
        urllib.error.HTTPError("http://x", 403, "Forbidden", {}, None),
        urllib.error.URLError("unknown url type: gopher"),
        urllib.error.URLError(ssl.SSLCertVerificationError("self-signed")),
        Fault(code="503"),
        Fault(code=True),
        Fault(status=7),
        SystemExit(500),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        Hostile(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_fails_for_good(error):
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("requests", "ConnectionError", OSError),
        ("requests", "Timeout", OSError),
        ("aiohttp", "ClientConnectionError", Exception),
        ("urllib3.exceptions", "HTTPError", Exception),
    ],
)
def test_errors_of_http_libraries_are_known_by_their_base_class(monkeypatch, module, name, base):
    base_class = type(name, (base,), {})
    error = type("NewConnectionError", (base_class,), {})("Max retries exceeded")
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert not is_transient(error)
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: base_class}))
    assert is_transient(error)


def test_a_module_that_is_not_what_its_name_says_does_no_harm(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", types.SimpleNamespace(ClientConnectionError="no class"))
    assert not is_transient(ValueError())


# --- what the job says ----------------------------------------------------------------------------------------


def test_a_server_that_says_when_is_asked_then_and_not_by_all_at_once():
    assert RetryPolicy(1, uniform=lambda low, high: high).delay(5, wanted=30.0) == 30.0 + BASE_SECONDS


def test_types_of_the_job_are_retried_besides_what_is_transient():
    for given_types in (KeyError, (KeyError, ValueError)):
        rule = retry_rule(given_types)
        assert rule(KeyError("x"))
        assert rule(TimeoutError())
        assert not rule(TypeError())


def test_a_function_of_the_job_decides_or_leaves_it():
    answers = {ConnectionResetError: False, ValueError: True}
    rule = retry_rule(lambda error: answers.get(type(error)))
    assert rule(ValueError())
    assert not rule(ConnectionResetError())
    assert rule(TimeoutError())
    assert not rule(KeyError())
