"""Fixtures for tests of several packages: jobs in files, real runs, and access to their databases."""

from __future__ import annotations

import compileall
import gc
import os
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support.cli_jobs import OK, write
from support.command_line import ROOT, CommandLine
from support.local_courier import LocalCourier
from support.waiting import WAIT_SECONDS, eventually

from tui_runner.engine import assembly
from tui_runner.engine.assembly import open_runner
from tui_runner.engine.backends import Deliver
from tui_runner.engine.backends.agent import Agent
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.engine.planning.request import RunRequest, plan_run
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.runner import Runner
from tui_runner.store.database import Database

settings.register_profile(
    "any machine",
    parent=settings(),
    deadline=None,
    max_examples=int(os.environ.get("EXAMPLES", "25")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")  # how long an example takes says something about the machine only


def pytest_configure(config: pytest.Config) -> None:
    """Compile the program once, and have the garbage collector look less often.

    Where the environment forbids Python to keep bytecode, each process that a test starts would compile the program
    anew. An application in a test makes objects by the ten thousand.
    """
    if not hasattr(config, "workerinput"):  # the process that starts the others
        compileall.compile_dir(ROOT / "tui_runner", quiet=2)
    gc.set_threshold(50_000, 20, 20)


EXHAUSTIVE = frozenset((
    "test_cli_resume", "test_could_not_begin", "test_retry_command", "test_secret_options", "test_program_end",
    "test_fetch", "test_crawl", "test_cluster_mistakes", "test_api", "test_launcher", "test_launcher_mistakes",
    "test_query_screen", "test_query_mouse", "test_query_dialogs", "test_query_keys", "test_query_in_run",
    "test_query_remote", "test_query_results", "test_query_kinds", "test_themes", "test_errors_agree",
    "test_log_back", "test_tmux", "test_hosts_of_runs", "test_caught_output", "test_own_output", "test_item_text",
    "test_query_clients", "test_import_guard", "test_fork_server", "test_job_origin", "test_executed_code",
    "test_damaged_ledgers", "test_output_files", "test_other_users", "test_scheduler_walks", "test_cli",
    "test_runner", "test_runner_items", "test_runner_workers", "test_retries_of_runs", "test_older_ledger",
    "test_readers", "test_input_chunks", "test_inner_screens", "test_app", "test_chunk_map", "test_end",
    "test_query_peers", "test_cli_terminals", "test_start", "test_start_interrupted", "test_trial", "test_scaffold",
    "test_sample_jobs", "test_cursor", "test_keys_in_turn", "test_nested", "test_whole_bodies", "test_dask",
    "test_crawl_killed", "test_changed_inputs_killed", "test_leaving", "test_random_keys", "test_every_key",
    "test_pictures", "test_query_pictures", "test_terminal", "test_local_cluster", "test_dask_changes",
))  # fmt: skip
"""Files with many processes, or many screens: a minute and more each on two cores. They are slow, and `.ci/run` leaves
them out; `pytest -m slow` takes them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of the files above."""
    for item in items:
        if item.path.stem in EXHAUSTIVE:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.exhaustive)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep tests with their assertions rewritten, whatever the environment says of bytecode; jobs in tests obey it."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have it pass over what stays until the end: modules, and the tests themselves."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let it find everything when Python ends: libraries complain of what is left."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the configuration of the user who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[[str], str]:
    """Writes a job's source into a file and returns its path."""

    def write(source: str, name: str = "work.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a job."""
    write(tmp_path, "ok.py", OK)
    return tmp_path


class Run:
    """A real run in a test."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def start(self) -> Run:
        """Begin."""
        self.runner.start()
        return self

    def until(self, condition: Callable[[Snapshot], Any]) -> Snapshot:
        """Wait for a snapshot that fulfils `condition`."""

        def look() -> Snapshot | None:
            snapshot = self.runner.snapshot()
            return snapshot if condition(snapshot) else None

        snapshot: Snapshot = eventually(look, "what the test waits for")
        return snapshot

    def finish(self) -> Snapshot:
        """Wait for the end and give the database back."""
        assert self.runner.join(WAIT_SECONDS), self.runner.snapshot()
        self.runner.close()
        return self.runner.snapshot()


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Opens runs: `new_run(job, params={}, threads=4, …)`; what is left of them is killed after the test."""
    opened: list[Runner] = []

    def open_run(job: str, **options: Any) -> Run:
        names = ("params", "database", "input", "limit", "new", "resume", "run_id", "attended")
        known = {name: options.pop(name) for name in names if name in options}
        known.setdefault("database", tmp_path / "x.duckdb")
        request = RunRequest(job=job, settings=options, **known)
        runner = open_runner(plan_run(request, folder=tmp_path, environ={}))
        opened.append(runner)
        return Run(runner)

    yield open_run
    for runner in opened:
        if runner.snapshot().at and not runner.snapshot().state.ended:
            runner.kill()
            runner.join(WAIT_SECONDS)
        runner.close()


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Rows of a query over a database that no run holds."""

    def fetch(sql: str, path: Path | None = None) -> list[tuple[Any, ...]]:
        database = Database.open(path or tmp_path / "x.duckdb", create=False)
        try:
            return database.cursor().sql(sql).fetchall()
        finally:
            database.close()

    return fetch


@pytest.fixture(scope="session")
def cli() -> Iterator[CommandLine]:
    """Calls `tui-runner` in processes of its own: `cli("run", job, cwd=tmp_path).code`."""
    line = CommandLine()
    yield line
    line.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run every test that has workers over hosts, as on a cluster."""
    parser.addoption("--hosts", type=int, default=0, help="have workers on this many hosts, reached through a pipe")


@pytest.fixture(autouse=True)
def _on_hosts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--hosts N`: workers are those of `RemoteBackend`."""
    hosts: int = request.config.getoption("--hosts")
    if not hosts:
        return
    if request.node.get_closest_marker("local_workers"):
        pytest.skip("it looks at processes of this machine, which hosts have elsewhere")

    def remote(deliver: Deliver) -> RemoteBackend:
        backend = RemoteBackend(deliver)
        for number in range(hosts):
            backend.add(LocalCourier(Agent(), f"host-{number}"))
        return backend

    monkeypatch.setattr(assembly, "ProcessBackend", remote)
