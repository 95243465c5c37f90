"""A crawl that is killed again and again: every page once, and the pages that `wget --mirror` finds."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest

# `PAGES=5000 KILLS=20` is the whole, which takes minutes.
PAGES = int(os.environ.get("PAGES", "500"))
KILLS = int(os.environ.get("KILLS", "8"))


class Site(ThreadingHTTPServer):
    """Pages in circles, with redirects, slow, refusing and failing pages, a calendar without end, a disallowed part."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed is what this is about."""


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, body: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
            times = self.server.asked[self.path]
        if self.path == "/robots.txt":
            return self.answer("User-agent: *\nDisallow: /private\n", Content_Type="text/plain")
        if self.path.startswith("/moved/"):
            return self.answer("", 302, Location=f"/page/{self.path[7:]}")
        if self.path.startswith("/private/"):
            return self.answer("not for robots")
        if self.path.startswith("/calendar/"):
            return self.answer(f'<a href="/calendar/{int(self.path[10:]) + 1}">next month</a>')
        number = 0 if self.path == "/" else int(self.path.removeprefix("/page/"))
        if number % 97 == 5 and times == 1:
            return self.answer("", 503)
        if is_broken(number):
            return self.answer("", 500)
        if number % 101 == 9:
            time.sleep(0.3)
        targets = [number * 3 + 1, number * 3 + 2, number + 1, number * 7, number]
        links = "".join(f'<a href="/page/{target % PAGES}#top">.</a>' for target in targets)
        more = f'<a href="/moved/{number * 5 % PAGES}">.</a><a href="/private/{number}">.</a><a href="http://x.test/">.</a>'
        more += '<a href="/calendar/1">.</a>'
        return self.answer(f"<html><title>{number}</title>{links}{more}</html>")


def is_broken(number: int) -> bool:
    return number % 251 == 7


@contextmanager
def serving() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield site
        site.shutdown()
        thread.join()


def crawl(folder: Path, site: Site) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tui_runner",
        "crawl",
        f"{site.url}/",
        "--quiet",
        "--per-host",
        "none",
        "--workers",
        "2",
    ]
    return subprocess.Popen(command, cwd=folder, start_new_session=True)


@pytest.mark.slow
@pytest.mark.timeout(300 + PAGES / 2)
def test_every_page_is_recorded_once_however_often_it_is_killed(tmp_path: Path) -> None:
    dice = random.Random(5)
    with serving() as site:
        kills = 0
        while True:
            run = crawl(tmp_path, site)
            if kills == KILLS:
                assert run.wait(100 + PAGES / 10) == 1  # some pages fail
                break
            # By pages, not by time: a busy machine would be killed before it has asked for one.
            goal = site.asked.total() + dice.randint(1, 2 * PAGES // KILLS)
            while run.poll() is None and site.asked.total() < goal:
                time.sleep(0.01)
            if run.poll() is not None:
                assert run.returncode == 1
                break
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
        found = mirrored(tmp_path / "mirror", site)
    assert kills >= 2
    with duckdb.connect(str(tmp_path / "crawl.duckdb")) as database:
        pages = database.execute("SELECT url, status, redirects FROM pages").fetchall()
        left = database.execute("SELECT count(*) FROM runner.added ANTI JOIN runner.items USING (item)").fetchall()
        failed = database.execute("SELECT text FROM runner.items WHERE state = 'failed'").fetchall()
    paths = Counter(urlsplit(url).path for url, _, _ in pages)
    assert max(paths.values()) == 1
    assert {path for path in paths if path.startswith("/page/") or path == "/"} == found
    assert 1 <= sum(path.startswith("/calendar/") for path in paths) <= 20, "as deep as a crawl goes"
    assert left == [(0,)]
    assert len(failed) == sum(map(is_broken, range(PAGES)))
    assert all(json.loads(redirects) for _, status, redirects in pages if status == 302)
    assert not any(path.startswith("/private/") for path in paths)


def mirrored(folder: Path, site: Site) -> set[str]:
    """Return the paths of the pages that wget finds, or without it those that lead from one to the other."""
    if shutil.which("wget"):
        folder.mkdir()
        subprocess.run(
            ["wget", "--quiet", "--mirror", "--no-parent", "--exclude-directories=/calendar", f"{site.url}/"],
            cwd=folder,
            timeout=100 + PAGES / 10,
            check=False,
        )
        names = {"/" + "/".join(path.relative_to(folder).parts[1:]) for path in folder.rglob("*") if path.is_file()}
        # It saves a page that it was redirected to by the name that it asked for first.
        pages = {name.replace("/moved/", "/page/") for name in names if name != "/robots.txt"}
        return {"/" if name == "/index.html" else name for name in pages}
    return {"/", *(f"/page/{number}" for number in range(PAGES) if not is_broken(number))}
