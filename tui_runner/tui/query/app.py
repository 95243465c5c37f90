"""The application of `tui-runner open DB`, which shows the query screen without a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.store.access import Access, FollowingAccess
from tui_runner.tui.actions import palette
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.actions.model import Place
from tui_runner.tui.base_app import STYLES, Application
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.preferences import Preferences, State, read_preferences, state_file
from tui_runner.tui.query.editor import Editor
from tui_runner.tui.query.screen import REFRESH, QueryScreen
from tui_runner.tui.query.script_files import History
from tui_runner.tui.query.unsaved import UnsavedStatements
from tui_runner.tui.terminal.driver import driver_class
from tui_runner.tui.themes import Themes, find_themes


class QueryApp(Application[None]):
    """The application for queries of one database.

    Args:
        access: the access to the database, which the caller closes.
        theme: name of a theme; None for the theme of `preferences`, or else for the default theme.
        themes: the themes to choose from; None to find them.
        history: statements that were run before; None for the history of the user.
        refresh: seconds between two reads of the catalog.
        preferences: the user's configuration; None for the defaults.
        captured_output: captures output of other code, and has the stream to the terminal; None for a new
            `CapturedOutput`.
        newest: True to begin with the newest rows of the table that the newest run writes.
        unsaved: stores unsaved statements; None for the files of the user.

    Raises:
        UserError: there is no theme named `theme`.
    """

    TITLE = "tui-runner"
    CSS_PATH: ClassVar[list[str | PurePath]] = [STYLES / "runner.tcss", STYLES / "query.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", show=False, priority=True)]

    def __init__(
        self,
        access: Access,
        *,
        theme: str | None = None,
        themes: Themes | None = None,
        history: History | None = None,
        refresh: float = REFRESH,
        preferences: Preferences | None = None,
        captured_output: CapturedOutput | None = None,
        newest: bool = True,
        unsaved: UnsavedStatements | None = None,
    ) -> None:
        found = themes or find_themes()
        remembered = None if preferences is None else preferences.state
        preferences = preferences or Preferences(State(state_file()))
        chosen = found.preferred(preferences.theme) if theme is None else found.named(theme)
        super().__init__(driver_class=driver_class(), captured_output=captured_output)
        self.animation_level = "none"
        self._keys, complaints = resolve(preferences.keymap)
        self._complaints = [*preferences.complaints, *found.complaints, *complaints]
        if theme is None and (mistake := found.mistake(preferences.theme, preferences.theme_from)):
            self._complaints.insert(0, mistake)
        self.set_keymap({name: ",".join(keys) for name, keys in self._keys.items() if keys})
        self.use_themes(found, chosen, remembered)
        self.query_screen = QueryScreen(
            lambda: access,
            history=history or History.of_user(),
            leave=self._leave,
            keys=self._keys,
            refresh=refresh,
            newest=newest,
            unsaved=unsaved or UnsavedStatements.of_user(),
        )

    def get_default_screen(self) -> Screen[None]:
        """Return the query screen, the only one."""
        return self.query_screen

    def on_mount(self) -> None:
        """Report mistakes in the configuration, the themes and the keys."""
        self.tell_complaints(self._complaints)
        self.watch_terminal()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the palette: all actions of the query screen, and the choice of a theme."""
        yield from palette(self, screen, self._keys, (Place.QUERY, Place.RESULT))
        yield SystemCommand("Change the theme", "Choose among all themes.", self.search_themes)

    def _leave(self) -> None:
        """Leave the application.

        Ask first if statements would be lost. Ask as well if the focus is in an editor with a typed text, because the
        user may have meant Escape for the editor.
        """
        unsaved = self.query_screen.unsaved
        if not unsaved and not (isinstance(self.query_screen.focused, Editor) and self.query_screen.typed):
            self.exit()
            return
        consequence = (
            "There are statements that were neither run nor saved; they are lost."
            if unsaved
            else "Statements that were run are in the history."
        )
        self.push_screen(Confirm("Leave?", consequence, "Leave", "Stay"), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes:
            self.query_screen.discard_unsaved()
            self.exit()


def open_database(path: Path, *, output: CapturedOutput, theme: str | None = None, from_list: bool = False) -> None:
    """Show the query screen for a database until the user leaves it.

    Args:
        path: path of the database, which must exist. While another process of tui-runner has the database open, the
            queries go through that process.
        output: captures other output while the screen is shown, and has the stream to the terminal.
        theme: name of a theme; None for the theme of the configuration, else for the theme that was chosen last, else
            for the default theme.
        from_list: True if the launcher is shown again afterwards.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no theme named `theme`.
    """
    with FollowingAccess(path) as access:
        preferences = read_preferences(Path.cwd())
        app = QueryApp(access, theme=theme, preferences=preferences, captured_output=output)
        app.keeps_screen = from_list
        try:
            app.run_or_raise()
        finally:
            app.query_screen.close()
