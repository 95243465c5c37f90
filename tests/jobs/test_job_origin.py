"""Origin of the job in a ledger, and when a user is asked before it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from support.cli_jobs import INLINE, write
from support.command_line import CommandLine

from tui_runner.errors import UserError
from tui_runner.jobs.loading import sample_jobs
from tui_runner.jobs.origin import JobOrigin, job_origin

JOB = "from pathlib import Path\nPath(__file__).with_suffix('.executed').touch()\ndef work(n):\n    return n\n"
OUTSIDE = "its file is outside the database's folder and the current folder"
INSTALLED = "its file is part of Python or of an installed package"
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the folders `here`, `data` and `far`."""
    top = tmp_path.resolve()
    for name in ("here", "data", "far"):
        (top / name).mkdir()
    (top / "data" / "x.duckdb").touch()
    return top


@pytest.fixture
def origin(place: Path) -> Callable[..., JobOrigin]:
    """Return the origin of a job for a user in `here` and a database in `data`."""

    def find(
        job: object, begun_in: Path | None = None, database: str = "data/x.duckdb", input: str | None = None
    ) -> JobOrigin:
        return job_origin(str(job), input=input, database=place / database, begun_in=begun_in, here=place / "here")

    return find


class TestFiles:
    @pytest.mark.parametrize("folder", ["here", "here/below/it", "data", "data/below"])
    def test_one_in_the_current_folder_or_the_databases_runs_unasked(
        self, place: Path, origin: Callable[..., JobOrigin], folder: str
    ) -> None:
        (place / folder).mkdir(parents=True, exist_ok=True)
        write(place / folder, "job.py", JOB)
        assert origin(f"{place}/{folder}/job.py:work") == JobOrigin(f"{place}/{folder}/job.py:work")

    def test_one_elsewhere_is_asked_for(self, place: Path, origin: Callable[..., JobOrigin]) -> None:
        write(place / "far", "job.py", JOB)
        for job in (f"{place}/far/job.py:work", "../far/job.py:work", "job.py:work"):
            begun_in = place / "far" if job == "job.py:work" else None
            assert origin(job, begun_in) == JobOrigin(f"{place}/far/job.py:work", (OUTSIDE,))
        assert not (place / "far" / "job.executed").exists()

    def test_links_are_followed(self, place: Path, origin: Callable[..., JobOrigin]) -> None:
        write(place / "far", "job.py", JOB)
        (place / "here" / "job.py").symlink_to(place / "far" / "job.py")
        (place / "data" / "folder").symlink_to(place / "far")
        for job in (f"{place}/here/job.py", f"{place}/data/folder/job.py"):
            assert origin(job) == JobOrigin(f"{place}/far/job.py", (OUTSIDE,))
        # The folder of a database is where the file is that a link leads to.
        (place / "here" / "link.duckdb").symlink_to(place / "far" / "y.duckdb")
        (place / "far" / "y.duckdb").touch()
        assert origin(f"{place}/far/job.py", database="here/link.duckdb").reasons == ()

    @needs_root
    def test_one_of_another_user_is_asked_for_and_so_is_one_in_their_database(
        self, place: Path, origin: Callable[..., JobOrigin]
    ) -> None:
        write(place / "here", "job.py", JOB)
        os.chown(place / "here" / "job.py", NOBODY, NOBODY)
        (reason,) = origin(f"{place}/here/job.py:work").reasons
        assert reason.startswith("its file belongs to ") and f"uid {NOBODY}" in reason
        os.chown(place / "here" / "job.py", os.geteuid(), -1)
        os.chown(place / "data" / "x.duckdb", NOBODY, NOBODY)
        asked = origin(f"{place}/here/job.py:work")
        assert [reason.partition(" belongs ")[0] for reason in asked.reasons] == ["the database"]
        assert asked.warning.startswith("Asked because the database belongs to ")

    def test_a_sample_runs_unasked(self, place: Path, origin: Callable[..., JobOrigin]) -> None:
        sample = sample_jobs()[0]
        for job in (sample.name, f"{sample.path}:{sample.name}"):
            asked = origin(job, place / "far")
            assert asked.reasons == () and asked.text.startswith(str(sample.path.resolve()))

    @needs_root
    def test_sample_on_a_database_of_another_user_is_asked_for(
        self, place: Path, origin: Callable[..., JobOrigin]
    ) -> None:
        # The ledger chooses its input and parameters.
        os.chown(place / "data" / "x.duckdb", NOBODY, NOBODY)
        (reason,) = origin(sample_jobs()[0].name).reasons
        assert reason.startswith("the database belongs to ")

    def test_sample_with_an_input_is_asked_for(self, origin: Callable[..., JobOrigin]) -> None:
        # A query can read every file of the person, and the sample can send what it is given somewhere.
        asked = origin(sample_jobs()[0].name, input="sql:FROM 'secrets.csv'")
        assert asked.reasons == ("its input is chosen by the database: sql:FROM 'secrets.csv'",)

    @pytest.mark.parametrize(
        "file",
        [
            "here/.venv/lib/python3.11/site-packages/pygments/lexers/__init__.py",
            "data/env/LIB/Python3.12/Site-Packages/some.py",
            "here/dist-packages/some.py",
            "here/conda/lib/python3.13t/runpy.py",
        ],
    )
    def test_one_that_is_installed_in_a_home_folder_is_asked_for(
        self, place: Path, origin: Callable[..., JobOrigin], file: str
    ) -> None:
        (place / file).parent.mkdir(parents=True)
        write((place / file).parent, Path(file).name, JOB)
        assert origin(f"{place}/{file}:work", input="sql:FROM 'x'").reasons == (INSTALLED,)

    @pytest.mark.parametrize("prefix", ["prefix", "base_prefix"])
    def test_one_below_the_prefix_of_python_is_asked_for_if_that_is_in_a_home_folder(
        self, place: Path, origin: Callable[..., JobOrigin], monkeypatch: pytest.MonkeyPatch, prefix: str
    ) -> None:
        (place / "here" / "env" / "bin").mkdir(parents=True)
        write(place / "here" / "env" / "bin", "some.py", JOB)
        job = f"{place}/here/env/bin/some.py:work"
        monkeypatch.setattr(sys, prefix, str(place))  # as with `/usr/local`, where projects may be, too
        assert origin(job).reasons == ()
        monkeypatch.setattr(sys, prefix, str(place / "here" / "env"))
        assert origin(job).reasons == (INSTALLED,)

    def test_one_that_is_gone_is_no_question(self, place: Path, origin: Callable[..., JobOrigin]) -> None:
        with pytest.raises(UserError, match="there is no such file"):
            origin(f"{place}/far/gone.py:work")


