"""The tabs of the query screen, one of which is shown."""

from __future__ import annotations

from collections.abc import Collection

from textual.containers import Container

from tui_runner.store.query.console import Console
from tui_runner.store.query.statements import split
from tui_runner.store.remote.client import RemoteConsole
from tui_runner.tui.completion import Vocabulary
from tui_runner.tui.threads import in_thread
from tui_runner.tui.widgets.query_tab import QueryTab
from tui_runner.tui.widgets.suggestions import Suggestions


class QueryTabs(Container):
    """Any number of tabs.

    Args:
        suggestions: the list of words, which all editors share.
        id: of the widget.

    Attributes:
        place: that of the tab that is shown, from 0.
        writes: whether statements may change data.
    """

    def __init__(self, suggestions: Suggestions, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._suggestions = suggestions
        self._tabs: list[QueryTab] = []
        self._vocabulary = Vocabulary()
        self.place = 0
        self.writes = False

    @property
    def current(self) -> QueryTab | None:
        """The tab that is shown; None before the first."""
        return self._tabs[self.place] if self._tabs else None

    @property
    def names(self) -> tuple[str, ...]:
        """What the tabs are called: by their file, else by their number."""
        return tuple(tab.file.name if tab.file else str(number) for number, tab in enumerate(self._tabs, start=1))

    def unsaved(self, run_before: Collection[str]) -> bool:
        """Whether a tab has a statement that is neither in its file nor among those that were run before."""
        return any(
            tab.editor.text != tab.saved and any(each.sql not in run_before for each in split(tab.editor.text))
            for tab in self._tabs
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that are offered."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        for tab in self._tabs:
            tab.editor.vocabulary = vocabulary

    async def add(self, console: Console | RemoteConsole, text: str = "") -> QueryTab:
        """Open a tab with `text` in its editor, and show it. The console is the tab's from now on."""
        if self.writes and console.can_write:
            console.write = True
        tab = QueryTab(console, self._suggestions, text)
        try:
            await self.mount(tab)
        except BaseException:  # the screen is being closed, say, and knows nothing of this console yet
            console.close()
            raise
        # Not before: until it is mounted it has no parts that a key could act on.
        self._tabs.append(tab)
        tab.editor.vocabulary = self._vocabulary
        self.go_to(len(self._tabs) - 1)
        return tab

    def go_to(self, place: int) -> None:
        """Show a tab; behind the last comes the first."""
        if not self._tabs:
            return
        self.place = place % len(self._tabs)
        for number, tab in enumerate(self._tabs):
            tab.set_class(number == self.place, "-current")
        self._tabs[self.place].editor.focus()

    async def close_current(self) -> None:
        """Close the tab that is shown; the last one stays."""
        if len(self._tabs) < 2:
            return
        tab = self._tabs.pop(self.place)
        tab.leave()
        self.go_to(max(self.place - 1, 0))
        await tab.remove()
        await in_thread(tab.close, "tui-runner-close")

    def set_write(self, wanted: bool) -> None:
        """Allow statements that change data in every tab, or forbid them.

        Raises:
            UserError: they cannot be allowed; none is then.
        """
        self.writes = False
        for tab in self._tabs:
            tab.console.write = wanted
        self.writes = wanted

    def leave(self) -> None:
        """Nothing is to be drawn any more, and whatever runs is not to be waited for."""
        for tab in self._tabs:
            tab.leave()
            tab.console.cancel()

    def close(self) -> None:
        """End what runs and give every console back; blocks."""
        for tab in self._tabs:
            tab.close()
