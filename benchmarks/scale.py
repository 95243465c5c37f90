"""Measures how many hosts one writer can serve: simulated hosts report ready-made batches as fast as they are read.

No function runs and no network is used: when a host is told to open a chunk, it reports at once the batch of a worker
that has executed the chunk. So only the work of the process that writes is measured: cutting the input, scheduling, the
frames of `RemoteBackend`, reading them by schema, and DuckDB's transactions. The figures depend on the machine; look at
the row from which the rate no longer grows.

    python benchmarks/scale.py [--rows R] [--items N] [HOSTS …]       1 4 16 64 256 hosts, 10 rows an item
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa

from tui_runner.engine import assembly
from tui_runner.engine.assembly import open_runner
from tui_runner.engine.backends.agent import Frame, Mailbox, Polled
from tui_runner.engine.backends.frames import pack_report, unpack_command
from tui_runner.engine.backends.remote import RemoteBackend
from tui_runner.engine.planning.request import RunRequest, plan_run
from tui_runner.engine.protocol import (
    ChunkExhausted,
    ChunkFinished,
    Counts,
    Drain,
    Drained,
    OpenChunk,
    Ready,
    ResultBatch,
    Trials,
    WorkerConfig,
    WorkerLost,
    ranges_of,
)
from tui_runner.store.records import ITEMS

HOSTS = (1, 4, 16, 64, 256)
"""Numbers of hosts that are measured, each four times the one before."""
JOB = """
from tui_runner import job

@job(threads=256, chunk_size=2000)
def work(n: int):
    return n
"""


class Host:
    """A courier and its host in one object. The worker of the host executes a chunk in no time.

    Args:
        host: name of the host.
        rows: result rows per item.
    """

    def __init__(self, host: str, rows: int) -> None:
        self.host = host
        self.bytes = 0
        self._rows = rows
        self._mail = Mailbox()
        threading.Thread(target=self._work, daemon=True).start()

    def poll(self, ack: int, wait: float) -> Polled:
        """Return the host's reports."""
        polled = self._mail.poll(ack, wait)
        self.bytes += sum(len(content) for _, content in polled.frames)
        return polled

    def send(self, frames: Sequence[Frame]) -> None:
        """Send commands to the host."""
        self._mail.send(frames)

    def end(self) -> None:
        """End the host."""
        self._mail.finish("ended")

    def _work(self) -> None:
        while commands := self._mail.take():
            for command in commands:
                kind, content = unpack_command(command)
                for report in self._reports(kind, content):
                    self._mail.put(pack_report(report))

    def _reports(self, kind: str, content: object) -> list[object]:
        if kind == "start":
            assert isinstance(content, WorkerConfig)
            return [Ready(content.worker, 1)]
        if kind == "kill":
            assert isinstance(content, int)
            return [WorkerLost(content, "killed")]
        assert isinstance(content, tuple)
        worker, order = content
        match order:
            case OpenChunk():
                batch = self._batch(worker, order)
                return [ChunkExhausted(worker, order.chunk), batch, ChunkFinished(worker, order.chunk)]
            case Drain():
                return [Drained(worker), WorkerLost(worker, "")]
        return []

    def _batch(self, worker: int, order: OpenChunk) -> ResultBatch:
        positions = list(order.positions)
        if order.run is not None:
            positions = [positions[index] for index in order.run]
        many, now = len(positions), int(time.time() * 1e6)
        items = [position for position in positions for _ in range(self._rows)]
        rows = pa.table(
            {
                "_item": pa.array(items, pa.int64()),
                "n": pa.array(items, pa.int64()),
                "price": pa.array([0.25 * (item % 997) for item in items], pa.float64()),
                "title": pa.array([f"title {item % 9973}" for item in items], pa.string()),
            }
        )
        columns = {
            "item": positions,
            "chunk": [order.chunk] * many,
            "key": [f"{position:032x}" for position in positions],
            "state": ["ok"] * many,
            "attempts": [1] * many,
            "rows": [self._rows] * many,
            "seconds": [0.001] * many,
            "finished_at": [now] * many,
        }
        arrays = [pa.array(columns.get(field.name, [None] * many)).cast(field.type) for field in ITEMS]
        counts = Counts(done=many, rows=many * self._rows)
        return ResultBatch(
            worker=worker,
            tables=(_stream(rows),),
            items=_stream(pa.Table.from_arrays(arrays, schema=ITEMS)),
            errors=b"",
            ended={order.chunk: ranges_of(range(many) if order.run is None else order.run)},
            failed={},
            retried={},
            counts={order.chunk: counts},
            error_groups={},
            rows=many * self._rows,
            nbytes=rows.nbytes,
            trials=Trials(ok=many),
        )


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def measure(hosts: int, items: int, rows: int) -> None:
    """Run `items` items on simulated hosts and print a line."""
    simulated = [Host(f"host-{number}", rows) for number in range(hosts)]

    def backend(deliver: object) -> RemoteBackend:
        remote = RemoteBackend(deliver)  # type: ignore[arg-type]
        for host in simulated:
            remote.add(host)
        return remote

    assembly.ProcessBackend = backend  # type: ignore[assignment,misc]
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "work.py"
        job.write_text(JOB)
        request = RunRequest(
            job=str(job),
            database=Path(folder) / "x.duckdb",
            input=f"range:0:{items}",
            settings={"workers": hosts, "max_memory": "none"},
        )
        plan = plan_run(request, folder=Path(folder), environ={})
        runner = open_runner(replace(plan))
        began, used = time.perf_counter(), psutil.Process().cpu_times().user
        runner.start()
        runner.join()
        seconds = time.perf_counter() - began
        snapshot = runner.snapshot()
        nbytes = sum(host.bytes for host in simulated)
        runner.close()
        database = (Path(folder) / "x.duckdb").stat().st_size
    if snapshot.items_done != items or snapshot.rows != items * rows:
        raise SystemExit(f"{snapshot.items_done} of {items} items are done: {snapshot.reason}")
    process = psutil.Process()
    print(
        f"{hosts:5} hosts  {items / seconds:10,.0f} items/s  {items * rows / seconds:12,.0f} rows/s "
        f" {nbytes / seconds / 1e6:7.1f} MB/s  {(process.cpu_times().user - used) / seconds:4.2f} cores "
        f" RSS {process.memory_info().rss / 1e6:6.0f} MB  database {database / items:5.1f} bytes/item",
        flush=True,
    )


def main() -> int:
    """Measure each number of hosts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", nargs="*", type=int, default=HOSTS)
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--rows", type=int, default=10)
    arguments = parser.parse_args()
    for hosts in arguments.hosts:
        measure(hosts, arguments.items, arguments.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
