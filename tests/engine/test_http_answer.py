"""`Retry-After` of a server, found in the errors of HTTP libraries."""

from __future__ import annotations

import email.message
import types
import urllib.error
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.worker.retry import retry_after
from tui_runner.jobs.http.retry_after import MOST_RETRY_AFTER

NOW = 1_700_000_000.0


def httpx_error(value):
    request = httpx.Request("GET", "http://example.test")
    headers = {} if value is None else {"Retry-After": value}
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(503, headers=headers, request=request))


def requests_error(value):
    error = OSError("503 Server Error")
    error.response = types.SimpleNamespace(status_code=503, headers=httpx.Headers({"retry-after": value}))
    return error


def urllib_error(value):
    headers = email.message.Message()
    headers["Retry-After"] = value
    return urllib.error.HTTPError("http://example.test", 503, "Busy", headers, None)


def aiohttp_error(value):
    error = Exception("503")
    error.status, error.headers = 503, {"Retry-After": value}
    return error


@pytest.mark.parametrize("error_with", [httpx_error, requests_error, urllib_error, aiohttp_error])
def test_seconds_and_dates_are_understood_in_the_errors_of_every_library(error_with):
    assert retry_after(error_with("120"), NOW) == 120.0
    assert retry_after(error_with(formatdate(NOW + 90, usegmt=True)), NOW) == pytest.approx(90)


def test_at_once_is_no_answer_to_when():
    assert retry_after(httpx_error(formatdate(NOW - 90, usegmt=True)), NOW) is None
    assert retry_after(httpx_error("-5"), NOW) is None
    assert retry_after(httpx_error("0"), NOW) is None


def test_a_date_without_a_zone_is_utc():
    assert retry_after(httpx_error("Tue, 14 Nov 2023 22:13:50 -0000"), NOW) == 30.0


def test_no_server_puts_a_retry_off_for_days():
    assert retry_after(httpx_error("86400"), NOW) == MOST_RETRY_AFTER


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf", "1e999", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_invalid_retry_after_is_ignored(value):
    assert retry_after(httpx_error(value), NOW) is None


class Hostile(Exception):
    """Raises at every access."""

    def __getattr__(self, name):
        raise RuntimeError(name)


class HostileHeaders:
    def get(self, name):
        raise RuntimeError(name)


def test_an_error_without_an_answer_says_nothing():
    assert retry_after(ValueError("no"), NOW) is None
    assert retry_after(Hostile(), NOW) is None
    assert retry_after(types.SimpleNamespace(headers=HostileHeaders()), NOW) is None


@given(st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_whatever_a_server_writes_the_answer_is_none_or_within_bounds(value):
    error = aiohttp_error(value)
    seconds = retry_after(error, NOW)
    assert seconds is None or 0 <= seconds <= MOST_RETRY_AFTER
