"""Actions and the places where they apply; `actions/__init__.py` has the lists of them.

An action is carried out by the method `action_<method>` of its screen, widget or application. Its id is unique in the
whole interface, because keymaps refer to it: the actions of a run have plain ids (`pause_run`), actions of other parts
begin with the name of the part (`query.run`, `grid.left`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Part of the interface in which an action applies."""

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
"""The places of the dashboard."""
QUERY_PLACES = (Place.QUERY, Place.RESULT, Place.GRID, Place.CATALOG)
"""The places of the query screen. Its keys take precedence over those that apply everywhere."""
QUERY_PARTS = {
    "editor": (Place.QUERY,),
    "grid": (Place.QUERY, Place.RESULT, Place.GRID),
    "result-chart": (Place.QUERY, Place.RESULT),
    "catalog": (Place.QUERY, Place.RESULT, Place.CATALOG),
}
"""The places that apply while a part of the query screen has the focus, by the part's id."""
QUERY_HELP = (*QUERY_PLACES, Place.CELL, Place.CHOICE, Place.FIELD, Place.QUESTION)
"""The places of the query screen, with those of its dialogs."""

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
"""Combinations of places whose keys are active at the same time. Actions of places that never meet may share a key."""

TYPED_IN = frozenset({Place.QUERY, Place.ALWAYS})
"""Places where text is typed. The keys of their actions take precedence over those of the field, and none of these keys
types a character."""


def meet(one: Place, other: Place) -> bool:
    """Return True if both places apply on some screen."""
    return any(one in places and other in places for places in SCREENS)


@dataclass(frozen=True, slots=True)
class Action:
    """An effect of a key.

    Attributes:
        id: its unique name, also in keymaps.
        keys: its keys, by Textual's names; the first one is shown.
        label: at most two words for the footer. Neighbours with the same label share it: `+/- threads`.
        help: one sentence for the help screen and the palette.
        place: where it applies.
        footer: rank in the footer; a narrow footer omits the highest ranks first. None if the footer never shows it.
        yields: True if a text field takes precedence over the action, although its place is one of `TYPED_IN`.
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
        """Name of the method that carries out the action, without `action_`."""
        return self.id.rpartition(".")[2]
