"""From what was asked for to a plan, and from a ledger back to what was asked for."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from tui_runner.engine.planning.request import PROGRAM_INPUT, RunPlan, RunRequest, assignments, plan_job, plan_run
from tui_runner.engine.planning.resume import resume_request
from tui_runner.errors import DatabaseError, UserError
from tui_runner.inputs import items_source
from tui_runner.jobs.job import Job
from tui_runner.jobs.parameters import Secret, jsonable
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import RunRecord

SQUARES = """
    from tui_runner import job

    @job(chunk_size=7, timeout=30)
    def squares(number, *, power: int = 2):
        return {"power": number**power}

    @squares.items
    def numbers(*, last: int = 5):
        return range(last)
"""


@pytest.fixture
def squares(job_file: Callable[..., str]) -> str:
    """A job with items and parameters."""
    return job_file(SQUARES, "squares.py")


def plan(folder: Path, job: str, **request: Any) -> RunPlan:
    return plan_run(RunRequest(job=job, **request), folder=folder, environ={})


def begun(path: Path, of: RunPlan, **changes: Any) -> int:
    """Put a run into a ledger, as if `of` had started it there."""
    record = RunRecord(
        run_id=0,
        job=of.job.name,
        job_path=of.job.path,
        table_name=of.table,
        input=of.source.text,
        params=dict(of.stored_params),
        settings=asdict(of.settings),
        state="stopped",
        items_total=None,
        started_at=datetime.now(UTC),
        ended_at=None,
        host="here",
        version="1",
    )
    with Database.open(path) as database:
        return Ledger(database.cursor()).begin_run(replace(record, **changes))


def test_a_plan_has_everything_settled(tmp_path: Path, squares: str) -> None:
    made = plan(tmp_path, squares, params={"power": "3"}, settings={"threads": "4"}, limit=2)
    assert made.params == {"power": 3, "last": 5}
    assert (made.settings.threads, made.settings.chunk_size, made.settings.timeout) == (4, 7, 30.0)
    assert (made.table, made.database, made.limit) == ("squares", tmp_path / "squares.duckdb", 2)
    assert list(made.source) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("texts", "params"),
    [
        ([], {}),
        (["a=1", "b=x=y", " c = d"], {"a": "1", "b": "x=y", "c": " d"}),
        (["a="], {"a": ""}),
    ],
)
def test_assignments_are_key_and_value(texts: list[str], params: dict[str, object]) -> None:
    assert assignments(texts) == params


def test_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="--set a: it is given twice; leave one of them out"):
        assignments(["a=1", "b=2", "a =1"])


def test_path_of_the_command_line_can_be_sent_to_a_worker(tmp_path: Path, job_file: Callable[..., str]) -> None:
    job = """
        from pathlib import Path
        from tui_runner import job

        @job
        def look(n: int, *, root: Path):
            return {"n": n}
    """
    made = plan(tmp_path, job_file(job), params=assignments(["root=d"]), input="range:0:3")
    assert pickle.loads(pickle.dumps(made.params)) == {"root": Path("d")}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"new": True, "resume": True}, "--new and --resume exclude each other"),
        ({"limit": -1}, "--limit: -1 is not a whole number"),
        ({"resume": True}, "there is nothing to resume"),
        ({"settings": {"backend": "spark:x"}}, "a backend; backends are process, inline, dask:ADDRESS"),
        ({"settings": {"table": "__tui_runner_x"}}, "tui-runner's own"),
        ({"database": Path("\udcff.duckdb")}, "not UTF-8"),
        ({"params": {"powr": "1"}}, "did you mean power?"),
        ({"settings": {"thread": 1}}, "did you mean threads?"),
        ({"input": "nothing.csv"}, "there is no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_mistake_is_found_before_anything_is_written(
    tmp_path: Path, squares: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, squares, **request_)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["squares.py"]


def test_contradicting_options_are_found_before_the_job_is_loaded(tmp_path: Path, job_file: Callable[..., str]) -> None:
    path = job_file("from pathlib import Path\nPath('loaded').touch()\n")
    with pytest.raises(UserError, match="exclude"):
        plan(tmp_path, path, new=True, resume=True)
    assert not (tmp_path / "loaded").exists()


def test_all_columns_are_read_since_an_item_is_known_by_them(tmp_path: Path, job_file: Callable[..., str]) -> None:
    (tmp_path / "in.csv").write_text("url,title,size\na,b,1\n")
    path = job_file("def fetch(url, size): return None")
    assert list(plan(tmp_path, f"{path}:fetch", input="in.csv").source) == [{"url": "a", "title": "b", "size": 1}]


class TestWhereAnInputIs:
    """The ledger must name it so that it can be found from anywhere."""

    @pytest.fixture
    def line(self, job_file: Callable[..., str]) -> str:
        return job_file("def line(text): return {'text': text}", "line.py") + ":line"

    @pytest.mark.parametrize("text", ["in.txt", "./in.txt", "*.txt", "i[n].txt"])
    def test_files_and_globs_have_their_full_path(self, tmp_path: Path, line: str, text: str) -> None:
        folder = tmp_path / "with [brackets]"
        folder.mkdir()
        (folder / "in.txt").write_text("a\nb\n")
        stored = plan(folder, line, input=text).source.text
        assert stored is not None
        elsewhere = plan(tmp_path, line, input=stored)
        assert elsewhere.source.text == stored
        assert list(elsewhere.source) == ["a", "b"]

    def test_a_name_that_looks_like_a_glob_is_that_file_if_there_is_one(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "in[1].txt").write_text("a\n")
        assert plan(tmp_path, line, input="in[1].txt").source.text == str(tmp_path / "in[1].txt")

    @pytest.mark.parametrize("text", ["range:0:3", "sql:SELECT 1", "-"])
    def test_sources_that_are_no_files_stay_as_they_are(self, tmp_path: Path, line: str, text: str) -> None:
        assert plan(tmp_path, line, input=text).source.text == text


class TestResume:
    def test_a_run_is_asked_for_again_as_it_was_begun(
        self, tmp_path: Path, squares: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = plan(
            tmp_path, squares, params={"power": "3"}, settings={"timeout": "none", "threads": "4"}, limit=2,
            database=Path("x.duckdb"),
        )  # fmt: skip
        begun(first.database, first)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        again = plan_run(resume_request(Path("../x.duckdb"), None), folder=elsewhere, environ={})
        assert again.settings == replace(first.settings, table="squares")  # the job's own timeout does not come back
        assert (again.params, again.limit, again.run_id) == (first.params, 2, 1)
        assert again.database.samefile(first.database)
        assert again.stored_params == first.stored_params

    def test_a_resumed_run_keeps_its_table(self, tmp_path: Path, squares: str) -> None:
        made = plan(tmp_path, squares)
        begun(made.database, made, table_name="Old")
        assert plan_run(resume_request(made.database, 1), folder=tmp_path, environ={}).table == "Old"

    def test_the_newest_unfinished_run_is_meant(self, tmp_path: Path, squares: str) -> None:
        made = plan(tmp_path, squares)
        for state in ("stopped", "failed", "finished"):
            begun(made.database, made, state=state)
        assert resume_request(made.database, None).run_id == 2
        assert resume_request(made.database, 1).run_id == 1
        assert resume_request(made.database, 1, settings={"threads": 3, "rate": None}).settings["threads"] == 3

    @pytest.mark.parametrize(
        ("changes", "run", "message"),
        [
            ({"state": "finished"}, None, "every run in it is finished"),
            ({"state": "finished"}, 1, "run 1 is finished"),
            ({}, 7, r"squares.duckdb: there is no run 7; its only run is 1$"),
            ({"input": "-"}, None, "standard input, which cannot be read again; run the same pipe again"),
            ({"input": PROGRAM_INPUT}, None, "run that program again"),
            (
                {"settings": {"folder": "/no/such/folder"}},
                None,
                "/no/such/folder, in which it was begun, no longer exists",
            ),
        ],
    )
    def test_run_that_cannot_be_resumed_says_why(
        self, tmp_path: Path, squares: str, changes: dict[str, Any], run: int | None, message: str
    ) -> None:
        made = plan(tmp_path, squares)
        begun(made.database, made, **changes)
        with pytest.raises(UserError, match=message):
            resume_request(made.database, run)

    def test_paths_of_the_command_for_a_pipe_are_those_from_the_current_folder(
        self, tmp_path: Path, squares: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        made = plan(tmp_path, squares)
        begun(made.database, made, input="-")
        job = Path(made.job.path).relative_to(tmp_path)
        with pytest.raises(UserError) as found:
            resume_request(made.database, None)
        assert f"tui-runner run {job} --input - --db {made.database.name} " in found.value.do

    def test_without_a_database_nothing_is_made(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseError, match="no such database"):
            resume_request(tmp_path / "x.duckdb", None)
        assert list(tmp_path.iterdir()) == []

    def test_settings_of_another_version_do_not_matter(self, tmp_path: Path, squares: str) -> None:
        made = plan(tmp_path, squares)
        begun(made.database, made, settings={"threads": 3, "turbo": True, "limit": "x"})
        request = resume_request(made.database, None)
        assert request.limit is None
        assert plan_run(request, folder=tmp_path, environ={}).settings.threads == 3


class TestSecrets:
    JOB = """
        from tui_runner import Secret, job

        @job
        def fetch(url, *, token: Secret, base: str = "x"):
            return None

        @fetch.items
        def urls():
            return ["a"]
    """

    @pytest.fixture
    def database(self, tmp_path: Path, job_file: Callable[..., str]) -> Path:
        made = plan(tmp_path, job_file(self.JOB), params={"token": "geheim"})
        assert "geheim" not in json.dumps(asdict(made.settings)) + json.dumps(made.stored_params)
        begun(made.database, made)
        return made.database

    def test_secrets_of_a_resumed_run_are_given_again(self, tmp_path: Path, database: Path) -> None:
        request = resume_request(database, None, {"token": "geheim"})
        assert plan_run(request, folder=tmp_path, environ={}).params["token"] == "geheim"

    def test_without_them_the_message_says_how(self, tmp_path: Path, database: Path) -> None:
        with pytest.raises(UserError, match="give it as --set token=@FILE"):
            plan_run(resume_request(database, None), folder=tmp_path, environ={})

    def test_a_new_run_says_how_to_keep_secrets_off_the_command_line(self, tmp_path: Path, database: Path) -> None:
        with pytest.raises(UserError, match=r"give it as --set token=@FILE or in TUI_RUNNER_SET_TOKEN$"):
            plan(tmp_path, str(resume_request(database, None).job))

    def test_no_other_parameter_of_a_run_can_be_changed(self, database: Path) -> None:
        for name, said in {
            "base": r"--set base: run 1 was begun with 'x', which cannot be changed; .* run JOB --set base=…",
            "tokn": r"--set tokn: run 1 was begun without a secret of this name; did you mean token\?",
        }.items():
            with pytest.raises(UserError, match=said):
                resume_request(database, None, {"token": "t", name: "y"})


class Colour(Enum):
    RED = "r"
    BLUE = 2


def everything(
    item: object,
    *,
    path: Path | None = None,
    plain=None,
    number: int | None = None,
    wrong: int = None,  # type: ignore[assignment]  # noqa: RUF013 - people write that
    nan: float = float("nan"),
    colour: Colour = Colour.RED,
    days: list[date] = [],  # noqa: B006 - it is never changed
    price: Decimal = Decimal("1.50"),
    pause: timedelta = timedelta(seconds=2),
    names: dict[str, Path] = {},  # noqa: B006 - likewise
    blob: bytes = b"\xff",
    choice: object = os.sep,
) -> None: ...


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"path": "a/b", "number": "none", "wrong": "3", "colour": "blue", "days": "2026-01-31,2026-02-01"},
        {"price": "2.5", "pause": "0.25", "names": '{"a": "b/c"}', "nan": "inf", "plain": "text", "choice": "[1]"},
    ],
    ids=["defaults", "texts", "more texts"],
)
def test_parameters_come_back_from_the_ledger_as_they_were(tmp_path: Path, given: dict[str, object]) -> None:
    job = Job(everything)
    first = plan_job(job, RunRequest("", given), folder=tmp_path, environ={}, source=items_source([1]))
    stored = json.loads(json.dumps(jsonable(first.params)), parse_constant=str)
    request = RunRequest("", stored, run_id=1)
    again = plan_job(job, request, folder=tmp_path, environ={}, source=items_source([1]))
    assert repr(again.params) == repr(first.params)  # since NaN is not equal to itself


def hidden(
    item: object,
    *,
    token: Secret = Secret("default"),  # noqa: B008 - it is never changed
    base: str = "https://example.org",
) -> None:
    """A job whose secret need not be given."""


def replanned(tmp_path: Path, given: dict[str, object], environ: dict[str, str] | None = None) -> RunPlan:
    """Return the plan for resuming a run of `hidden` with these parameters."""
    first = plan_job(Job(hidden), RunRequest("", given), folder=tmp_path, environ={}, source=items_source([1]))
    stored = json.loads(json.dumps(first.stored_params))
    assert "sesame" not in str(stored)
    request = RunRequest("", stored, run_id=1)
    return plan_job(Job(hidden), request, folder=tmp_path, environ=environ or {}, source=items_source([1]))


def test_a_secret_with_a_default_has_it_again(tmp_path: Path) -> None:
    assert replanned(tmp_path, {}).params == {"token": "default", "base": "https://example.org"}


def test_a_secret_that_was_given_does_not_silently_become_the_default(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        replanned(tmp_path, {"token": "sesame"})
    assert str(caught.value) == (
        "the job needs the parameter token, which the database does not keep because it is secret; "
        "give it as --set token=@FILE or in TUI_RUNNER_SET_TOKEN"
    )
    assert replanned(tmp_path, {"token": "sesame"}, {"TUI_RUNNER_SET_TOKEN": "sesame"}).params["token"] == "sesame"


def test_a_password_in_a_url_is_a_secret_too(tmp_path: Path) -> None:
    given = {"base": "https://ann:sesame@example.org"}
    with pytest.raises(UserError, match=r"give it as --set base=@FILE or in TUI_RUNNER_SET_BASE$"):
        replanned(tmp_path, given)
    assert replanned(tmp_path, given, {"TUI_RUNNER_SET_BASE": given["base"]}).params["base"] == given["base"]


def test_the_environment_gives_parameters_but_changes_none_of_a_run(tmp_path: Path) -> None:
    environ = {"TUI_RUNNER_SET_BASE": "https://other.example", "TUI_RUNNER_SET_X": "1"}
    new = plan_job(Job(hidden), RunRequest(""), folder=tmp_path, environ=environ, source=items_source([1]))
    assert new.params["base"] == "https://other.example"
    assert replanned(tmp_path, {}, environ).params["base"] == "https://example.org"
    stated = RunRequest("", {"base": "https://said.example"})
    said = plan_job(Job(hidden), stated, folder=tmp_path, environ=environ, source=items_source([1]))
    assert said.params["base"] == "https://said.example"


def test_a_user_at_the_terminal_is_asked_for_secrets_only(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return "sesame"

    request = RunRequest("", {"token": "***", "base": "https://example.org"}, run_id=1)
    made = plan_job(Job(hidden), request, folder=tmp_path, environ={}, source=items_source([1]), ask=ask)
    assert made.params["token"] == "sesame"
    assert asked == ["token"]

    def needs(item: object, *, name: str) -> None: ...

    with pytest.raises(UserError, match=r"needs the parameter name; give --set name=…$"):
        plan_job(Job(needs), RunRequest(""), folder=tmp_path, environ={}, source=items_source([1]), ask=ask)


PAGES = """
    from tui_runner import Secret, job

    @job
    def pages(number, *, power: int = 2, both: int):
        return number

    @pages.items
    def numbers(*, last: int, key: Secret, both: int = 1):
        return range(last)
