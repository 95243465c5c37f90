"""Checks that a machine has what tui-runner requires, partly by a sample run."""

from __future__ import annotations

import codecs
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import psutil

from tui_runner._version import __version__
from tui_runner.api import run
from tui_runner.cli.overwritten_line import for_stream
from tui_runner.errors import EXIT_OK, EXIT_USAGE, UserError
from tui_runner.jobs.loading import load_job
from tui_runner.jobs.settings import check_setting
from tui_runner.store.database import Database
from tui_runner.system.files import bundled
from tui_runner.system.terminal import is_terminal
from tui_runner.text.numbers import latency, size
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.preferences import read_preferences
from tui_runner.tui.themes import find_themes

_LIBRARIES = ("textual", "httpx", "psutil", "duckdb", "typer", "pyarrow")
"""Libraries whose versions are printed, because most problems depend on them."""
_LOW_SPACE = 1 << 30
"""Bytes of free disk space below which the disk is reported. A run warns at about the same number (`guards/disk.py`).
"""
_FEW_FILES = 1024
"""Limit of file descriptors below which it is reported: 256 threads with one connection each, and the run's files, need
more than half of this number."""
_ITEMS = 2
"""Items of the sample run. The second item shows that the worker continues after the first."""
_ROUND_TRIPS = 5
"""Measurements of the round trip to a host. The shortest one is printed, because other work has delayed the longer
ones."""
_ANSWER = 32 << 20
"""Bytes that are transferred to measure throughput: as many as four of the largest polls of a run."""


_RESULTS = {"✔": "ok", "⚠": "remark"}
"""Names of results in the JSON output, by mark. Any other mark means a failed check."""


class Remark(str):
    """Text of a finding that does not prevent runs but deserves attention. A check returns it instead of `str`."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Findings about several machines, one line per machine.

    Attributes:
        fit: measured values of the usable machines.
        unfit: errors of the unusable machines, with advice.
    """

    fit: tuple[str, ...]
    unfit: tuple[str, ...]


def examine(out: TextIO, backend: str | None = None, *, as_json: bool = False) -> int:
    """Print one line per finding. Return the exit code: `EXIT_USAGE` if a check failed, otherwise `EXIT_OK`.

    Args:
        out: stream for the lines.
        backend: `dask:ADDRESS` of a cluster that is also checked; None for no cluster.
        as_json: True for one JSON object per line.
    """
    checks: list[tuple[str, Callable[[], str | Machines]]] = [
        ("tui-runner", _program),
        ("libraries", lambda: ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)),
        ("bundled files", _bundled),
        ("your settings", _settings),
        ("machine", _machine),
        ("disk here", _disk),
        ("open files", _open_files),
        ("terminal", _terminal),
        ("a run", _run),
    ]
    if backend is not None:
        checks.append(("cluster", partial(_cluster, backend)))
    failed = 0
    for name, check in checks:
        for mark, text in _findings(check):
            failed += mark == "✘"
            if as_json:
                out.write(json.dumps({"check": name, "result": _RESULTS.get(mark, "failed"), "text": text}) + "\n")
            else:
                out.write(for_stream(f"{mark} {name}: {safe_text(text)}", out) + "\n")
        out.flush()
    return EXIT_USAGE if failed else EXIT_OK


def _findings(check: Callable[[], str | Machines]) -> list[tuple[str, str]]:
    """Return the mark and text of each finding of a check."""
    try:
        found = check()
    except UserError as error:
        return [("✘", str(error))]
    except Exception as error:  # any other error is also something that does not work on this machine
        return [("✘", f"{type(error).__name__}: {error}")]
    if isinstance(found, Machines):
        return [*(("✔", text) for text in found.fit), *(("✘", text) for text in found.unfit)]
    return [("⚠" if isinstance(found, Remark) else "✔", found)]


def _program() -> str:
    return f"{__version__}, Python {platform.python_version()}, {platform.platform()}"


