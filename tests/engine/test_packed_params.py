"""Job parameters reach worker processes, whatever their values are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tui_runner.engine.states import RunState
from tui_runner.errors import UserError

OWN_CLASSES = """
    import threading
    from dataclasses import dataclass
    from enum import Enum

    from tui_runner import Secret, job

    class Unit(Enum):
        KILOMETRE = 1000.0
        MILE = 1609.344

    @dataclass
    class Scale:
        factor: int

    @job(chunk_size=10)
    def work(n: int, *, unit: Unit = Unit.MILE, scale=Scale(2), token: Secret, plus=lambda n: n + 1):
        if n == 1:
            raise ValueError(f"token {token}")
        return {"unit": unit.name, "own": unit is Unit.KILOMETRE, "scaled": scale.factor * n, "plus": plus(n)}

    @work.setup
    def begin(*, lock=threading.Lock()):
        assert lock.acquire()

    @work.items
    def numbers():
        return range(2)
"""


@pytest.mark.parametrize("backend", ["process", "inline"])
def test_parameters_may_be_of_classes_of_the_jobs_own_file(
    job_file: Callable[[str], str],
    new_run: Callable[..., Any],
    rows: Callable[..., list[tuple[Any, ...]]],
    backend: str,
) -> None:
    params = {"unit": "kilometre", "token": "open sesame"}
    snapshot = new_run(job_file(OWN_CLASSES), params=params, backend=backend).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT unit, own, scaled, plus FROM work") == [("KILOMETRE", True, 0, 1)]
    assert rows("SELECT message FROM runner.errors") == [("token ***",)]


def test_a_value_that_cannot_be_sent_is_refused_by_name(
    job_file: Callable[[str], str], new_run: Callable[..., Any]
) -> None:
    params = {"lock": threading.Lock(), "token": "open sesame"}
    with pytest.raises(UserError, match=r"^parameter lock: a value of type lock cannot be sent to a worker; make it"):
        new_run(job_file(OWN_CLASSES), params=params)