class TestModules:
    def test_the_file_is_found_in_the_folder_that_the_run_was_begun_in(
        self, place: Path, origin: Callable[..., JobOrigin]
    ) -> None:
        (place / "data" / "package").mkdir()
        for name in ("__init__", "jobs"):
            write(place / "data" / "package", f"{name}.py", JOB)
        asked = origin("package.jobs:work", place / "data")
        assert asked == JobOrigin(f"{place}/data/package/jobs.py:work")
        assert not list(place.rglob("*.executed"))

    def test_a_folder_elsewhere_is_asked_for_though_the_file_is_not_there(
        self, place: Path, origin: Callable[..., JobOrigin], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the job imports next is looked for there before installed packages.
        write(place / "here", "jobs_of_mine.py", JOB)
        monkeypatch.syspath_prepend(place / "here")
        assert origin("jobs_of_mine:work").reasons == ()
        asked = origin("jobs_of_mine:work", place / "far")
        assert asked.text == f"{place}/here/jobs_of_mine.py:work"
        assert [reason.partition(" is outside ")[0] for reason in asked.reasons] == [
            f"the folder {place}/far that it imports from"
        ]

    def test_a_package_that_leads_elsewhere_is_asked_for(self, place: Path, origin: Callable[..., JobOrigin]) -> None:
        (place / "here" / "package").mkdir()
        write(place / "here" / "package", "jobs.py", JOB)
        write(place / "far", "other.py", JOB)
        (place / "here" / "package" / "__init__.py").symlink_to(place / "far" / "other.py")
        (reason,) = origin("package.jobs:work").reasons
        assert reason == OUTSIDE.replace("its file", "its package")

    def test_paths_outside_are_named_together_and_each_kind_once(
        self, place: Path, origin: Callable[..., JobOrigin]
    ) -> None:
        (place / "far" / "package" / "inner").mkdir(parents=True)
        for name in ("__init__", "inner/__init__", "inner/jobs"):
            write(place / "far" / "package", f"{name}.py", JOB)
        all_of_it = f"its file and its package and the folder {place}/far that it imports from are"
        assert origin("package.inner.jobs:work", place / "far").reasons == (OUTSIDE.replace("its file is", all_of_it),)

    def test_one_that_is_installed_in_the_current_folder_is_asked_for(
        self, place: Path, origin: Callable[..., JobOrigin], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = place / "here" / ".venv" / "lib" / "python3.11" / "site-packages"
        site.mkdir(parents=True)
        write(site, "some_package.py", JOB)
        monkeypatch.syspath_prepend(site)
        assert origin("some_package:work").reasons == (INSTALLED,)

    @pytest.mark.parametrize("name", ["not_there.jobs", "sys"])
    def test_one_without_a_file_is_asked_for(self, origin: Callable[..., JobOrigin], name: str) -> None:
        assert origin(f"{name}:work") == JobOrigin(f"{name}:work", ("the file of its module cannot be found",))


# --- on the command line -----------------------------------------------------------------------------------------


@pytest.fixture(params=["resume", "retry"])
def ledger(request: pytest.FixtureRequest, cli: CommandLine, place: Path) -> tuple[str, Callable[[object], None]]:
    """A command, and a run in `data/x.duckdb` that makes it execute another job."""
    write(place / "data", "bad.py", "def bad(n):\n    assert n\n    return n\n")
    (place / "data" / "x.duckdb").unlink()
    run = ("run", "bad.py:bad", "--input", "range:0:3", "--db", "x.duckdb", "--quiet", *INLINE)
    assert cli(*run, cwd=place / "data").code == 1

    def name(job: object) -> None:
        state = "stopped" if request.param == "resume" else "finished"
        with duckdb.connect(str(place / "data" / "x.duckdb")) as database:
            database.execute("UPDATE runner.runs SET job_path = ?, state = ?", [str(job), state])

    return request.param, name


Ledger = tuple[str, Callable[[object], None]]


@pytest.mark.parametrize("said", [(), ("--quiet",), ("--json",)], ids=["lines", "quiet", "json"])
def test_the_job_is_named_before_anything_of_it_is_loaded(
    cli: CommandLine, place: Path, ledger: Ledger, said: tuple[str, ...]
) -> None:
    command, name = ledger
    write(place / "data", "job.py", JOB.replace("def ", "import sys\nprint('loaded', file=sys.stderr)\ndef "))
    name("job.py:work")
    done = cli(command, "../data/x.duckdb", *said, cwd=place / "here")
    assert done.code == 0, done.err
    assert done.err.splitlines()[:2] == [f"job: {place}/data/job.py:work", "loaded"]


def test_without_a_terminal_a_job_from_elsewhere_is_refused_unless_it_is_agreed_to(
    cli: CommandLine, place: Path, ledger: Ledger
) -> None:
    command, name = ledger
    job = f"{place}/far/job.py:work"
    write(place / "far", "job.py", JOB)
    name(job)
    refused = cli(command, "../data/x.duckdb", cwd=place / "here")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines() == [
        f"job: {job}",
        f"tui-runner: {job}: not run, because {OUTSIDE}; look at the file, then add --yes",
    ]
    assert not (place / "far" / "job.executed").exists()
    agreed = cli(command, "../data/x.duckdb", "--yes", "--quiet", cwd=place / "here")
    assert (agreed.code, agreed.err.splitlines()[0]) == (0, f"job: {job}")
    assert (place / "far" / "job.executed").exists()


def test_a_job_in_the_folder_of_the_person_runs_unasked(cli: CommandLine, place: Path, ledger: Ledger) -> None:
    command, name = ledger
    write(place / "far", "job.py", JOB)
    name(f"{place}/far/job.py:work")
    done = cli(command, place / "data" / "x.duckdb", "--quiet", cwd=place / "far")
    assert (done.code, done.err.splitlines()[0]) == (0, f"job: {place}/far/job.py:work")


def test_no_module_is_imported_before_it_is_agreed_to(cli: CommandLine, place: Path, ledger: Ledger) -> None:
    command, name = ledger
    (place / "data" / "package").mkdir()
    (place / "far" / "package").mkdir()
    for folder in ("data", "far"):
        for each in ("__init__", "jobs"):
            write(place / folder / "package", f"{each}.py", JOB)
    name("package.jobs:work")
    with duckdb.connect(str(place / "data" / "x.duckdb")) as database:
        moved = "UPDATE runner.runs SET settings = json_merge_patch(settings, json_object('folder', ?))"
        database.execute(moved, [str(place / "far")])
    refused = cli(command, "../data/x.duckdb", cwd=place / "here")
    assert refused.code == 2
    assert refused.err.splitlines()[0] == f"job: {place}/far/package/jobs.py:work"
    assert not list(place.rglob("*.executed"))
    assert cli(command, "../data/x.duckdb", "--yes", "--quiet", cwd=place / "here").code == 0
    assert {path.parent.parent.name for path in place.rglob("*.executed")} == {"far"}


def test_a_relative_folder_in_a_ledger_is_the_same_before_and_after_it_is_entered(
    cli: CommandLine, place: Path, ledger: Ledger
) -> None:
    # It would be entered twice: first by the program, then by what looks for the job.
    command, name = ledger
    (place / "here" / "in" / "in").mkdir(parents=True)
    write(place / "here" / "in", "job.py", JOB)
    write(place / "far", "job.py", JOB)
    (place / "here" / "in" / "in" / "job.py").symlink_to(place / "far" / "job.py")
    name("job.py:work")
    with duckdb.connect(str(place / "data" / "x.duckdb")) as database:
        moved = 'UPDATE runner.runs SET settings = json_merge_patch(settings, \'{"folder": "in"}\')'
        database.execute(moved)
    done = cli(command, "../data/x.duckdb", "--quiet", cwd=place / "here")
    assert (done.code, done.err.splitlines()[0]) == (0, f"job: {place}/here/in/job.py:work")
    assert not (place / "far" / "job.executed").exists()


def test_a_name_cannot_steer_the_terminal(cli: CommandLine, place: Path, ledger: Ledger) -> None:
    command, name = ledger
    write(place / "far", "job.py", JOB)
    name(f"{place}/far/job.py:\x1b[2J\nwork\u202e")
    refused = cli(command, "../data/x.duckdb", cwd=place / "here")
    lines = refused.err.splitlines()
    assert (refused.code, len(lines)) == (2, 2)
    assert all(line.isprintable() for line in lines) and lines[0].startswith(f"job: {place}/far/job.py:␛[2J␊work")


def test_a_long_name_does_not_push_the_path_out_of_sight(cli: CommandLine, place: Path, ledger: Ledger) -> None:
    command, name = ledger
    write(place / "far", "job.py", JOB)
    for job, shown in ((f"{place}/far/job.py:{'w' * 9_000}", f"{place}/far/job.py:www"), ("m" * 9_000 + ":w", "mmm")):
        name(job)
        refused = cli(command, "../data/x.duckdb", cwd=place / "here")
        assert refused.code == 2
        assert refused.err.startswith(f"job: {shown}") and len(refused.err) < 2_000


@pytest.mark.parametrize("folder", ["f" * 9_000, "/f\0"])
def test_a_folder_that_no_path_names_is_gone(cli: CommandLine, place: Path, ledger: Ledger, folder: str) -> None:
    command, name = ledger
    name("job.py:work")
    with duckdb.connect(str(place / "data" / "x.duckdb")) as database:
        moved = "UPDATE runner.runs SET settings = json_merge_patch(settings, json_object('folder', ?))"
        database.execute(moved, [folder])
    told = cli(command, "../data/x.duckdb", cwd=place / "here")
    assert (told.code, "in which it was begun, no longer exists" in told.complaint) == (2, True)


@needs_root
def test_a_database_of_another_user_is_asked_for(cli: CommandLine, place: Path, ledger: Ledger) -> None:
    command, name = ledger
    write(place / "data", "job.py", JOB)
    name("job.py:work")
    os.chown(place / "data" / "x.duckdb", NOBODY, NOBODY)
    refused = cli(command, "../data/x.duckdb", cwd=place / "here")
    assert (refused.code, "not run, because the database belongs to " in refused.err) == (2, True)
    assert not (place / "data" / "job.executed").exists()


def test_a_sample_whose_input_the_ledger_names_is_asked_for(cli: CommandLine, place: Path) -> None:
    begun = ("run", "flaky", "--limit", "3", "--set", "seconds=0", "--db", "sample.duckdb", "--quiet", *INLINE)
    assert cli(*begun, cwd=place / "data").code == 0
    with duckdb.connect(str(place / "data" / "sample.duckdb")) as database:
        input = "sql:FROM read_text('\x1b[2J')"
        database.execute("UPDATE runner.runs SET state = 'stopped', input = ?", [input])
    refused = cli("resume", "../data/sample.duckdb", cwd=place / "here")
    assert (refused.code, len(refused.err.splitlines())) == (2, 2)
    assert "not run, because its input is chosen by the database: sql:FROM read_text('␛[2J')" in refused.err
