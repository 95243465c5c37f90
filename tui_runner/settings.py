"""How a run behaves: chunk size, threads, retries and the rest, and where each value comes from.

Weakest first: the defaults here, `@job(...)`, `[tool.tui-runner]` of the nearest `pyproject.toml` or the user's
config file, environment variables `TUI_RUNNER_*`, the command line.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run behaves.

    Attributes:
        table: results table; None stands for the name of the function.
        chunk_size: items a chunk.
        open_chunks: chunks that are with workers at once.
        threads: items executed at once, over all workers; tasks for an `async def` job.
        workers: worker processes.
        backend: `process`, or `inline` for threads in the tui-runner process.
        retries: attempts of an item after the first one failed.
        timeout: seconds an attempt may take, None for no bound.
        rate: items started per second over all workers, None for no bound.
        per_host: requests at once to one host through `tui_runner.http`, per worker; None for no bound.
        max_memory: bytes the run may use, None for no bound.
        max_failures: the run stops in order after this many failed items; `"5%"` of the finished ones; None never.
        grace: seconds that items in flight have to finish when a run is stopped.
    """

    table: str | None = None
    chunk_size: int = 500
    open_chunks: int = 4
    threads: int = 16
    workers: int = 1
    backend: str = "process"
    retries: int = 2
    timeout: float | None = None
    rate: float | None = None
    per_host: int | None = None
    max_memory: int | None = None
    max_failures: int | str | None = None
    grace: float = 10.0
