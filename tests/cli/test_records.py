"""Output for programs: `--json`, `config`, `completion`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.errors import add_errors

from tui_runner.cli.effective_settings import print_settings
from tui_runner.cli.query import run_query
from tui_runner.cli.reports import print_errors, print_runs
from tui_runner.cli.scaffold import list_samples
from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.query.errors import QueryError
from tui_runner.store.records import RunRecord
from tui_runner.tui.preferences import State, state_file


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "books.duckdb"
    with Database.open(path) as opened:
        cursor = opened.cursor()
        Ledger(cursor).begin_run(
            RunRecord(
                run_id=0,
                job="books",
                job_path="/x.py:books",
                table_name="books",
                input="range:0:3",
                params={},
                settings={},
                state="finished",
                items_total=3,
                started_at=None,
                ended_at=None,
                host="h",
                version="0",
            )
        )
        cursor.execute(
            "INSERT INTO runner.items (run_id, item, chunk, key, state, attempts, rows, seconds, finished_at)"
            " SELECT 1, range, 0, 'k' || range, if(range = 1, 'failed', 'ok'), 2, 1, 0.5, now() FROM range(3)"
        )
        add_errors(
            cursor,
            "SELECT 1, range, 0, 1, 'ValueError', 'page ' || range || chr(127), 'tb', now(),"
            " range = 1, 'page N', 'x' || range FROM range(3)",
        )
    return path


def records(out: io.StringIO) -> list[dict[str, object]]:
    assert "\x7f" not in out.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_runs_and_errors_are_written_as_json(database: Path) -> None:
    out = io.StringIO()
    assert print_runs(database, out, as_json=True) == 0
    [run] = records(out)
    assert {"run_id": 1, "items_done": 2, "items_failed": 1, "retries": 3, "state": "finished"}.items() <= run.items()
    out = io.StringIO()
    assert print_errors(database, 1, 20, out, as_json=True) == 0
    [group] = records(out)
    assert (group["items_failed"], group["attempts"], group["recovered"], group["message"]) == (1, 3, 2, "page N")
    assert "newest_traceback" not in group


def test_samples_are_written_as_json() -> None:
    out = io.StringIO()
    assert list_samples(out, as_json=True) == 0
    assert {"flaky", "tables"} <= {each["sample"] for each in records(out)}


def test_every_setting_is_shown_with_the_place_that_gives_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tui-runner]\nthreads = 5\nretries = 9\ntheme = "day"\n')
    (tmp_path / "j.py").write_text("from tui_runner import job\n@job(threads=3, timeout=7)\ndef f(n): ...\n")
    out = io.StringIO()
    print_settings(str(tmp_path / "j.py"), tmp_path, {"TUI_RUNNER_RETRIES": "4"}, out, as_json=True)
    found = {row["setting"]: (row["value"], row["origin"]) for row in records(out)}
    place = f"{tmp_path}/pyproject.toml [tool.tui-runner]"
    assert found["threads"] == (5, place)
    assert found["retries"] == (4, "environment variable TUI_RUNNER_RETRIES")
    assert found["timeout"] == (7.0, "@job(timeout=…)") and found["workers"] == (1, "default")
    assert found["database"] == (
        f"{tmp_path}/f.duckdb",
        "name of the job, in the current folder; --db FILE names another",
    )
    assert found["table"] == ("f", "name of the job")
    out = io.StringIO()
    print_settings(None, tmp_path, {}, out, as_json=False)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["rate", "none", "default"] in lines and ["chunk_size", "automatic", "default"] in lines
    assert not any(line[0] == "database" for line in lines)


def test_settings_of_the_screens_are_listed_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))

    def rows(**environ: str) -> dict[str, tuple[object, object, object]]:
        out = io.StringIO()
        print_settings(None, tmp_path, environ, out, as_json=True)
        return {row["setting"]: (row["value"], row["unit"], row["origin"]) for row in records(out)}

    found = rows()
    assert found["theme"] == ("night", "", "default") and found["notify"][::2] == (True, "default")
    assert found["keys.map"] == ("m", "", "default") and len(found) > 100
    State(state_file()).remember_theme("day")
    assert rows()["theme"] == ("day", "", str(state_file()))
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tui-runner]\ntheme = "gone\\u007f"\nnotify = false\n[tool.tui-runner.keys]\nmap = ["f8", "z"]\n'
    )
    place = f"{tmp_path}/pyproject.toml [tool.tui-runner]"
    found = rows()
    assert found["theme"] == ("night", "because there is no theme 'gone\\x7f'", place)
    assert found["notify"][::2] == (False, place) and found["keys.map"] == ("f8,z", "", place)
    assert rows(TUI_RUNNER_THEME="day")["theme"] == ("day", "", "environment variable TUI_RUNNER_THEME")
    out = io.StringIO()
    print_settings(None, tmp_path, {}, out, as_json=False)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["keys.map", "f8,z", "pyproject.toml"] in lines and lines[-1][0] == "keys" and lines[-1][-1] == "default"


def test_settings_fit_into_eighty_columns_with_their_origins(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 60)
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.tui-runner]\nretry_budget = '30%'\nretries = 9\n")
    (folder / "j.py").write_text("from tui_runner import job\n@job(threads=3, timeout=7)\ndef f(n): ...\n")
    environ = {"TUI_RUNNER_DELAY": "4", "TUI_RUNNER_MAX_INPUT_BYTES": "100MB", "TUI_RUNNER_ITEM_TEXT": "false"}
    environ |= {"TUI_RUNNER_RATE": "5", "TUI_RUNNER_GRACE": "4", "TUI_RUNNER_PER_HOST": "4"}
    out = io.StringIO()
    print_settings(str(folder / "j.py"), folder, environ, out, as_json=False)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    origins = {line.split()[0]: line.split()[-1] for line in lines}
    assert (origins["threads"], origins["rate"], origins["workers"]) == ("@job", "$TUI_RUNNER_RATE", "default")
    assert origins["retries"] == "pyproject.toml" and "f.duckdb " in lines[0]


def test_every_number_among_the_settings_has_its_unit(tmp_path: Path) -> None:
    values = {"TUI_RUNNER_RATE": "5", "TUI_RUNNER_TIMEOUT": "9", "TUI_RUNNER_MAX_MEMORY": "2GB"}
    values |= {"TUI_RUNNER_PER_HOST": "4", "TUI_RUNNER_MAX_FAILURES": "7", "TUI_RUNNER_CHUNK_SIZE": "10"}
    out = io.StringIO()
    print_settings(None, tmp_path, values | {"TUI_RUNNER_OPEN_CHUNKS": "3"}, out, as_json=True)
    found = records(out)
    numbers = [row for row in found if isinstance(row["value"], int | float) and not isinstance(row["value"], bool)]
    assert [row["setting"] for row in numbers if not row["unit"]] == []
    units = {row["setting"]: row["unit"] for row in found}
    assert units["timeout"] == "seconds that an attempt may take" and units["max_memory"] == "bytes = 2.0 GB"
    out = io.StringIO()
    print_settings(None, tmp_path, {}, out, as_json=False)
    assert "80%" in out.getvalue() and "of this machine = " in out.getvalue()


DECLARED = """
from tui_runner import Secret, job

