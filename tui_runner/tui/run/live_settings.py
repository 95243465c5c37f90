"""The dialog for settings that can be changed during a run."""

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
"""Settings that can be changed during a run, each with its label."""


def values_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the current values of the settings in `LIVE` as text.

    Limits of hosts are omitted for a run without hosts.
    """
    rate = "none" if snapshot.rate is None else f"{snapshot.rate:g}"
    return {
        "threads": str(snapshot.threads),
        "open_chunks": str(snapshot.open_chunks or 1),
        "rate": rate,
        "max_memory": "none" if snapshot.memory_limit is None else size(snapshot.memory_limit),
    } | (limits_as_text(snapshot.host_limits) if snapshot.hosts else {})


def limits_as_text(limits: HostLimits) -> dict[str, str]:
    """Return limits of hosts as text, by the names of their settings."""
    return {
        "per_host": "none" if limits.per_host is None else str(limits.per_host),
        "delay": f"{limits.delay:g}",
        "adaptive": "true" if limits.adaptive else "false",
    }


def limits_with(limits: HostLimits, changed: Mapping[str, object]) -> HostLimits:
    """Return limits of hosts with changed settings applied."""
    per_host = changed.get("per_host", limits.per_host)
    return HostLimits(
        per_host if isinstance(per_host, int) else None,
        float(str(changed.get("delay", limits.delay))),
        bool(changed.get("adaptive", limits.adaptive)),
    )


class LiveSettings(Dialog[dict[str, object] | None]):
    """A dialog that asks for settings. Its result has the converted values of changed settings; None after Escape.

    Args:
        question: the question.
        labels: labels of settings; those with a value in `before` are shown.
        before: current values as text; see `values_of`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FIELD)]

    def __init__(self, question: str, labels: Mapping[str, str], before: Mapping[str, str]) -> None:
        super().__init__()
        self._question = question
        self._labels = labels
        self._before = before

    def compose(self) -> ComposeResult:
        """Yield a line for each setting."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            for name, value in self._before.items():
                with Horizontal(classes="field"):
                    yield Static(Content(self._labels[name]), classes="label")
                    yield TextField(value, id=name, compact=True, select_on_focus=True)
            yield Static(Content(""), id="complaint")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Name the keys."""
        keys = keys_of(self, Place.FIELD)
        self.query_one("#consequence", Static).update(Content(f"Enter applies   {keys}"))

    def on_input_changed(self) -> None:
        """Show at once which value is wrong."""
        try:
            self._changed()
        except UserError as error:
            self.query_one("#complaint", Static).update(Content(error.what))
        else:
            self.query_one("#complaint", Static).update(Content(""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer if every value is valid."""
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
