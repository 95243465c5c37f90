"""A Dask cluster of this machine, of processes of its own, whose parts can be killed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from support.waiting import WAIT_SECONDS, eventually


class Cluster:
    """`dask scheduler` and some `dask worker`, each with its nanny.

    Args:
        folder: its logs and the folders of its workers.
        workers: those that start with it.
        protocol: `tcp` or `tls`.
        environ: what its processes have in their environment besides that of the tests.
    """

    def __init__(
        self, folder: Path, workers: int = 2, protocol: str = "tcp", environ: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self._workers, self._protocol = folder, workers, protocol
        self._environ = {**os.environ, **(environ or {})}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"{protocol}://127.0.0.1:{self._port}"
        self._started: list[psutil.Popen] = []
        self._logs = self._first_log = 0
        self.start()

    def start(self) -> None:
        """Start all of it, and return when the workers are there."""
        self._first_log = self._logs
        self.start_scheduler()
        for _ in range(self._workers):
            self.add_worker()
        try:
            scheduler = self._folder / f"dask-{self._first_log}.log"
            eventually(lambda: "Scheduler at:" in scheduler.read_text(), "the start of the scheduler")
            eventually(lambda: self.joined() >= self._workers, "the start of the cluster")
        except BaseException:
            self.kill()
            raise

    def start_scheduler(self) -> psutil.Popen:
        """Start the scheduler, at the address that it always has."""
        place = ("--host", "127.0.0.1", "--port", str(self._port), "--protocol", self._protocol)
        return self._dask("scheduler", *place, "--no-dashboard")

    def add_worker(self, *options: str, environ: Mapping[str, str] | None = None) -> psutil.Popen:
        """Start another worker; return its nanny's process."""
        place = str(self._folder / f"dask-{self._logs}")
        line = ("worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", place, *options)
        return self._dask(*line, environ=environ)

    def _dask(self, *command: str, environ: Mapping[str, str] | None = None) -> psutil.Popen:
        line = [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]]
        with (self._folder / f"dask-{self._logs}.log").open("wb") as log:
            environment = {**self._environ, **(environ or {})}
            process = psutil.Popen(line, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder, env=environment)
        self._logs += 1
        self._started.append(process)
        return process

    def _all(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for each in self._started:
            found += _children(each)
        return found

    def joined(self) -> int:
        """Return how many workers the scheduler has taken in since the start."""
        logs = (self._folder / f"dask-{number}.log" for number in range(self._first_log + 1, self._logs))
        return sum("Starting established connection to" in log.read_text() for log in logs)

    def hosts(self) -> list[psutil.Process]:
        """Return our host processes."""
        return [each for each in self._all() if _has(each, "tui_runner.engine.remote_host")]

    def dask_workers(self) -> list[psutil.Process]:
        """Return the processes of Dask workers that nannies have started."""
        return [each for each in self._all() if _has(each, "spawn_main") and not _is_ours(each)]

    def our_workers(self) -> list[psutil.Process]:
        """Return the processes that run items."""
        return [each for host in self.hosts() for each in _children(host) if not _children(each)]

    def end_worker(self, number: int) -> None:
        """Kill a worker and its nanny, so that no other takes its place."""
        nanny = self._started[1 + number]
        for each in (nanny, *_children(nanny)):
            with contextlib.suppress(psutil.Error):
                each.kill()

    def kill(self) -> None:
        """Kill all of it."""
        for each in [*self._started, *self._all()]:
            with contextlib.suppress(psutil.Error):
                each.kill()
        for process in self._started:
            process.wait(WAIT_SECONDS)
        self._started.clear()


def _has(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        return False


def _is_ours(process: psutil.Process) -> bool:
    try:
        return any(_has(each, "tui_runner.engine.remote_host") for each in process.parents())
    except psutil.Error:
        return True


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return children