class Busy(Exception): ...
def may_pass(error): ...
def place(item): ...

@job(host="url", retry_on=(Busy, OSError), frontier=True)
def f(
    url, *, need: str, key: int = 5, note: str = "a\\x1bb", token: Secret = "abcdefgh", by: "Secret | None" = None
): ...

@f.items
def urls(*, base: str = "https://me:hush@host/"): ...

@job(host=place, retry_on=may_pass)
def g(url): ...

@job
def h(url, *, need_this_many_pages_of_each_site: list[int], token: Secret, long: str = "x" * 90): ...
"""


def shown_settings(folder: Path, function: str, **environ: str) -> tuple[dict[str, tuple[object, str, str]], list[str]]:
    """Return the rows of `config` as JSON, by name, and the lines that it writes for users."""
    (folder / "j.py").write_text(DECLARED)
    outs = io.StringIO(), io.StringIO()
    for out, as_json in zip(outs, (True, False), strict=True):
        print_settings(f"{folder}/j.py:{function}", folder, environ, out, as_json=as_json)
    found = {str(row["setting"]): (row["value"], str(row["unit"]), str(row["origin"])) for row in records(outs[0])}
    lines = outs[1].getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    return found, lines


def test_settings_that_only_the_decorator_gives_are_shown_with_a_job(tmp_path: Path) -> None:
    found, lines = shown_settings(tmp_path, "f")
    assert found["host"] == ("url", "gives the host of an item", "@job(host=…)")
    assert found["retry_on"] == ("Busy, OSError", "errors that are retried too", "@job(retry_on=…)")
    assert found["frontier"] == (True, "items may add items", "@job(frontier=…)")
    assert ["frontier", "True", "items", "may", "add", "items", "@job"] in [line.split() for line in lines]
    found, _ = shown_settings(tmp_path, "g")
    assert (found["host"][0], found["retry_on"][0]) == ("place()", "may_pass()")
    found, _ = shown_settings(tmp_path, "h")
    assert found["host"] == found["retry_on"] == (None, "", "default")
    assert found["frontier"] == (False, "items may add items", "default")


def test_parameters_of_a_job_are_shown_with_the_place_of_their_values(tmp_path: Path) -> None:
    found, lines = shown_settings(tmp_path, "f", TUI_RUNNER_SET_KEY="0x9")
    assert found["set.key"] == ("9", "int", "environment variable TUI_RUNNER_SET_KEY")
    assert found["set.need"] == (None, "str", "not given")
    assert found["set.by"] == ("none", "Secret or none", "default of the function")
    assert found["set.base"][0] == "https://***@host/"
    columns = [line.split() for line in lines]
    assert ["set.key", "9", "int", "$TUI_RUNNER_SET_KEY"] in columns
    assert ["set.need", "needed", "str", "not", "given"] in columns
    assert ["set.note", "a␛b", "str", "default"] in columns
    assert shown_settings(tmp_path, "f", TUI_RUNNER_SET_NEED="")[0]["set.need"][0] == ""
    with pytest.raises(UserError, match="parameter key: 'many' is not a whole number"):
        shown_settings(tmp_path, "f", TUI_RUNNER_SET_KEY="many")


def test_a_secret_is_never_readable_among_the_settings(tmp_path: Path) -> None:
    found, lines = shown_settings(tmp_path, "f", TUI_RUNNER_SET_BY="ijklmnop")
    assert found["set.token"] == ("***", "Secret", "default of the function")
    assert found["set.by"] == ("***", "Secret or none", "environment variable TUI_RUNNER_SET_BY")
    assert not any(secret in f"{found}{lines}" for secret in ("abcdefgh", "ijklmnop", "hush"))
    # While the job is loaded, its parameters are unknown: any of the values may be a secret that it puts into an error.
    (tmp_path / "bad.py").write_text("import os\nraise ValueError(os.environ['HOME'], 'ijklmnop')\n")
    with pytest.raises(UserError) as caught:
        print_settings(f"{tmp_path}/bad.py", tmp_path, {"TUI_RUNNER_SET_BY": "ijklmnop"}, io.StringIO(), as_json=False)
    assert "ValueError" in str(caught.value) and "ijklmnop" not in str(caught.value)


def test_long_names_and_values_of_parameters_are_cut_to_eighty_columns(tmp_path: Path) -> None:
    variable = "TUI_RUNNER_SET_NEED_THIS_MANY_PAGES_OF_EACH_SITE"
    found, lines = shown_settings(tmp_path, "h", TUI_RUNNER_SET_TOKEN="abcdefgh", **{variable: "1," * 60 + "2"})
    assert found["set.long"][0] == "x" * 90 and found["set.need_this_many_pages_of_each_site"][2].endswith(variable)
    [line] = [line for line in lines if line.startswith("set.need_this_many_page…  [1, 1, 1")]
    assert line.endswith("  $TUI_RUNNER_SET_NEED_THIS_MAN…")
    assert any(line.startswith("set.long") and line.endswith("…  default") for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui_runner", "completion", shell], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "_TUI_RUNNER_COMPLETE" in done.stdout and "tui-runner" in done.stdout


def test_a_shell_that_asks_gets_commands() -> None:
    asked = {"_TUI_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": "tui-runner re", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tui_runner"], env=os.environ | asked, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and {"resume", "retry"} <= set(done.stdout.split())


def test_an_unknown_shell_is_refused_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui_runner", "completion", "tcsh"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "the shells are bash, zsh, fish" in done.stderr


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("SELECT item,\n  prise\nFROM runner.items", "line 2, column 3: "),
        ("SELECT 1; SELEC 2", "statement 2, line 1, column 11: "),
        ("SELECT 1;\n\nSELECT 2,\n x", "statement 2, line 4, column 2: "),
    ],
)
def test_a_mistake_in_a_statement_says_where_it_is(database: Path, sql: str, place: str) -> None:
    with pytest.raises(QueryError) as caught:
        run_query(database, sql, io.StringIO(), format="csv")
    assert str(caught.value).startswith(place)
