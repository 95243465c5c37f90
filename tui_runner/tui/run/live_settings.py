"""The dialog in which the user changes settings during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.errors import UserError
from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.settings import check_setting
from tui_runner.text.numbers import size
from tui_runner.tui.actions import bindings, keys_of
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs import Dialog
from tui_runner.tui.terminal.key_order import TextField

LIVE = {
    "threads": "threads",
    "open_chunks": "open chunks",
    "rate": "items/s at most",
    "max_memory": "memory at most",
    "per_host": "per host at once",
    "delay": "per host s apart",
    "adaptive": "per host adaptive",
}
"""The settings that can be changed during a run, with their labels in the dialog."""


def values_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the current values of the settings in `LIVE` as text, by the names of the settings.

    The settings of hosts are included only if the run has hosts.
    """
    rate = "none" if snapshot.rate is None else f"{snapshot.rate:g}"
    return {
        "threads": str(snapshot.threads),
        "open_chunks": str(snapshot.open_chunks or 1),
        "rate": rate,
        "max_memory": "none" if snapshot.memory_limit is None else size(snapshot.memory_limit),
    } | (limits_as_text(snapshot.host_limits) if snapshot.hosts else {})


def limits_as_text(limits: HostLimits) -> dict[str, str]:
    """Return the limits of hosts as text, by the names of the settings."""
    return {
        "per_host": "none" if limits.per_host is None else str(limits.per_host),
        "delay": f"{limits.delay:g}",
        "adaptive": "true" if limits.adaptive else "false",
    }


def limits_with(limits: HostLimits, changed: Mapping[str, object]) -> HostLimits:
    """Return `limits` with the values that `changed` has by the names of settings. Other settings are ignored."""
    per_host = changed.get("per_host", limits.per_host)
    return HostLimits(
        per_host if isinstance(per_host, int) else None,
        float(str(changed.get("delay", limits.delay))),
        bool(changed.get("adaptive", limits.adaptive)),
    )


class LiveSettings(Dialog[dict[str, object] | None]):
    """A dialog that asks for values of settings.

    The result has the values of the settings that the user has changed, by the names of the settings and converted to
    their types. It is None after Escape.

    Args:
        question: one short line.
        labels: labels of settings by their names.
        before: current values of the settings to ask for, as text; see `values_of`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FIELD)]

    def __init__(self, question: str, labels: Mapping[str, str], before: Mapping[str, str]) -> None:
        super().__init__()
        self._question = question
        self._labels = labels
        self._before = before

    def compose(self) -> ComposeResult:
        """Yield the question, a line for each setting, and lines for an error and the keys."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            for name, value in self._before.items():
                with Horizontal(classes="field"):
                    yield Static(Content(self._labels[name]), classes="label")
                    yield TextField(value, id=name, compact=True, select_on_focus=True)
            yield Static(Content(""), id="complaint")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Show the keys."""
        keys = keys_of(self, Place.FIELD)
        self.query_one("#consequence", Static).update(Content(f"Enter applies   {keys}"))

    def on_input_changed(self) -> None:
        """Show an error if a value is not valid, or remove the last error."""
        try:
            self._changed()
        except UserError as error:
            self.query_one("#complaint", Static).update(Content(error.what))
        else:
            self.query_one("#complaint", Static).update(Content(""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close with the changed values if all values are valid."""
        event.stop()
        try:
            self.dismiss(self._changed())
        except UserError as error:
            self.query_one("#complaint", Static).update(Content(error.what))

    def action_cancel(self) -> None:
        """Close without changes."""
        self.dismiss(None)

    def action_next(self) -> None:
        """Go to the next field."""
        self.focus_next()

    def action_previous(self) -> None:
        """Go to the previous field."""
        self.focus_previous()

    def _changed(self) -> dict[str, object]:
        changed: dict[str, object] = {}
        for name, before in self._before.items():
            text = self.query_one(f"#{name}", Input).value.strip()
            value = check_setting(name, text, where=self._labels[name])
            if text != before:
                changed[name] = value
        return changed
