"""The settings that a host gives its workers."""

from __future__ import annotations

from tui_runner.engine.protocol import SetMaxMemory
from tui_runner.engine.remote_host import MemoryShares


def test_workers_of_a_host_share_its_memory() -> None:
    memory = MemoryShares(700)
    assert memory.beside(1) == {}
    assert memory.share == 700
    assert memory.beside(2) == {1: SetMaxMemory(350)}
    assert memory.share == 350
    assert memory.without(1) == {2: SetMaxMemory(700)}
    assert memory.without(1) == {2: SetMaxMemory(700)}, "a worker is lost once, and it does no harm twice"
    assert memory.without(2) == {}
    assert memory.share == 700


def test_workers_of_a_host_without_a_bound_have_none() -> None:
    memory = MemoryShares(None)
    assert memory.share is None
    memory.beside(1)
    assert memory.beside(2) == {}, "the run may have given them one"
