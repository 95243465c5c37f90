"""What the command palette offers: the actions that apply on a screen, each with its keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from textual.app import App, SystemCommand
from textual.screen import Screen

from tui_runner.tui.action import Action, Place
from tui_runner.tui.actions import ACTIONS, Keys, shown_key


def palette(app: App[Any], screen: Screen[object], keys: Keys, places: Collection[Place]) -> Iterable[SystemCommand]:
    """The actions of these places, as commands of an application.

    Args:
        app: carries out those that apply everywhere.
        screen: carries out the others.
        keys: the keys in force.
        places: where the actions apply.
    """
    for group in _by_method({*places, Place.ALWAYS}):
        owner = "app" if group[0].place in (Place.ANYWHERE, Place.LAUNCHER, Place.ALWAYS) else "screen"
        shown = " ".join(shown_key(key) for action in group for key in keys[action.id])
        yield SystemCommand(
            group[0].help.rstrip("."),
            f"{group[0].place} · {shown}",
            _runner(app, screen, f"{owner}.{group[0].method}"),
        )


def _by_method(places: Collection[Place]) -> Iterable[list[Action]]:
    """The actions of these places; those that do the same on other keys, beside a result say, are one."""
    groups: dict[str, list[Action]] = {}
    for action in ACTIONS:
        if action.place in places:
            groups.setdefault(action.method, []).append(action)
    return groups.values()


def _runner(app: App[Any], screen: Screen[object], action: str) -> Callable[[], Awaitable[bool]]:
    return lambda: app.run_action(action, screen)
