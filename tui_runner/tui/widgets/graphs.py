"""The two graphs of the dashboard, made from the history of a snapshot."""

from __future__ import annotations

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.text.numbers import NONE, rate, size
from tui_runner.tui.widgets.chart import Picture, Series


def throughput(snapshot: Snapshot) -> Picture:
    """Items finished each second; a gap where the run was paused."""
    history = snapshot.history
    points = tuple((sample.at, sample.items_per_second) for sample in history)
    newest = history[-1].items_per_second if history else None
    return Picture(
        title="throughput, items/s",
        now=rate(newest) if newest is not None else NONE,
        series=(Series("items/s", "chart-1", points),),
        end=history[-1].at if history else 0.0,
    )


def memory(snapshot: Snapshot) -> Picture:
    """Resident memory of the workers, and on top of it that of the program itself."""
    history = snapshot.history
    limit = snapshot.memory_limit
    return Picture(
        title="memory" if limit is None else f"memory, limit {size(limit)}",
        now=size(snapshot.app_rss + snapshot.workers_rss) if history else NONE,
        series=(
            Series("workers", "chart-1", tuple((sample.at, float(sample.workers_rss)) for sample in history)),
            Series("app", "chart-2", tuple((sample.at, float(sample.app_rss)) for sample in history)),
        ),
        end=history[-1].at if history else 0.0,
        marks=snapshot.recycled,
        limit=None if limit is None else float(limit),
    )
