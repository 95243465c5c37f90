"""Bodies that are saved as files: whole or not at all, and continued where they broke off."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from jobs.raw_server import Answer, RawServer, answer

from tui_runner import http
from tui_runner.jobs.http.files import SavedFile, save
from tui_runner.jobs.http.response import TooLargeError

BODY = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    http.close()


def saved(server: RawServer, folder: Path, path: str = "/a.bin", max_bytes: int | None = None) -> SavedFile:
    return save(server.url + path, folder, headers={}, max_bytes=max_bytes)


def cut(*lines: str, at: int = 60_000) -> bytes:
    return answer(BODY[:at], *lines, length=len(BODY))


def part(start: int, body: bytes = BODY, *, etag: str = '"1"') -> bytes:
    lines = (f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}", f"ETag: {etag}")
    return answer(body[start:], *lines, status="206 Partial Content")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_file_has_the_body_and_no_other_is_left(tmp_path: Path) -> None:
    with RawServer({"/a.bin": answer(BODY)}) as server:
        found = saved(server, tmp_path)
    assert found.path is not None
    assert found.path.read_bytes() == BODY
    assert (found.nbytes, found.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert files(tmp_path) == [found.path.name]
    assert found.path.suffix == ".bin"
    assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize("version", ['ETag: "1"', "Last-Modified: Mon, 30 Nov 2026 10:00:00 GMT"])
def test_download_that_broke_off_is_continued(tmp_path: Path, version: str) -> None:
    with RawServer({"/a.bin": [cut(version), part(60_000)]}) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            saved(server, tmp_path)
        found = saved(server, tmp_path)
    assert found.path is not None
    assert found.path.read_bytes() == BODY
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()
    assert b"Range: bytes=60000-" in server.requests[1]
    assert re.search(rb"If-Range: (.*)\r\n", server.requests[1]).group(1).decode() in version
    assert files(tmp_path) == [found.path.name]


@pytest.mark.parametrize(
    "answers",
    [
        [cut('ETag: W/"1"'), answer(BODY)],
        [cut(), answer(BODY)],
        [cut('ETag: "1"'), answer(BODY)],
        [cut('ETag: "1"'), answer(b"", status="416 Range Not Satisfiable"), answer(BODY)],
    ],
    ids=["weak version", "no version", "another version by now", "the range is refused"],
)
def test_download_begins_anew_where_the_rest_cannot_be_had(tmp_path: Path, answers: list[Answer]) -> None:
    with RawServer({"/a.bin": answers}) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            saved(server, tmp_path)
        found = saved(server, tmp_path)
    assert found.path is not None
    assert found.path.read_bytes() == BODY


def test_another_part_than_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with RawServer({"/a.bin": [cut('ETag: "1"'), part(10)]}) as server:
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                saved(server, tmp_path)


def test_answer_of_no_success_is_no_file(tmp_path: Path) -> None:
    with RawServer({"/a.bin": answer(b"gone", status="404 Not Found")}) as server:
        found = saved(server, tmp_path)
    assert (found.path, found.nbytes, found.response.status_code) == (None, 4, 404)
    assert files(tmp_path) == []


def test_file_is_at_most_as_large_as_it_may_be(tmp_path: Path) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(BODY)

    with RawServer({"/a.bin": endless}) as server, pytest.raises(TooLargeError):
        saved(server, tmp_path, max_bytes=1_000_000)


def test_same_url_at_the_same_time_is_one_file(tmp_path: Path) -> None:
    with RawServer({"/a.bin": answer(BODY)}) as server, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: saved(server, tmp_path), range(6)))
    assert {each.sha256 for each in found} == {hashlib.sha256(BODY).hexdigest()}
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "kind", "ending"),
    [("/x/pic.JPG?a=b", "text/html", ".jpg"), ("/x", "image/png; q=1", ".png"), ("/..%2f..%2fetc/pass;wd.a/b", "", "")],
)
def test_name_of_a_file_is_its_own_whatever_the_address_says(tmp_path: Path, path: str, kind: str, ending: str) -> None:
    with RawServer({path: answer(b"x", f"Content-Type: {kind}")}) as server:
        found = saved(server, tmp_path / "deep", path)
    assert found.path is not None
    assert found.path.suffix == ending
    assert found.path.parent.parent == tmp_path / "deep"
