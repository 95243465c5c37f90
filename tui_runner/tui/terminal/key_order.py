"""Handles keys and pasted text in order, each after the effects of the previous one.

Textual passes a key to the widget that has the focus at that moment. Several keys may arrive together, from a slow
connection, a terminal multiplexer, or after the event loop was busy. Textual passes all of them on before it carries
out the first. With `/abc`, the letters would go to the list, not to the field that `/` opens. Here a key waits until
the previous key has been carried out, and until a screen that the previous key opens has its parts and its focus.

To find out when a key has been carried out, a callback follows the key. A widget handles its messages in order, and
passes a key that it does not use to its parent. So the callback, which also goes from parent to parent, reaches the
application after all effects of the key.

A text field needs care as well. It types a letter at once. But a key for which it has a binding goes to each parent up
to the application, which carries out the binding. Letters that are in the queue of the field by then would overtake the
key: Ctrl-U would delete letters that were typed after it.
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
"""Seconds of work on one key after which the next key that arrives is passed on at once, with those that wait. Without
this limit, a widget that does not respond would block all keys, also Ctrl-C."""


class OrderedKeys(App[ReturnType]):
    """An application that carries out each key after the previous one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._typed: deque[events.Key | events.Paste] = deque()
        self._under_way_since: float | None = None
        """Monotonic time in seconds at which work on the current key began; None if no key is being handled."""

    @property
    def keys_are_done(self) -> bool:
        """True if every key that has arrived was carried out."""
        return self._under_way_since is None

    async def on_event(self, event: events.Event) -> None:
        """Queue keys and pasted text from the terminal; handle all other events, and forwarded keys, at once."""
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
        """Pass on the next key after the current screen has done its pending work."""
        self._under_way_since = time.monotonic() if self._typed else None
        if self._typed:
            self._pass((self.screen, self), self._hand_over)

    async def _hand_over(self) -> None:
        """Pass the next key to Textual. After it was carried out, take up the key that follows."""
        if not self._typed:
            self._under_way_since = None
            return
        self._under_way_since = time.monotonic()
        event = self._typed.popleft()
        to = self.focused or self.screen
        await super().on_event(event)
        self._pass(to.ancestors_with_self, self._take_up)

    def _pass(self, way: Sequence[DOMNode], done: Callable[[], Any]) -> None:
        """Call `done` after the nodes of `way`, one after the other, have done their pending work.

        Closed nodes are left out, because they have no pending work.
        """
        for place, node in enumerate(way, 1):
            if node.call_later(self._pass, way[place:], done) if place < len(way) else node.call_later(done):
                return


async def does_own_key(field: Widget, event: events.Key) -> bool:
    """Carry out the action that `field` itself binds to a key. Return True if this was done.

    Call this function first in `_on_key` of the field. If it returns True, the field must do nothing else.
    """
    if event.is_printable:
        return False
    active = field.screen.active_bindings.get(event.key)
    if active is None or active.node is not field or not active.enabled:
        return False
    if not await field.app.run_action(active.binding.action, field):
        return False  # the field has no use for the key, for example an arrow in a field of one line
    event.stop()
    event.prevent_default()
    return True


class TextField(Input):
    """An `Input` whose keys are carried out in the order in which they were pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if not await does_own_key(self, event):
            await super()._on_key(event)
