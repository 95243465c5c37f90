"""Files to start from."""

from __future__ import annotations

import ast
import io
import os
from pathlib import Path

import pytest
from support.other_users import BOB, as_root

from tui_runner.cli.scaffold import copy_samples, list_samples, write_job
from tui_runner.errors import UserError
from tui_runner.jobs.loading import SampleJob, load_job, sample_jobs


@pytest.fixture
def shared_link(tmp_path: Path) -> Path:
    """A stranger's link to an empty folder of ours, in a folder like `/tmp`."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "ours").mkdir()
    link = tmp_path / "shared" / "link"
    link.symlink_to(tmp_path / "ours")
    os.lchown(link, BOB, BOB)
    return link


def test_every_sample_is_listed_with_what_it_does() -> None:
    out = io.StringIO()
    assert list_samples(out) == 0
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["fetch_site", "flaky", "hash_files", "parse_python", "tables"]
    assert all(len(line.split()) > 5 for line in lines)


class TestCopies:
    def test_samples_load_as_jobs_where_they_are_copied_to(self, tmp_path: Path) -> None:
        out = io.StringIO()
        folder = tmp_path / "a" / "b"
        assert copy_samples(folder, out) == 0
        assert out.getvalue() == f"5 jobs copied to {folder}\n"
        assert {load_job(str(path)).name for path in folder.glob("*.py")} == {sample.name for sample in sample_jobs()}

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "tables.py").write_text("mine")
        with pytest.raises(UserError, match=r"tables\.py: exists already, so nothing was copied"):
            copy_samples(tmp_path, io.StringIO())
        assert [path.name for path in tmp_path.iterdir()] == ["tables.py"]
        assert (tmp_path / "tables.py").read_text() == "mine"

    def test_samples_are_copied_only_into_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").touch()
        with pytest.raises(UserError, match=r"a\.py: is not a folder; name a folder"):
            copy_samples(tmp_path / "a.py", io.StringIO())

    def test_copy_of_samples_that_fails_half_way_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = SampleJob("gone", "", tmp_path / "gone.py")
        monkeypatch.setattr("tui_runner.cli.scaffold.sample_jobs", lambda: [*sample_jobs(), gone])
        with pytest.raises(UserError, match="no such file"):
            copy_samples(tmp_path, io.StringIO())
        assert list(tmp_path.iterdir()) == []

    @as_root
    @pytest.mark.parametrize("target", ["", "/below"])
    def test_a_link_of_a_stranger_is_not_followed(self, shared_link: Path, target: str) -> None:
        for write in (copy_samples, lambda folder, out: write_job(folder / "new.py", out)):
            with pytest.raises(UserError, match=f"is a link of uid {BOB} in a folder that others write to"):
                write(Path(f"{shared_link}{target}"), io.StringIO())
        assert list(shared_link.iterdir()) == []

    @as_root
    def test_a_link_of_a_stranger_in_the_place_of_a_file_is_not_followed(self, shared_link: Path) -> None:
        link = shared_link.parent / "tables.py"
        link.symlink_to(shared_link / "planted")
        os.lchown(link, BOB, BOB)
        for write in (copy_samples, lambda folder, out: write_job(folder / "tables.py", out)):
            with pytest.raises(UserError, match="exists already"):
                write(shared_link.parent, io.StringIO())
        assert list(shared_link.iterdir()) == [] and len(list(shared_link.parent.iterdir())) == 2


class TestNewJob:
    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("books.py", "books"),
            ("my-job.py", "work"),
            ("class.py", "work"),
            ("job.py", "work"),
            ("items.py", "work"),
            ('a""".py', "work"),
            ("a\nb.py", "work"),
            ("\udcff.py", "work"),
            ("größe.py", "größe"),
        ],
    )
    def test_init_writes_a_job_whatever_the_file_is_called(self, tmp_path: Path, file: str, name: str) -> None:
        out = io.StringIO()
        assert write_job(tmp_path / file, out) == 0
        assert out.getvalue().encode()
        ast.parse((tmp_path / file).read_bytes())
        job = load_job(str(tmp_path / file))
        assert job.name == name
        assert job(3, factor=3) == {"number": 3, "product": 9}
        assert list(job.make_items(job.bind({"last": "2"}))) == [1, 2]

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("there.py", "exists already"),
            ("x.txt", "write x.txt.py"),
            ("no/x.py", "its folder does not exist"),
            ("there.py/x.py", "Not a"),
        ],
    )
    def test_init_writes_nowhere_it_should_not(self, tmp_path: Path, file: str, message: str) -> None:
        (tmp_path / "there.py").write_text("mine")
        with pytest.raises(UserError, match=message):
            write_job(tmp_path / file, io.StringIO())
        assert [path.name for path in tmp_path.iterdir()] == ["there.py"]
        assert (tmp_path / "there.py").read_text() == "mine"
