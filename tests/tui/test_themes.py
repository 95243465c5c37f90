from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.style import Style
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.query_world import Desk, make_database, query_app
from support.screens import JOB, ledger, read, ready, screen_text, settled
from textual.app import App
from textual.color import Color

from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.tui import app as app_module
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.launcher import Launcher
from tui_runner.tui.preferences import Preferences, State
from tui_runner.tui.query.tab import Shown
from tui_runner.tui.themes import DEFAULT_THEME, find_themes, load_theme, user_folder
from tui_runner.tui.widgets.paint import RoleStyles

GOOD = 'name = "mine"\n[colors]\nprimary = "#336699"\nforeground = "#eeeeee"\nbackground = "#101010"\n'
TEXT_COLORS = (
    "text-primary",
    "text-secondary",
    "text-accent",
    "text-success",
    "text-warning",
    "text-error",
    "foreground-muted",
)

LEAST_CONTRAST = 4.5
"""Contrast that WCAG 2 requires of body text."""

PALETTES = (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT)
"""The colours of terminals on which a theme's colours stay apart from each other. With 256 colours, Rich draws the
nearest one, and may turn a dark blue into a dark green that is lighter."""


def drawn(color: RichColor, palette: ColorSystem) -> str:
    """Return the colour that a terminal with this palette shows."""
    return color.downgrade(palette).get_truecolor().hex


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.1, relative luminance)."""

    def luminance(color: str) -> float:
        parts = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in Color.parse(color).normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture
def bundled_themes(tmp_path: Path):
    return find_themes(tmp_path).by_name


def test_four_themes_come_with_it_one_of_them_light(tmp_path: Path) -> None:
    themes = find_themes(tmp_path)
    assert set(themes.by_name) == {"night", "day", "high-contrast", "colour-blind"}
    assert not themes.by_name["day"].dark
    assert DEFAULT_THEME in themes.by_name
    assert themes.complaints == ()


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light", "night"])
async def test_without_colours_every_theme_can_be_read(theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = RunnerApp(FakeRunControl(busy()), theme="night")
    async with driven(app, size=(80, 24)) as pilot:
        app.theme = theme
        await pilot.pause()
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                if not segment.text.strip() or segment.style is None:
                    continue
                color, ground = segment.style.color, segment.style.bgcolor
                assert (color is None or color.is_default) == theme.startswith("ansi"), segment
                assert color is None or color.is_default or color != ground, segment


@pytest.mark.parametrize("palette", PALETTES)
def test_text_can_be_read_in_every_theme(palette: ColorSystem, bundled_themes) -> None:
    def shown(color: str) -> str:
        return drawn(RichColor.parse(color), palette)

    for theme in bundled_themes.values():
        cursor = theme.variables["block-cursor-background"]
        # The row of the cursor is the one that is read.
        for ground in (theme.background, theme.surface, theme.panel, cursor):
            for name in (*TEXT_COLORS, "block-cursor-foreground"):
                assert contrast(shown(theme.variables[name]), shown(ground)) >= LEAST_CONTRAST, (theme.name, name)
        # It still differs from the other rows; the sign of the cursor shows it as well.
        assert contrast(shown(cursor), shown(theme.background)) >= 1.19, theme.name


def test_placeholder_of_a_field_can_be_read(bundled_themes) -> None:
    styles = (Path(app_module.__file__).parent / "styles" / "runner.tcss").read_text()
    assert "Input > .input--placeholder { color: $foreground-muted; }" in styles
    for theme in bundled_themes.values():
        assert contrast(theme.variables["foreground-muted"], theme.panel) >= 4, theme.name


def test_text_can_be_told_from_its_ground_with_sixteen_colours(bundled_themes) -> None:
    def sixteen(color: str) -> int | None:
        return RichColor.parse(color).downgrade(ColorSystem.STANDARD).number

    for theme in bundled_themes.values():
        for ground in (theme.background, theme.surface):
            for color in (*(theme.variables[name] for name in TEXT_COLORS), theme.foreground):
                assert sixteen(color) != sixteen(ground), (theme.name, color)


def test_a_users_theme_is_found_and_replaces_a_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text(GOOD.replace("mine", "night"))
    themes = find_themes(tmp_path)
    assert themes.by_name["mine"].primary == "#336699"
    assert themes.by_name["night"].primary == "#336699"


def test_the_users_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "tui-runner" / "themes"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "is no TOML file"),
        ("\xff", "is no TOML file"),
        (GOOD.replace('"mine"', '"My \x1b Theme"').replace("\x1b", "\\u001b"), "`name` must be"),
        (GOOD.replace("#336699", "octarine"), "primary = 'octarine' is not a colour"),
        (GOOD.replace('background = "#101010"\n', ""), "the colour 'background' is missing"),
        (GOOD + 'sparkle = "#fff"\n', "unknown colour 'sparkle'"),
        ("dark = 1\n" + GOOD, "`dark` must be true or false"),
        ("fonts = 1\n" + GOOD, "unknown entry 'fonts'"),
        ('name = "mine"\n', "the table [colors] is missing"),
        (
            GOOD + '[variables]\nscrollbar = "red; } * { display: none"\n',
            "the variable 'scrollbar' has no usable value",
        ),
        (GOOD + '[variables]\nscrollbar = "banana"\n', "scrollbar = 'banana' is not a colour"),
        (GOOD + '[variables]\nscrollbar = "auto 50%"\n', "scrollbar = 'auto 50%' is not a colour"),
        (GOOD + '[variables]\nscrollbar = "12 12"\n', "scrollbar = '12 12' is not a colour"),
        (GOOD + '[variables]\nblock-cursor-text-style = "bald"\n', "block-cursor-text-style = 'bald' is not a text"),
    ],
)
def test_a_broken_theme_is_named_and_skipped(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "broken.toml").write_bytes(text.encode("latin-1"))
    (tmp_path / "good.toml").write_text(GOOD)
    themes = find_themes(tmp_path)
    assert "mine" in themes.by_name
    assert len(themes.complaints) == 1
    assert themes.complaints[0].startswith(f"{tmp_path / 'broken.toml'}: ") and complaint in themes.complaints[0]


def test_theme_may_set_variables_of_the_design_system(tmp_path: Path) -> None:
    variables = '[variables]\ntext-muted = "auto 60%"\nlink-style-hover = "bold not underline"\nx = "rgb(1, 2, 3)"\n'
    (tmp_path / "a.toml").write_text(GOOD + variables)
    assert find_themes(tmp_path).by_name["mine"].variables["text-muted"] == "auto 60%"


def test_a_theme_that_cannot_be_read_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_theme(tmp_path / "absent.toml")


def test_a_pipe_among_the_themes_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert find_themes(tmp_path).complaints == (
        f"{tmp_path / 'pipe.toml'}: cannot be read (it is a device or a pipe, not a file)",
    )


def test_a_broken_theme_that_is_requested_names_its_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("name = 3")
    with pytest.raises(UserError, match=r"mine\.toml: `name` must be"):
        find_themes(tmp_path).named("mine")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no theme 'nigth'; choose one of .*night, or a theme of Textual"):
        find_themes(tmp_path).named("nigth")


@pytest.mark.parametrize("which", ["run", "launcher", "query"])
async def test_every_theme_that_is_offered_can_be_chosen(which: str, tmp_path: Path) -> None:
    database = make_database(tmp_path / "x.duckdb") if which == "query" else None
    if database is not None:
        app = query_app(database, tmp_path)
    elif which == "launcher":
        app = Launcher(tmp_path, {}, preferences=Preferences(State(tmp_path / "state.json")))
    else:
        app = RunnerApp(FakeRunControl(busy()), themes=find_themes(tmp_path))
    async with driven(app, size=(60, 20)) as pilot:
        for name in app.available_themes:
            app.theme = name
            await pilot.pause()
            assert app.current_theme.name == name
            if (shown := app.current_theme.background) is not None and not app.native_ansi_color:
                assert app.screen.styles.background == Color.parse(shown)
            assert screen_text(app).strip()
            for widget in app.screen.query(RoleStyles):
                assert widget.base_style == widget.rich_style, "a remembered style is of another theme"
                assert widget.role_style("bad") == widget.get_component_rich_style("paint--bad")
    assert set(find_themes(tmp_path).by_name) <= set(app.available_themes)
    if database is not None:
        app.query_screen.close()
        database.close()


def hard_to_read(app: App[Any]) -> set[str]:
    """Return the words on the screen with too little contrast to their background."""
    found = set()
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if style is None or style.color is None or style.bgcolor is None or not any(map(str.isalnum, segment.text)):
                continue
            for palette in PALETTES:
                color, ground = drawn(style.color, palette), drawn(style.bgcolor, palette)
                if contrast(color, ground) < LEAST_CONTRAST:
                    found.add(f"{segment.text.strip()} ({color} on {ground})")
    return found


@pytest.mark.parametrize("theme", ["night", "day", "high-contrast", "colour-blind"])
async def test_everything_on_the_screens_of_a_run_can_be_read(theme: str, tmp_path: Path) -> None:
    with ledger(tmp_path / "x.duckdb") as database:
        control = FakeRunControl(busy())
        control.database = database
        async with driven(RunnerApp(control, theme=theme), size=(170, 40)) as pilot:
            app = await read(pilot)
            assert not hard_to_read(app)
            await pilot.press("v", "m")
            assert not hard_to_read(await settled(pilot))
            await pilot.press("e")
            assert not hard_to_read(await read(pilot))
            await pilot.press("escape")
            control.change(state=RunState.FINISHED)
            app = await read(pilot)
            assert "tui-runner open" in screen_text(app) and not hard_to_read(app)


def unknown_pairs(app: App[Any]) -> list[str]:
    """Return the words on the screen of which the terminal decides the colour, but not that of the background."""
    return [
        segment.text
        for strip in app.screen._compositor.render_strips()
        for segment in strip
        if (style := segment.style) is not None and style.bgcolor is not None and not style.bgcolor.is_default
        if (style.color is None or style.color.is_default) and any(map(str.isalnum, segment.text))
    ]  # fmt: skip


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
async def test_texts_in_the_colour_of_the_terminal_are_on_its_background(theme: str, tmp_path: Path) -> None:
    async with driven(RunnerApp(FakeRunControl(busy()), theme=theme), size=(120, 40)) as pilot:
        assert not unknown_pairs(await read(pilot))
    database = make_database(tmp_path / "books.duckdb")
    app = query_app(database, tmp_path, theme, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        assert not unknown_pairs(app), "the proposed statement is selected"
        await at.press("f6")
        assert not unknown_pairs(app), "the result has the focus"
    database.close()


@pytest.mark.parametrize("theme", ["night", "day", "high-contrast", "colour-blind"])
async def test_everything_in_the_form_of_a_job_can_be_read(theme: str, tmp_path: Path) -> None:
    (tmp_path / "scrape.py").write_text(JOB)
    app = Launcher(tmp_path, {}, theme=theme)
    async with driven(app, size=(120, 40)) as pilot:
        await ready(pilot)
        assert not hard_to_read(app)
        await pilot.press("home", "enter")
        await ready(pilot)
        await pilot.press("tab", *"xx", "ctrl+s")
        await ready(pilot)
        assert "this is needed" in screen_text(app) and not hard_to_read(app)  # type: ignore[arg-type]


@pytest.mark.parametrize("theme", ["night", "day", "high-contrast", "colour-blind"])
async def test_everything_on_the_query_screen_can_be_read(theme: str, tmp_path: Path) -> None:
    database = make_database(tmp_path / "books.duckdb")
    app = query_app(database, tmp_path, theme, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press(*"SELECT title, 'x' AS y, 12 FROM books", "f5")
        await at.until(lambda: at.tab.asked is not None and at.tab.asked[0].sql.startswith("SELECT"))
        await pilot.pause()
        assert "Book no. 7" in at.shown() and not hard_to_read(app)
    database.close()


@pytest.mark.parametrize("theme", ["night", "day", "high-contrast", "colour-blind"])
async def test_selected_sql_and_the_lines_between_panes_are_seen_with_256_colours(theme: str, tmp_path: Path) -> None:
    database = make_database(tmp_path / "books.duckdb")
    app = query_app(database, tmp_path, theme, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press(*"SELECT 'text', 12, a + 1 -- remark", "ctrl+g")
        for keys in ((), ("f6",), ("f6",)):  # the editor, the result and the catalog have the focus in turn
            await at.press(*keys)
            lines = 0
            for strip in app.screen._compositor.render_strips()[1:3]:
                for segment in strip:
                    style = segment.style
                    if style is None or style.color is None or style.bgcolor is None or segment.text.isspace():
                        continue
                    is_line = not set(segment.text) - set("─━│┃┐┓┑┒ ")
                    for palette in PALETTES:
                        ratio = contrast(drawn(style.color, palette), drawn(style.bgcolor, palette))
                        assert ratio >= (2.0 if is_line else 4.5), (segment.text, ratio)
                    lines += is_line
            assert lines > 3
    database.close()


async def test_without_colours_the_lines_of_the_pane_with_the_focus_are_heavy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    database = make_database(tmp_path / "books.duckdb")
    app = query_app(database, tmp_path)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None)
        assert "─catalog" in at.shown() and "━statements" in at.shown() and "│" in at.shown()
        await at.press("f6")
        assert "━catalog" in at.shown() and "─statements" in at.shown() and "┃" in at.shown()
    database.close()


@pytest.mark.parametrize("no_color", [False, True])
@pytest.mark.parametrize("theme", ["night", "day", "ansi-dark", "ansi-light"])
async def test_the_result_before_is_paler_while_a_statement_runs(
    theme: str, no_color: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    database = make_database(tmp_path / "books.duckdb")
    app = query_app(database, tmp_path)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        app.theme = theme
        await at.until(lambda: at.screen.tab is not None)
        await at.run("SELECT 'an ' || 'answer' AS text")

        def style() -> Style | None:
            rows = app.screen._compositor.render_strips()
            return next(segment.style for strip in rows for segment in strip if "an answer" in segment.text)

        before = style()
        assert before is not None and not before.dim
        at.tab.editor.text = "SELECT count(*) FROM range(1000000) a, range(1000000) b"
        await at.press("f5")
        await at.until(lambda: at.tab.busy)
        await at.until(lambda: style() != before)
        during = style()
        assert during is not None
        assert during.dim if theme.startswith("ansi") else during.color != before.color
        await at.press("escape")
        await at.until(lambda: not at.tab.busy)
    database.close()


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord", "catppuccin-mocha", "atom-one-light"])
async def test_row_under_the_cursor_is_about_as_readable_as_others_in_themes_of_textual(theme, tmp_path) -> None:
    (tmp_path / "jobs.py").write_text(JOB)
    launcher = Launcher(tmp_path, {}, theme=theme)
    async with launcher.run_test(size=(80, 24)):
        variables = launcher.get_css_variables()
        cursor, ground = variables["block-cursor-background"], variables["background"]
        # Textual's colour of the cursor was that of `text-primary` in many of them: a contrast of 1.0 to 1.6.
        for name in ("text-primary", "text-accent", "foreground"):
            assert contrast(variables[name], cursor) >= 0.7 * contrast(variables[name], ground), name
        assert variables["block-cursor-foreground"] == variables["foreground"]
        assert contrast(cursor, ground) >= 1.1


async def test_theme_of_a_file_chooses_the_row_under_the_cursor(tmp_path) -> None:
    launcher = Launcher(tmp_path, {}, theme="night")
    async with launcher.run_test(size=(80, 24)):
        assert launcher.get_css_variables()["block-cursor-background"] == "#1c2e74"
