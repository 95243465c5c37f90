"""Builds the configuration that a worker gets when it starts."""

from __future__ import annotations

from tui_runner.engine.limits import share_of
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.protocol import WorkerConfig
from tui_runner.engine.scheduling.events import StartWorker
from tui_runner.engine.worker.params import pack_params
from tui_runner.inputs.keys import KeyColumns
from tui_runner.inputs.source import is_range
from tui_runner.system.process import available_processors
from tui_runner.text.redaction import secrets_in

_MAX_BUFFERED_BYTES = 64 << 20
"""Bytes of rows that are not written yet, over all workers: a second of work at any rate that DuckDB writes."""


class WorkerSettings:
    """Builds the configurations of a run's workers from its plan.

    Raises:
        UserError: the value of a parameter cannot be sent to a worker.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.key_columns: KeyColumns = ()
        """Columns that the keys of items are made of; set when the run's database is open, which may prescribe them."""
        # Inline workers are threads of this process and get the parameters as they are.
        self._packed = b"" if plan.settings.backend == "inline" else pack_params(plan.job, plan.params)
        self._secrets = tuple(secrets_in(plan.params))

    def config(self, start: StartWorker) -> WorkerConfig:
        """Return the configuration of the worker that `start` requests."""
        plan, settings = self._plan, self._plan.settings
        return WorkerConfig(
            worker=start.worker,
            job=plan.job.reference,
            params=plan.params,
            packed_params=self._packed,
            secrets=self._secrets,
            by_name=plan.by_name,
            from_input=plan.from_input,
            threads=start.threads,
            retries=settings.retries,
            retry_share=share_of(settings.retry_budget),
            timeout=settings.timeout,
            rate=start.rate,
            host_limits=start.host_limits,
            hosts_shared=settings.has_several_workers,
            max_buffered_bytes=_MAX_BUFFERED_BYTES // settings.workers,
            max_memory=start.max_memory,
            paused=start.paused,
            processors=None if settings.workers == 1 else max(1, available_processors() // settings.workers),
            key_columns=self.key_columns,
            item_text=settings.item_text and not is_range(plan.source),
        )
