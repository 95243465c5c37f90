"""Keys of a field where text is typed, in the order in which they were pressed.

Textual hands a key to the field first. A letter is typed at once; a key that the field has a binding for goes on to
each of its parents up to the application, and only there is the binding carried out. Keys that come in one piece, from
a slow connection, a terminal multiplexer or a stalled loop, are in the field's queue by then: letters overtake the key
that was pressed before them, and Ctrl-U then deletes what was typed after it.
"""

from __future__ import annotations

from textual import events
from textual.widget import Widget


async def does_own_key(field: Widget, event: events.Key) -> bool:
    """Carry out what a field itself binds to a key, in its turn; whether there was anything.

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
