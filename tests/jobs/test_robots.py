"""Rules of `robots.txt`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from jobs.raw_server import RawServer, answer

from tui_runner import http
from tui_runner.jobs.http.robots import Robots

pytest.importorskip("protego")

RULES = b"User-agent: tui-runner\nDisallow: /private\nCrawl-delay: 2.5\n\nUser-agent: *\nDisallow: /\n"


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    http.close()


def test_rules_of_the_own_name_hold_and_are_asked_for_once() -> None:
    with RawServer({"/robots.txt": answer(RULES)}) as server:
        robots = Robots("tui-runner/0.1")
        assert robots.allows(f"{server.url}/page")
        assert not robots.allows(f"{server.url}/private/page")
        assert robots.delay(f"{server.url}/page") == 2.5
        assert not Robots("other").allows(f"{server.url}/page")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "allowed"), [("404 Not Found", True), ("403 Forbidden", True), ("503 Down", False), ("500 No", False)]
)
def test_site_without_rules_allows_all_and_one_that_fails_nothing(status: str, allowed: bool) -> None:
    with RawServer({"/robots.txt": answer(RULES, status=status)}) as server:
        assert Robots("x").allows(f"{server.url}/private") is allowed


def test_site_that_cannot_be_reached_is_an_error_of_the_item() -> None:
    with RawServer({"/robots.txt": b""}) as server, pytest.raises(httpx.TransportError):
        Robots("x").allows(f"{server.url}/page")


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbf" + RULES, RULES + b"\xff\0" * 400_000, RULES.replace(b"\n", b"\r\n")],
    ids=["mark", "large", "crlf"],
)
def test_odd_files_are_read(text: bytes) -> None:
    with RawServer({"/robots.txt": answer(text)}) as server:
        assert not Robots("tui-runner").allows(f"{server.url}/private")
