"""Opens the run of a plan and builds all objects that execute it, before any of them starts."""

from __future__ import annotations

import atexit
import queue
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psutil import Process

from tui_runner.engine.backends import Backend, Deliver
from tui_runner.engine.backends.process import ProcessBackend
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.guards import Monitor
from tui_runner.engine.guards.disk import DiskGuard
from tui_runner.engine.guards.hung_workers import HungWorkerGuard
from tui_runner.engine.guards.memory import MemoryGuard, too_little, worker_share
from tui_runner.engine.input_reader import InputReader, PendingItems
from tui_runner.engine.limits import FailureLimit, share_of
from tui_runner.engine.logs.log_file import LogFile, RunLog, log_path
from tui_runner.engine.parts import Parts
from tui_runner.engine.planning.cutting_frontier import CutFrontier
from tui_runner.engine.planning.open_run import OpenedRun, open_run
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.progress.snapshot_builder import RunIdentity, SnapshotBuilder
from tui_runner.engine.protocol import WorkerConfig
from tui_runner.engine.recorder import Recorder
from tui_runner.engine.runner import Runner
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.events import FrontierGrown, LogFailed, StartWorker, Tell
from tui_runner.engine.scheduling.host_board import HostBoard
from tui_runner.engine.scheduling.pace import FIRST_SIZE
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.worker.params import pack_params
from tui_runner.errors import UserError
from tui_runner.inputs import total_items
from tui_runner.inputs.keys import KeyColumns
from tui_runner.inputs.source import is_range
from tui_runner.store.ingest.http_versions import copy_versions
from tui_runner.store.remote.query_process import memory_beside
from tui_runner.store.remote.server import ServerLimits, serve
from tui_runner.system.memory import memory_bound
from tui_runner.system.process import available_processors
from tui_runner.text.redaction import Redaction, redacted_errors, secrets_in

if TYPE_CHECKING:
    from tui_runner.engine.backends.code import Bundle
    from tui_runner.engine.backends.dask import DaskCluster


_VERSIONS = "versions"
"""Name of the job parameter with the file of known page versions, see `http_versions`."""


def open_runner(plan: RunPlan, output: CapturedOutput | None = None) -> Runner:
    """Open the database, find the run to resume or create a new one, and return the runner that executes it.

    Args:
        plan: what to run.
        output: captured native output of this process, whose lines go to the run's log; None if it is not captured.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: the input is broken, there is no run to resume, the memory limit is too low, a parameter cannot be
            sent to workers, or the cluster is not usable.
    """
    # Count the items first, because that reads the input. If the input is broken, no database must be created.
    with redacted_errors(Redaction.of(plan.params)):
        total_items(plan.source, plan.limit)
    cluster = _cluster(plan)
    if cluster is None:
        return _opened(plan, output, None)
    try:
        grows = not plan.settings.workers
        if grows:
            plan = replace(plan, settings=replace(plan.settings, workers=cluster.workers))
        return _opened(plan, output, cluster, grows=grows)
    except BaseException:  # also for Ctrl-C: close a client or a local cluster
        cluster.close()
        raise


def _opened(
    plan: RunPlan, output: CapturedOutput | None, cluster: DaskCluster | None, *, grows: bool = False
) -> Runner:
    """Open the database and the run of a plan, and return the runner with all of its parts.

    If `grows` is True, the number of workers follows the size of the cluster.
    """
    plan = _with_versions_file(plan)
    settings = plan.settings
    # The backend "inline" runs items in threads of this process, which use the parameters without pickling.
    packed = b"" if settings.backend == "inline" else pack_params(plan.job, plan.params)
    bundle = None if cluster is None else _bundle(plan)
    # 0 if the memory guard must not replace workers: threads of this process cannot be replaced, and the memory of
    # other machines is not measured.
    workers = 0 if settings.backend == "inline" or cluster else min(settings.workers, settings.threads)
    limit, app_rss = memory_bound(settings.max_memory), Process().memory_info().rss
    if complaint := too_little(limit, workers, app_rss):
        raise UserError(complaint, "--max-memory", "raise it")
    # For a growing cluster, record 0 workers, so that a resumed run takes its number of workers from the cluster again.
    opened = open_run(replace(plan, settings=replace(settings, workers=0)) if grows else plan)
    try:
        share = worker_share(limit, workers, app_rss) if cluster is None else None
        new_backend = partial(_backend, cluster, bundle, grows)
        parts = _build(plan, opened, packed, output, limit, share, app_rss, new_backend)
    except BaseException:  # also for Ctrl-C: otherwise the lock would stay held
        opened.database.close()
        raise
    return Runner(plan, parts)


