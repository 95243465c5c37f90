"""Handles keys and pasted text in order, each after the effects of the one before.

Textual hands a key to the widget that has the focus at that moment. Keys that come in one piece, from a slow
connection, a terminal multiplexer or a stalled loop, are all handed over before the first of them is carried out: of
`/abc` the letters went to the list, not to the field that `/` opens. Here a key waits until the one before it has been
carried out, and until the screen that this has brought about has its parts and its focus.

How it is known that a key has been carried out: messages of one widget are handled in their order, and a key that a
widget has no use for goes on to its parent. So a callback behind the key, from parent to parent, comes to the
application when whatever the key does has been done.

Textual hands a key to the field first. A letter is typed at once; a key that the field has a binding for goes on to
each of its parents up to the application, and only there is the binding carried out. Keys that come in one piece, from
a slow connection, a terminal multiplexer or a stalled loop, are in the field's queue by then: letters overtake the key
that was pressed before them, and Ctrl-U then deletes what was typed after it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from textual import events
from textual.app import App, ReturnType
from textual.dom import DOMNode
from textual.widget import Widget
from textual.widgets import Input

PATIENCE = 2.0
"""Seconds that a key is waited for. A part of the screen that does not answer must not keep all keys back, Ctrl-C among
them."""


class OrderedKeys(App[ReturnType]):
    """An application that carries out keys one after the other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._typed: deque[events.Key | events.Paste] = deque()
        self._under_way_since: float | None = None
        """Monotonic time at which work on the current key began; None without one."""

    @property
    def keys_are_done(self) -> bool:
        """True if everything that was typed has been carried out."""
        return self._under_way_since is None

    async def on_event(self, event: events.Event) -> None:
        """Let keys and pasted text wait for their turn."""
        if not isinstance(event, (events.Key, events.Paste)) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if self._under_way_since is None:
            self._take_up()
        elif time.monotonic() - self._under_way_since > PATIENCE:
            while self._typed:
                await self._hand_over()

    def _take_up(self) -> None:
        """Handle the next key, after the screen is ready for it."""
        self._under_way_since = time.monotonic() if self._typed else None
        if self._typed:
            self._pass((self.screen, self), self._hand_over)

    async def _hand_over(self) -> None:
        """Do with a key what Textual does, and learn when it has been carried out."""
        if not self._typed:
            self._under_way_since = None
            return
        self._under_way_since = time.monotonic()
        event = self._typed.popleft()
        to = self.focused or self.screen
        await super().on_event(event)
        self._pass(to.ancestors_with_self, self._take_up)

    def _pass(self, way: Sequence[DOMNode], done: Callable[[], Any]) -> None:
        """Call `done` after all pending work of every widget on the way; a closed widget has none."""
        for place, node in enumerate(way, 1):
            if node.call_later(self._pass, way[place:], done) if place < len(way) else node.call_later(done):
                return


async def does_own_key(field: Widget, event: events.Key) -> bool:
    """Perform the action that a field binds to a key, in its turn. Return True if there was one.

    Call it first of all in `_on_key` of the field, which has nothing more to do with a key that was used up here.
    """
    if event.is_printable:
        return False
    active = field.screen.active_bindings.get(event.key)
    if active is None or active.node is not field or not active.enabled:
        return False
    if not await field.app.run_action(active.binding.action, field):
        return False  # the field leaves it to others: an arrow in a single line, which cannot scroll
    event.stop()
    event.prevent_default()
    return True


class TextField(Input):
    """An `Input` whose keys are carried out in the order in which they were pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if not await does_own_key(self, event):
            await super()._on_key(event)
