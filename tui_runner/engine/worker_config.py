"""What every worker of a run is told at its start, and each one's share of what is bounded over all of them."""

from __future__ import annotations

from tui_runner.engine.limits import share_of
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.protocol import WorkerConfig
from tui_runner.engine.worker.params import pack_params
from tui_runner.text.redaction import secrets_in

_MAX_BUFFERED_BYTES = 64 << 20
"""Rows that are not yet written, over all workers: a second's worth at any rate DuckDB takes."""


class WorkerSettings:
    """Makes the configuration of workers.

    Raises:
        UserError: the value of a parameter cannot be sent to a worker.

    Attributes:
        workers: how many there are to be; they share the rate.
        rate: items started per second at most, over all workers; None for no bound.
        memory: bytes that each worker may have; None for no bound.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.workers = max(1, min(plan.settings.workers, plan.settings.threads))
        # Within this process they are passed as they are.
        self._packed = b"" if plan.settings.backend == "inline" else pack_params(plan.job, plan.params)
        self._secrets = tuple(secrets_in(plan.params))
        self.rate = plan.settings.rate
        self.memory: int | None = None

    def config(self, worker: int, threads: int, *, paused: bool) -> WorkerConfig:
        """The configuration of a worker with so many threads."""
        plan, settings = self._plan, self._plan.settings
        return WorkerConfig(
            worker=worker,
            job=plan.job.reference,
            params=plan.params,
            packed_params=self._packed,
            secrets=self._secrets,
            by_name=plan.by_name,
            from_input=plan.from_input,
            threads=threads,
            retries=settings.retries,
            retry_share=share_of(settings.retry_budget),
            timeout=settings.timeout,
            rate=self.rate_of_a_worker(),
            per_host=settings.per_host,
            max_buffered_bytes=_MAX_BUFFERED_BYTES // settings.workers,
            max_memory=self.memory,
            paused=paused,
        )

    def rate_of_a_worker(self) -> float | None:
        """One worker's share of the rate."""
        return None if self.rate is None else self.rate / self.workers
