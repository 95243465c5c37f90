from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.query_world import make_database
from support.screens import ready, screen_text, settled

from tui_runner.cli import app as app_module
from tui_runner.cli import run as run_module
from tui_runner.engine.planning.request import RunRequest
from tui_runner.errors import UserError
from tui_runner.jobs.config_file import Configuration, read_config
from tui_runner.store.access import LocalAccess
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.launcher import Launcher
from tui_runner.tui.preferences import Preferences, State, read_preferences, state_file
from tui_runner.tui.query import app as query_app
from tui_runner.tui.query.app import QueryApp
from tui_runner.tui.query.script_files import History
from tui_runner.tui.themes import chosen_theme, find_themes


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_state_is_remembered_and_a_broken_file_is_none() -> None:
    state = State(state_file())
    assert state.theme is None and state.recent == []
    state.remember_theme("day")
    for job in ("a", "b", "a"):
        state.remember_job(job)
    again = State(state_file())
    assert again.theme == "day" and again.recent == ["a", "b"]
    for text in ("{", "[]", '{"theme": 3, "recent": {"x": 1}}', "\udcff"):
        state_file().write_text(text, errors="surrogateescape")
        assert again.theme is None and again.recent == []


def test_a_pipe_in_the_place_of_the_state_does_not_block() -> None:
    state_file().parent.mkdir(parents=True)
    os.mkfifo(state_file())
    assert State(state_file()).theme is None
    State(state_file()).remember_theme("day")
    assert State(state_file()).theme == "day"


def test_a_state_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = State(tmp_path / "file" / "state.json")
    state.remember_theme("day")
    assert state.theme is None and (tmp_path / "file").read_text() == ""


def test_the_configuration_overrides_the_last_choice(tmp_path: Path) -> None:
    State(state_file()).remember_theme("day")
    assert read_preferences(tmp_path).theme == "day"
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tui-runner]\ntheme = "night"\nnotify = false\n'
        '[tool.tui-runner.keys]\npause_run = "f5"\nmap = ["a", "b"]\n'
    )
    found = read_preferences(tmp_path)
    assert (found.theme, found.notify, found.keymap, found.complaints) == (
        "night", False, {"pause_run": "f5", "map": "a,b"}, (),
    )  # fmt: skip


def test_unusable_preferences_are_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tui-runner]\ntheme = 3\nnotify = "x"\n[tool.tui-runner.keys]\nmap = 4\n'
    )
    found = read_preferences(tmp_path)
    assert found.theme is None and found.notify and not found.keymap and len(found.complaints) == 3
    (tmp_path / "pyproject.toml").write_text("[tool.tui-runner]\nkeys = 1\n")
    assert "must be a table" in read_preferences(tmp_path).complaints[0]
    (tmp_path / "pyproject.toml").write_text("[")
    assert "is not TOML" in read_preferences(tmp_path).complaints[0]


async def test_a_theme_is_shown_while_it_is_looked_for_and_remembered_when_chosen() -> None:
    state = State(state_file())
    app = RunnerApp(FakeRunControl(busy()), preferences=Preferences(state, theme="day"))
    async with driven(app, size=(80, 24)) as pilot:
        await settled(pilot)
        assert app.theme == "day"
        await pilot.press("T")
        await pilot.pause()
        assert "nord" in screen_text(app)
        await pilot.press("down")
        await pilot.pause()
        assert app.theme == "high-contrast"
        await pilot.press("escape")
        await pilot.pause()
        assert app.theme == "day" and state.theme is None
        await pilot.press("T", "down", "enter")
        await pilot.pause()
        assert app.theme == "high-contrast" and state.theme == "high-contrast"


async def test_a_remembered_theme_that_is_gone_is_named() -> None:
    preferences = Preferences(State(state_file()), theme="gone", keymap={"map": "z"}, complaints=("hm [/x]",))
    app = RunnerApp(FakeRunControl(busy()), preferences=preferences)
    async with driven(app, size=(200, 40), notifications=True) as pilot:
        await settled(pilot)
        shown = screen_text(app)
        assert "2 settings or themes are left out" in shown and "hm [/x]" in shown and "z map" in shown
    app = RunnerApp(FakeRunControl(busy()), preferences=replace(preferences, complaints=()))
    async with driven(app, size=(200, 40), notifications=True) as pilot:
        await settled(pilot)
        assert "there is no theme 'gone'" in screen_text(app)


