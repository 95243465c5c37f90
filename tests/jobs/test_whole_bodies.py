"""Compressed bodies of HTTP: whole, or an error that another attempt may mend."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.engine.worker.retry import is_transient
from tui_runner.jobs.http.clients import JobAsyncClient, JobClient
from tui_runner.jobs.http.host_gate import HostGate

TEXT = b"".join(b"<li>%d</li>" % (number * number) for number in range(5_000))


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, content: bytes, size: int) -> None:
        self.pieces = [content[start : start + size] for start in range(0, len(content), size)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def fetched(content: bytes, encoding: str = "gzip", size: int = 1_000, method: str = "GET") -> bytes:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=Body(content, size))

    with JobClient(HostGate(None), lambda: None, transport=httpx.MockTransport(answer)) as client:
        return client.request(method, "http://x/").content


def without_wrapping(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT)), ("deflate", without_wrapping(TEXT))],
    ids=["gzip", "deflate", "deflate alone"],
)
@settings(max_examples=30)
@given(part=st.floats(0, 1, exclude_max=True), size=st.integers(1, 5_000))
def test_body_is_whole_or_an_error_that_may_be_retried(encoding: str, content: bytes, part: float, size: int) -> None:
    assert fetched(content, encoding, size) == TEXT
    cut = content[: max(1, int(part * len(content)))]
    with pytest.raises(httpx.RemoteProtocolError, match="breaks off") as caught:
        fetched(cut, encoding, size)
    assert is_transient(caught.value)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_body_of_several_members_is_decoded_whole(size: int) -> None:
    members = gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:])
    assert fetched(members, size=size) == TEXT
    assert fetched(members + b"\0" * 20, size=size) == TEXT, "padding behind it is none"


def test_no_body_is_none() -> None:
    assert fetched(b"", method="HEAD") == b""


def test_garbage_is_no_body() -> None:
    with pytest.raises(httpx.DecodingError):
        fetched(b"<html>not compressed</html>")


async def test_a_body_that_is_awaited_is_checked_too() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Body(gzip.compress(TEXT)[:-9], 100))

    async with JobAsyncClient(HostGate(None), lambda: None, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="breaks off"):
            await client.get("http://x/")
