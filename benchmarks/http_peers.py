"""Measures pages per second: tui-runner and other tools, for the same list of URLs and one server on loopback.

    python benchmarks/http_peers.py [--pages 6000] [--latency 0.05] [--only fetch,httpx] [--kill]

Each contender is a separate command. It fetches every URL of a file with 16 threads (or tasks) of one process and
stores URL, status and text: tui-runner in DuckDB, the others in a file of JSON lines, by their own export or by a few
lines of code. Contenders that are not installed are left out (`pip install 'tui-runner[peers-http]'`). Each first
fetches only `SHORT` pages; this time is its start-up. Its rate is the number of the other pages divided by the time
that a whole fetch takes longer. With `--kill`, each is killed after half of its time and started again; lost and
repeated pages are counted. Compare only figures of the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psutil

PAGE = (b"<html><head><title>Page</title></head><body>" + b"<p>text of a page</p>" * 1_300)[:27_000]
THREADS = 16
"""The default of tui-runner, and the concurrency that all peers get."""
SHORT = 100
"""Pages of the short list. Its time is mostly that of the start and end of a command, and is subtracted."""

SERVER = """
import asyncio, sys
page, latency = open(sys.argv[1], "rb").read(), float(sys.argv[2])
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html; charset=utf-8\\r\\nContent-Length: %d\\r\\n\\r\\n"
answer = head % len(page) + page

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received = transport, b""
    def data_received(self, data):
        self.received += data
        while b"\\r\\n\\r\\n" in self.received:
            self.received = self.received.partition(b"\\r\\n\\r\\n")[2]
            asyncio.get_running_loop().call_later(latency, self.transport.write, answer)

async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

POOL = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import {library}
session = {session}
def fetch(url):
    answer = session.get(url)
    return {{"url": url, "status": answer.status_code, "text": answer.text}}
with ThreadPoolExecutor({threads}) as pool, open("out.jsonl", "a") as out:
    for row in pool.map(fetch, open("urls.txt").read().split()):
        out.write(json.dumps(row) + "\\n")
"""

AIOHTTP = """
import aiohttp, asyncio, json
async def main():
    urls = iter(open("urls.txt").read().split())
    with open("out.jsonl", "a") as out:
        async with aiohttp.ClientSession() as session:
            async def work():
                for url in urls:
                    async with session.get(url) as answer:
                        row = {{"url": url, "status": answer.status, "text": await answer.text()}}
                    out.write(json.dumps(row) + "\\n")
            await asyncio.gather(*(work() for _ in range({threads})))
asyncio.run(main())
"""

SCRAPY = """
import scrapy
from scrapy.crawler import CrawlerProcess
class Pages(scrapy.Spider):
    name = "pages"
    custom_settings = {{
        "CONCURRENT_REQUESTS": {threads}, "CONCURRENT_REQUESTS_PER_DOMAIN": {threads}, "LOG_ENABLED": False,
        "FEEDS": {{"out.jsonl": {{"format": "jsonlines", "overwrite": False}}}}, "JOBDIR": "job", "DOWNLOAD_DELAY": 0,
    }}
    async def start(self):
        for url in open("urls.txt").read().split():
            yield scrapy.Request(url)
    def parse(self, response):
        yield {{"url": response.url, "status": response.status, "text": response.text}}
process = CrawlerProcess()
process.crawl(Pages)
process.start()
"""

CRAWLEE = """
import asyncio, json, logging
from crawlee import ConcurrencySettings
from crawlee.crawlers import HttpCrawler
async def main():
    limits = ConcurrencySettings(min_concurrency={threads}, max_concurrency={threads}, desired_concurrency={threads})
    crawler = HttpCrawler(concurrency_settings=limits, configure_logging=False)
    with open("out.jsonl", "a") as out:
        @crawler.router.default_handler
        async def handle(context):
            text = (await context.http_response.read()).decode()
            out.write(json.dumps({{"url": context.request.url, "status": 200, "text": text}}) + "\\n")
        await crawler.run(open("urls.txt").read().split())
logging.disable()
asyncio.run(main())
"""

OWN = """
from tui_runner import http, job
@job(threads={threads})
def own(url: str):
    answer = http.get(url)
    return {{"url": url, "status": answer.status_code, "text": answer.text}}
