"""Loading jobs: files, functions in them, modules, samples; and what each mistake says."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ctrl_c import ctrl_c_raises

from tui_runner.errors import EXIT_USAGE, UserError
from tui_runner.jobs import loading
from tui_runner.jobs.loading import JobPlace, load_job, load_reference, locate_job, module_files, sample_jobs

ONE_JOB = '''
"""A file with a job."""
from dataclasses import dataclass
from tui_runner.jobs.job import job

@dataclass
class Page:
    number: int

@job(table="t")
def fetch(page):
    """Fetch."""
    return page

def plain(x, *, k=1): return x
async def later(x): return x
NUMBER = 3
class Kind: pass
if __name__ == "__main__":
    raise SystemExit("must not run")
'''


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Remove the modules that a test has imported."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("_tui_runner_job_", "neighbour", "package")):
            del sys.modules[name]


@pytest.fixture
def scrape(tmp_path: Path) -> Path:
    path = tmp_path / "scrape.py"
    path.write_text(ONE_JOB)
    return path


def refusal(text: str, folder: Path) -> str:
    """Return the message of a refused job. Assert what holds for each of them."""
    path, modules = sys.path[:], dict(sys.modules)
    with pytest.raises(UserError) as caught:
        load_job(text, folder=folder)
    assert caught.value.exit_code == EXIT_USAGE
    message = str(caught.value)
    assert message.isprintable()
    assert sys.path == path
    assert {
        name: module for name, module in sys.modules.items() if name not in modules or modules[name] is not module
    } == {}
    return message


class TestFiles:
    def test_the_one_job_of_a_file(self, scrape: Path, tmp_path: Path) -> None:
        for text in ("scrape.py", str(scrape), "./scrape.py", "scrape.py:fetch"):
            job = load_job(text, folder=tmp_path)
            assert (job.name, job.doc, job.settings) == ("fetch", "Fetch.", {"table": "t"})
            assert job.path == f"{scrape}:fetch"
            assert job.reference.is_file

    def test_a_plain_function_is_a_job_when_it_is_named(self, scrape: Path, tmp_path: Path) -> None:
        job = load_job("scrape.py:plain", folder=tmp_path)
        assert [parameter.name for parameter in job.parameters] == ["k"]
        assert load_job("scrape.py:later", folder=tmp_path).is_async

    def test_a_file_may_have_any_name(self, tmp_path: Path) -> None:
        for name in ("a b.py", "x:y.py", "[1].py", "noending", "é\u202e.py"):
            (tmp_path / name).write_text(ONE_JOB)
            assert load_job(name, folder=tmp_path)("x") == "x"
            assert load_job(f"{name}:plain", folder=tmp_path).name == "plain"

    def test_neighbours_can_be_imported_and_come_behind_the_standard_library(self, tmp_path: Path) -> None:
        (tmp_path / "neighbour_of_job.py").write_text("VALUE = 7\n")
        (tmp_path / "queue.py").write_text("raise RuntimeError('shadowed')\n")
        (tmp_path / "j.py").write_text(
            "import queue\nfrom neighbour_of_job import VALUE\ndef f(x): return VALUE, queue.Queue\n"
        )
        assert load_job("j.py:f", folder=tmp_path)(1)[0] == 7
        program = "import queue; print(queue.Queue)"
        assert subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
            check=True,
            capture_output=True,
        ).stdout

    def test_neighbours_come_before_installed_packages_in_a_worker_and_while_a_job_is_loaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed = tmp_path / "site-packages"
        installed.mkdir()
        monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
        for folder in (tmp_path, installed):
            for name in ("neighbour_early", "neighbour_late", "neighbour_last"):
                (folder / f"{name}.py").write_text(f"PLACE = {folder.name!r}\n")
        (tmp_path / "j.py").write_text(
            "from importlib import import_module\n"
            "from neighbour_early import PLACE\n"
            "def f(name): return import_module(name).PLACE if name else PLACE\n"
        )
        for _ in range(2):
            job = load_job("j.py:f", folder=tmp_path)
            assert job("") == tmp_path.name
            assert sys.path[-2:] == [str(installed), str(tmp_path)]
        assert job("neighbour_late") == "site-packages", (
            "the program's own libraries go before what stands beside a job"
        )
        del sys.modules[job.function.__module__]
        assert load_reference(job.reference)("neighbour_last") == tmp_path.name
        assert sys.path.count(str(tmp_path)) == 1

    @pytest.mark.parametrize("raised", ["raise KeyboardInterrupt", "import neighbour_interrupted"])
    def test_keyboard_interrupt_that_a_file_raises_itself_is_told_with_its_line(
        self, tmp_path: Path, raised: str
    ) -> None:
        (tmp_path / "neighbour_interrupted.py").write_text("raise KeyboardInterrupt('mine')\n")
        (tmp_path / "j.py").write_text(f"def f(x): ...\n{raised}\n")
        assert refusal("j.py:f", tmp_path).startswith(f"{tmp_path}/j.py:2: importing it raised KeyboardInterrupt")

    def test_ctrl_c_while_a_file_is_loaded_is_no_error_of_it(self, tmp_path: Path) -> None:
        (tmp_path / "j.py").write_text(
            "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n    print()\nfinally:\n    done = 1\n"
        )
        with ctrl_c_raises(), pytest.raises(KeyboardInterrupt):
            load_job("j.py:f", folder=tmp_path)

    def test_a_file_that_changed_is_executed_anew_at_once(self, scrape: Path, tmp_path: Path) -> None:
        for value in (1, 2, 3):  # within one second, in files of the same size
            scrape.write_text(f"def f(x): return {value}\n")
            assert load_job("scrape.py:f", folder=tmp_path)(0) == value
        assert not (tmp_path / "__pycache__").exists()

    def test_jobs_that_a_file_imports_count_only_if_it_has_none_itself(self, scrape: Path, tmp_path: Path) -> None:
        (tmp_path / "neighbour_jobs.py").write_text(ONE_JOB)
        (tmp_path / "own.py").write_text(
            "from neighbour_jobs import fetch\nfrom tui_runner.jobs.job import job\n@job\ndef mine(x): ...\n"
        )
        (tmp_path / "other.py").write_text("from neighbour_jobs import fetch\nalias = fetch\n")
        assert load_job("own.py", folder=tmp_path).name == "mine"
        assert load_job("other.py", folder=tmp_path).path == f"{tmp_path}/other.py:fetch"


class TestRefusals:
    def test_file_that_shares_only_its_ending_is_not_advised(self, tmp_path: Path) -> None:
        (tmp_path / "raises.py").touch()
        assert refusal("missing.py", tmp_path).endswith("there is no such file; check the path")

    @pytest.mark.parametrize(
        ("hook", "message"),
        [
            ("items", "ok.py: items only makes the items of job ok; run {path}:ok"),
            ("setup", "ok.py: begin is only the setup function of job ok; run {path}:ok"),
            ("teardown", "ok.py: end is only the teardown function of job ok; run {path}:ok"),
        ],
    )
    def test_hook_of_a_job_is_not_a_job(self, tmp_path: Path, hook: str, message: str) -> None:
        path = tmp_path / "ok.py"
        name = {"items": "items", "setup": "begin", "teardown": "end"}[hook]
        path.write_text(f"from tui_runner import job\n@job\ndef ok(x): ...\n@ok.{hook}\ndef {name}(): return [1]\n")
        assert refusal(f"ok.py:{name}", tmp_path).endswith(message.format(path=path))

    def test_no_such_file(self, scrape: Path, tmp_path: Path) -> None:
        assert refusal("scrap.py", tmp_path).endswith(f"there is no such file; did you mean {scrape}?")
        assert "there is no folder" in refusal("no/where.py:f", tmp_path)
        (tmp_path / "shop.duckdb").touch()
        assert refusal("shp.duckdb", tmp_path) == "there is no file or module 'shp.duckdb'; did you mean shop.duckdb?"
        assert refusal("gone.csv", tmp_path).startswith("there is no file or module 'gone.csv'; give file.py")
        assert "it is a folder" in refusal(str(tmp_path), tmp_path)

    def test_a_file_that_is_no_python_is_no_job(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        duckdb.connect(str(tmp_path / "my order.duckdb")).close()
        for text in ("my order.duckdb", "./my order.duckdb:fetch"):
            told = refusal(text, tmp_path)
            assert "it is a DuckDB file, and a job is a Python file; tui-runner open 'my order.duckdb' shows" in told
            assert "tui-runner resume 'my order.duckdb' resumes an unfinished run" in told
        for name, content in (("x.png", b"\x89PNG\r\n\0"), ("x.csv", b"a,b\n1,2 3\n"), ("null.py", b"x = 1\n\0")):
            (tmp_path / name).write_bytes(content)
            assert refusal(name, tmp_path).endswith("; a job is a Python file; name a .py file")
        for name in ("job.py", "job"):
            (tmp_path / name).write_text("def f(:\n")
            assert refusal(name, tmp_path).endswith("; correct that line")

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("x = 1\ndef f(:\n", ":2: it is not valid Python (SyntaxError: "),
            ("if 1:\nx = 2\n", ":2: it is not valid Python (IndentationError: "),
            ("\0", "it is not valid Python (SyntaxError: source code "),
            ("x = '\udcff'", "it is not valid Python (SyntaxError: "),
            ("import os\n1/0\n", ":2: importing it raised ZeroDivisionError: division by zero"),
            ("import no_such_module_x\n", ":1: ModuleNotFoundError: No module named 'no_such_module_x'; install it"),
            ("import os\nos._exit(0)\n", ":2: it ends the program while it is imported (SystemExit: 0)"),
            ("import sys\nsys.exit(3)\n", ":2: it ends the program while it is imported (SystemExit: 3)"),
            ("class E(BaseException): pass\nraise E('\x1b[31m\\n[/foo]')\n", r"E: \x1b[31m [/foo]"),
            ("class E(Exception):\n def __str__(self): raise ValueError\nraise E\n", ":3: importing it raised E"),
            ("def f(): f()\nf()\n", "RecursionError"),
            (
                "from tui_runner.jobs.job import job\n@job(thraeds=1)\ndef f(x): ...\n",
                ":2: @job of f, thraeds: there is no such setting; did you mean threads?",
            ),
            ("x = 1\n", "there is no job in it; write a function and put @job before it"),
            ("def a(x): ...\ndef _b(x): ...\n", "only plain functions: a; put @job before one, or name it: "),
        ],
    )
    def test_a_file_that_gives_no_job(self, source: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "job.py"
        path.write_bytes(source.encode("utf-8", "surrogateescape"))
        assert message in refusal("job.py", tmp_path)
        assert str(path) in refusal("job.py", tmp_path)

    def test_several_jobs_are_listed(self, tmp_path: Path) -> None:
        (tmp_path / "two.py").write_text(ONE_JOB + "\n@job\ndef other(x): ...\n")
        message = refusal("two.py", tmp_path)
        assert "there are 2 jobs in it: fetch, other; name one: " in message
        assert load_job("two.py:other", folder=tmp_path).name == "other"

    def test_names_that_are_no_function(self, scrape: Path, tmp_path: Path) -> None:
        assert "there is no function 'fetsch' in it; did you mean fetch?" in refusal("scrape.py:fetsch", tmp_path)
        assert "NUMBER is not a function; its type is int" in refusal("scrape.py:NUMBER", tmp_path)
        assert "Kind is not a function; its type is type" in refusal("scrape.py:Kind", tmp_path)
        assert "there is no function ''" in refusal("scrape.py:", tmp_path)

    def test_no_such_module_or_sample(self, scrape: Path, tmp_path: Path) -> None:
        assert "there is no module nothing_here" in refusal("nothing_here:f", tmp_path)
        assert "there is no module os.nothing" in refusal("os.nothing:f", tmp_path)
        assert "there is no function 'joyn' in it; did you mean join?" in refusal("posixpath:joyn", tmp_path)
        assert "did you mean scrape.py?" in refusal("scrape", tmp_path)
        assert "is neither a file nor a module" in refusal("a-b:f", tmp_path)

    def test_a_module_named_without_function(self, tmp_path: Path) -> None:
        assert "there is no file or module 'os.path'" in refusal("os.path", tmp_path)

    def test_modules_of_a_failed_load_are_forgotten(self, tmp_path: Path) -> None:
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "__init__.py").write_text("from . import inner\n")
        (tmp_path / "package" / "inner.py").write_text("VALUE = 1\n")
        (tmp_path / "neighbour.py").write_text("import package\n")
        (tmp_path / "j.py").write_text("import neighbour\n1/0\n")
        assert "ZeroDivisionError" in refusal("j.py", tmp_path)
        # Another size: Python takes what it compiled for a file of the same size and second.
        (tmp_path / "package" / "inner.py").write_text("VALUE = 22\n")
        (tmp_path / "j.py").write_text("import neighbour\ndef f(x): return neighbour.package.inner.VALUE\n")
        assert load_job("j.py:f", folder=tmp_path)(0) == 22

    def test_libraries_that_can_be_imported_once_only_survive_a_failed_load(self, tmp_path: Path) -> None:
        (tmp_path / "j.py").write_text("import numpy\n1/0\n")
        program = (
            "from pathlib import Path\nfrom tui_runner.errors import UserError\n"
            "from tui_runner.jobs.loading import load_job\n"
            "try:\n    load_job('j.py')\nexcept UserError as error:\n    print(error)\n"
            "Path('j.py').write_text('import numpy\\ndef f(x): return numpy.array([x]).sum()\\n')\n"
            "print(load_job('j.py:f')(3))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert done.stdout.splitlines()[1:] == ["3"], done.stderr

    def test_a_load_that_fails_leaves_the_earlier_one_in_place(self, scrape: Path, tmp_path: Path) -> None:
        job = load_job("scrape.py", folder=tmp_path)
        scrape.write_text("1/0")
        refusal("scrape.py", tmp_path)
        assert load_reference(job.reference) is job

    @settings(max_examples=20)
    @given(st.text(max_size=30))
    def test_any_text_is_answered_in_one_printable_line(self, text: str) -> None:
        try:
            load_job(text, folder=Path("/nonexistent"))
        except UserError as error:
            assert str(error).isprintable()


class TestModules:
    def test_a_function_in_a_module(self, tmp_path: Path) -> None:
        (tmp_path / "package_of_jobs").mkdir()
        (tmp_path / "package_of_jobs" / "__init__.py").touch()
        (tmp_path / "package_of_jobs" / "jobs.py").write_text(ONE_JOB)
        job = load_job("package_of_jobs.jobs:fetch", folder=tmp_path)
        assert job.path == "package_of_jobs.jobs:fetch"
        assert not job.reference.is_file
        assert load_job("math:sqrt", folder=tmp_path)(9) == 3

    def test_a_module_that_raises(self, tmp_path: Path) -> None:
        (tmp_path / "neighbour_broken.py").write_text("x = 1\nraise ValueError('no')\n")
        message = refusal("neighbour_broken:f", tmp_path)
        assert f"{tmp_path}/neighbour_broken.py:2: importing it raised ValueError: no" in message


class TestWorkers:
    def test_a_worker_finds_the_same_function_and_the_same_classes(self, scrape: Path, tmp_path: Path) -> None:
        job = load_job("scrape.py", folder=tmp_path)
        page = job.function.__globals__["Page"](3)
        for reference in (job.reference, load_job("scrape.py:plain", folder=tmp_path).reference):
            program = (
                "import pickle, sys\nfrom tui_runner.jobs.loading import load_reference\n"
                "job = load_reference(pickle.loads(bytes.fromhex(sys.argv[1])))\n"
                "print(job.path, job(pickle.loads(bytes.fromhex(sys.argv[2]))))"
            )
            page = sys.modules[loading.private_name(scrape)].Page(3)
            sent = [pickle.dumps(part).hex() for part in (reference, page)]
            done = subprocess.run(
                [sys.executable, "-c", program, *sent], env=environment(), capture_output=True, text=True, cwd="/"
            )
            assert done.stdout.strip() == f"{scrape}:{reference.function} Page(number=3)", done.stderr

    def test_in_the_same_process_a_file_is_not_executed_twice(self, scrape: Path, tmp_path: Path) -> None:
        job = load_job("scrape.py", folder=tmp_path)
        assert load_reference(job.reference) is job

    def test_a_module_is_found_again(self) -> None:
        job = load_job("math:sqrt")
        assert load_reference(job.reference)(4) == 2


PLANTED = "raise RuntimeError('executed')\n"


def test_a_job_is_located_without_being_executed(tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text(PLANTED)
    (tmp_path / "link.py").symlink_to("real.py")
    (tmp_path / "package").write_text(PLANTED)
    real = str(tmp_path.resolve() / "real.py")
    assert locate_job("link.py:fetch", folder=tmp_path) == JobPlace(real, True, "fetch")
    assert locate_job("./real.py", folder=tmp_path) == JobPlace(real, True, None)
    assert locate_job("some.module:fetch", folder=tmp_path) == JobPlace("some.module", False, "fetch")
    assert locate_job("package:fetch", folder=tmp_path).is_file, "a file without an ending goes before a module"
    flaky = next(sample.path.resolve() for sample in sample_jobs() if sample.name == "flaky")
    assert locate_job("flaky", folder=tmp_path) == JobPlace(str(flaky), True, None)
    for text in ("gone.py:fetch", "no job", "1.2:fetch"):
        with pytest.raises(UserError):
            locate_job(text, folder=tmp_path)


class TestModuleFiles:
    """Modules that an import would execute, found without importing anything."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        folder = tmp_path.resolve() / "package"
        (folder / "inner" / "spread").mkdir(parents=True)
        for name in ("__init__", "inner/__init__", "inner/jobs", "inner/spread/deep"):
            (folder / f"{name}.py").write_text(PLANTED)
        return folder

    def test_those_of_the_packages_come_first_and_none_is_executed(self, package: Path) -> None:
        path, modules = sys.path[:], set(sys.modules)
        found = module_files("package.inner.jobs", folder=package.parent)
        assert found == [package / "__init__.py", package / "inner/__init__.py", package / "inner/jobs.py"]
        assert (sys.path, set(sys.modules)) == (path, modules)

    def test_a_namespace_package_has_none_of_its_own(self, package: Path) -> None:
        found = module_files("package.inner.spread.deep", folder=package.parent)
        assert found[2:] == [package / "inner/spread/deep.py"]
        (package.parent / "neighbours").mkdir()
        (package.parent / "neighbours" / "one.py").write_text(PLANTED)
        assert module_files("neighbours.one", folder=package.parent) == [package.parent / "neighbours/one.py"]

    def test_located_job_is_the_one_that_would_be_imported(self, tmp_path: Path) -> None:
        for name in ("queue", "httpx"):
            (tmp_path / f"{name}.py").write_text(PLANTED)
        assert module_files("httpx", folder=tmp_path) == [tmp_path.resolve() / "httpx.py"]
        assert module_files("queue", folder=tmp_path) == [Path(queue.__file__).resolve()]

    @pytest.mark.parametrize("name", ["gone", "package.gone", "gone.package", "package.inner.jobs.gone", "sys"])
    def test_there_are_none_if_one_of_them_has_no_file(self, package: Path, name: str) -> None:
        assert module_files(name, folder=package.parent) == []


def test_samples_are_listed_without_being_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text('"""Does good.\n\nMore."""\n' + ONE_JOB)
    (tmp_path / "fails.py").write_text("1/0")
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "_private.py").write_text("")
    monkeypatch.setattr(loading, "bundled", lambda name: tmp_path)
    assert [(sample.name, sample.summary) for sample in sample_jobs()] == [
        ("broken", ""),
        ("fails", ""),
        ("good", "Does good."),
    ]
    (tmp_path / "elsewhere" / "good").mkdir(parents=True)
    assert load_job("good", folder=tmp_path / "elsewhere").path == f"{tmp_path}/good.py:fetch"
    assert "did you mean the sample good?" in refusal("goood", tmp_path / "x")
    assert "one of the samples broken, fails, good" in refusal("zzzzzzz", tmp_path / "x")


def environment() -> dict[str, str]:
    """That of this process, with the package where it is now."""
    return {**os.environ, "PYTHONPATH": str(Path(loading.__file__).parent.parent)}
