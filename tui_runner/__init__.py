"""Run a function over a very long list of inputs: flat memory, live dashboard, results in DuckDB.

    from tui_runner import current, http, job

    @job(threads=64)
    def page(number: int, *, base: str = "https://example.org"):
        return http.get(f"{base}/{number}").json()

    @page.items
    def numbers(*, last: int = 1000):
        return range(1, last + 1)

The promise: **execution at least once, recording exactly once.** Kill it at any instant, start it again, and every
item's rows are in the table once: none lost, none twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_runner._version import __version__
from tui_runner.jobs.current import Current, current
from tui_runner.jobs.job import Job, job
from tui_runner.jobs.parameters import Secret

if TYPE_CHECKING:
    from tui_runner.api import run as run
    from tui_runner.jobs import http as http
    from tui_runner.store.access import connect as connect

__all__ = ["Current", "Job", "Secret", "__version__", "connect", "current", "http", "job", "run"]


def __getattr__(name: str) -> Any:
    """Load what needs heavier libraries when it is first asked for."""
    if name == "http":
        from importlib import import_module

        return import_module("tui_runner.jobs.http")
    if name == "connect":
        from tui_runner.store.access import connect

        return connect
    if name == "run":
        from tui_runner.api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
