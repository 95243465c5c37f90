"""The right side of the launcher: the form beside the list, what is kept of it, and what resuming would use."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.pilots import driven
from support.screens import JOB, field, ready, screen_text
from textual.app import App
from textual.events import Key
from textual.geometry import Offset
from textual.widgets import Input

from tui_runner.engine.planning.request import RunRequest
from tui_runner.jobs.loading import load_job
from tui_runner.store.database import Database
from tui_runner.tui import launcher as launcher_module
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.launcher import Launcher, Starters
from tui_runner.tui.launcher.discovery import (
    FoundDatabase,
    FoundJob,
    FoundRun,
    find_databases,
    functions_in,
    jobs_in,
)
from tui_runner.tui.launcher.fields import Defaults, fields_found, fields_of
from tui_runner.tui.launcher.job_form import JobForm
from tui_runner.tui.launcher.rows import Samples, row_name
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows

SHOP = '''
from typing import Annotated
from tui_runner import Secret, job
from tui_runner.jobs.settings import Settings

@job(threads=3, max_failures=Settings().max_failures)
def books(page: int, *, base: str, unit: Annotated[str, "of the price"] = "EUR", token: Secret | None = None) -> dict:
    """One page of the catalogue:
    a row for each book.

    More about it.

    Args:
        base: where it begins
    """
    return {"page": page, "address": base, "unit": unit}

@books.setup
def begin(*, pool: int = 4): ...

@books.items
def pages(*, last: int = 5): return range(last)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    return folder


def beside(app: Launcher) -> list[str]:
    """Return the text at the right."""
    return ["".join(text for text, _ in each.line) for each in app.query_one("#about", Rows).rows]


def facts(app: Launcher) -> dict[str, str]:
    """Return the names and values in the text at the right."""
    return {line[:17].strip(" *"): line[17:].strip() for line in beside(app) if line[17:].strip()}


def names(app: Launcher) -> list[str]:
    """Return the names of jobs, runs and databases in the list."""
    kinds = {FoundJob: lambda row: row.name, FoundRun: lambda row: "run", FoundDatabase: lambda row: row.path.name}
    return [kinds[type(row)](row) for row in app.query_one("#found", Rows).rows if type(row) in kinds]


def test_the_source_of_a_job_says_what_its_form_has(folder: Path) -> None:
    [found] = jobs_in(folder / "shop.py", "in this folder")
    assert [(each.name, each.kind, each.default, each.help) for each in found.parameters] == [
        ("base", "str", None, "where it begins"),
        ("unit", "str", "EUR", "of the price"),
        ("token", "Secret | None", "none", ""),
        ("pool", "int", "4", ""),
        ("last", "int", "5", ""),
    ]
    assert [each.name for each in found.parameters if each.secret] == ["token"]
    assert [each.name for each in found.parameters if each.of_items] == ["last"]
    assert found.makes_items == "pages" and found.returns == "dict" and found.item == ("page",)
    assert found.settings == {"threads": 3}  # an expression has no value before it is executed


SECRETS = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated, Optional
import tui_runner as runner
import tui_runner
from tui_runner import Secret as S, job
if TYPE_CHECKING:
    from tui_runner import Secret

Token = S | None
Key = Token
class Mine(S): ...
KEPT: str = S("hushhush")

@job
def ask(
    n: int, *, {parameter}, empty: S = "", none: S | None = None, title: str = "Top Secret", host: str = "http://a:pw@b"
): ...
"""
SECRET_PARAMETERS = [
    'token: Secret = "hushhush"',
    'token: Secret | None = "hushhush"',
    'token: "Optional[Secret]" = "hushhush"',
    'token: tui_runner.Secret = "hushhush"',
    'token: runner.Secret = "hushhush"',
    'token: S = "hushhush"',
    'token: "S" = "hushhush"',
    'token: Optional[S] = "hushhush"',
    'token: Annotated[S | None, "a hint"] = "hushhush"',
    'token: list[S] = ("hushhush",)',
    'token: Key = "hushhush"',
    'token: Mine = "hushhush"',
    'token=S("hushhush")',
    'token=tui_runner.Secret("hushhush")',
    "token=KEPT",
]


