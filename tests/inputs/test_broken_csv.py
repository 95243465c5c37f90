"""CSV files with a broken row: the rows before it are returned first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.input_files import cut

from tui_runner.errors import UserError
from tui_runner.inputs import open_source


def test_nearly_all_rows_before_the_broken_one_are_given(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("w") as file:
        file.write("a,b\n")
        file.writelines(f"{number},{number}\n" if number != 50_000 else "broken\n" for number in range(100_000))
    given = 0
    with pytest.raises(UserError, match=r"x\.csv:50002"):
        for chunk in cut(open_source(str(path), database=None, folder=tmp_path), 500):
            given += len(chunk.values)
    assert 45_000 <= given <= 50_000
