"""Texts of `--help`: groups, defaults, and examples that can be pasted."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields

import pytest
import typer

from tui_runner.cli.app import app
from tui_runner.cli.command_help import DEFAULTS
from tui_runner.cli.main import SETTINGS_WITHOUT_OPTION
from tui_runner.jobs.settings import Settings
from tui_runner.tui.themes import find_themes

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
GROUPS = ["Arguments", "Run", "Speed", "Failures", "Memory and time", "Hosts", "Output", "Others"]


def shown(name: str) -> str:
    command = COMMANDS[name]
    return str(command.get_help(command.context_class(command, info_name=name)))


def test_options_of_a_run_are_in_groups() -> None:
    assert re.findall(r"^([A-Z][a-z ]+):$", shown("run"), re.MULTILINE) == GROUPS
    assert re.findall(r"^([A-Z][a-z ]+):$", shown("errors"), re.MULTILINE) == ["Arguments", "Options"]


@pytest.mark.parametrize("name", sorted(DEFAULTS.keys() - {"limit"}))
def test_defaults_are_those_of_the_settings(name: str) -> None:
    value = getattr(Settings(), name)
    text = {None: "none", True: "on", False: "off"}.get(value) if value is None or value is False else f"{value}"
    assert DEFAULTS[name] == str(text).removesuffix(".0")
    assert f"[default: {DEFAULTS[name]}]" in " ".join(shown("run").split())
    assert "[default:" not in shown("resume"), "a resumed run keeps what it had"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_examples_that_its_parser_takes(name: str) -> None:
    lines = re.findall(r"^ +tui-runner (.+)$", shown(name).partition("Examples:")[2], re.MULTILINE)
    assert lines
    for line in lines:
        typed, *words = shlex.split(line.partition(" >> ")[0])
        assert typed == name
        given = COMMANDS[name].make_context(name, words).params
        assert given and find_themes().named(given.get("theme"))


def test_usage_names_arguments_as_the_documents_do() -> None:
    assert shown("query").startswith("Usage: query [OPTIONS] DB [SQL]\n")


def test_list_of_commands_cuts_no_text_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = typer.main.get_command(app)
    listed = group.get_help(group.context_class(group, info_name="tui-runner")).partition("Commands:")[2]
    lines = [line for line in listed.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines] == list(COMMANDS), "one line a command"
    assert not any(line.endswith("...") for line in lines)


def test_every_setting_has_an_option_of_run_or_is_named_as_one_without() -> None:
    options = {parameter.name for parameter in COMMANDS["run"].params}
    assert {field.name for field in fields(Settings)} - options == SETTINGS_WITHOUT_OPTION
