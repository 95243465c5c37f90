"""`tui-runner crawl`, and jobs whose items add items, as commands, against servers on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jobs.raw_server import RawServer, answer
from support.command_line import CommandLine

Rows = Callable[..., list[tuple[Any, ...]]]

INLINE = {"TUI_RUNNER_BACKEND": "inline"}
QUICK = ("--quiet", "--retries", "0", "--on-outage", "continue")


def site(**pages: str) -> dict[str, Any]:
    found: dict[str, Any] = {"/robots.txt": answer(b"", status="404 Not Found")}
    for name, text in pages.items():
        path = "/" if name == "start" else f"/{name}"
        found[path] = answer(text.encode(), "Content-Type: text/html")
    return found


def crawled(cli: CommandLine, folder: Path, server: RawServer, *options: object) -> int:
    return cli("crawl", server.url, *QUICK, *options, cwd=folder, environ=INLINE).code


def test_pages_are_found_by_their_links_each_once(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    pytest.importorskip("w3lib")
    pages = site(
        start='<a href="a#x"><a href="/b?y=2&x=1"><a href="http://other.test/">',
        a='<a href="/"><a href="a"><a href="old">',
        c="no links",
    )
    pages["/b?x=1&y=2"] = answer(b'<a href="/b?x=1&amp;y=2"><a href="gone">', "Content-Type: text/html")
    pages["/gone"] = answer(b"", status="404 Not Found")
    pages["/old"] = answer(b"", "Location: /c", status="301 Moved")
    with RawServer(pages) as server:
        assert crawled(cli, tmp_path, server) == 0
    found = rows("SELECT url, status FROM pages ORDER BY url", tmp_path / "crawl.duckdb")
    paths = {url.removeprefix(server.url): status for url, status in found}
    assert paths == {"/": 200, "/a": 200, "/b?x=1&y=2": 200, "/old": 301, "/c": 200, "/gone": 404}
    assert len(found) == len(paths)
    assert not (tmp_path / "crawl.duckdb.log").exists()  # no bound was reached
    asked = [request.split()[1] for request in server.requests]
    assert len(asked) == len(set(asked))
    depths = rows("SELECT value, depth FROM runner.added ORDER BY item", tmp_path / "crawl.duckdb")
    assert [depth for _, depth in depths] == sorted(depth for _, depth in depths)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--depth", "1"), {"/", "/a", "/x"}),
        (("--per-site", "3"), {"/", "/a", "/x"}),
        (("--include", "/[abx]$", "--exclude", "/x$"), {"/", "/a", "/b"}),
    ],
)
def test_crawl_stays_within_its_bounds(
    cli: CommandLine, tmp_path: Path, rows: Rows, options: tuple[str, ...], expected: set[str]
) -> None:
    pytest.importorskip("w3lib")
    with RawServer(site(start='<a href="a"><a href="x">', a='<a href="b">', b="end", x="end")) as server:
        assert crawled(cli, tmp_path, server, *options) == 0
    found = rows("SELECT url FROM pages", tmp_path / "crawl.duckdb")
    assert {url.removeprefix(server.url) for (url,) in found} == expected


def test_guards_bound_sites_and_prefixes_and_say_so(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    pytest.importorskip("w3lib")
    pages = site(start="".join(f'<a href="/calendar/{n}"><a href="/calendar?d={n}"><a href="/p{n}">' for n in range(6)))
    for name in [f"/calendar/{n}" for n in range(6)] + [f"/calendar?d={n}" for n in range(6)]:
        pages[name] = answer(b"", "Content-Type: text/html")
    pages |= site(**{f"p{n}": "" for n in range(6)})
    with RawServer(pages) as server:
        assert crawled(cli, tmp_path, server, "--per-prefix", "4") == 0
    found = [url.removeprefix(server.url) for (url,) in rows("SELECT url FROM pages", tmp_path / "crawl.duckdb")]
    assert sum(path.startswith("/calendar") for path in found) == 4
    assert sum(path.startswith("/p") for path in found) == 6
    assert rows("SELECT max(item) + 1 = count(*) FROM runner.added", tmp_path / "crawl.duckdb") == [(True,)]
    log = (tmp_path / "crawl.duckdb.log").read_text()
    assert f"{server.url}/calendar has reached its limit of 4 pages" in log
    assert log.count("has reached its limit") == 1


def test_limit_that_is_reached_is_said(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("w3lib")
    with RawServer(site(start='<a href="a"><a href="x">', a="", x="")) as server:
        assert crawled(cli, tmp_path, server, "--limit", "2") == 0
        assert "reached its limit of 2 items" in (tmp_path / "crawl.duckdb.log").read_text()


@pytest.mark.slow
def test_delay_of_robots_is_kept_over_all_workers(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("w3lib")
    pages = site(start="".join(f'<a href="p{n}">' for n in range(6)), **{f"p{n}": "" for n in range(6)})
    times: list[float] = []

    def timed(body: Any) -> Any:
        def send(connection: Any) -> None:
            times.append(time.monotonic())
            connection.sendall(body)

        return send

    pages = {path: timed(body) for path, body in pages.items()}
    pages["/robots.txt"] = answer(b"User-agent: *\nCrawl-delay: 0.3")
    with RawServer(pages) as server:
        assert cli("crawl", server.url, *QUICK, "--workers", "2", cwd=tmp_path).code == 0
    assert len(times) == 7
    # What is between two requests when they arrive may be less by what their way takes.
    assert min(b - a for a, b in pairwise(sorted(times)[1:])) > 0.2


def test_added_item_with_a_secret_is_left_out_and_said(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "walk.py").write_text(
        "from tui_runner import Secret, current, job\n"
        "@job(frontier=True)\n"
        "def walk(n: str, *, key: Secret = Secret('hunter2-hunter2')):\n"
        "    if n == 'a':\n"
        "        current.add('b', 'c?' + key.value if hasattr(key, 'value') else 'c?hunter2-hunter2')\n"
        "    return {'n': n}\n"
    )
    (tmp_path / "start.txt").write_text("a\n")
    result = cli("run", "walk.py", "--input", "start.txt", "--quiet", cwd=tmp_path, environ=INLINE)
    assert result.code == 0, result.err
    assert sorted(rows("SELECT n FROM walk", tmp_path / "walk.duckdb")) == [("a",), ("b",)]
    log = (tmp_path / "walk.duckdb.log").read_text()
    assert "1 added item left out" in log
    assert "hunter2" not in log


def test_disallowed_pages_are_left_out(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    pytest.importorskip("w3lib")
    pages = site(start='<a href="a"><a href="b">', a="", b="")
    pages["/robots.txt"] = answer(b"User-agent: *\nDisallow: /a")
    with RawServer(pages) as server:
        assert crawled(cli, tmp_path, server) == 0
        assert crawled(cli, tmp_path, server, "--no-robots", "--db", "all.duckdb") == 0
    assert len(rows("SELECT url FROM pages", tmp_path / "crawl.duckdb")) == 2
    assert len(rows("SELECT url FROM pages", tmp_path / "all.duckdb")) == 3


def test_attempt_that_fails_adds_nothing(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "tree.py").write_text(
        "from tui_runner import current, job\n"
        "@job(frontier=True, retries=0, on_outage='continue')\n"
        "def tree(n: int):\n"
        "    if n < 40:\n"
        "        current.add(2 * n, 2 * n + 1)\n"
        "    if n % 10 == 7:\n"
        "        raise ValueError('no')\n"
        "    return {'n': n}\n"
    )
    (tmp_path / "start.txt").write_text("1\n1\n")
    assert cli("run", "tree.py", "--input", "start.txt", "--quiet", cwd=tmp_path, environ=INLINE).code == 1
    expected, waiting = set(), [1]
    while waiting:
        number = waiting.pop()
        if number % 10 != 7:
            expected.add(number)
            waiting += [2 * number, 2 * number + 1] if number < 40 else []
    found = [n for (n,) in rows("SELECT n FROM tree", tmp_path / "tree.duckdb")]
    assert sorted(found) == sorted(expected)


def test_adding_needs_a_job_with_a_frontier(cli: CommandLine, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "plain.py").write_text("from tui_runner import current\ndef plain(n):\n    current.add(n + 1)\n")
    assert cli("run", "plain.py:plain", "--input", "range:0:1", *QUICK, cwd=tmp_path, environ=INLINE).code == 1
    assert "frontier=True" in rows("SELECT message FROM runner.errors", tmp_path / "plain.duckdb")[0][0]
