"""Themes: one TOML file for each. tui-runner comes with some, and the user's folder may have more.

    name = "night"                  # the name for --theme and the palette; letters, digits and dashes
    dark = true
    [colors]                        # `primary`, `foreground` and `background` are required, others are derived
    primary = "#7aa2f7"
    [variables]                     # any variable of Textual's design system: colours, and styles of text
    text-muted = "#8a90a8"

An invalid file is reported and skipped. A user's theme replaces a bundled one with the same name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.css.constants import VALID_STYLE_FLAGS
from textual.design import ColorSystem
from textual.theme import BUILTIN_THEMES, Theme

from tui_runner.errors import UserError
from tui_runner.jobs.config_file import Configuration
from tui_runner.system.files import bundled, config_folder, read_regular
from tui_runner.text.safe_text import safe_text

DEFAULT_THEME = "night"
_LARGEST = 1 << 20
"""Most bytes of a theme's file (1 MiB). The bundled themes have about a thousand; a larger file is not a theme."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_VARIABLE = re.compile(r"[a-z0-9-]{1,60}")
# Variables are inserted into a style sheet, so a value must not contain characters that end a rule.
_VALUE = re.compile(r"[#a-zA-Z0-9 %.,()-]{1,80}")
_AUTOMATIC = re.compile(r"auto \d{1,3}%")
_DEFAULTS = ColorSystem(primary="#808080").generate()
"""The variables of Textual's design system, with values of an arbitrary theme. Textual defines some of them as, for
example, `auto 87%`: a colour that contrasts with the background. Only these variables may have such a value in a theme
file."""
_CURSOR_SHADE = 0.15
"""Share of a theme's first colour in the row under the cursor: with more, its texts have too little contrast."""
_NEEDED = ("primary", "foreground", "background")
_COLORS = (*_NEEDED, "secondary", "warning", "error", "success", "accent", "surface", "panel", "boost")
"""All colours that a theme may define. Those in `_NEEDED` are required."""


class Themed:
    """A mixin for applications, which supplies defaults for style variables that some of Textual's themes lack."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return defaults for the variables that themes with the terminal's own colours do not define."""
        return {"foreground-disabled": "ansi_bright_black"}


def cursor_colors(theme: Theme, variables: Mapping[str, str]) -> dict[str, str]:
    """Return style variables for the row under the cursor; nothing if a theme of a file has chosen its background.

    Textual's themes draw the cursor in their first colour, on which coloured texts of a row cannot be read. So the row
    gets a shade of that colour.

    Args:
        theme: the theme.
        variables: the style variables that Textual has derived from the theme.
    """
    ground = Color.parse(variables["background"])
    chosen = "block-cursor-background" in theme.variables and theme is not BUILTIN_THEMES.get(theme.name)
    if chosen or ground.ansi is not None:  # colours of the terminal cannot be mixed
        return {}
    shade = ground.blend(Color.parse(variables["primary"]), _CURSOR_SHADE)
    return {"block-cursor-background": shade.hex, "block-cursor-foreground": variables["foreground"]}


@dataclass(frozen=True, slots=True)
class Themes:
    """The themes that were found.

    Attributes:
        by_name: the valid themes by their names.
        complaints: one line about each invalid file.
    """

    by_name: dict[str, Theme]
    complaints: tuple[str, ...] = ()

    def preferred(self, name: str | None) -> str:
        """Return `name` if there is a theme of that name, else the name of the default theme."""
        return name if name is not None and (name in self.by_name or name in BUILTIN_THEMES) else DEFAULT_THEME

    def mistake(self, name: str | None, where: str) -> str:
        """Return one line that says that no theme has this name, where the name is, and which themes there are.

        Return an empty text if there is a theme of that name, or if `name` is None.

        Args:
            name: name of a theme.
            where: the file and entry that have the name.
        """
        try:
            self.named(name, where)
        except UserError as error:
            return str(error)
        return ""

    def named(self, name: str | None, where: str = "--theme") -> str:
        """Return `name`, or the name of the default theme if `name` is None.

        Args:
            name: name of a theme.
            where: the option or setting that has the name, for the message.

        Raises:
            UserError: there is no theme of that name, or its file is invalid.
        """
        if name is None:
            return DEFAULT_THEME
        if name in self.by_name or name in BUILTIN_THEMES:
            return name
        broken = next((each for each in self.complaints if f"/{name}.toml" in each), None)
        if broken is not None:
            raise UserError(broken, where)
        choices = f"choose one of {', '.join(self.by_name)}, or a theme of Textual (key T lists all)"
        raise UserError(f"there is no theme {safe_text(name, limit=40)!r}", where, choices)