@pytest.mark.parametrize("parameter", SECRET_PARAMETERS)
def test_the_source_of_a_job_shows_the_default_of_a_secret_as_the_loaded_job_does(
    tmp_path: Path, parameter: str
) -> None:
    (tmp_path / "ask.py").write_text(SECRETS.replace("{parameter}", parameter))
    [found] = jobs_in(tmp_path / "ask.py", "in this folder")
    assert "hushhush" not in repr(found)
    shown = {each.name: (each.default, each.secret) for each in found.parameters}
    loaded = load_job(f"{tmp_path}/ask.py", folder=tmp_path)
    assert shown == {each.name: (each.default_text, each.is_secret) for each in loaded.parameters}
    assert shown["token"] == ("***", True) and shown["title"] == ("Top Secret", False)
    assert shown["host"] == ("http://***@b", False) and (shown["empty"], shown["none"]) == (("", True), ("none", True))


def test_a_secret_of_a_setup_function_is_a_secret_of_the_job_in_its_source(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(
        "from tui_runner import Secret, job\n@job\ndef ask(n, *, token='hushhush'): ...\n"
        "@ask.setup\ndef begin(token: Secret = 'hushhush'): ...\n"
    )
    [found] = jobs_in(tmp_path / "ask.py", "in this folder")
    assert [(each.default, each.secret) for each in found.parameters] == [("***", True)]


def test_a_plain_function_with_a_secret_of_another_module_is_listed_without_it(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text("from mine import Secret as S\ndef ask(n, *, token: S = 'hushhush'): ...\n")
    [found] = functions_in(tmp_path / "ask.py", "functions in this folder")
    assert [(each.default, each.secret) for each in found.parameters] == [("***", True)]


ENUMERATIONS = """
import enum
from tui_runner import job
class Size(enum.Enum):
    _order_ = "SMALL LARGE"
    SMALL = "s"
    LARGE = "l"
class Level(enum.IntEnum):
    ONE = 1

@job
def ask(
    n: int, *, size: Size = Size.LARGE, most: Size | None = None, sizes: list[Size] = (), level: Level = Level.ONE,
    name: str = "Size.LARGE"
): ...
@ask.items
def items(first: Size = Size.SMALL): return []
"""


def test_the_source_of_a_job_has_the_choices_of_its_enumerations_as_the_form_has_them(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(ENUMERATIONS)
    [found] = jobs_in(tmp_path / "ask.py", "in this folder")
    loaded = load_job(f"{tmp_path}/ask.py", folder=tmp_path)
    defaults = Defaults(tmp_path, {})
    before = {each.name: (each.unset, each.remark) for each in fields_found(found, defaults)}
    after = {each.name: (each.unset, each.remark) for each in fields_of(loaded, defaults)}
    assert before["size"] == ("LARGE", "one of: SMALL, LARGE") == after["size"]
    for name in ("most", "level", "first", "name"):
        assert before[name] == after[name]


async def test_the_default_of_a_secret_is_readable_neither_beside_the_list_nor_in_the_form(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "shop.py").write_text(SHOP.replace("token: Secret | None = None", 'token: Secret = "hushhush"'))
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert facts(app)["token"] == "***" and "hushhush" not in screen_text(app)
        await pilot.press("enter")
        await ready(pilot)
        assert field(app, "token").placeholder == "(***)" and "hushhush" not in screen_text(app)
        await pilot.press("f2")
        await ready(pilot)
        assert app.clipboard.startswith("tui-runner run shop.py") and "hush" not in app.clipboard


async def test_the_form_stands_beside_the_list_at_once_and_nothing_is_executed(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "shop.py").write_text(f"raise SystemExit\n{SHOP}")
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        shown = screen_text(app)
        assert "One page of the catalogue: a row for each book. More about it." in " ".join(shown.split())
        assert "Args" not in shown and "where it begins" in shown
        assert "shop.py:8 · @job · one call for each page · returns dict" in shown
        assert facts(app)["base"] == "needed" and facts(app)["unit"] == "EUR" and "str · of the price" in shown
        assert facts(app)["input"] == "pages(), the job's own items" and facts(app)["last"] == "5"
        assert facts(app)["threads"].startswith("3") and facts(app)["max_memory"].startswith("80%")


async def test_the_form_looks_the_same_before_and_after_it_is_entered(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)

        def places() -> dict[str, int]:
            lines = [line.rpartition("││")[2] for line in screen_text(app).splitlines()]
            return {line.split()[0].strip("▌"): n for n, line in enumerate(lines) if re.match(r" [ ▌]\w", line)}

        before = places()
        await pilot.press("enter")
        await pilot.pause()
        after = places()
        kept = ["base", "unit", "token", "pool", "input"]
        assert [after[name] for name in kept] == [before[name] for name in kept]


@pytest.mark.slow
async def test_what_was_typed_is_kept_for_each_job_and_used_from_the_list(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "other.py").write_text(JOB)
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 45)) as pilot:
        await ready(pilot)
        assert names(app)[:2] == ["pages", "books"]
        await pilot.press("enter", *"http:p", "escape", "down", "tab", *"http:b", "escape")
        await ready(pilot)
        assert facts(app)["base"] == "http:b"
        await pilot.press("up")
        await ready(pilot)
        assert facts(app)["base"] == "http:p"
        await pilot.press("enter")
        await ready(pilot)
        assert field(app, "base").value == "http:p" and app.focused is field(app, "base")
        await pilot.press("escape", "down", "ctrl+s")
        await pilot.pause()
    assert isinstance(app.return_value, RunRequest) and app.return_value.params == {"base": "http:b"}
    # The launcher that follows the run has it, too.
    again = Launcher(folder, environ, spot=app.spot)
    async with driven(again, size=(120, 45)) as pilot:
        await ready(pilot)
        assert facts(again)["base"] == "http:b"


async def test_a_secret_that_was_typed_is_kept_and_not_shown(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, environ)
    async with driven(app, size=(120, 45)) as pilot:
        await ready(pilot)
        await pilot.press("enter", *"x", "down", "down", *"hush", "escape")
        await ready(pilot)
        assert "hush" not in screen_text(app) and facts(app)["token"] == "●●●●●●●●"
        await pilot.press("c")
        assert "hush" not in app.clipboard and "base=x" in app.clipboard
        await pilot.press("ctrl+s")
        await pilot.pause()
    assert app.return_value.params == {"base": "x", "token": "hush"}


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ctrl+s", "t"])
@pytest.mark.parametrize("width", [80, 120])
async def test_what_is_missing_is_asked_for_in_the_form(
    folder: Path, environ: dict[str, str], key: str, width: int
) -> None:
    async with driven(Launcher(folder, environ), size=(width, 40)) as pilot:
        app = await ready(pilot)
        await pilot.press(key)
        await ready(pilot)
        assert app.focused is field(app, "base") and "this is needed" in screen_text(app)
        await pilot.press(*"x", "escape", "t")
        await ready(pilot)
        assert isinstance(app.screen, Reader) and app.query_one(JobForm).job is None


async def test_a_parameter_of_an_environment_variable_is_not_asked_for(folder: Path, environ: dict[str, str]) -> None:
    app = Launcher(folder, {**environ, "TUI_RUNNER_SET_BASE": "http:e"})
    async with driven(app, size=(120, 45)) as pilot:
        await ready(pilot)
        assert facts(app)["base"] == "from $TUI_RUNNER_SET_BASE"
        await pilot.press("enter")
        await ready(pilot)
        assert "$TUI_RUNNER_SET_BASE" in field(app, "base").placeholder and "first items" in screen_text(app)
        await pilot.press("ctrl+s")
        await pilot.pause()
    assert isinstance(app.return_value, RunRequest) and app.return_value.params == {}


async def test_settings_of_the_configuration_are_those_of_empty_fields(folder: Path, environ: dict[str, str]) -> None:
    (folder / "pyproject.toml").write_text("[tool.tui-runner]\nretries = 7\nthreads = 9\n")
    async with driven(Launcher(folder, {**environ, "TUI_RUNNER_RATE": "12"}), size=(120, 45)) as pilot:
        app = await ready(pilot)
        values = {name: facts(app)[name].split()[0] for name in ("retries", "threads", "rate")}
        assert values == {"retries": "7", "threads": "9", "rate": "12.0"}
        await pilot.press("enter")
        await ready(pilot)
        assert [field(app, name).placeholder for name in values] == ["(7)", "(9)", "(12.0)"]


async def test_a_click_on_a_field_goes_into_the_form_there(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        place = next(n for n, line in enumerate(beside(app)) if line.split()[:1] == ["retries"])
        await pilot.click("#about", offset=Offset(20, place))
        await ready(pilot)
        assert app.focused is field(app, "retries")


async def test_an_unfinished_run_shows_what_resuming_uses(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    params = {"base": "http:r", "token": "hush"}
    run = new_run(f"{folder}/shop.py:books", params=params, database=folder / "a.duckdb", retries=5)
    run.runner.close()
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        assert isinstance(app.query_one("#found", Rows).current, FoundRun)
        shown = facts(app)
        assert shown["base"] == "http:r" and shown["token"] == "a secret, which you are asked for"
        assert shown["input"] == "the job's own items" and shown["table"] == "books"
        assert "retries 5" in shown["settings"] and "hush" not in screen_text(app)
        await pilot.press("c")
        assert app.clipboard == "tui-runner resume a.duckdb 1"


@pytest.mark.slow
async def test_a_database_shows_its_tables_and_its_runs_newest_first(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    for number in range(2):
        job = f"{folder}/shop.py:books"
        run = new_run(job, params={"base": f"{number}"}, database=folder / "a.duckdb", backend="inline", new=True)
        run.start().finish()
    with Database.open(folder / "a.duckdb") as database:
        cursor = database.cursor()
        cursor.execute("UPDATE runner.items SET state = 'failed' WHERE run_id = 1 AND item < 2")
        database.close_cursor(cursor)
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        await pilot.press("down")
        await ready(pilot)
        shown = "\n".join(beside(app))
        assert re.search(r"books +10 rows +\d columns", shown)
        assert re.search(r"2  books +finished .*\n +1  books +finished .* 2 failed", shown)
        assert "R runs the items that failed in run 1 again" in " ".join(shown.split())
        await pilot.press("c")
        assert app.clipboard == "tui-runner open a.duckdb"
        await pilot.press("R")
        await ready(pilot)
    assert app.return_value.run_id == 1 and app.return_value.retry


async def test_everything_is_to_be_seen_at_first_sight_at_80_by_24(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.py").write_text(JOB + JOB.replace("pages", "leaves").replace("def items", "def more"))
    for name in ("a", "b"):
        run = new_run(f"{folder}/shop.py:books", params={"base": name}, database=folder / f"{name}.duckdb")
        run.start().finish() if name == "a" else run.runner.close()
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        shown = screen_text(await ready(pilot))
        for heading in ("go on", "jobs here", "databases", "samples"):
            assert f"── {heading} ──" in shown
        for row in ("books   run 1", "pages ", "leaves ", "a.duckdb", "b.duckdb", "fetch_site", "last: "):
            assert row in shown
        assert "↓" not in shown


async def test_what_is_below_the_list_is_named_in_its_last_line(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        (folder / f"many_{number}.py").write_text(JOB.replace("pages", f"pages_{number}"))
    new_run(f"{folder}/shop.py:books", params={"base": "x"}, database=folder / "a.duckdb").start().finish()
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        last = screen_text(app).splitlines()[-2]
        assert re.search(r"↓ \d+ jobs · 1 database, .* · \d samples", last)
        await pilot.press("end")
        await ready(pilot)
        shown = screen_text(app)
        assert "↓" not in shown and isinstance(app.query_one("#found", Rows).current, Samples)


async def test_samples_take_one_line_and_unfold(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert names(app) == ["books"]
        await pilot.press("s")
        await ready(pilot)
        current = app.query_one("#found", Rows).current
        assert isinstance(current, FoundJob) and current.group == "samples" and len(names(app)) > 3
        await pilot.press("up", "enter")
        await ready(pilot)
        assert names(app) == ["books"] and isinstance(app.query_one("#found", Rows).current, Samples)
        assert "flaky" in "".join(beside(app))
        await pilot.press("enter", "slash", *"hash", "enter")
        await ready(pilot)
        assert names(app) == ["hash_files"]


async def test_a_narrow_terminal_shows_what_resuming_uses_in_place_of_the_list(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    new_run(f"{folder}/shop.py:books", params={"base": "x"}, database=folder / "a.duckdb").runner.close()
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("tab")
        await ready(pilot)
        assert "resuming uses" in screen_text(app) and not app.query_one("#left").display
        await pilot.press("escape")
        await ready(pilot)
        assert "── jobs here" in screen_text(app) and app.query_one("#left").display


@pytest.mark.slow
async def test_the_cursor_moves_without_a_layout_and_a_form_is_filled_without_new_widgets(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.py").write_text(JOB)
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        layouts: list[object] = []
        whole = app.screen._refresh_layout
        monkeypatch.setattr(app.screen, "_refresh_layout", lambda *args, **options: layouts.append(whole(*args)))
        await pilot.press("down", "up", "down", "up")
        assert not layouts
        await pilot.press("down", "enter", "escape", "up", "enter", "escape")
        mounted = {id(widget) for widget in app.query("*")}
        await pilot.press("down", "enter", "escape", "up", "enter")
        assert {id(widget) for widget in app.query("*")} == mounted
        assert [field(app, name).display for name in ("base", "depth", "last")] == [True] * 3


async def test_the_place_of_the_focused_field_does_not_depend_on_where_the_form_was_scrolled(
    folder: Path, environ: dict[str, str]
) -> None:
    """Messages come and go in an order that depends on how busy the machine is."""
    async with driven(Launcher(folder, environ), size=(40, 12)) as pilot:
        app = await ready(pilot)
        form = app.query_one(JobForm)
        await pilot.press("enter", *["tab"] * 5)
        await ready(pilot)
        places = set()
        for begins in (0, 3, 8, 100):
            form.scroll_to(y=begins, animate=False, immediate=True)
            form._keep_in_sight()
            await pilot.pause()
            places.add(form.scroll_offset.y)
        assert len(places) == 1 and app.focused is not None and app.focused.region in form.region


async def test_a_first_job_is_opened_in_the_editor(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> str:
        (folder / "first_job.py").write_text(JOB)
        return "written: first_job.py"

    def edit(app: App[object], path: Path, environ: dict[str, str]) -> None:
        path.write_text(JOB.replace("def pages", "def sheets").replace("@pages", "@sheets"))

    monkeypatch.setattr(launcher_module, "edit_file", edit)
    app = Launcher(tmp_path, {**environ, "EDITOR": "some-editor"}, starters=Starters(write_job=write))
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        assert "write a first job here: first_job.py, and edit it" in screen_text(app)
        await pilot.press("i")
        await ready(pilot)
        assert app.query_one("#found", Rows).current.name == "sheets"


async def test_the_footer_names_keys_that_work_while_text_is_typed(folder: Path, environ: dict[str, str]) -> None:
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)

        def keys() -> set[str]:
            line = app.query_one(KeyLine)
            return {f"{entry.keys} {entry.label}" for entry in line._entries(120)}

        assert {"Enter edit", "t try 3", "c copy command"} <= keys()
        await pilot.press("enter")
        await ready(pilot)
        assert {"Enter next field", "^s start", "^t try 3", "F2 copy command", "Esc back"} == keys()


@pytest.mark.slow
async def test_the_copied_command_does_the_same_as_the_form(folder: Path, environ: dict[str, str]) -> None:
    source = SHOP.replace('"unit": unit', '"unit": unit, "threads": 0')
    (folder / "shop.py").write_text(source)
    values = {
        "base": 'it\'s a $HOME "test"; `x`',
        "unit": "-20 %",
        "last": "4",
        "limit": "3",
        "database": "my rows.duckdb",
        "threads": "2",
        "workers": "1",
        "max_memory": "2GB",
        "rate": "500",
        "per_host": "3",
        "retries": "0",
        "timeout": "9",
        "max_failures": "5%",
        "chunk_size": "2",
        "open_chunks": "2",
    }
    async with driven(Launcher(folder, environ), size=(120, 45)) as pilot:
        app = await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        for name, value in values.items():
            field(app, name).value = value
        await ready(pilot)
        request = app.query_one(JobForm).request()
        await pilot.press("escape", "c")
        await ready(pilot)
    words = shlex.split(app.clipboard)
    assert words[0] == "tui-runner"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tui_runner", *words[1:], "--headless", "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(folder / "my rows.duckdb"), read_only=True) as database:
        rows = database.execute("SELECT address, unit FROM books").fetchall()
    assert rows == [(values["base"], values["unit"])] * 3
    [run] = find_databases(folder)[0].runs
    assert request is not None and run.summary.record.settings["chunk_size"] == 2
    given = {name: str(run.summary.record.settings[name]) for name in request.settings}
    expected = {**request.settings, "max_memory": "2000000000", "rate": "500.0", "timeout": "9.0"}
    assert given == expected


async def test_the_text_has_no_scroll_bar_while_all_of_it_is_visible(folder: Path, environ: dict[str, str]) -> None:
    (folder / "shop.py").write_text(f"raise SystemExit\n{SHOP}")
    async with driven(Launcher(folder, environ), size=(120, 60)) as pilot:
        app = await ready(pilot)
        text = app.query_one("#about", Rows)
        height = text.size.height
        await pilot.press("t")  # the error below the list takes lines from it
        await ready(pilot)
        assert text.size.height < height and not text.show_vertical_scrollbar
        await pilot.resize_terminal(120, 20)
        await ready(pilot)
        assert text.show_vertical_scrollbar


async def test_down_and_enter_that_arrive_together_open_the_form_of_the_row_below(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / "also.py").write_text(SHOP.replace("def books", "def again").replace("@books", "@again"))
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("home")
        for key in ("down", "enter"):
            app.post_message(Key(key, None))
        for _ in range(3):
            await ready(pilot)
        assert isinstance(app.focused, Input)


async def test_description_of_a_job_is_wrapped_and_only_a_very_long_one_is_cut(
    folder: Path, environ: dict[str, str]
) -> None:
    long = "One page of it. " + "words " * 22 + "end."
    (folder / "shop.py").write_text(SHOP.replace("One page of the catalogue:", long))
    async with driven(Launcher(folder, environ), size=(80, 24)) as pilot:
        app = await ready(pilot)
        await pilot.press("tab")
        await ready(pilot)
        assert long in " ".join(screen_text(app).replace("│", " ").split())
    (folder / "shop.py").write_text(SHOP.replace("One page of the catalogue:", "words " * 200))
    async with driven(Launcher(folder, environ), size=(120, 24)) as pilot:
        app = await ready(pilot)
        lines = [line for line in screen_text(app).splitlines() if "words words" in line.partition("││")[2]]
        assert len(lines) == 3 and lines[2].rstrip(" │").endswith("words …")


@pytest.mark.slow
async def test_table_that_another_job_of_the_same_name_fills_is_named_before_the_start(
    folder: Path, environ: dict[str, str], new_run: Callable[..., Any]
) -> None:
    (folder / "copy.py").write_text((folder / "shop.py").read_text())

    def warned(app: Launcher) -> str:
        return " ".join(screen_text(app).replace("│", " ").split())

    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        assert app.query_one("#found", Rows).current.job == f"{folder}/copy.py:books"
        assert "shop.py has a job of this name, for the same table: name another file" in warned(app)
    run = new_run(f"{folder}/shop.py:books", params={"base": "x"}, backend="inline", database=folder / "books.duckdb")
    run.start().finish()
    async with driven(Launcher(folder, environ), size=(120, 40)) as pilot:
        app = await ready(pilot)
        rows = app.query_one("#found", Rows)
        rows.go_to(next(n for n, row in enumerate(rows.rows) if row_name(row) == f"{folder}/shop.py:books"))
        await ready(pilot)
        assert "name another file" not in warned(app)  # the rows in the table are its own
        rows.go_to(next(n for n, row in enumerate(rows.rows) if row_name(row) == f"{folder}/copy.py:books"))
        await ready(pilot)
        assert "its table books already has rows of" in warned(app) and "shop.py:books: name another file" in warned(
            app
        )
        await pilot.press("enter")
        await ready(pilot)
        assert "its table books already has rows of" in warned(app)
        app._pane.form.go_to_field("database:database")
        await pilot.press(*"other")
        await ready(pilot)
        assert "already has rows of" not in warned(app)
        await pilot.press(*["backspace"] * 5)
        await ready(pilot)
        assert "already has rows of" in warned(app)
