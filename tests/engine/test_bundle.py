"""The code of a job on its way to other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_runner.engine.backends import code
from tui_runner.engine.backends.code import Bundle, bundle_of
from tui_runner.errors import UserError
from tui_runner.jobs.loading import load_reference, private_name
from tui_runner.jobs.reference import JobReference


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_file_and_what_it_imports_travel_and_nothing_else(tmp_path: Path) -> None:
    write(
        tmp_path,
        work="import os\nimport near\ndef work(n):\n    from far.inner import deep\n",
        near="import nearer",
        nearer="",
        far__inner="",
        far__other="",
        unused="",
    )
    bundle = bundle_of(JobReference(str(tmp_path / "work.py"), True, "work"), folder=tmp_path)
    assert sorted(bundle.files) == ["far/inner.py", "far/other.py", "near.py", "nearer.py", "work.py"]
    assert bundle.job == "work.py"


def test_a_shipped_folder_travels_whole_and_a_package_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path, work="", plain__a="", package____init__="")
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "data.csv").write_text("1")
    job = JobReference(str(tmp_path / "work.py"), True, "work")
    assert sorted(bundle_of(job, ship=tmp_path / "plain", folder=tmp_path).files) == ["a.py", "work.py"]
    shipped = bundle_of(job, ship=tmp_path / "package", folder=tmp_path)
    assert {"package/__init__.py", "package/data.csv"} <= set(shipped.files)


def test_too_much_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MOST_BYTES", 100)
    write(tmp_path, work="import near", near="#" * 100)
    with pytest.raises(UserError, match="is sent to every machine"):
        bundle_of(JobReference(str(tmp_path / "work.py"), True, "work"), folder=tmp_path)


def test_a_copy_is_loaded_under_the_name_of_the_original(tmp_path: Path) -> None:
    home, there = tmp_path / "home", tmp_path / "there"
    there.mkdir()
    write(home, copied_work="from tui_runner import job\n@job\ndef work(n):\n    return n\n")
    reference = JobReference(str(home / "copied_work.py"), True, "work")
    bundle = bundle_of(reference, folder=home)
    bundle.write(there)
    copy = bundle.reference(reference, there)
    assert copy.source == str(there / "copied_work.py")
    assert load_reference(copy).function.__module__ == private_name(home / "copied_work.py")


def test_no_file_is_written_outside_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in its folder"):
        Bundle({"../x.py": b""}).write(tmp_path)
    assert not (tmp_path.parent / "x.py").exists()
