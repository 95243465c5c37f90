"""Run a function over a very long list of inputs: flat memory, live dashboard, results in DuckDB.

    from tui_runner import current, http, job

    @job(threads=64)
    def page(number: int, *, base: str = "https://example.org"):
        return http.get(f"{base}/{number}").json()

    @page.items
    def numbers(*, last: int = 1000):
        return range(1, last + 1)

The promise: **execution at least once, recording exactly once.** Kill a run at any instant and start it again: the rows
of every item are in the table exactly once.
"""

from tui_runner._version import __version__

# Import nothing here. It would be loaded before Ctrl-C is handled (`cli/entry.py`), and in every process of a run.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tui_runner.api import RunFailed as RunFailed
    from tui_runner.api import run as run
    from tui_runner.jobs import http as http
    from tui_runner.jobs.current import Current as Current
    from tui_runner.jobs.current import current as current
    from tui_runner.jobs.job import Job as Job
    from tui_runner.jobs.job import job as job
    from tui_runner.store.access import connect as connect
    from tui_runner.text.redaction import Secret as Secret

__all__ = ["Current", "Job", "RunFailed", "Secret", "__version__", "connect", "current", "http", "job", "run"]

_HOMES = {
    "Current": "tui_runner.jobs.current",
    "Job": "tui_runner.jobs.job",
    "RunFailed": "tui_runner.api",
    "Secret": "tui_runner.text.redaction",
    "connect": "tui_runner.store.access",
    "current": "tui_runner.jobs.current",
    "job": "tui_runner.jobs.job",
    "run": "tui_runner.api",
}
"""The module that defines each public name."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, and return its value."""
    from importlib import import_module

    if name == "http":
        return import_module("tui_runner.jobs.http")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
