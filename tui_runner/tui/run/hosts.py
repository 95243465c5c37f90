"""The hosts screen of a run: the requests, the waiting items and the state of each host, which the user may limit."""

from __future__ import annotations

from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tui_runner.engine.progress.snapshot import HostView, Snapshot
from tui_runner.text.numbers import NONE, clock_down, count, latency, short_plural
from tui_runner.tui.actions import Keys, bindings
from tui_runner.tui.actions.list_keys import Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.run.commands import RunCommands
from tui_runner.tui.run.live_settings import LiveSettings, limits_as_text, limits_with
from tui_runner.tui.run.run_screen import RunScreen
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line, PaintedLines, column, fitted, own

_LIMITS = {"per_host": "requests at once", "delay": "seconds apart", "adaptive": "adaptive"}
"""The settings of a host, with their labels in the dialog."""
_NO_HOST = "there is no host here"
"""Message for a key that applies to a host if none is listed."""
_HOST_WIDTH = 32
"""Most cells of a host's name. Most names are shorter, and the numbers beside a name are more important."""
_NARROW = 64
"""Fewest cells of a line with all numbers about requests. They take 39 cells and the state about 12, so that the name
keeps 12. Shorter lines have only the numbers of done and failed items."""
_NUMBERS = 54
"""Cells beside a host's name: 39 for the numbers, 2 blanks, and 13 for the state."""
_CODE_LINES = 2
"""Most lines of status codes below the list. The eight codes that a snapshot has fit into two lines of 80 cells."""
_LEAST_ROWS_OF_BOTH = 16
"""Fewest lines of a terminal on which details are shown below the list. The details take five lines."""
_WIDE = 110
"""Fewest cells of a line with delay, latencies and status codes. The codes take what other columns leave."""


