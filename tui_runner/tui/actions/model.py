"""Actions, and the places where they apply. The lists of actions are in `actions/__init__.py`.

An action is carried out by the method `action_<method>` of its screen, widget or application. Keymaps refer to actions
by their ids, so an id is unique in the whole interface. The actions of a run have plain ids (`pause_run`). The ids of
other actions begin with the name of their part (`query.run`, `grid.left`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """A part of the interface in which actions apply. Its value is its name on the help screen."""

    RUN = "run"
    CHUNK = "chunk under the cursor, or those marked"
    TABLE = "chunk table and map"
    LIST = "lists"
    ERRORS = "errors"
    HOSTS = "hosts"
    LOG = "log"
    INNER = "screens that are not the dashboard"
    ANYWHERE = "everywhere"
    QUERY = "query screen"
    RESULT = "result and catalog of the query screen"
    GRID = "cell under the cursor of a result"
    CATALOG = "catalog of the query screen"
    LAUNCHER = "launcher"
    READER = "text that is read"
    CELL = "cell that is read"
    CHOICE = "choice"
    QUESTION = "question"
    FIELD = "fields of a dialog"
    MANUAL = "help"
    ALWAYS = "always, in dialogs too"


DASHBOARD = (Place.RUN, Place.CHUNK, Place.TABLE, Place.LIST, Place.ANYWHERE)
"""The places whose actions apply on the dashboard."""
QUERY_PLACES = (Place.QUERY, Place.RESULT, Place.GRID, Place.CATALOG)
"""The places of the query screen. The keys of their actions take precedence over the keys of `Place.ANYWHERE`."""
QUERY_PARTS = {
    "editor": (Place.QUERY,),
    "grid": (Place.QUERY, Place.RESULT, Place.GRID),
    "result-chart": (Place.QUERY, Place.RESULT),
    "catalog": (Place.QUERY, Place.RESULT, Place.CATALOG),
}
"""The places whose actions apply while a part of the query screen has the focus, by the id of the part."""
QUERY_HELP = (*QUERY_PLACES, Place.CELL, Place.CHOICE, Place.FIELD, Place.QUESTION)
"""The places of the query screen and of its dialogs, for the help screen."""

SCREENS = tuple(
    (*places, Place.ALWAYS)
    for places in (
        DASHBOARD,
        (Place.CHUNK, Place.LIST, Place.INNER, Place.ANYWHERE),
        (Place.ERRORS, Place.LIST, Place.INNER, Place.ANYWHERE),
        (Place.LOG, Place.LIST, Place.INNER, Place.ANYWHERE),
        (Place.HOSTS, Place.LIST, Place.INNER, Place.ANYWHERE),
        (Place.QUERY, Place.RESULT, Place.GRID),
        (Place.QUERY, Place.RESULT, Place.CATALOG),
        (Place.LAUNCHER, Place.LIST),
        (Place.READER, Place.LIST),
        (Place.READER, Place.CELL, Place.LIST),
        (Place.CHOICE, Place.LIST),
        (Place.MANUAL, Place.LIST),
        (Place.QUESTION,),
        (Place.FIELD,),
    )
)
"""The places of each screen and dialog: their keys are active at the same time. Two actions may have the same key if no
screen has the places of both."""

TYPED_IN = frozenset({Place.QUERY, Place.ALWAYS})
"""Places where a text field may have the focus. The keys of their actions take precedence over the keys of the field,
unless the action yields (`Action.yields`). None of these keys may type a character."""


def meet(one: Place, other: Place) -> bool:
    """Return True if some screen has both places."""
    return any(one in places and other in places for places in SCREENS)


@dataclass(frozen=True, slots=True)
class Action:
    """An effect that keys have in one part of the interface.

    Attributes:
        id: unique name of the action, also in keymaps.
        keys: default keys of the action, by Textual's names. Footers show the first one.
        label: at most two words for the footer. Neighbours with the same label are shown together: `+/- threads`.
        help: one sentence for the help screen and the palette.
        place: part of the interface in which the action applies.
        footer: rank in the footer; a narrow footer omits the highest ranks first. None for an action that the footer
            shows only while the screen has a label for it.
        yields: True if a text field takes precedence over the action, although `place` is one of `TYPED_IN`.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    place: Place
    footer: int | None = None
    yields: bool = False

    @property
    def method(self) -> str:
        """The name of the method that carries out the action, without `action_`."""
        return self.id.rpartition(".")[2]
