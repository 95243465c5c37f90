"""`tui-runner fetch` as a command, against servers on loopback."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jobs.raw_server import RawServer, answer, body_without_end, bomb, headers_without_end
from support.command_line import CommandLine

from tui_runner.store.database import Database

Rows = Callable[..., list[tuple[Any, ...]]]

PAGE = answer("<title> A &amp; b\n</title>é".encode(), "Content-Type: text/html; charset=utf-8", "X-A: 1", "X-A: 2")
INLINE = {"TUI_RUNNER_BACKEND": "inline"}
QUICK = ("--quiet", "--retries", "0", "--on-outage", "continue")
ROBOTS = importlib.util.find_spec("protego") is not None


@dataclass(frozen=True)
class Fetched:
    """A run that is over."""

    folder: Path
    server: RawServer
    rows: Callable[[str], list[tuple[Any, ...]]]

    def status(self, path: str) -> list[int]:
        """Return the statuses of the rows of a page."""
        return [status for url, status in self.rows("SELECT url, status FROM pages") if url.endswith(path)]

    def message(self, path: str) -> str:
        """Return the last error of a page."""
        errors = self.rows("SELECT item_text, message FROM runner.errors WHERE final")
        return next(message for text, message in errors if text.endswith(path))


def fetch(cli: CommandLine, folder: Path, urls: list[str], *options: object) -> int:
    (folder / "urls.txt").write_text("\n".join(urls))
    return cli("fetch", "urls.txt", *QUICK, *options, cwd=folder, environ=INLINE).code


@pytest.fixture(scope="module")
def fetched(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    """One run over answers of many kinds; each test looks at some of its rows."""
    folder = tmp_path_factory.mktemp("fetched")
    busy = answer(b"", "Retry-After: 0", status="503 Busy")
    answers: dict[str, Any] = {
        "/robots.txt": answer(b"User-agent: *\nDisallow: /private"),
        "/page": PAGE,
        "/old": answer(b"", "Location: /page", status="302 Found"),
        "/gone": answer(b"gone", "Content-Type: text/plain", status="404 Not Found"),
        "/x.png": answer(b"\x89PNG", "Content-Type: image/png"),
        "/later": [busy, PAGE],
        "/never": busy,
        "/same": answer(b"", status="304 Not Modified"),
        "/large": answer(b"x" * 5_000),
        "/private": PAGE,
    }
    options = ["--header", "X-Token: t", "--user-agent", "me", "--max-bytes", "1kB", "--retries", "1"]
    if ROBOTS:
        options.append("--robots")
    with RawServer(answers) as server:
        urls = [server.url + path for path in answers if path != "/robots.txt"]
        bare = [f"127.0.0.1:9/{name}" for name in "ab"]
        assert fetch(cli, folder, urls + bare, *options) == 1
    database = Database.open(folder / "fetch.duckdb", create=False)
    try:
        yield Fetched(folder, server, lambda sql: database.cursor().sql(sql).fetchall())
    finally:
        database.close()


def test_answer_is_a_row(fetched: Fetched) -> None:
    found = fetched.rows(
        "SELECT url, final_url, status, bytes, content_type, charset, title, text, headers, redirects"
        " FROM pages ORDER BY _item"
    )
    urls = [fetched.server.url + path for path in ("/page", "/old", "/gone", "/x.png")]
    text = "<title> A &amp; b\n</title>é"
    html = "text/html; charset=utf-8"
    assert found[0][:8] == (urls[0], urls[0], 200, 28, html, "utf-8", "A & b", text)
    assert json.loads(found[0][8])["x-a"] == "1, 2"
    assert json.loads(found[0][9]) == []
    assert found[1][1:3] == (urls[0], 200)
    assert json.loads(found[1][9]) == [urls[1]]
    assert found[2][2:8] == (404, 4, "text/plain", "utf-8", None, "gone")
    assert found[3][2:8] == (200, 4, "image/png", None, None, None)
    pages = [request for request in fetched.server.requests if b"/robots.txt" not in request]
    assert all(b"X-Token: t" in request and b"User-Agent: me" in request for request in pages)


def test_answer_that_may_change_is_tried_again_and_then_fails(fetched: Fetched) -> None:
    asked = Counter(request.split()[1] for request in fetched.server.requests)
    assert asked[b"/later"] == 2
    assert fetched.status("/later") == [200]
    assert asked[b"/never"] >= 2
    assert fetched.status("/never") == []
    assert "503" in fetched.message("/never")


def test_unasked_304_is_an_error_of_the_item(fetched: Fetched) -> None:
    assert fetched.status("/same") == []
    assert "304 (not modified)" in fetched.message("/same")


def test_body_that_is_too_large_fails_its_item_alone(fetched: Fetched) -> None:
    assert fetched.status("/large") == []
    assert "larger than 1.0 kB" in fetched.message("/large")


@pytest.mark.skipif(not ROBOTS, reason="protego is not installed")
def test_robots_are_asked_where_that_is_wanted(fetched: Fetched) -> None:
    assert fetched.status("/private") == []
    assert "robots.txt" in fetched.message("/private")


def test_line_without_a_scheme_is_https_and_said_once(fetched: Fetched) -> None:
    assert "Connection refused" in fetched.message("127.0.0.1:9/a")
    assert (fetched.folder / "fetch.duckdb.log").read_text().count("https:// is taken") == 1


@pytest.mark.parametrize("text", ["17", "two words"])
def test_text_that_is_no_url_fails_its_item_without_a_request(
    cli: CommandLine, tmp_path: Path, rows: Rows, text: str
) -> None:
    assert fetch(cli, tmp_path, [text]) == 1
    [(type, message)] = rows("SELECT type, message FROM runner.errors WHERE final", tmp_path / "fetch.duckdb")
    assert (type, message) == ("ItemError", f"'{text}' is not a URL; write https://…")


@pytest.mark.parametrize(("keep", "columns"), [("none", set()), ("body", {"body"})])
def test_fetch_keeps_the_parts_of_a_page_that_are_chosen(
    cli: CommandLine, tmp_path: Path, rows: Rows, keep: str, columns: set[str]
) -> None:
    with RawServer({"/": PAGE}) as server:
        assert fetch(cli, tmp_path, [f"{server.url}/"], "--keep", keep) == 0
    names = rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'pages'", tmp_path / "fetch.duckdb"
    )
    assert {"text", "body"}.intersection(name for (name,) in names) == columns


def test_files_are_saved_in_a_folder(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    with RawServer({"/a.jpg": answer(b"picture"), "/gone": answer(b"", status="404 Not Found")}) as server:
        assert fetch(cli, tmp_path, [f"{server.url}/a.jpg", f"{server.url}/gone"], "-d", "files") == 0
    found = rows("SELECT file, bytes, sha256, status FROM pages ORDER BY _item", tmp_path / "fetch.duckdb")
    assert Path(found[0][0]).read_bytes() == b"picture"
    assert Path(found[0][0]).is_relative_to(tmp_path / "files")
    assert found[0][1] == 7
    assert found[0][2] == hashlib.sha256(b"picture").hexdigest()
    assert found[1] == (None, 0, None, 404)


def test_column_of_a_table_has_the_addresses(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    with RawServer({"/": PAGE}) as server:
        (tmp_path / "shop.csv").write_text(f'id,"the link"\n1,{server.url}/\n')
        result = cli("fetch", "shop.csv", "--url-column", "the link", *QUICK, cwd=tmp_path, environ=INLINE)
        assert (result.code, result.err) == (0, "")
    assert rows("SELECT status FROM pages", tmp_path / "fetch.duckdb") == [(200,)]


@pytest.mark.slow
def test_resume_and_retry_need_no_question(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    with RawServer({"/": [answer(b"", status="500 No"), PAGE]}) as server:
        assert fetch(cli, tmp_path, [f"{server.url}/"]) == 1
        result = cli("retry", "fetch.duckdb", "--quiet", cwd=tmp_path)
    assert result.code == 0, result.err
    assert rows("SELECT status FROM pages", tmp_path / "fetch.duckdb") == [(200,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep", "file"), "-d DIR"),
        (("-d", "x", "--keep", "text"), "leave one of them out"),
        (("--keep", "all"), "all"),
        (("--max-bytes", "x"), "tui-runner: --max-bytes: 'x' is not a size; write 64MB, for example, or none\n"),
        (("--header", "foo"), "tui-runner: --header: 'foo' is not a header; write it as 'Name: value'\n"),
        (("-d", "urls.txt"), "tui-runner: -d urls.txt: is a file; name a folder\n"),
        (("-d", "urls.txt/x"), "tui-runner: -d urls.txt: is a file; name a folder\n"),
        (("-d", "x" * 300), "can't be used (file name too long); name another folder\n"),
    ],
)
def test_mistakes_are_said_in_one_line_before_the_run(
    cli: CommandLine, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:9/\n")
    result = cli("fetch", "urls.txt", "--quiet", *options, cwd=tmp_path, environ=INLINE)
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "fetch.duckdb").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "good.csv: no column url; its columns are n, name; name one with --url-column"),
        (("--url-column", "link"), "good.csv: no column link; its columns are n, name"),
    ],
)
def test_fetch_without_the_column_of_urls_names_the_columns(
    cli: CommandLine, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "good.csv").write_text("n,name\n1,a\n2,b\n")
    result = cli("fetch", "good.csv", *options, cwd=tmp_path, environ=INLINE)
    assert (result.code, result.err) == (2, f"tui-runner: {message}\n")
    assert not (tmp_path / "fetch.duckdb").exists()


def test_page_that_has_not_changed_is_not_sent_again(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    same, modified = 'ETag: "1"', "Last-Modified: Mon, 30 Nov 2026 10:00:00 GMT"
    not_modified = answer(b"", same, status="304 Not Modified")
    pages = {"/a": [answer(b"old", same), not_modified], "/b": [answer(b"old", modified), answer(b"new", modified)]}
    with RawServer(pages) as server:
        for run in range(2):
            assert fetch(cli, tmp_path, [f"{server.url}/a", f"{server.url}/b"], "--if-changed", "--new") == 0, run
    assert b'If-None-Match: "1"' in server.requests[2] + server.requests[3]
    assert b"If-Modified-Since: Mon, 30 Nov 2026 10:00:00 GMT" in server.requests[2] + server.requests[3]
    sql = "SELECT _run, status, text FROM pages ORDER BY _run, _item"
    found = rows(sql, tmp_path / "fetch.duckdb")
    assert found == [(1, 200, "old"), (1, 200, "old"), (2, 304, None), (2, 200, "new")]
    assert rows("SELECT count(*), count(DISTINCT url) FROM runner.http_cache", tmp_path / "fetch.duckdb") == [(2, 2)]


HOSTILE: dict[str, tuple[Any, str]] = {
    "/bomb": (bomb, "TooLargeError: the body is larger than 1.0 MB"),
    "/body": (body_without_end, "TooLargeError: the body is larger than 1.0 MB"),
    "/headers": (headers_without_end, "RemoteProtocolError: headers of more than 256 KiB"),
    "/short": (answer(b"half", length=8), "RemoteProtocolError: the response breaks off"),
    "/lengths": (answer(b"ok", "Content-Length: 3"), "RemoteProtocolError: "),
    "/soup": (answer(b"soup", "Content-Encoding: gzip"), "DecodingError: the body is not what its encoding says"),
    "/circle": (answer(b"", "Location: /circle", status="302 Found"), "TooManyRedirects: "),
    "/file": (answer(b"", "Location: file:///etc/passwd", status="302 Found"), "UnsupportedProtocol: "),
    "/gopher": (
        answer(b"", "Location: gopher://x/", status="302 Found"),
        "UnsupportedProtocol: the URL begins with gopher://; only http:// and https:// work",
    ),
    "/same": (answer(b"", status="304 Not Modified"), "ItemError: the server answered 304"),
}
"""Hostile answers of a server, and the error of the item."""
READ_OVER: dict[str, tuple[bytes, str]] = {
    "/line": (answer(b"ok", "no colon", ": no name", "a space: 1"), "ok"),
    "/charset": (answer(b"caf\xe9", "Content-Type: text/html; charset=klingon"), "caf\xe9"),
    "/wrong": (answer(b"caf\xe9", "Content-Type: text/html; charset=utf-8"), "caf\ufffd"),
    "/cookies": (answer(b"ok", *[f"Set-Cookie: c{n}={'x' * 100}" for n in range(1_500)]), "ok"),
}
"""Unusual answers that can be read, and their text."""


def test_hostile_answer_is_an_error_of_its_item_or_the_right_text(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    answers = {path: sent for path, (sent, _) in (HOSTILE | READ_OVER).items()}
    with RawServer(answers) as server:
        (tmp_path / "urls.txt").write_text("\n".join(server.url + path for path in answers))
        options = (*QUICK, "--max-bytes", "1MB", "--timeout", "100", "--workers", "1")
        assert cli("fetch", "urls.txt", *options, cwd=tmp_path).code == 1
        database = tmp_path / "fetch.duckdb"
        texts = dict(rows("SELECT url, text FROM pages", database))
        assert texts == {server.url + path: text for path, (_, text) in READ_OVER.items()}
        errors = rows("SELECT item_text, type || ': ' || message FROM runner.errors WHERE final", database)
        found = {text.removeprefix(server.url): message for text, message in errors}
    assert found.keys() == HOSTILE.keys()
    assert {path: found[path] for path, (_, said) in HOSTILE.items() if not found[path].startswith(said)} == {}
    assert rows("SELECT max(workers_rss) < 300_000_000 FROM runner.samples", database) == [(True,)]
