"""Real runs over real servers: limits, refusals and outages of hosts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support.host_server import HostServer, Reply, Seen, serving

from tui_runner.engine.progress.chunk_views import WaitCause
from tui_runner.engine.progress.snapshot import Snapshot

Rows = Callable[..., list[tuple[Any, ...]]]

GET = """
    from pathlib import Path
    from tui_runner import http, job

    @job({settings})
    def get(url: str):
        http.get(url).raise_for_status()
        return {{"url": url}}

    @get.setup
    def warm():
        import httpx  # for its import, which may take longer on a busy machine than an item may

    @get.items
    def urls(*, urls: str):
        return Path(urls).read_text().split()
"""


@pytest.fixture
def run_over(job_file, new_run, tmp_path):
    """Runs a job over URLs to its end: `run_over(urls, "per_host=1", …)`."""

    def run(urls: list[str], settings: str = "", source: str = GET, **options: Any) -> Any:
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        path = job_file(source.format(settings=settings))
        run = new_run(path, params={"urls": str(tmp_path / "urls.txt")}, attended=False, **options).start()
        assert run.runner.join(200)
        return run.finish()

    return run


@pytest.mark.parametrize("library", ["http.get(url)", "requests_like(url)"])
def test_a_refusal_with_a_time_costs_no_attempt_and_is_obeyed(run_over, library: str) -> None:
    def busy(host: str, path: str, seen: Seen, now: float) -> Reply:
        refused = seen.times(429)
        if not refused or now < refused[-1] + 1.0:
            return Reply(429, retry_after="1")
        return Reply()

    source = GET.replace("http.get(url)", library).replace(
        "from tui_runner import http, job",
        """import urllib.request, urllib.error
    from tui_runner import http, job

    class Answer:
        def __init__(self, code, headers, url):
            self.status_code, self.headers, self.url = code, headers, url
        def raise_for_status(self):
            if self.status_code >= 400:
                error = OSError(f"{{self.status_code}} Client Error")
                error.response = self
                raise error

    def requests_like(url):
        try:
            with urllib.request.urlopen(url) as answer:
                return Answer(answer.status, answer.headers, url)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, url)""",
    )
    with serving(busy) as server:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(20)]
        snapshot = run_over(urls, "retries=0, threads=8", source)
        asked = server.seen["127.0.0.1"]
    assert (snapshot.items_done, snapshot.items_failed, snapshot.retries) == (20, 0, 0)
    last_refusal = asked.times(429)[-1]
    assert all(at <= last_refusal or at >= last_refusal + 1.0 for at in asked.times())


def test_waiting_for_a_host_is_neither_time_nor_timeout_of_an_item(run_over, rows: Rows) -> None:
    with serving(lambda host, path, seen, now: Reply(after=0.4)) as server:
        urls = [f"http://127.0.0.{1 + n % 2}:{server.port}/{n}" for n in range(14)]
        snapshot = run_over(urls, "per_host=1, timeout=2.0, threads=14, retries=0")
        assert (snapshot.items_done, snapshot.items_failed) == (14, 0), snapshot.errors
        assert max(seen.most_open for seen in server.seen.values()) == 1
    assert rows("SELECT max(seconds) < 2.0 FROM runner.items") == [(True,)]


def test_a_host_that_is_known_before_holds_no_thread(run_over) -> None:
    def slow(host: str, path: str, seen: Seen, now: float) -> Reply:
        return Reply(after=0.5 if host == "127.0.0.1" else 0.01)

    with serving(slow) as server:
        urls = [f"http://127.0.0.{1 + (n % 3 == 2)}:{server.port}/{n}" for n in range(12)]
        run_over(urls, 'per_host=1, threads=2, host="url"')
        first, second = server.seen["127.0.0.1"], server.seen["127.0.0.2"]
        # With two threads that took items in order, the second host would have had to wait for most of the first's.
        assert max(second.times()) < first.times()[2]


@pytest.mark.parametrize("settings", ["workers=3", 'workers=3, host="url"'])
def test_limits_of_a_host_are_of_the_run_not_of_a_worker(run_over, settings: str) -> None:
    with serving(lambda host, path, seen, now: Reply(after=0.02)) as server:
        urls = [f"http://127.0.0.{1 + n % 2}:{server.port}/{n}" for n in range(40)]
        snapshot = run_over(urls, f"{settings}, per_host=2, threads=12, chunk_size=5")
        assert snapshot.items_done == 40
        assert {host: seen.most_open for host, seen in server.seen.items()} == {"127.0.0.1": 2, "127.0.0.2": 2}


@pytest.mark.parametrize("settings", ["", ', host="url"'])
def test_tasks_wait_for_their_hosts_and_let_others_go_before(run_over, settings: str) -> None:
    source = GET.replace("def get(", "async def get(").replace("http.get(url)", "(await http.async_client().get(url))")

    def behave(host: str, path: str, seen: Seen, now: float) -> Reply:
        if host == "127.0.0.1" and not seen.requests:
            return Reply(429, retry_after="1")
        return Reply(after=0.05)

    with serving(behave) as server:
        urls = [f"http://127.0.0.{1 + n // 8}:{server.port}/{n}" for n in range(16)]
        snapshot = run_over(urls, "per_host=1, threads=4, retries=0, timeout=5" + settings, source)
        assert (snapshot.items_done, snapshot.retries) == (16, 0), snapshot.errors
        first, second = server.seen["127.0.0.1"], server.seen["127.0.0.2"]
    assert (first.most_open, second.most_open) == (1, 1)
    assert second.times()[-1] < first.times()[-1]
    assert first.times()[1] - first.times()[0] >= 1.0


def test_a_run_that_is_stopped_does_not_wait_for_hosts(job_file, new_run, tmp_path) -> None:
    def refusing(host: str, path: str, seen: Seen, now: float) -> Reply:
        return Reply() if host == "127.0.0.2" else Reply(429, retry_after="600")

    with serving(refusing) as server:
        urls = [f"http://127.0.0.{1 + n % 2}:{server.port}/{n}" for n in range(10)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        job = job_file(GET.format(settings="threads=10, grace=60.0"))
        run = new_run(job, params={"urls": str(tmp_path / "urls.txt")}).start()
        run.until(lambda snapshot: snapshot.items_done == 5)
        stopped = time.monotonic()
        run.runner.stop()
        snapshot = run.finish()
    assert time.monotonic() - stopped < 20
    assert (snapshot.state, snapshot.items_done, snapshot.items_failed) == ("stopped", 5, 0)


def test_a_delay_is_between_two_requests_of_any_worker(run_over) -> None:
    with serving(lambda host, path, seen, now: Reply()) as server:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(10)]
        assert run_over(urls, 'workers=2, delay=0.1, threads=4, chunk_size=2, host="url"').items_done == 10
        times = sorted(server.seen["127.0.0.1"].times())
    # What is between two requests when they arrive may be less by what their way takes.
    assert min(b - a for a, b in pairwise(times)) > 0.06


def test_rate_is_of_the_run_where_one_worker_has_all_the_work(run_over) -> None:
    with serving(lambda host, path, seen, now: Reply()) as server:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(90)]
        run_over(urls, "workers=3, rate=30, threads=6, chunk_size=1000")
        times = sorted(server.seen["127.0.0.1"].times())
    # A third of the rate for each worker would take nine seconds for one that has them all.
    assert 2.5 < times[-1] - times[0] < 6.0


def test_dead_and_forbidding_hosts_do_not_stop_a_run_over_others(run_over, rows: Rows, monkeypatch) -> None:
    def forbidding(host: str, path: str, seen: Seen, now: float) -> Reply:
        return Reply(403 if host == "127.0.0.2" and len(seen.requests) >= 5 else 200)

    with serving(forbidding) as server:
        dead = [f"http://127.0.1.{n}:1/{m}" for n in range(1, 11) for m in range(4)]
        forbidden = [f"http://127.0.0.2:{server.port}/{m}" for m in range(15)]
        good = [f"http://127.0.2.{n}:{server.port}/{m}" for n in range(1, 6) for m in range(20)]
        snapshot = run_over([*good, *dead, *forbidden], 'threads=16, host="url", retries=1')
    assert snapshot.state == "finished"
    assert (snapshot.items_done, snapshot.items_failed) == (105, 50)
    hosts = dict(rows("SELECT host, (done, failed, refused) FROM runner.hosts"))
    assert hosts["127.0.2.1"] == (20, 0, 0)
    assert hosts["127.0.0.2"] == (5, 10, 0)
    assert hosts["127.0.1.1"][1] >= 4


@pytest.mark.slow
def test_an_api_with_a_rate_loses_no_item(run_over) -> None:
    """300 a second are allowed; beyond that it answers 429 with `Retry-After: 1`."""
    windows: dict[int, int] = {}

    def limited(host: str, path: str, seen: Seen, now: float) -> Reply:
        second = int(now)
        windows[second] = windows.get(second, 0) + 1
        return Reply(after=0.01) if windows[second] <= 300 else Reply(429, retry_after="1")

    with serving(limited) as server:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(6_000)]
        snapshot = run_over(urls, "threads=64")
        asked = server.seen["127.0.0.1"]
    assert (snapshot.items_done, snapshot.items_failed) == (6_000, 0), snapshot.errors
    assert len(asked.times(429)) < 650
    assert not any("paused" in event.text for event in snapshot.events)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["", ', host="url"'])
def test_a_fast_host_keeps_its_pace_beside_a_slow_one(run_over, settings: str) -> None:
    def slow(host: str, path: str, seen: Seen, now: float) -> Reply:
        return Reply(after=5.0 if host == "127.0.0.1" else 0.1)

    def pace(seen: Seen) -> float:
        times = seen.times()
        return (len(times) - 1) / (times[-1] - times[0])

    with serving(slow) as server:
        fast = [f"http://127.0.0.2:{server.port}/{n}" for n in range(100)]
        run_over(fast, "per_host=1, threads=8, timeout=20" + settings, database=None, new=True)
        alone = pace(server.seen.pop("127.0.0.2"))
        slow_ones = [f"http://127.0.0.1:{server.port}/{n}" for n in range(6)]
        mixed = [url for pair in zip(fast, slow_ones + fast[:0], strict=False) for url in pair] + fast[6:]
        snapshot = run_over(mixed, "per_host=1, threads=8, timeout=20, retries=0" + settings, database=None, new=True)
        assert snapshot.items_failed == 0, snapshot.errors
        assert pace(server.seen["127.0.0.2"]) >= 0.9 * alone


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_over_hundreds_of_hosts_ends_by_itself(run_over) -> None:
    """Run over many hosts: 12 % are dead, 2 % answer 429 with `Retry-After`, 1 % answer 403 from page 20 on.

    The other hosts are asked as fast as in a run without the faulty ones. `URLS=10000` is the full size, over 500
    hosts.
    """
    pages, hosts = 20, int(os.environ.get("URLS", "2000")) // 20
    names = [f"127.{1 + number // 250}.{number % 250}.1" for number in range(hosts)]
    ends = [hosts * percent // 100 for percent in (12, 14, 15)]
    dead, refusing, forbidding, good = (
        names[: ends[0]],
        names[ends[0] : ends[1]],
        names[ends[1] : ends[2]],
        names[ends[2] :],
    )

    def behave(host: str, path: str, seen: Seen, now: float) -> Reply:
        if host in refusing:
            refused, served = seen.times(429), seen.times(200)
            if refused and now < refused[-1] + 2.0:
                return Reply(429, retry_after="2")
            if len(served) % 6 == 5 and (not refused or refused[-1] < served[-1]):
                return Reply(429, retry_after="2")
        return Reply(403) if host in forbidding and len(seen.requests) >= pages else Reply(after=0.1)

    def rate(server: HostServer) -> float:
        """Return requests a second to the good hosts, until nineteen of twenty were sent."""
        times = sorted(at for host in good for at in server.seen[host].times())
        times = times[: len(times) * 19 // 20]
        return len(times) / (times[-1] - times[0])

    def urls(server: HostServer, *groups: list[str]) -> list[str]:
        ports = dict.fromkeys(names, server.port) | dict.fromkeys(dead, 1)
        return [f"http://{name}:{ports[name]}/{page}" for page in range(pages) for group in groups for name in group]

    settings = 'threads=32, host="url", retries=2'

    def rate_alone() -> float:
        with serving(behave) as server:
            run_over(urls(server, good), settings, workers=2, database=None, new=True)
            return rate(server)

    before = rate_alone()
    with serving(behave) as server:
        everything = [*urls(server, dead, refusing, forbidding, good), *urls(server, forbidding)]
        began = time.monotonic()
        snapshot = run_over(everything, settings, workers=2, database=None, new=True)
        seconds = time.monotonic() - began
    share = rate(server) / min(before, rate_alone())  # what else the machine has to do changes from run to run
    pace = f"{rate(server):.0f} a second, {share:.0%} of their rate alone"
    print(f"{len(everything):,} URLs in {seconds:.1f} s; other hosts at {pace}")
    assert snapshot.state == "finished"
    failed = pages * (len(dead) + len(forbidding))
    assert (snapshot.items_done, snapshot.items_failed) == (len(everything) - failed, failed), snapshot.errors
    assert all(len(server.seen[host].times(200)) == pages for host in refusing + good + forbidding)
    for host in refusing:
        times = server.seen[host].times()
        for refused in server.seen[host].times(429):
            # What was on its way when the host refused arrives a moment later.
            assert not [at for at in times if refused + 0.2 < at < refused + 2.0]
    # Threads spend four hundredths of their time with the other hosts.
    assert share > 0.85
    assert not any("paused" in event.text for event in snapshot.events)


def test_a_host_that_the_user_paused_is_named_by_the_run_and_its_chunks(job_file, new_run, tmp_path) -> None:
    with serving(lambda host, path, seen, now: Reply(after=0.05)) as server:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(200)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        job = job_file(GET.format(settings="threads=4, chunk_size=20"))
        run = new_run(job, params={"urls": str(tmp_path / "urls.txt")}).start()
        run.until(lambda s: s.items_done >= 10)
        run.runner.pause_hosts(["127.0.0.1"], True)

        def causes(snapshot: Snapshot) -> set[WaitCause | None]:
            begun = [each for each in snapshot.chunks if each.started_at is not None and not each.state.ended]
            return {each.wait.cause if each.wait else None for each in begun}

        rests = run.until(lambda s: s.waits_for_user and causes(s) == {WaitCause.HOST_PAUSED})
        assert rests.paused_hosts == ("127.0.0.1",) and rests.stalled_seconds is None and rests.eta_seconds is None
        run.runner.pause_hosts(["127.0.0.1"], False)
        assert run.finish().items_done == 200
