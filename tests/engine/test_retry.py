"""Retries: which failures are tried again, and after which delays."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
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
        asyncio.IncompleteReadError(b"", 10),
        ssl.SSLEOFError(),
        OSError(errno.EMFILE, "Too many open files"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        http_status_error(429),
        http_status_error(503),
        urllib.error.HTTPError("http://x", 502, "Bad Gateway", {}, None),
        urllib.error.URLError(ConnectionRefusedError(111, "refused")),
        urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
        ssl.SSLError("decryption failed or bad record mac"),
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
        urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
        socket.gaierror(-2, "Name or service not known"),
        httpx.UnsupportedProtocol("Request URL is missing an 'http://' or 'https://' protocol."),
        httpx.LocalProtocolError("Illegal header value"),
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


class LibraryError(Exception):
    """An error of an unknown HTTP library."""


def wrapped(cause, *, by=LibraryError, hidden=False):
    """Return `cause` as a library raises it again, with `from` or, if `hidden`, without."""
    try:
        try:
            raise cause
        except type(cause) as error:
            if hidden:
                raise by("no answer")  # noqa: B904 - that is the point
            raise by("no answer") from error
    except by as error:
        return error


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("cause", "transient"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (TimeoutError("slow"), True),
        (socket.gaierror(-3, "Temporary failure"), True),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (socket.gaierror(-2, "Name or service not known"), False),
        (ssl.SSLCertVerificationError("self-signed"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (ValueError("no"), False),
    ],
    ids=repr,
)
def test_network_errors_are_known_whatever_wraps_them(cause, transient, hidden):
    assert is_transient(wrapped(cause, hidden=hidden)) is transient
    assert is_transient(wrapped(wrapped(cause), hidden=hidden)) is transient


def test_a_final_cause_decides_also_behind_a_transient_error():
    error = wrapped(ssl.SSLCertVerificationError("self-signed"), by=httpx.ConnectError)
    assert not is_transient(error)


def test_a_cause_that_was_put_away_counts_too():
    try:
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            raise ValueError("no") from None
    except ValueError as error:
        assert is_transient(error)


def test_causes_in_a_circle_end():
    first, second = LibraryError("a"), LibraryError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_transient(first)


@pytest.mark.parametrize(
    ("causes", "transient"),
    [
        ([ConnectionRefusedError(), socket.gaierror(-2, "no")], True),
        ([socket.gaierror(-2, "no"), socket.gaierror(-2, "no")], False),
        ([ValueError("no"), ValueError("no")], False),
    ],
    ids=["one may answer", "none", "something else"],
)
def test_of_several_addresses_one_that_may_answer_is_enough(causes, transient):
    error = LibraryError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("all attempts failed", causes)
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("requests.exceptions", "ConnectionError", OSError),
        ("requests.exceptions", "Timeout", OSError),
        ("aiohttp.client_exceptions", "ClientConnectionError", Exception),
        ("urllib3.exceptions", "HTTPError", Exception),
        ("httpx2", "TransportError", Exception),
        ("httpcore2", "NetworkError", Exception),
        ("curl_cffi.requests.exceptions", "Timeout", OSError),
        ("pyreqwest.exceptions", "TransportError", Exception),
    ],
)
def test_errors_of_http_libraries_are_known_by_module_and_name(module, name, base):
    base_class = type(name, (base,), {"__module__": module})
    assert is_transient(type("NewConnectionError", (base_class,), {})("Max retries exceeded"))
    assert not is_transient(type(name, (base,), {"__module__": "mine"})("no library's"))
    final = type("UnsupportedProtocol", (base_class,), {"__module__": module})
    assert not is_transient(final("no scheme"))


# --- what the job says ----------------------------------------------------------------------------------------


def test_a_server_that_says_when_is_asked_then_and_not_by_all_at_once():
    assert RetryPolicy(1, uniform=lambda low, high: high).delay(5, wanted=30.0) == 30.0 + BASE_SECONDS


def test_types_of_the_job_are_retried_besides_transient_errors():
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