"""


def test_parameters_of_the_items_alone_have_no_place_beside_an_input(
    tmp_path: Path, job_file: Callable[..., str]
) -> None:
    job = job_file(PAGES, "pages.py")
    for name in ("last", "key"):
        with pytest.raises(UserError, match=f"--set {name}: only the job's own items use this parameter"):
            plan(tmp_path, job, input="range:0:3", params={name: "5"})
    made = plan(tmp_path, job, input="range:0:3", params={"power": "3"})
    assert made.params == made.stored_params == {"power": 3, "both": 1}, "nor are they required"
    with pytest.raises(UserError, match="only the job's own items use this parameter"):
        plan_job(
            made.job, RunRequest(job, params={"last": 5}), folder=tmp_path, environ={}, source=items_source(range(3))
        )


def test_a_run_with_an_input_is_resumed_whatever_was_kept_of_its_items(
    tmp_path: Path, job_file: Callable[..., str]
) -> None:
    job = job_file(PAGES, "pages.py")
    made = plan(tmp_path, job, input="range:0:3")
    database = tmp_path / "pages.duckdb"
    begun(database, made, params={**made.stored_params, "last": 5, "key": "***"})
    again = plan_run(resume_request(database, None), folder=tmp_path, environ={})
    assert again.params == made.params


def test_a_job_that_no_worker_can_load_is_refused(tmp_path: Path) -> None:
    def inner(item: object) -> None: ...

    with pytest.raises(UserError, match="top level"):
        plan_job(Job(inner), RunRequest(""), folder=tmp_path, environ={}, source=items_source([1]))


def test_items_of_a_program_are_known_as_such(tmp_path: Path) -> None:
    made = plan_job(Job(everything), RunRequest(""), folder=tmp_path, environ={}, source=items_source([1, 2]))
    assert made.source.text == PROGRAM_INPUT
    assert list(made.source) == [1, 2]
