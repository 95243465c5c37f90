"""Settings: where each comes from, and what they may be."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import UserError
from tui_runner.jobs.config_file import Configuration, read_config
from tui_runner.jobs.settings import Settings, check_setting, parse_size, resolve

PLACES = ("job", "config", "environ", "command_line")
counts = st.integers(1, 1000)


@settings(max_examples=50)
@given(st.lists(st.none() | counts, min_size=4, max_size=4))
def test_the_strongest_place_that_gives_a_setting_wins(given_values: list[int | None]) -> None:
    places = dict(zip(PLACES, given_values, strict=True))
    resolved = resolve(
        job={} if places["job"] is None else {"threads": places["job"]},
        config={} if places["config"] is None else {"threads": places["config"]},
        environ={} if places["environ"] is None else {"TUI_RUNNER_THREADS": str(places["environ"])},
        command_line={"threads": places["command_line"]},
    )
    expected = next((value for value in reversed(given_values) if value is not None), Settings().threads)
    assert resolved.threads == expected


def test_nothing_given_means_the_defaults() -> None:
    assert resolve() == Settings()


def test_every_setting_is_known_and_takes_its_own_default() -> None:
    for field in fields(Settings):
        assert check_setting(field.name, field.default, where="x") == field.default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("threads", "64", 64),
        ("timeout", "1.5", 1.5),
        ("timeout", "none", None),
        ("rate", "100", 100.0),
        ("grace", "0", 0.0),
        ("retries", "0", 0),
        ("max_memory", "512MB", 512_000_000),
        ("max_memory", " 50.0% ", "50%"),
        ("max_memory", "none", None),
        ("max_failures", "10", 10),
        ("retry_budget", " 20.0% ", "20%"),
        ("retry_budget", "none", None),
        ("max_failures", "5%", "5%"),
        ("max_failures", " 2.50% ", "2.5%"),
        ("backend", "dask:tcp://host:8786", "dask:tcp://host:8786"),
        ("table", " My table ", "My table"),
    ],
)
def test_text_from_the_environment_is_converted(name: str, text: str, value: object) -> None:
    assert asdict(resolve(environ={f"TUI_RUNNER_{name.upper()}": text}))[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 0), ("threads", "many"), ("threads", True), ("threads", None), ("threads", 1.5),
        ("chunk_size", -1), ("retries", -1), ("timeout", 0), ("timeout", "nan"), ("timeout", "inf"), ("timeout", []),
        ("rate", -1), ("per_host", 0), ("max_memory", "4"), ("max_memory", 4), ("max_memory", "4 XB"),
        ("max_memory", True), ("max_memory", "0%"), ("max_memory", "x%"),
        ("max_failures", 0), ("max_failures", "0%"), ("max_failures", "101%"),
        ("retry_budget", "101%"), ("retry_budget", 0.2), ("retry_budget", "x%"),
        ("max_failures", "x%"), ("grace", -1), ("backend", "ray"), ("backend", "dask:"), ("table", ""),
        ("table", "a\nb"), ("table", 3),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_with_the_place_it_came_from(name: str, value: object) -> None:
    with pytest.raises(UserError, match=r"^place: .* is not (a|the name) .*") as caught:
        check_setting(name, value, where="place")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threads", 10**9, "1000000000 is too large; give at most 1,000,000"),
        ("rate", "0.0000001", "0.0000001 is too small; give at least 0.000001 items a second, or none"),
        ("timeout", "1e12", "1e12 is too large; give at most 100,000,000 seconds, or none"),
        ("delay", 100_000, "100000 is too large; give at most 86,400 seconds"),
    ],
)
def test_number_beyond_its_bound_is_refused_with_the_bound(name: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_setting(name, value, where="place")
    assert str(caught.value) == f"place: {message}"


def test_errors_name_the_place_and_the_nearest_setting() -> None:
    with pytest.raises(UserError, match=r"^TUI_RUNNER_THREADS: 'x' is not a whole number"):
        resolve(environ={"TUI_RUNNER_THREADS": "x"})
    with pytest.raises(UserError, match=r"^TUI_RUNNER_THRAEDS: .*did you mean TUI_RUNNER_THREADS\?"):
        resolve(environ={"TUI_RUNNER_THRAEDS": "3"})
    with pytest.raises(UserError, match=r"^--chunk-size: 0 is not"):
        resolve(command_line={"chunk_size": 0})
    with pytest.raises(UserError, match=r"pyproject.toml \[tool.tui-runner\] chunksize: .*did you mean chunk_size\?"):
        resolve(config=Configuration({"chunksize": 3}, "pyproject.toml [tool.tui-runner]"))
    with pytest.raises(UserError, match=r"@job\(retrys=…\): .*did you mean retries\?"):
        resolve(job={"retrys": 3})
    with pytest.raises(UserError, match=r"settings are table, chunk_size"):
        resolve(job={"zzzzzz": 3})


@pytest.mark.parametrize("key", ["ascii", "refresh", "editor"])
def test_a_key_that_nothing_reads_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="there is no such setting"):
        resolve(config={key: "1"})


def test_other_peoples_variables_and_the_screens_keys_are_left_alone() -> None:
    resolved = resolve(
        config={"theme": "night", "keys": {"pause": "p"}, "chunk-size": 7},
        environ={"TUI_RUNNER_THEME": "x", "TUI_RUNNER_QQQQ": "1", "TUI_RUNNER_THREADS": " ", "PATH": "/"},
    )
    assert resolved == Settings(chunk_size=7)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 * 10**6), ("4 GB", 4 * 10**9), ("2GiB", 2 * 2**30), ("1.5g", 1_500_000_000), ("1000000", 10**6),
        ("1_000_000 B", 10**6), (".5k", 500), ("3Ti", 3 * 2**40),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@settings(max_examples=50)
@given(st.text(max_size=12))
def test_a_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert str(error).isprintable()


class TestReadConfig:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = tmp_path / "home" / "tui-runner"
        home.mkdir(parents=True)
        (home / "config.toml").write_text("threads = 5\n")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))

    def test_the_nearest_pyproject_with_the_table_counts(self, tmp_path: Path) -> None:
        inner = tmp_path / "a" / "b"
        inner.mkdir(parents=True)
        (tmp_path / "pyproject.toml").write_text("[tool.tui-runner]\nchunk-size = 9\n")
        (tmp_path / "a" / "pyproject.toml").write_text("[tool.ruff]\n")
        config = read_config(inner)
        assert config == {"chunk-size": 9}
        assert config.where == f"{tmp_path}/pyproject.toml [tool.tui-runner]"
        assert resolve(config=config).chunk_size == 9

    def test_else_the_users_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert read_config(tmp_path) == {"threads": 5}
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
        assert read_config(tmp_path) == {}

    def test_a_broken_file_is_named_with_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool.tui-runner]\nthreads = = 3\n")
        with pytest.raises(UserError, match=r"pyproject.toml: it is not TOML: .*line 2"):
            read_config(tmp_path)

    def test_a_table_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool]\ntui-runner = 3\n")
        with pytest.raises(
            UserError, match=r"3 is not a table of settings; write the settings below a line \[tool.tui-runner\]$"
        ):
            read_config(tmp_path)


def test_a_pipe_is_no_configuration_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    with pytest.raises(UserError, match="can't be read: it is a device or a pipe, not a file"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"), [("16MB", 16_000_000), (5, 5), ("1GB", 1_000_000_000), ("1", 1), ("0.5kB", 500)]
)
def test_size_of_an_item_of_the_input(value: object, expected: int) -> None:
    assert check_setting("max_input_bytes", value, where="x") == expected


@pytest.mark.parametrize("value", ["none", None, 0, -1, "2GB", True, "much", 1.5])
def test_invalid_size_of_an_item_says_so(value: object) -> None:
    with pytest.raises(UserError, match=r"x: .* is not a size .*such as 16MB"):
        check_setting("max_input_bytes", value, where="x")
