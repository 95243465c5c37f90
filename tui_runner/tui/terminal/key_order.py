"""Handles keys and pasted text in order, each after the effects of the previous one.

Textual passes a key to the widget that has the focus at that moment. Keys that arrive together, from a slow connection,
a terminal multiplexer or a stalled loop, are all passed on before the first one is carried out: with `/abc`, the
letters went to the list, not to the field that `/` opens. Here a key waits until the previous one has been carried out,
and until a screen opened by it has its parts and its focus.

The end of a key is detected in this way: messages of one widget are handled in order, and a widget passes a key that it
does not use to its parent. So a callback that follows the key from parent to parent reaches the application after all
effects of the key.

Textual passes a key to the focused field first. A letter is typed at once. A key with a binding of the field is passed
to each parent up to the application, which carries out the binding. If keys arrive together, the next ones are in the
field's queue by then: letters would overtake the key that was pressed before them, and Ctrl-U would delete letters that
were typed after it.
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
"""Seconds to wait for the end of a key. A part of the screen that does not respond must not block all keys, including
Ctrl-C."""


class OrderedKeys(App[ReturnType]):
    """An application that carries out keys one after the other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._typed: deque[events.Key | events.Paste] = deque()
        self._under_way_since: float | None = None
        """Monotonic time at which work on the current key began; None if no key is being handled."""

    @property
    def keys_are_done(self) -> bool:
        """True if all keys have been carried out."""
        return self._under_way_since is None

    async def on_event(self, event: events.Event) -> None:
        """Queue keys and pasted text."""
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
        """Pass a key to Textual, and detect when it has been carried out."""
        if not self._typed:
            self._under_way_since = None
            return
        self._under_way_since = time.monotonic()
        event = self._typed.popleft()
        to = self.focused or self.screen
        await super().on_event(event)
        self._pass(to.ancestors_with_self, self._take_up)

    def _pass(self, way: Sequence[DOMNode], done: Callable[[], Any]) -> None:
        """Call `done` after all pending work of every widget on the way; a closed widget has no pending work."""
        for place, node in enumerate(way, 1):
            if node.call_later(self._pass, way[place:], done) if place < len(way) else node.call_later(done):
                return


async def does_own_key(field: Widget, event: events.Key) -> bool:
    """Perform the action that a field binds to a key, in order. Return True if the field has such an action.

    Call it first in `_on_key` of the field, which must ignore a key that was handled here.
    """
    if event.is_printable:
        return False
    active = field.screen.active_bindings.get(event.key)
    if active is None or active.node is not field or not active.enabled:
        return False
    if not await field.app.run_action(active.binding.action, field):
        return False  # the field ignores the key, for example an arrow in a single line, which cannot scroll
    event.stop()
    event.prevent_default()
    return True


class TextField(Input):
    """An `Input` whose keys are carried out in the order in which they were pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if not await does_own_key(self, event):
            await super()._on_key(event)
