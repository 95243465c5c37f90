"""Reads the configuration: `[tool.tui-runner]` of the nearest pyproject.toml, or the user's own file if none has it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tui_runner.errors import UserError
from tui_runner.system.files import config_folder, read_regular
from tui_runner.text.messages import one_line, plain, quoted

_PROJECT_FILE = "pyproject.toml"
_PROJECT_TABLE = "tui-runner"
_LARGEST = 4 << 20
"""Bytes of a configuration file at most. A larger file is not a configuration, and must not fill the memory."""


class Configuration(dict[str, object]):
    """Content of a configuration file.

    Attributes:
        where: path of the file, for messages, followed by the name of the table for a pyproject.toml.
    """

    def __init__(self, values: Mapping[str, object] | None = None, where: str = "configuration") -> None:
        super().__init__(values or {})
        self.where = where


def read_config(folder: Path) -> Configuration:
    """Return the table `[tool.tui-runner]` of the nearest `pyproject.toml` that has it, otherwise the user's file.

    Without either, the result is empty.

    Args:
        folder: folder in which the search begins; then its parents are searched.

    Raises:
        UserError: a file on the way is not TOML (the message has the line), has something else in place of the table,
            is too large, or cannot be read.
    """
    folder = folder.absolute()
    for parent in (folder, *folder.parents):
        path = parent / _PROJECT_FILE
        tools = _read_toml(path).get("tool")
        if isinstance(tools, dict) and _PROJECT_TABLE in tools:
            return _table(tools[_PROJECT_TABLE], f"{plain(path)} [tool.{_PROJECT_TABLE}]")
    path = config_folder() / "config.toml"
    return _table(_read_toml(path), plain(path))


def _table(value: object, where: str) -> Configuration:
    if not isinstance(value, dict):
        below = f"write the settings below a line [tool.{_PROJECT_TABLE}]"
        raise UserError(f"{quoted(value)} is not a table of settings", where, below)
    return Configuration(value, where)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path, _LARGEST).decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"it can't be read: {error.strerror}", where=plain(path)) from None
    except UnicodeDecodeError:
        raise UserError("it is not UTF-8 text", where=plain(path), do="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"it is not TOML: {one_line(error)}", plain(path), "correct that line") from None
    except RecursionError:
        raise UserError("its values are nested too deeply", where=plain(path)) from None
