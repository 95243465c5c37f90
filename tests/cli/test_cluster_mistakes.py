"""Missing or unusable clusters: one line that says what to do, exit code 2, and no files that remain."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest
from support.command_line import ROOT, CommandLine
from support.dask_cluster import Cluster
from support.waiting import eventually

from tui_runner._version import __version__
from tui_runner.engine.backends import dask
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.errors import UserError

RUN = ("run", "ok.py", "--input", "range:0:5", "--headless", "--quiet", "--db", "x.duckdb", "--backend")
SECRET = """
    from tui_runner import Secret, job

    @job
    def ask(n: int, *, token: Secret = Secret("hunter22")):
        return n
"""


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        ("dask:tcp://127.0.0.1:1", r"dask:tcp://127\.0\.0\.1:1: no Dask scheduler answers .* check the address"),
        ("dask:nowhere.json", "dask:nowhere.json: there is no such file; give the scheduler file"),
        ("dask:local:none", "none is not a number of workers; for example, dask:local:2"),
        ("dask:no address", "is not a backend; backends are process, inline, dask:ADDRESS"),
    ],
)
def test_a_cluster_that_is_not_there(cli: CommandLine, here: Path, backend: str, complaint: str) -> None:
    before = set(here.iterdir())
    done = cli(*RUN, backend, cwd=here)
    assert done.code == 2
    assert re.search(complaint, done.complaint), done.err
    assert set(here.iterdir()) == before


def test_secrets_are_not_sent_unencrypted(cli: CommandLine, here: Path) -> None:
    (here / "ask.py").write_text(re.sub(r"^    ", "", SECRET, flags=re.M), encoding="utf-8")
    command = ("run", "ask.py", "--input", "range:0:3", "--headless", "--backend", "dask:tcp://192.0.2.1:8786")
    done = cli(*command, cwd=here)
    assert done.code == 2
    assert "secret parameters would go to another machine unencrypted; use dask:tls://" in done.complaint


def test_without_dask_it_says_what_to_install(here: Path) -> None:
    fake = here / "fake"
    fake.mkdir()
    (fake / "distributed.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(fake), str(ROOT)])}
    command = [sys.executable, "-m", "tui_runner", *RUN, "dask:local:1"]
    done = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "tui-runner: --backend dask:local:1: Dask is not installed; pip install 'tui-runner[dask]'\n"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters; all of them are killed after the test."""
    started: list[Cluster] = []

    def start(**options: Any) -> Cluster:
        folder = tmp_path / f"cluster-{len(started)}"
        folder.mkdir()
        started.append(Cluster(folder, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def nothing_is_left(cluster: Cluster, here: Path, before: set[Path]) -> None:
    """Assert that no agent, host or file remains."""
    eventually(lambda: not cluster.hosts(), "the end of the hosts")
    assert set(here.iterdir()) == before
    eventually(lambda: not [path for path in here.rglob("tui-runner-*") if path.is_dir()], "the end of their folders")


def with_start(folder: Path, *lines: str) -> dict[str, str]:
    """Return an environment in which Python executes these lines when it starts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("\n".join(lines), encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "import tui_runner._version as v; v.__version__ = '0.0.7'",
            rf"it has tui-runner 0\.0\.7, this is {re.escape(__version__)}; pip install tui-runner==0\.1\.0 there",
        ),
        (
            "import platform; platform.python_version = lambda: '3.9.1'",
            rf"it has Python 3\.9\.1, this is {re.escape(platform.python_version())}; give both the same minor version",
        ),
        ("import sys; sys.modules['tui_runner'] = None", r"it cannot load tui-runner \(.*\); pip install 'tui-runner"),
    ],
)
def test_a_machine_with_other_versions_is_refused(
    cli: CommandLine, here: Path, cluster: Callable[..., Cluster], tmp_path: Path, line: str, complaint: str
) -> None:
    there = cluster(workers=1, environ=with_start(tmp_path / "start", line))
    before = set(here.iterdir())
    done = cli(*RUN, f"dask:{there.address}", cwd=here)
    assert done.code == 2
    assert re.fullmatch(rf"Dask worker tcp://127\.0\.0\.1:\d+: {complaint}.*", done.complaint), done.err
    nothing_is_left(there, here, before)


def wait_for_file(path: str) -> None:
    """Keep a Dask worker busy; run as a task."""
    eventually(Path(path).exists, "the end of the task")


def ours(dask_scheduler: Any) -> list[str]:
    """Return our tasks that the scheduler knows."""
    return [str(key) for key in dask_scheduler.tasks if str(key).startswith("tui-runner-")]


def test_a_dask_worker_that_is_busy_is_refused_and_gets_no_agent_later(
    here: Path, cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_ENLIST_SECONDS", 0.5)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "cli")))
    there = cluster(workers=1, environ={"PYTHONPATH": paths})
    gate = here / "OPEN"
    with distributed.Client(there.address, set_as_default=False) as client:
        busy = client.submit(wait_for_file, str(gate))
        eventually(lambda: client.run_on_scheduler(is_processing), "the start of the task")
        with pytest.raises(UserError, match=r"starts no agent within 0\.5 s .*; check whether all of its threads are"):
            dask.DaskCluster(there.address)
        tolerant = dask.DaskCluster(there.address, tolerant=True)
        try:
            assert len(tolerant.unfit) == 1
            eventually(lambda: not client.run_on_scheduler(ours), "the end of our task")
            gate.touch()
            busy.result(timeout=60)
            assert not there.hosts()
        finally:
            tolerant.close()


def is_processing(dask_scheduler: Any) -> bool:
    """Return True if a Dask worker has a task."""
    return any(worker.processing for worker in dask_scheduler.workers.values())


def test_the_doctor_measures_each_machine_and_names_those_of_no_use(
    cli: CommandLine, here: Path, cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    older = with_start(tmp_path / "start", "import tui_runner._version as v; v.__version__ = '0.0.7'")
    there = cluster(workers=1)
    before = set(here.iterdir())
    done = cli("doctor", "--backend", f"dask:{there.address}", cwd=here)
    measured = r"✔ cluster: \S+ \(127\.0\.0\.1:\d+\): Python [\d.]+, tui-runner \S+, \d+ cores, round trip [\d.]+ m?s,"
    measured += r" [\d.]+ [MG]B/s, clock [+-]0\.\d s"
    assert re.fullmatch(measured, done.out.splitlines()[-1]), done.out
    assert done.code == 0
    there.add_worker(environ=older)
    eventually(lambda: there.joined() == 2, "the start of the other one")
    done = cli("doctor", "--json", "--backend", f"dask:{there.address}", cwd=here)
    found = [each for each in done.events if each["check"] == "cluster"]
    assert [each["result"] for each in found] == ["ok", "failed"]
    assert "it has tui-runner 0.0.7, this is " in found[1]["text"]
    assert done.code == 2
    nothing_is_left(there, here, before)


def test_the_doctor_of_a_cluster_without_machines_has_a_remark(
    cli: CommandLine, here: Path, cluster: Callable[..., Cluster]
) -> None:
    (here / "cluster.json").write_text(json.dumps({"address": cluster(workers=0).address}), encoding="utf-8")
    done = cli("doctor", "--backend", "dask:cluster.json", cwd=here)
    assert done.out.splitlines()[-1] == "⚠ cluster: no Dask worker has joined it yet"
    assert done.code == 0


def test_a_job_of_a_package_that_is_not_installed_there(
    here: Path, cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    package = tmp_path / "installed" / "only_at_home"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    source = "from tui_runner import job\n\n@job\ndef ok(n: int):\n    return n\n"
    (package / "jobs.py").write_text(source, encoding="utf-8")
    there = cluster(workers=2)
    before = set(here.iterdir())
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)])}
    run = [part if part != "ok.py" else "only_at_home.jobs:ok" for part in RUN]
    command = [sys.executable, "-m", "tui_runner", *run, f"dask:{there.address}"]
    done = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    complaint = (
        r"machine \S+ \(127\.0\.0\.1:\d+\) has no module only_at_home, .* pip install it there, or send it: --ship DIR"
    )
    assert re.fullmatch(rf"tui-runner: ok run 1 could not begin: {complaint}\n", done.stderr), done.stderr
    nothing_is_left(there, here, before)
    # With the package beside it the same command needs no installation.
    shipped = subprocess.run([*command, "--ship", str(package)], cwd=here, env=environ, capture_output=True, text=True)
    assert (shipped.returncode, shipped.stderr) == (0, "")


def test_secrets_go_to_another_machine_only_if_the_user_insists(here: Path) -> None:
    assert dask._is_unencrypted("tcp://192.0.2.1:8786")
    assert dask._is_unencrypted("192.0.2.1:8786")
    assert dask._is_unencrypted("ucx://192.0.2.1:8786")
    assert dask._is_unencrypted("tcp://no.such.machine.invalid:8786")
    for address in ("tls://192.0.2.1:8786", "tcp://localhost:1", "tcp://[::1]:8786", "tcp://127.0.0.2:8786"):
        assert not dask._is_unencrypted(address)
    own = next(each.address for each in psutil.net_if_addrs()["lo"] if each.family == socket.AF_INET)
    assert not dask._is_unencrypted(f"tcp://{own}:8786")


def test_secrets_are_not_sent_to_the_address_in_a_scheduler_file(cli: CommandLine, here: Path) -> None:
    (here / "ask.py").write_text(re.sub(r"^    ", "", SECRET, flags=re.M), encoding="utf-8")
    (here / "scheduler.json").write_text(json.dumps({"address": "tcp://192.0.2.1:8786"}), encoding="utf-8")
    done = cli("run", "ask.py", "--input", "range:0:3", "--headless", "--backend", "dask:scheduler.json", cwd=here)
    assert done.code == 2
    assert "secret parameters would go to another machine unencrypted; use dask:tls://" in done.complaint
    (here / "scheduler.json").write_text("[]", encoding="utf-8")
    done = cli("run", "ask.py", "--input", "range:0:3", "--headless", "--backend", "dask:scheduler.json", cwd=here)
    assert (done.code, done.complaint) == (
        2,
        "--backend dask:scheduler.json: it is not a scheduler file; give the scheduler file of the cluster",
    )


def test_secrets_are_not_sent_to_a_far_worker_of_a_scheduler_that_is_here(
    here: Path, cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cluster(workers=1)
    scheduler = there.address
    # This machine stands for two: the addresses of its workers count as those of another machine.
    monkeypatch.setattr(dask, "_is_unencrypted", lambda address: address != scheduler)
    with pytest.raises(UserError, match=r"Dask worker tcp://127.* secret parameters would go to another machine"):
        dask.DaskCluster(scheduler, secrets=True)
    eventually(lambda: not there.hosts(), "the end of the hosts")
    insisting = dask.DaskCluster(scheduler, secrets=True, insecure=True)
    told: list[str] = []
    backend = RemoteBackend(lambda message: told.append(getattr(message, "text", "")), cluster=insisting)
    backend.close()
    assert sum("travel unencrypted" in text for text in told) == 1


def test_tls_encrypts_the_way_and_secrets_go_over_it(
    here: Path, cluster: Callable[..., Cluster], tmp_path: Path, rows: Callable[..., Any]
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*line, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    environ = {f"{prefix}CA_FILE": str(certificate)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        environ |= {f"{prefix}{role}__CERT": str(certificate), f"{prefix}{role}__KEY": str(key)}
    there = cluster(workers=1, protocol="tls", environ=environ)
    (here / "ask.py").write_text(re.sub(r"^    ", "", SECRET, flags=re.M), encoding="utf-8")
    command = [sys.executable, "-m", "tui_runner", *RUN, f"dask:{there.address}"]
    command[command.index("ok.py")] = "ask.py"
    done = subprocess.run(command, cwd=here, env={**os.environ, **environ}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows("SELECT count(*), min(host LIKE '%127.0.0.1%') FROM ask, runner.chunks", here / "x.duckdb") == [
        (5, True)
    ]
    # Without a certificate, connections are refused.
    done = subprocess.run([*command, "--new"], cwd=here, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.match(r"tui-runner: --backend dask:tls://\S+: no Dask scheduler answers \(", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