def _bundled() -> str:
    themes, samples = bundled("themes"), bundled("sample_jobs")
    return f"{len(list(themes.glob('*.toml')))} themes, {len(list(samples.glob('*.py')))} sample jobs"


def _settings() -> str:
    """Report invalid parts of the user's configuration, keys and themes."""
    preferences, themes = read_preferences(Path.cwd()), find_themes()
    complaints = [*preferences.complaints, *themes.complaints, *resolve(preferences.keymap)[1]]
    if mistake := themes.mistake(preferences.theme, preferences.theme_from):
        complaints.append(mistake)
    if complaints:
        return Remark(f"{len(complaints)} left out: {' · '.join(complaints)}")
    return "all of them can be used"


def _machine() -> str:
    return f"{os.cpu_count()} cores, {size(psutil.virtual_memory().total)} memory"


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{size(free)} free"
    return Remark(f"{text}: little for a large run") if free < _LOW_SPACE else text


def _open_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return f"{soft:,} at once; workers raise it"
    text = f"{soft:,} at once; workers raise it to {hard:,}, the hard limit" if soft < hard else f"{soft:,} at once"
    return Remark(f"{text}: raise that with ulimit -Hn for hundreds of connections") if hard < _FEW_FILES else text


def _terminal() -> str:
    if not is_terminal(sys.stdout):
        return "none here: runs go headless"
    columns, lines = shutil.get_terminal_size()
    encoding = codecs.lookup(sys.stdout.encoding or "ascii").name
    names = [f"{columns}×{lines}", f"encoding {encoding}"]
    names += [f"{name}={os.environ.get(name, '')}" for name in ("TERM", "COLORTERM")]
    text = ", ".join(names)
    return (
        text if encoding.startswith("utf") else Remark(f"{text}: lines and glyphs have stand-ins; UTF-8 has them all")
    )


def _cluster(backend: str) -> str | Machines:
    """Connect to every Dask worker of a cluster and measure latency and throughput of each connection."""
    from tui_runner.engine.backends.dask import PREFIX, DaskCluster

    setting = check_setting("backend", backend, where="--backend")
    if not setting.startswith(PREFIX):
        raise UserError(f"{backend} is not a cluster", "--backend", f"give {PREFIX}ADDRESS")
    cluster = DaskCluster(setting.removeprefix(PREFIX), tolerant=True)
    try:
        lines = []
        for courier in cluster.couriers:
            asked = time.time()
            hello = courier.greet()
            ahead = hello.time - (asked + time.time()) / 2
            round_trip = min(courier.measure(1) for _ in range(_ROUND_TRIPS))
            rate = _ANSWER / min(courier.measure(_ANSWER) for _ in range(2))
            way = "" if courier.is_direct else ", through the scheduler only"
            lines.append(
                f"{courier.host}: Python {hello.python}, tui-runner {hello.version}, {hello.processors} cores,"
                f" round trip {latency(round_trip)}, {size(rate)}/s{way}, clock {ahead:+.1f} s"
            )
    finally:
        cluster.close()
    if not lines and not cluster.unfit:
        return Remark("no Dask worker has joined it yet")
    return Machines(tuple(lines), tuple(cluster.unfit))


def _run() -> str:
    """Run a sample job in a worker process, and compare the stored rows with the returned ones."""
    job = load_job(str(bundled("sample_jobs") / "tables.py"))
    with tempfile.TemporaryDirectory(prefix="tui-runner-doctor-") as folder:
        path = Path(folder) / "doctor.duckdb"
        snapshot = run(job, database=path, limit=_ITEMS, progress=False, table="tables")
        with Database.open(path, create=False) as database:
            found: int = database.cursor().sql("SELECT count(*) FROM main.tables").fetchall()[0][0]
        if not snapshot.rows or found != snapshot.rows or snapshot.items_done != _ITEMS:
            raise RuntimeError(f"{snapshot.rows} rows were returned and {found} stored: {snapshot.reason}")
    return f"{found} rows through a worker process into DuckDB and back"