class Hosts(RunScreen):
    """The hosts screen: a list of hosts, those with the most requests first, and details of one host below."""

    PLACES = (Place.HOSTS, Place.LIST, Place.INNER, Place.ANYWHERE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.HOSTS, Place.LIST, Place.INNER)]

    def __init__(self, steering: RunCommands, keys: Keys) -> None:
        super().__init__(steering, keys)
        self._hosts: tuple[HostView, ...] = ()

    def compose(self) -> ComposeResult:
        """Yield the head, the hosts, the details, and the keys."""
        yield PaintedLines(self._head, id="head")
        yield Rows[HostView](self._line, heading=_heading, nothing=self._nothing, id="hosts")
        yield PaintedLines(self._detail, id="detail")
        yield KeyLine(self.keys, self.PLACES, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Show the hosts of `snapshot`. The cursor stays on its host."""
        rows = self._rows
        now = rows.current
        if snapshot.hosts is not self._hosts:
            self._hosts = snapshot.hosts
            names = [host.host for host in snapshot.hosts]
            place = names.index(now.host) if now is not None and now.host in names else None
            rows.show(snapshot.hosts, place=place)
        elif any(host.cooldown_until is not None for host in snapshot.hosts):
            rows.redraw()
        self.query_one("#head", PaintedLines).repaint()
        self.query_one("#detail", PaintedLines).repaint()
        self._relabel()

    def on_resize(self) -> None:
        """Show the details only on a terminal of at least `_LEAST_ROWS_OF_BOTH` lines."""
        self.query_one("#detail").display = self.size.height >= _LEAST_ROWS_OF_BOTH

    def list_in_use(self) -> Movable:
        """Return the list of hosts, in which the keys move the cursor."""
        return self._rows

    def on_rows_moved(self) -> None:
        """Show the details of the host to which the cursor has moved, and update the labels of the keys."""
        self.query_one("#detail", PaintedLines).repaint()
        self._relabel()

    def action_pause_host(self) -> None:
        """Pause the host under the cursor, or resume it if it is paused."""
        host = self._rows.current
        if host is None or self.steering.refusal:
            self.say(self.steering.refusal or _NO_HOST)
            return
        self.steering.pause_host(host)
        self.query_one("#head", PaintedLines).repaint()

    def action_host_limits(self) -> None:
        """Ask for the limits of the host under the cursor."""
        host = self._rows.current
        if host is None or self.steering.refusal:
            self.say(self.steering.refusal or _NO_HOST)
            return

        def answered(changed: dict[str, object] | None) -> None:
            if changed:
                self.steering.limit_hosts(limits_with(host.limits, changed), host.host)
                self.query_one("#head", PaintedLines).repaint()

        self.app.push_screen(HostSettings(host), answered)

    def action_copy(self) -> None:
        """Copy the name of the host under the cursor."""
        host = self._rows.current
        if host is None:
            self.say(_NO_HOST)
        else:
            self.copied(host.host, "host")

    @property
    def _rows(self) -> Rows[HostView]:
        return self.query_one(Rows)

    def _relabel(self) -> None:
        host = self._rows.current
        labels = self.inner_labels() | {"hosts": ""}
        if host is None or not self.steering.goes_on:
            labels |= {"pause_host": "", "host_limits": ""}
        elif host.paused:
            labels |= {"pause_host": "resume"}
        self.query_one(KeyLine).relabel(labels)

    def _nothing(self) -> str:
        return "no host is known: it is where items use tui_runner.http, or the job says host=…"

    def _head(self, width: int) -> list[Line]:
        snapshot = self.steering.snapshot
        if snapshot is None:
            return []
        if self.steering.asked.texts:
            return [((" … asked: " + " · ".join(self.steering.asked.texts), "accent"),)]
        limits, shown = snapshot.host_limits, len(snapshot.hosts)
        bounds = [] if limits.per_host is None else [f"{count(limits.per_host)} at once"]
        if limits.delay:
            bounds.append(f"{limits.delay:g} s apart")
        if limits.adaptive:
            bounds.append("adaptive")
        total = short_plural(snapshot.hosts_total, "host")
        if shown < snapshot.hosts_total:
            total += f", the {shown} busiest"
        text = f"  {total}  {' · '.join(bounds) or 'no limits'}"
        return [fitted(((f" hosts of {own(snapshot.job, 60)}", "strong"), (text, "muted")), width)]

    def _line(self, host: HostView, width: int) -> Line:
        line: list[tuple[str, str]] = [
            (column(own(host.host, 200), _host_width(width)), "text"),
            (column(count(host.done), 8, right=True), "strong"),
            (column(count(host.failed), 8, right=True), "bad" if host.failed else "muted"),
        ]
        if width >= _NARROW:
            line += [
                (column(count(host.refused), 8, right=True), "warn" if host.refused else "muted"),
                (column(count(host.open), 6, right=True), "text"),
                (column(count(host.waiting), 9, right=True), "text"),
            ]
        if width >= _WIDE:
            line += [
                (column(_delay(host), 8, right=True), "muted"),
                (column(_seconds(host.p50), 9, right=True), "muted"),
                (column(_seconds(host.p95), 9, right=True), "muted"),
            ]
        line += [("  ", "text"), self._state(host)]
        if width >= _WIDE:
            line.append((_codes(host), "muted"))
        return tuple(line)

    def _detail(self, width: int) -> list[Line]:
        """Return the details of the host under the cursor: its name, state, delay, latencies and status codes."""
        host = self._rows.current
        if host is None:
            return []
        state, role = self._state(host)
        name: Line = ((f" {own(host.host, 200)}", "strong"),)
        times = f"delay {_delay(host)}   p50 {_seconds(host.p50)}   p95 {_seconds(host.p95)}"
        # Use blanks at which `wrap` does not break, so that a code and its number stay on one line.
        codes = _codes(host).replace(" × ", "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}") or NONE
        answers = wrap(f"answers  {codes}", max(width - 2, 10), subsequent_indent=" " * 9)[:_CODE_LINES]
        lines: list[Line] = [
            name,
            ((f" {state}", role), (times, "text")),
            *(((f" {line}", "text"),) for line in answers),
        ]
        return [fitted(line, width) for line in lines]

    def _state(self, host: HostView) -> tuple[str, str]:
        """Return the state of a host and the role of its colour. The text is empty for a host without problems."""
        snapshot = self.steering.snapshot
        if host.paused:
            return "paused  ", "warn"
        if host.down:
            return "down  ", "bad"
        if host.cooldown_until is not None and snapshot is not None and host.cooldown_until > snapshot.at:
            return f"held {clock_down(host.cooldown_until - snapshot.at)}  ", "warn"
        return ("failing  ", "bad") if host.failing else ("", "text")


class HostSettings(LiveSettings):
    """A dialog that asks for the limits of one host. Its result is that of `LiveSettings`.

    Args:
        host: the host.
    """

    def __init__(self, host: HostView) -> None:
        super().__init__(f"Limits of {own(host.host, 60)}", _LIMITS, limits_as_text(host.limits))


def _host_width(width: int) -> int:
    if width < _NARROW:
        return max(12, width // 3)
    return min(_HOST_WIDTH, max(12, width - _NUMBERS))


def _seconds(seconds: float | None) -> str:
    return NONE if seconds is None else latency(seconds)


def _delay(host: HostView) -> str:
    return f"{host.delay:.2g} s" if host.delay else NONE


def _codes(host: HostView) -> str:
    return "  ".join(f"{status or 'no answer'} × {count(number)}" for status, number in host.statuses)


def _heading(width: int) -> Line:
    width -= 2
    text = "  " + column("host", _host_width(width)) + "    done  failed"
    if width >= _NARROW:
        text += " refused  open  waiting"
    if width >= _WIDE:
        text += "   delay      p50      p95"
    return ((text + ("  state, codes" if width >= _WIDE else "  state"), "muted"),)
