"""Decoding of bodies: bounded, whole, and the same however they arrive."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.jobs.http.content import BodyError, BrokenOffError, Content

brotli = pytest.importorskip("brotli")
zstandard = pytest.importorskip("zstandard")

TEXT = "".join(f"<li>{random.Random(number).random()}</li>" for number in range(3_000)).encode()
PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda text: brotli.compress(text, quality=4),
    "zstd": zstandard.compress,
}


def unpacked(names: list[str], body: bytes, size: int = 1_000) -> bytes:
    content = Content(names)
    parts = []
    for start in range(0, len(body), size):
        parts.extend(content.decode(body[start : start + size]))
    content.check_end()
    return b"".join(parts)


@pytest.mark.parametrize("name", PACK)
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 9_000), part=st.floats(0.01, 0.99))
def test_body_is_the_same_however_it_arrives_and_an_error_when_it_breaks_off(name: str, size: int, part: float) -> None:
    packed = PACK[name](TEXT)
    assert unpacked([name], packed, size) == TEXT
    with pytest.raises(BrokenOffError):
        unpacked([name], packed[: max(1, int(len(packed) * part))], size)


@pytest.mark.parametrize("name", PACK)
def test_bomb_comes_in_small_pieces(name: str) -> None:
    bomb = PACK[name](b"\0" * 20_000_000)
    content = Content([name])
    tracemalloc.start()
    read = largest = 0
    for piece in content.decode(bomb):
        read += len(piece)
        largest = max(largest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == 20_000_000
    assert largest <= 2_200_000 if name == "zstd" else largest <= 600_000
    assert peak < 10_000_000


def test_encodings_within_one_another_are_taken_off_in_turn() -> None:
    assert unpacked(["gzip", "br"], brotli.compress(gzip.compress(TEXT))) == TEXT
    with pytest.raises(BodyError, match="6 times"):
        Content(["gzip"] * 6)


@pytest.mark.parametrize("name", PACK)
def test_body_in_another_encoding_than_said_is_an_error(name: str) -> None:
    with pytest.raises(BodyError):
        unpacked([name], b"<html>plain</html>" * 100)


@pytest.mark.parametrize("names", [[], ["identity"], [""], ["UTF-8"], ["none"]])
def test_no_encoding_leaves_the_body_alone(names: list[str]) -> None:
    assert unpacked(names, b"plain") == b"plain"


@pytest.mark.parametrize("name", ["compress", "exotic", "dcb"])
def test_unknown_encoding_is_named(name: str) -> None:
    with pytest.raises(BodyError, match=name):
        Content([name])


def test_frames_of_zstd_follow_one_another() -> None:
    assert unpacked(["zstd"], zstandard.compress(TEXT) + zstandard.compress(b"end"), 777) == TEXT + b"end"


def test_window_of_zstd_beyond_what_http_allows_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(BodyError, match="encoding says"):
        unpacked(["zstd"], compressor.compress(TEXT * 200) + compressor.flush())