def _with_versions_file(plan: RunPlan) -> RunPlan:
    """Return the plan with a path for the stored page versions, if the job requests changed pages only."""
    if not plan.params.get("if_changed") or _VERSIONS not in plan.params:
        return plan
    folder = Path(tempfile.mkdtemp(prefix="tui-runner-versions-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return replace(plan, params={**plan.params, _VERSIONS: folder / "versions.sqlite"})


def _build(
    plan: RunPlan,
    opened: OpenedRun,
    packed_params: bytes,
    output: CapturedOutput | None,
    max_memory: int | None,
    share: int | None,
    app_rss: int,
    new_backend: Callable[[RunPlan, Deliver], Backend],
) -> Parts:
    """Create every part of a run and connect them through one inbox."""
    settings, database, run_id = plan.settings, opened.database, opened.record.run_id
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    deliver, redact = inbox.put, Redaction.of(plan.params)
    backend = new_backend(plan, deliver)
    is_whole = not plan.retry and not plan.frontier
    items_total = total_items(plan.source, plan.limit) if is_whole else opened.record.items_total
    scheduler = Scheduler(
        threads=settings.threads,
        workers=settings.workers,
        open_chunks=settings.open_chunks,
        chunk_size=settings.chunk_size,
        items_total=items_total if is_whole else None,
        grace=settings.grace,
        timeout=settings.timeout,
        max_failures=None if settings.max_failures is None else FailureLimit.parse(settings.max_failures),
        breaker=CircuitBreaker(OnOutage(settings.on_outage), attended=plan.attended),
        paused=opened.paused,
        rate=settings.rate,
        max_memory=share,
        hosts=HostBoard(settings.host_limits, is_shared=settings.has_several_workers),
    )
    scheduler.remember_deaths(opened.deaths)
    if isinstance(opened.cutter, CutFrontier):
        opened.cutter.tell = lambda items: deliver(FrontierGrown(items))
    plan.source.tell = lambda level, text: deliver(Tell(level, text))
    if isinstance(known := plan.params.get(_VERSIONS), Path):
        with database.opened_cursor() as cursor:
            copy_versions(cursor, known)
    items = PendingItems()
    memory = MemoryGuard(
        max_memory, scheduler.workers, database.statements, app_rss, in_process=settings.backend != "process"
    )
    disk = DiskGuard(scheduler, plan.database)
    # Earlier versions of tui-runner recorded only `active_seconds`.
    wall_before = max(opened.record.wall_seconds, opened.record.active_seconds)
    identity = RunIdentity(
        run_id=run_id,
        job=plan.job.name,
        table=plan.table,
        database=str(plan.database),
        started_at=opened.record.started_at.timestamp(),
        items_total=items_total,
        log_file=str(log_path(plan.database)),
        done_before=opened.before.done,
        rows_before=opened.before.rows,
        active_before=opened.record.active_seconds,
        wall_before=wall_before,
        grace=settings.grace,
        items_again=opened.before.failed + opened.before.cancelled if plan.retry else None,
    )
    log_file = LogFile(log_path(plan.database), run_id, lambda reason: deliver(LogFailed(reason)))
    return Parts(
        opened=opened,
        inbox=inbox,
        items=items,
        scheduler=scheduler,
        memory=memory,
        disk=disk,
        hung_workers=HungWorkerGuard(),
        reader=InputReader(opened.cutter, settings.chunk_size or FIRST_SIZE, deliver, redact),
        recorder=Recorder(
            database,
            run_id,
            plan.table,
            scheduler,
            items_total=identity.items_total,
            active_before=opened.record.active_seconds,
            wall_before=wall_before,
            deliver=deliver,
            redact=redact,
            frontier=plan.frontier,
            keeps_versions=_VERSIONS in plan.params,
        ),
        output=output,
        log=RunLog(log_file, debug=plan.debug, redact=redact),
        snapshots=SnapshotBuilder(identity, scheduler, memory, disk, time.monotonic(), redact),
        backend=backend,
        new_worker=partial(
            _worker_config, plan, packed_params, tuple(secrets_in(plan.params)), opened.record.key_columns or ()
        ),
        monitor=Monitor(backend.pids, database.size_bytes, database.free_bytes, deliver),
        log_file=log_file,
        server=serve(database, ServerLimits(memory=memory_beside(max_memory))) if plan.served else None,
    )


_MAX_BUFFERED_BYTES = 64 << 20
"""Most bytes of unwritten rows, over all workers: about as many as DuckDB writes in a second."""


def _worker_config(
    plan: RunPlan, packed_params: bytes, secrets: tuple[str, ...], key_columns: KeyColumns, start: StartWorker
) -> WorkerConfig:
    """Return the configuration of the worker that `start` requests."""
    settings = plan.settings
    return WorkerConfig(
        worker=start.worker,
        job=plan.job.reference,
        params=plan.params,
        packed_params=packed_params,
        secrets=secrets,
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
        key_columns=key_columns,
        item_text=settings.item_text and not is_range(plan.source),
    )


def _cluster(plan: RunPlan) -> DaskCluster | None:
    """Connect to the Dask cluster of a plan; return None for a run on this machine."""
    settings = plan.settings
    if not settings.backend.startswith("dask:"):
        return None
    from tui_runner.engine.backends.dask import DaskCluster  # Dask is an optional dependency

    address = settings.backend.removeprefix("dask:")
    return DaskCluster(address, insecure=settings.insecure, secrets=any(True for _ in secrets_in(plan.params)))


def _bundle(plan: RunPlan) -> Bundle:
    from tui_runner.engine.backends.code import bundle_of

    folder = Path(plan.settings.folder or ".").absolute()
    ship = plan.settings.ship
    return bundle_of(plan.job.reference, ship=None if ship is None else folder / ship, folder=folder)


def _backend(
    cluster: DaskCluster | None, bundle: Bundle | None, grows: bool, plan: RunPlan, deliver: Deliver
) -> Backend:
    """Create the backend that the settings name."""
    if cluster is not None:
        from tui_runner.engine.backends.remote import RemoteBackend

        grows_from = plan.settings.workers if grows else None
        return RemoteBackend(deliver, bundle=bundle, cluster=cluster, grows_from=grows_from)
    if plan.settings.backend == "inline":
        from tui_runner.engine.backends.inline import InlineBackend  # imports a worker's code, needed here only for it

        return InlineBackend(plan.job, deliver)
    return ProcessBackend(deliver)