def chosen_theme(option: str | None, environ: Mapping[str, str], config: Configuration | None = None) -> str | None:
    """Return the name of the theme that the user has chosen, or None if the user has chosen none.

    `--theme` takes precedence over `$TUI_RUNNER_THEME`, and the variable over the configuration.

    Args:
        option: value of `--theme`; None without the option.
        environ: the environment.
        config: the configuration; None for a screen that does not read its theme.

    Raises:
        UserError: there is no theme of that name. The message names the place where the name was found.
    """
    variable = "TUI_RUNNER_THEME"
    places: list[tuple[str, object]] = [("--theme", option), (variable, environ.get(variable) or None)]
    if config is not None:
        places.append((f"{config.where} theme", config.get("theme")))
    where, name = next(((where, name) for where, name in places if name is not None), ("", None))
    return None if name is None else find_themes().named(str(name), where)


def user_folder() -> Path:
    """Return the folder for the user's own themes. It may not exist."""
    return config_folder() / "themes"


def find_themes(user: Path | None = None) -> Themes:
    """Return the bundled themes and those in `user`, which replace bundled themes of the same name.

    Args:
        user: folder of the user's themes; None for `user_folder()`.
    """
    found: dict[str, Theme] = {}
    complaints: list[str] = []
    for folder in (bundled("themes"), user or user_folder()):
        if not folder.is_dir():
            continue
        for path in sorted(folder.glob("*.toml")):
            try:
                theme = load_theme(path)
            except UserError as error:
                complaints.append(safe_text(str(error), limit=400))
            else:
                found[theme.name] = theme
    return Themes(found, tuple(complaints))


def load_theme(path: Path) -> Theme:
    """Return the theme in a file.

    Raises:
        UserError: the file cannot be read, is not TOML, or has no valid theme.
    """
    try:
        table = tomllib.loads(read_regular(path, _LARGEST).decode())
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise UserError(f"is no TOML file: {error}", str(path), "mend it, or remove it") from error
    except RecursionError:
        raise UserError("its values are nested too deeply", str(path), "mend it, or remove it") from None
    where = str(path)
    unknown = sorted(set(table) - {"name", "dark", "colors", "variables"})
    if unknown:
        raise UserError(f"unknown entry {unknown[0]!r}", where, "a theme has name, dark, [colors] and [variables]")
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError("`name` must be lower-case letters, digits and dashes", where)
    dark = table.get("dark", True)
    if not isinstance(dark, bool):
        raise UserError("`dark` must be true or false", where)
    return Theme(name=name, dark=dark, variables=_variables(table, where), **_colors(table, where))


def _colors(table: dict[str, Any], where: str) -> dict[str, Any]:
    colors = table.get("colors")
    if not isinstance(colors, dict):
        raise UserError("the table [colors] is missing", where, "it needs " + ", ".join(_NEEDED))
    for key, value in colors.items():
        if key not in _COLORS:
            raise UserError(f"unknown colour {key!r}", where, "the colours are " + ", ".join(_COLORS))
        _check_color(key, value, where)
    missing = [key for key in _NEEDED if key not in colors]
    if missing:
        raise UserError(f"the colour {missing[0]!r} is missing from [colors]", where)
    return colors


def _variables(table: dict[str, Any], where: str) -> dict[str, str]:
    variables = table.get("variables", {})
    if not isinstance(variables, dict):
        raise UserError("[variables] must be a table", where)
    for key, value in variables.items():
        if not _VARIABLE.fullmatch(key) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise UserError(f"the variable {key!r} has no usable value", where, 'write name = "#rrggbb"')
        if "style" in key:
            _check_style(key, value, where)
        elif not (_AUTOMATIC.fullmatch(value) and _DEFAULTS.get(key, "").startswith("auto")):
            _check_color(key, value, where)
    return variables


def _check_style(key: str, value: str, where: str) -> None:
    # An unknown word in a style sheet is an error that ends the application.
    wrong = [word for word in value.split() if word not in VALID_STYLE_FLAGS]
    if wrong:
        raise UserError(f"{key} = {value!r} is not a text style", where, "write bold, underline, reverse or none")


def _check_color(key: str, value: object, where: str) -> None:
    try:
        if not isinstance(value, str):
            raise ColorParseError("not text")
        Color.parse(value)
    except ColorParseError as error:
        raise UserError(f"{key} = {value!r} is not a colour", where, "write #rrggbb") from error
