from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tui_runner.system.memory import machine_memory, memory_bound

GIB = 1 << 30


def make(root: Path, groups: str, limits: dict[str, str]) -> tuple[Path, Path]:
    own = root / "own"
    own.write_text(groups)
    for name, limit in limits.items():
        file = root / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
    return root / "groups", own


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"memory.max": "1073741824"}, GIB),
        ("0::/\n", {"memory.max": "max"}, None),
        # An outer group's limit holds as well.
        ("0::/a.slice/b\n", {"a.slice/memory.max": "1073741824", "a.slice/b/memory.max": "2147483648"}, GIB),
        # The path of the host, while the container sees its own group at the root of the mount.
        ("0::/docker/abc\n", {"memory.max": "1073741824"}, GIB),
        ("5:cpu,memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "1073741824"}, GIB),
        ("5:memory:/x\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("5:cpu:/x\n", {"cpu/x/memory.limit_in_bytes": "1"}, None),
        ("", {}, None),
    ],
)
def test_the_least_limit_of_the_control_groups_counts(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int | None
) -> None:
    total = psutil.virtual_memory().total
    assert machine_memory(*make(tmp_path, groups, limits)) == (total if expected is None else min(expected, total))


def test_without_control_groups_there_is_the_machine(tmp_path: Path) -> None:
    assert machine_memory(tmp_path / "no", tmp_path / "none") == psutil.virtual_memory().total


def test_a_share_is_one_of_what_there_is() -> None:
    assert memory_bound("50%") == machine_memory() // 2
    assert memory_bound(5_000_000) == 5_000_000
    assert memory_bound(None) is None
