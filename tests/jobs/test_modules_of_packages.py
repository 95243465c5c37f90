"""Jobs in the modules of a package, named with and without their function."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_runner.errors import UserError
from tui_runner.jobs.loading import load_job


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "stall_of_fruit"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wash.py").write_text("def washed(x):\n    return x\n")
    (package / "work.py").write_text(
        "from tui_runner import job\nfrom .wash import washed\n\n\ndef _helper(n):\n    return n\n\n\n"
        "@job\ndef tidy(n: int):\n    return washed(n)\n"
    )
    return tmp_path


def test_a_module_with_one_job_is_that_job(folder: Path) -> None:
    found = load_job("stall_of_fruit.work", folder=folder)
    assert (found.name, found.path) == ("tidy", "stall_of_fruit.work:tidy")


def test_a_file_with_relative_imports_is_refused_with_its_name_in_the_package(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_job("stall_of_fruit/work.py", folder=folder)
    assert caught.value.do.endswith(f"in the folder {folder}: stall_of_fruit.work:tidy")


def test_a_module_that_is_not_there_is_no_job(folder: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file or module 'stall_of_fruit\.gone'"):
        load_job("stall_of_fruit.gone", folder=folder)
