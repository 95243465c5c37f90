"""Compressed inputs: told by their content, read to their end or refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from support.input_files import read, refusal

from tui_runner.errors import UserError
from tui_runner.inputs import open_source
from tui_runner.inputs.compressed_files import PipedFile
from tui_runner.text.items import Refused


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
CONTENTS = {
    ".txt": (b"\xef\xbb\xbfone\r\n\ntwo\n", ["one", "two"]),
    ".jsonl": (b'{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n', [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    ".json": (b'[{"a": 1, "b": "x"},\n{"a": 2, "b": null}]', [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    ".csv": (b"a,b\n1,x\n2,\n", [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    ".tsv": (b"a\tb\n1,5\tx\n2\t\n", [{"a": "1,5", "b": "x"}, {"a": "2", "b": None}]),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("ending", CONTENTS)
def test_compressed_file_gives_the_items_that_it_stands_for(folder: Path, ending: str, compression: str) -> None:
    content, items = CONTENTS[ending]
    packed = COMPRESSIONS[compression](content)
    Path(f"a{ending}{compression}").write_bytes(packed)
    Path(f"named_plain{ending}").write_bytes(packed)
    Path(f"named_packed{ending}{compression}").write_bytes(content)
    for name in (f"a{ending}{compression}", f"named_plain{ending}", f"named_packed{ending}{compression}"):
        assert read(name) == items
    assert read(f"*{ending}*") == items * 3


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("ending", [".txt", ".csv", ".jsonl", ".json"])
def test_file_that_breaks_off_is_refused_and_its_last_row_is_none(folder: Path, ending: str, compression: str) -> None:
    rows = [f"{number * 7919 % 1000003}" for number in range(30_000)]
    packed = COMPRESSIONS[compression]("\n".join(["n", *rows] if ending == ".csv" else rows).encode())
    name = f"a{ending}{compression}"
    Path(name).write_bytes(packed[: len(packed) * 2 // 3])
    found: list[object] = []
    with pytest.raises(UserError, match=f"{name}: the input can't be read"):
        found.extend(open_source(name))
    expected = [int(row) if ending != ".txt" else row for row in rows]
    assert found == expected[: len(found)]


def test_files_of_several_members_are_read_whole(folder: Path) -> None:
    for compression, compress in COMPRESSIONS.items():
        Path(f"a.txt{compression}").write_bytes(compress(b"one\nt") + compress(b"wo\n"))
        assert read(f"a.txt{compression}") == ["one", "two"]


def test_bomb_is_an_item_that_fails_and_takes_no_memory(folder: Path) -> None:
    with gzip.open("a.txt", "wb", compresslevel=1) as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        items = list(open_source("a.txt", max_bytes=2_000_000))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert (items[0], items[2]) == ("first", "last")
    bomb = items[1]
    assert isinstance(bomb, Refused)
    assert bomb.message == f"{folder / 'a.txt'}:2: the item is larger than 2.0 MB; raise max_input_bytes to have it run"


def test_a_pipe_that_is_not_read_can_be_closed(folder: Path) -> None:
    Path("a.csv").write_bytes(b"x" * 10_000_000)
    piped = PipedFile(Path("a.csv"))
    piped.close()
    assert not piped.path.exists()


def test_an_unknown_extension_lists_the_known_ones(folder: Path) -> None:
    Path("a.xlsx").write_bytes(b"PK")
    said = refusal("a.xlsx")
    assert all(ending in said for ending in (".csv", ".parquet", ".jsonl", ".txt", ".gz", ".zst", ".bz2", ".xz"))


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_streams_one_after_the_other_are_read_whole(folder: Path, compress: Callable[[bytes], bytes]) -> None:
    padding = b"\0" * 4 if compress is lzma.compress else b""
    parts = [compress("".join(f"{first + n}\n" for n in range(100_000)).encode()) for first in (0, 100_000, 200_000)]
    Path("a.txt").write_bytes(padding.join(parts) + padding)
    assert list(open_source("a.txt")) == [str(n) for n in range(300_000)]


@pytest.mark.parametrize("ending", [".txt", ".csv", ".jsonl", ".json"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_garbage_behind_a_stream_is_an_error_with_advice(
    folder: Path, compress: Callable[[bytes], bytes], ending: str
) -> None:
    Path(f"a{ending}").write_bytes(compress(b"1\n2\n") + b"no stream")
    said = refusal(f"a{ending}")
    assert said.startswith(f"{folder}/a{ending}: the input can't be read: ")
    assert said.endswith("; get the whole file again, or unpack it yourself and name the result")
    if compress is gzip.compress:
        assert "its compressed data is followed by something that is not gzip" in said


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_lines_before_a_cut_come_before_its_error(folder: Path, compress: Callable[[bytes], bytes]) -> None:
    lines = [f"{n * 7919 % 1_000_003}" for n in range(200_000)]
    Path("a.txt").write_bytes(compress("\n".join(lines).encode())[:-2_000])
    items: list[object] = []
    with pytest.raises(UserError, match="can't be read"):
        for item in open_source("a.txt"):
            items.append(item)  # noqa: PERF402 - those before the error are wanted
    assert items == lines[: len(items)] and len(items) > 50_000
