"""Saves bodies as files: they are streamed to a file with a temporary name, which is renamed when it is complete.

An interrupted download leaves the temporary file. If the server names the version of the body (RFC 9110, 8.8), the
version is stored in a second file beside it, and the next attempt requests only the missing bytes (`Range`, `If-Range`,
RFC 9110, 14). If the server has another version by then, or named none, it sends the whole body. Files are requested
without compression, because a range refers to the bytes as sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mimetypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx

from tui_runner.jobs import http
from tui_runner.jobs.current import current
from tui_runner.jobs.http.response import too_large
from tui_runner.system.clock import time

_COPY = 1 << 20
"""Bytes of an incomplete file that are read at once to compute its digest: many, because each call costs time, but
little memory for each of many threads."""
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")
"""Matches an extension that is kept as the extension of the saved file."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
"""Matches a `Content-Range` header: first byte, last byte, and the size of the file or `*` (RFC 9110, 14.4)."""
_WAIT_SECONDS = 0.05
"""Seconds between two attempts to lock a file that another thread is writing. That happens only if two items have the
same URL."""


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A saved body.

    Attributes:
        path: path of the file; None if the status was not 200, or 206 for the missing bytes of a file.
        nbytes: size of the file; size of the response's body if `path` is None.
        sha256: digest of its content, in hexadecimal digits; empty if `path` is None.
        response: the response, with its body only if `path` is None.
    """

    path: Path | None
    nbytes: int
    sha256: str
    response: httpx.Response


def save(url: str, folder: Path, *, headers: dict[str, str], max_bytes: int | None) -> SavedFile:
    """Save the body of `url` to a file in `folder`, named by the hash of the URL.

    Raises:
        httpx.HTTPError: there is no response, or an incomplete or too large one. After an incomplete one, the next
            attempt continues after the bytes that have arrived if the server named the version of the body.
        OSError: the file cannot be written; a `TimeoutError` if another item writes it until this item's deadline.
    """
    name = hashlib.blake2b(url.encode(), digest_size=16).hexdigest()
    place = folder / name[:2]
    place.mkdir(parents=True, exist_ok=True)
    temporary = place / f"{name}.part"
    with _own(temporary) as part:
        saved = _download(url, place, name, part, headers, max_bytes)
        if saved.path is None:
            temporary.unlink()
        return saved


def _download(
    url: str, place: Path, name: str, part: BinaryIO, headers: dict[str, str], max_bytes: int | None
) -> SavedFile:
    version_file = place / f"{name}.part.json"
    known = _version(version_file, url)
    there = part.seek(0, os.SEEK_END) if known else 0
    asked = {**headers, "Accept-Encoding": "identity"}
    if there:
        asked |= {"Range": f"bytes={there}-", "If-Range": known}
    with http.stream("GET", url, headers=asked, max_bytes=None) as response:
        status = response.status_code
        # the bytes so far are not part of the file, or already all of it: request the whole file
        if status == 416 and there:
            _forget(version_file)
            return _download(url, place, name, part, headers, max_bytes)
        if status not in (200, 206) or (status == 206 and not there):
            return SavedFile(None, len(response.read()), "", response)
        begins = _begin_of(response) if status == 206 else 0
        if status == 206 and begins != there:
            raise httpx.RemoteProtocolError(
                f"bytes from {there} on were requested, but the server sent those from {begins} on",
                request=response.request,
            )
        digest = hashlib.sha256()
        part.seek(0)
        for piece in _read(part, begins):
            digest.update(piece)
        part.truncate(begins)
        _remember(version_file, url, response)
        size = begins
        for piece in response.iter_bytes():
            size += len(piece)
            if max_bytes is not None and size > max_bytes:
                _forget(version_file)
                raise too_large(max_bytes, response.request)
            part.write(piece)
            digest.update(piece)
        part.flush()
        # before the rename, because after a power cut a file with its final name must be complete
        os.fsync(part.fileno())
    path = place / f"{name}{_ending(url, response)}"
    (place / f"{name}.part").replace(path)
    _forget(version_file)
    return SavedFile(path, size, digest.hexdigest(), response)


@contextlib.contextmanager
def _own(path: Path) -> Iterator[BinaryIO]:
    """Open and lock a temporary file. Wait while another thread or process has locked it (two items with one URL)."""
    while True:
        part = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)
        with part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if current.deadline is not None and time.monotonic() > current.deadline:
                    raise TimeoutError(f"{path} is written by another item") from None
                time.sleep(_WAIT_SECONDS)
                continue
            try:
                if path.stat().st_ino != os.fstat(part.fileno()).st_ino:
                    continue
            except FileNotFoundError:  # its owner has renamed it
                continue
            yield part
            return


def _read(part: BinaryIO, count: int) -> Iterator[bytes]:
    while count:
        piece = part.read(min(count, _COPY))
        if not piece:
            raise OSError("the temporary file became shorter while it was read")
        count -= len(piece)
        yield piece


def _version(version_file: Path, url: str) -> str:
    """Return the identifier of the version to which the bytes in a temporary file belong; empty if unknown."""
    try:
        known = json.loads(version_file.read_bytes())
    except (OSError, ValueError):  # no such file, or a damaged one
        return ""
    return str(known.get("version", "")) if isinstance(known, dict) and known.get("url") == url else ""


def _remember(version_file: Path, url: str, response: httpx.Response) -> None:
    """Store the version of a body if the server can later send the missing bytes of it."""
    etag = response.headers.get("etag", "")
    # A weak tag does not guarantee that the bytes are the same (RFC 9110, 13.1.5).
    version = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")
    if version and response.headers.get("content-encoding", "identity") == "identity":
        version_file.write_text(json.dumps({"url": url, "version": version}))
    else:
        _forget(version_file)


def _forget(version_file: Path) -> None:
    version_file.unlink(missing_ok=True)


def _begin_of(response: httpx.Response) -> int:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    return int(found[1]) if found else -1


def _ending(url: str, response: httpx.Response) -> str:
    """Return the extension for a file's name: that in the URL's path, otherwise the usual one for its content type."""
    suffix = Path(urlsplit(url).path).suffix
    if _ENDING.fullmatch(suffix):
        return suffix.lower()
    return mimetypes.guess_extension(response.headers.get("content-type", "").partition(";")[0].strip()) or ""