WRONG_THEME = """pyproject.toml [tool.tui-runner] theme: there is no theme 'gone'; choose one of colour-blind, day, """


@pytest.mark.slow
async def test_launcher_and_query_screen_name_the_file_with_a_wrong_theme(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tui-runner]\ntheme = "gone"\n')
    launcher = Launcher(tmp_path, {})
    async with driven(launcher, size=(120, 40), notifications=True) as pilot:
        await ready(pilot)
        assert any(WRONG_THEME in toast.message for toast in launcher._notifications)
        assert launcher.theme == "night"
    database = make_database(tmp_path / "x.duckdb")
    app = QueryApp(
        LocalAccess(database), preferences=read_preferences(tmp_path), history=History(tmp_path / "queries.jsonl")
    )
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        assert any(WRONG_THEME in toast.message for toast in app._notifications)
    app.query_screen.close()
    database.close()


def test_a_theme_that_was_chosen_last_and_is_gone_is_named_with_its_file(tmp_path: Path) -> None:
    State(state_file()).remember_theme("gone")
    preferences = read_preferences(tmp_path)
    mistake = find_themes(tmp_path).mistake(preferences.theme, preferences.theme_from)
    assert mistake.startswith(f"{state_file()} theme: there is no theme 'gone'; choose one of ")


@pytest.mark.parametrize(("option", "theme"), [(None, "day"), ("night", "night")])
def test_open_takes_the_theme_of_the_environment_unless_an_option_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None, theme: str
) -> None:
    shown: list[object] = []
    monkeypatch.setenv("TUI_RUNNER_THEME", "day")
    monkeypatch.setattr(app_module, "at_terminal", lambda: True)
    monkeypatch.setattr(query_app, "open_database", lambda path, **options: shown.append(options["theme"]))
    context = SimpleNamespace(obj=SimpleNamespace(catch_output=lambda **options: None))
    assert app_module.open_(context, tmp_path / "x.duckdb", option) == 0
    assert shown == [theme]


@pytest.mark.parametrize(
    ("option", "variable", "place"),
    [
        ("pink", "plum", "--theme"),
        (None, "plum", "TUI_RUNNER_THEME"),
        (None, "", "pyproject.toml [tool.tui-runner] theme"),
    ],
)
def test_an_unknown_theme_is_reported_with_the_place_that_names_it(
    tmp_path: Path, option: str | None, variable: str, place: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tui-runner]\ntheme = "rose"\n')
    name = option or variable or "rose"
    with pytest.raises(UserError, match=f"there is no theme '{name}'") as found:
        chosen_theme(option, {"TUI_RUNNER_THEME": variable}, read_config(tmp_path))
    assert found.value.where.endswith(place) and (place.startswith("--") or "--theme" not in str(found.value))


def test_a_theme_that_the_option_names_hides_a_wrong_one_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tui-runner]\ntheme = "rose"\n')
    config = read_config(tmp_path)
    assert chosen_theme("day", {}, config) == chosen_theme(None, {"TUI_RUNNER_THEME": "day"}, config) == "day"
    assert chosen_theme(None, {}, Configuration()) is None


def test_a_run_reports_a_wrong_theme_of_the_configuration_before_it_creates_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tui-runner]\ntheme = "rose"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUI_RUNNER_THEME", raising=False)
    monkeypatch.setattr(run_module, "is_terminal", lambda stream: True)
    program = SimpleNamespace(out=None, catch_output=lambda **options: None)
    with pytest.raises(UserError) as found:
        run_module.run_in_foreground(RunRequest(job="absent.py"), run_module.Display(headless=False), program)
    assert found.value.what == "there is no theme 'rose'"
    assert found.value.where == f"{tmp_path / 'pyproject.toml'} [tool.tui-runner] theme"