"""


@dataclass(frozen=True)
class Contender:
    """One way to fetch a list.

    Attributes:
        name: name in the output.
        module: module that must be installed.
        script: its program; None for a command of tui-runner.
        arguments: arguments of the command of tui-runner.
        database: file in which tui-runner stores rows.
    """

    name: str
    module: str
    script: str | None = None
    arguments: tuple[str, ...] = ()
    database: str = ""

    def command(self, folder: Path) -> list[str]:
        """Return the command that fetches `urls.txt` of the folder."""
        if self.script is not None:
            (folder / "script.py").write_text(textwrap.dedent(self.script))
        if self.arguments:
            return [sys.executable, "-m", "tui_runner", *self.arguments, "--quiet"]
        return [sys.executable, "script.py"]

    def rows(self, folder: Path) -> list[str]:
        """Return the URLs of the stored pages."""
        if self.database:
            with duckdb.connect(str(folder / self.database)) as database:
                return [url for (url,) in database.execute("SELECT url FROM pages").fetchall()]
        path = folder / "out.jsonl"
        if not path.exists():
            return []
        found = []
        for line in path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line)["url"])
            except ValueError:  # the kill left an incomplete last line
                continue
        return found


def contenders() -> list[Contender]:
    """Return all contenders. img2dataset is missing, because it stores images only."""
    fill = {"threads": THREADS}
    one_process = ("--workers", "1", "--threads", str(THREADS), "--per-host", "none")
    return [
        Contender("httpx", "httpx", POOL.format(library="httpx", session="httpx.Client()", **fill)),
        Contender("requests", "requests", POOL.format(library="requests", session="requests.Session()", **fill)),
        Contender("aiohttp", "aiohttp", AIOHTTP.format(**fill)),
        Contender("scrapy", "scrapy", SCRAPY.format(**fill)),
        Contender("crawlee", "crawlee", CRAWLEE.format(**fill)),
        Contender(
            "http.get",
            "tui_runner",
            OWN.format(**fill),
            ("run", "script.py", "--input", "urls.txt", "--table", "pages", "--db", "own.duckdb", *one_process),
            "own.duckdb",
        ),
        Contender("fetch", "tui_runner", None, ("fetch", "urls.txt", *one_process), "fetch.duckdb"),
    ]


@contextmanager
def serving(folder: Path, latency: float) -> Iterator[int]:
    """Serve the page from another process. Yield the port."""
    (folder / "page.html").write_bytes(PAGE)
    command = [sys.executable, "-c", SERVER, str(folder / "page.html"), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.kill()


class Usage:
    """A measurement of memory and processor time of a process and its children, ten times a second."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak = 0
        self.cpu: dict[int, float] = {}
        self._root = psutil.Process(process.pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> float:
        """Stop measuring. Return the seconds of processor time."""
        self._ended.set()
        self._thread.join()
        return sum(self.cpu.values())

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            try:
                every = [self._root, *self._root.children(recursive=True)]
                total = 0
                for process in every:
                    total += process.memory_info().rss
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
                self.peak = max(self.peak, total)
            except psutil.NoSuchProcess:
                continue


def start(contender: Contender, folder: Path) -> subprocess.Popen[bytes]:
    """Start a contender in a new session, so that a kill ends all of its processes."""
    command = contender.command(folder)
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)


def measure(contender: Contender, folder: Path) -> tuple[float, float, int]:
    """Return seconds, processor seconds and peak bytes of a whole command."""
    began = time.perf_counter()
    process = start(contender, folder)
    usage = Usage(process)
    process.wait()
    seconds = time.perf_counter() - began
    return seconds, usage.end(), usage.peak


def killed(contender: Contender, folder: Path, seconds: float, urls: list[str]) -> tuple[int, int]:
    """Kill a contender after half of its time and start it again. Return the numbers of lost and of repeated pages."""
    process = start(contender, folder)
    time.sleep(seconds / 2)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    start(contender, folder).wait()
    found = Counter(contender.rows(folder))
    return sum(url not in found for url in urls), sum(count - 1 for count in found.values())


def main() -> None:
    """Measure all contenders that are installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pages", type=int, default=6_000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before each response")
    parser.add_argument("--only", default="", help="names of contenders, with commas")
    parser.add_argument("--kill", action="store_true", help="kill each at half, start it again, count lost and doubled")
    options = parser.parse_args()
    chosen = [each for each in contenders() if not options.only or each.name in options.only.split(",")]
    baseline = 0.0
    print(f"{'':10} pages/s   ratio  start s   CPU s  peak MB" + ("   lost  twice" if options.kill else ""))
    with tempfile.TemporaryDirectory() as base, serving(Path(base), options.latency) as port:
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(options.pages)]
        for contender in chosen:
            if importlib.util.find_spec(contender.module) is None:
                print(f"{contender.name:10} not installed")
                continue
            folders = [Path(base) / f"{contender.name}-{turn}" for turn in range(3)]
            for folder, part in zip(folders, (urls[:SHORT], urls, urls), strict=True):
                folder.mkdir()
                (folder / "urls.txt").write_text("\n".join(part))
            start_seconds = measure(contender, folders[0])[0]
            seconds, cpu, peak = measure(contender, folders[1])
            got = len(set(contender.rows(folders[1])))
            speed = (got - SHORT) / (seconds - start_seconds)
            baseline = baseline or speed
            figures = f"{speed:7.0f} {speed / baseline:6.2f}x {start_seconds:8.1f} {cpu:7.1f} {peak / 1e6:8.0f}"
            line = f"{contender.name:10} {figures}"
            if options.kill:
                lost, twice = killed(contender, folders[2], seconds, urls)
                line += f" {lost:6} {twice:6}"
            print(line if got == len(urls) else f"{line}   only {got} of {len(urls)}", flush=True)


if __name__ == "__main__":
    main()
