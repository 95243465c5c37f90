"""Workers on hosts, over a way that drops, doubles, reorders and delays: each report once, in order; each loss once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting import eventually

from tui_runner.engine.backends import remote
from tui_runner.engine.backends.agent import AgentGone, CourierError, Frame, Mailbox, Polled
from tui_runner.engine.backends.frames import pack_report, unpack_command
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.engine.protocol import Drain, LogLine, LogLines, Pause, Ready, WorkerConfig, WorkerFailed, WorkerLost
from tui_runner.engine.scheduling.events import ChangeWorkers, Hold, Recycle, Release, Tell
from tui_runner.jobs.reference import JobReference

WAYS = st.lists(st.sampled_from(["fine", "request lost", "answer lost", "twice", "once more later", "old answer"]))


class Courier:
    """Reaches a host in memory that answers each order with a line of its own, and a kill with the loss of the worker.

    Args:
        ways: what happens to each call in turn; every later one comes through.
        last: calls after which the agent is gone; None for never.
    """

    def __init__(self, ways: Sequence[str] = (), last: int | None = None, host: str = "there") -> None:
        self.host = host
        self.mail = Mailbox()
        self.ended = threading.Event()
        self._ways = list(ways)
        self._left = last
        self._later: list[Sequence[Frame]] = []
        self._answer: Polled | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def poll(self, ack: int, wait: float) -> Polled:
        way = self._way()
        if way == "request lost":
            raise CourierError(way)
        if way == "old answer" and self._answer is not None:
            return self._answer
        answer = self.mail.poll(ack, wait)
        if way == "twice":
            answer = self.mail.poll(ack, wait)
        if way == "answer lost":
            raise CourierError(way)
        self._answer = answer
        return answer

    def send(self, frames: Sequence[Frame]) -> None:
        way = self._way()
        if way == "request lost":
            raise CourierError(way)
        self.mail.send(frames)
        for each in self._later:
            self.mail.send(each)
        if way == "twice":
            self.mail.send(frames)
        if way == "once more later":
            self._later.append(frames)
        if way == "answer lost":
            raise CourierError(way)

    def end(self) -> None:
        self.mail.finish("ended")
        self.ended.set()

    def _way(self) -> str:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise AgentGone("gone")
        return self._ways.pop() if self._ways else "fine"

    def _work(self) -> None:
        while commands := self.mail.take():
            for command in commands:
                kind, content = unpack_command(command)
                for report in self._reports(kind, content):
                    self.mail.put(pack_report(report))

    def _reports(self, kind: str, content: Any) -> list[Any]:
        match kind:
            case "start":
                return [Ready(content.worker, 1)]
            case "send":
                worker, order = content
                return [LogLines(worker, (LogLine(0.0, "INFO", str(order.chunk), worker=worker),))]
        return [WorkerLost(content, "killed", {3: 1})]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(remote, "_AGAIN_SECONDS", 0.001)


def config(worker: int) -> WorkerConfig:
    return WorkerConfig(worker, JobReference("x.py", True, "x"), {}, b"", (), False, False, 1, 0)


def of_worker(got: list[Any], worker: int) -> list[Any]:
    return [each for each in got if getattr(each, "worker", None) == worker and not isinstance(each, Recycle)]


def losses(got: list[Any]) -> list[WorkerLost]:
    return [each for each in got if isinstance(each, WorkerLost)]


def tells(got: list[Any]) -> list[str]:
    return [each.text for each in got if isinstance(each, Tell)]


@settings(max_examples=40)
@given(ways=WAYS, orders=st.integers(0, 12))
def test_every_report_arrives_once_and_in_order(ways: list[str], orders: int) -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Courier(ways))
    backend.start_worker(config(7))
    for number in range(orders):
        backend.send(7, Pause(number))
    backend.kill_worker(7)
    eventually(lambda: losses(got), "the loss")
    backend.close()
    reports = of_worker(got, 7)
    assert [type(each) for each in reports] == [Ready, *[LogLines] * orders, WorkerLost]
    assert reports[0].host == "there"
    assert [each.lines[0].text for each in reports[1:-1]] == [str(number) for number in range(orders)]
    assert reports[-1] == WorkerLost(7, "killed", {3: 1})


@settings(max_examples=40)
@given(ways=WAYS, last=st.integers(0, 12), orders=st.integers(0, 6))
def test_a_worker_whose_agent_goes_is_lost_once_without_blame(ways: list[str], last: int, orders: int) -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Courier(ways, last))
    backend.start_worker(config(1))
    for number in range(orders):
        backend.send(1, Pause(number))
    eventually(lambda: not backend.hosts, "the loss")
    backend.start_worker(config(2))
    # One that starts after the loss waits for another host.
    eventually(lambda: len(losses(got)) + backend.waiting == 2, "the news")
    backend.close()
    assert sum(isinstance(each, Hold) for each in got) == 1
    assert all((each.worker, each.blame) == (1, False) for each in losses(got))
    assert of_worker(got, 1)[-1:] == losses(got)
    texts = [each.lines[0].text for each in of_worker(got, 1) if isinstance(each, LogLines)]
    assert texts == [str(number) for number in range(len(texts))]


def test_a_silent_host_is_given_up() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append, silence=0.05)
    courier = Courier(["request lost"] * 100_000)
    backend.add(courier)
    backend.start_worker(config(1))
    eventually(lambda: losses(got), "the loss")
    assert losses(got) == [WorkerLost(1, "its machine is lost", blame=False)]
    assert tells(got)[0].startswith("machine there is lost: silent for 0.05 s")
    assert courier.ended.wait(5), "the agent was not told to end"
    backend.close()


def test_reports_of_a_lost_host_are_not_delivered() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append, silence=0.05)
    courier = Courier()
    backend.add(courier)
    backend.start_worker(config(1))
    eventually(lambda: of_worker(got, 1), "the start")
    courier._ways = ["request lost"] * 100_000
    eventually(lambda: losses(got), "the loss")
    courier._ways = []
    courier.mail.put(pack_report(LogLines(1, (LogLine(0.0, "INFO", "late", worker=1),))))
    time.sleep(0.05)  # what must not happen has no event
    assert of_worker(got, 1)[-1] is losses(got)[0]
    backend.close()


def test_workers_wait_for_a_host_and_the_run_is_held_until_there_is_one() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.start_worker(config(1))
    backend.start_worker(config(2))
    assert [type(each) for each in got] == [Hold]
    assert backend.waiting == 2
    backend.send(2, Drain(1.0))
    assert losses(got) == [WorkerLost(2, "no machine was available for it", blame=False)]
    backend.add(Courier())
    eventually(lambda: Ready(1, 1, "there") in got, "the start")
    assert [type(each) for each in got if isinstance(each, Hold | Release)] == [Hold, Release]
    backend.close()


def test_orders_for_a_worker_that_waits_for_a_host_are_sent_when_it_starts() -> None:
    got: list[Any] = []

    def deliver(message: Any) -> None:
        got.append(message)
        if isinstance(message, Release):  # the runner may react before the worker starts on the new host
            backend.send(1, Pause(8))

    backend = RemoteBackend(deliver)
    backend.start_worker(config(1))
    backend.start_worker(config(2))
    backend.send(1, Pause(7))
    backend.send(2, Pause(6))
    backend.kill_worker(2)
    assert losses(got) == [WorkerLost(2, "no machine was available for it", blame=False)]
    backend.add(Courier())
    backend.send(1, Pause(9))
    eventually(lambda: len(of_worker(got, 1)) == 4, "the orders")
    first, *lines = of_worker(got, 1)
    assert first == Ready(1, 1, "there")
    assert [line.text for each in lines for line in each.lines] == ["7", "8", "9"]
    assert not of_worker(got, 2)[1:]
    backend.close()


def test_a_host_that_joins_takes_a_worker_from_a_fuller_one() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Courier(host="first"))
    for number in range(2):
        backend.start_worker(config(number))
    backend.add(Courier(host="second"))
    assert [each for each in got if isinstance(each, Recycle)] == [Recycle(1, "machine second has joined")]
    backend.start_worker(config(2))
    assert dict(backend.hosts) == {"first": 2, "second": 1}
    backend.close()


def test_a_report_that_cannot_be_read_ends_its_host() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    courier = Courier()
    backend.add(courier)
    backend.start_worker(config(1))
    courier.mail.put(b"\x80\x05}.")
    eventually(lambda: losses(got), "the loss")
    assert losses(got)[0].blame is False
    assert not backend.hosts
    backend.close()


def test_a_host_that_joins_gets_its_share_of_the_workers() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Courier(host="first"))
    backend.add(Courier(host="second"))
    for number in range(10):
        backend.start_worker(config(number))
    assert dict(backend.hosts) == {"first": 5, "second": 5}
    backend.add(Courier(host="third"), joined=True)
    moved = [each.worker for each in got if isinstance(each, Recycle)]
    assert moved == [8, 9, 6]
    for number in range(10, 13):
        backend.start_worker(config(number))
    assert dict(backend.hosts) == {"first": 5, "second": 5, "third": 3}
    backend.close()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_no_host_is_left_without_workers_for_one_that_joins(sizes: list[int]) -> None:
    hosts = [[100 * place + number for number in range(size)] for place, size in enumerate([*sizes, 0])]
    taken = remote._surplus(hosts)
    assert all(left or not size for left, size in zip(hosts, sizes, strict=False))
    assert len(taken) <= max(1, sum(sizes) // (len(sizes) + 1))
    assert bool(taken) == any(size > 1 for size in sizes)


def test_another_host_adds_a_worker_where_their_number_was_not_set() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append, grows_from=1)
    backend.add(Courier(host="first"))
    backend.start_worker(config(0))
    backend.add(Courier(host="second"), joined=True)
    assert [each for each in got if isinstance(each, ChangeWorkers | Recycle)] == [ChangeWorkers(2)]
    backend.start_worker(replace(config(1), max_buffered_bytes=1000))
    assert dict(backend.hosts) == {"first": 1, "second": 1}
    backend.close()


def test_the_bytes_that_wait_are_shared_by_more_workers_than_there_were() -> None:
    started: list[WorkerConfig] = []

    class Noting(Courier):
        def _reports(self, kind: str, content: Any) -> list[Any]:
            if kind == "start":
                started.append(content)
            return super()._reports(kind, content)

    backend = RemoteBackend(lambda report: None, grows_from=2)
    for number in range(4):
        backend.add(Noting(host=str(number)))
    backend.start_worker(replace(config(5), max_buffered_bytes=1000))
    eventually(lambda: started, "the start")
    assert started[0].max_buffered_bytes == 500
    backend.close()


def test_a_retired_host_gets_no_workers_and_ends_when_its_own_are_gone() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    first, second = Courier(host="first"), Courier(host="second")
    backend.add(first)
    backend.add(second)
    for number in range(2):
        backend.start_worker(config(number))
    backend.retire(first)
    assert [each for each in got if isinstance(each, Recycle)] == [Recycle(0, "machine first is being retired")]
    backend.start_worker(config(2))
    assert dict(backend.hosts) == {"first": 1, "second": 2}
    assert not first.ended.is_set()
    backend.kill_worker(0)
    assert first.ended.wait(5), "the host was not told to end"
    eventually(lambda: len(backend.hosts) == 1, "the end of the link")
    assert losses(got) == [WorkerLost(0, "killed", {3: 1})]
    backend.retire(second)
    backend.start_worker(config(3))
    assert backend.waiting == 1
    backend.close()


def test_a_retired_host_without_workers_ends_at_once() -> None:
    backend = RemoteBackend(lambda report: None)
    courier = Courier()
    backend.add(courier)
    backend.retire(courier)
    assert courier.ended.wait(5), "the host was not told to end"
    assert not backend.hosts
    backend.close()


class Unable(Courier):
    """A host that cannot run the job."""

    def _reports(self, kind: str, content: Any) -> list[Any]:
        if kind == "start":
            return [WorkerFailed(content.worker, "x.py: ModuleNotFoundError: No module named 'far.away'")]
        return super()._reports(kind, content)


def test_a_job_that_a_host_cannot_run_names_the_host_and_what_is_missing() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Unable())
    backend.start_worker(config(1))
    eventually(lambda: of_worker(got, 1), "the failure")
    text = "machine there has no module far.away, which the job needs; pip install it there, or send it: --ship DIR"
    assert of_worker(got, 1) == [WorkerFailed(1, text)]
    backend.close()


def test_a_host_that_joins_and_cannot_run_the_job_is_left_and_the_run_continues() -> None:
    got: list[Any] = []
    backend = RemoteBackend(got.append)
    backend.add(Unable(), joined=True)
    backend.start_worker(config(1))
    eventually(lambda: losses(got), "the loss")
    assert not [each for each in got if isinstance(each, WorkerFailed)]
    assert losses(got)[0].blame is False
    assert tells(got)[0].startswith("machine there is lost: it cannot run the job: x.py: ModuleNotFoundError")
    assert not backend.hosts
    backend.close()
