"""The event line below the table. It shows problems, unconfirmed commands and the newest event, on one line or more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from tui_runner.engine.control import ON_REQUEST
from tui_runner.engine.progress.host_wait import host_wait
from tui_runner.engine.progress.snapshot import KEPT_EVENTS, ErrorGroup, RunEvent, Snapshot
from tui_runner.engine.protocol import InFlight
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import ZONE, clock, count, countdown, duration, more_kinds, short_plural
from tui_runner.tui.run.header import Failures, SnapshotWidget
from tui_runner.tui.widgets.paint import RUN_GLYPHS, WARNING, Line, Span, cells, fitted, message_spans, own

_AT_ONCE = 0.5
"""Most seconds between two events of one command. The run reads its commands every 0.25 s; the second quarter is for a
delay."""
# These match the numbers in which similar events may differ. `_counted` merges such events: about chunks, with the sum
# of their items; about workers and items, with the number of events.
_NUMBER = re.compile(r"\d+")
_CHUNK = re.compile(r"^chunk \d+")
_OTHER = re.compile(r"^(worker|item) \d+")
_ITEMS = re.compile(r"\d+(?= items)")
_SEVERITY = ("debug", "info", "warning", "error", "critical")
"""The log levels, from the least to the most severe. Events that are shown together have the most severe of their
levels."""


def newest_moment(events: Sequence[RunEvent]) -> RunEvent | None:
    """Return one event for the newest event and those that are at most `_AT_ONCE` seconds older.

    Events that differ only in numbers become one text. The result has the time of the newest event and the most severe
    level. It is None if there are no events.
    """
    together = [event for event in events if events[-1].at - event.at <= _AT_ONCE]
    if not together:
        return None
    # A snapshot has only the last `KEPT_EVENTS` events. If all of them belong together, there may have been more.
    more = len(together) == len(events) >= KEPT_EVENTS
    alike: dict[str, list[str]] = {}
    for event in together:
        alike.setdefault(_NUMBER.sub("#", event.text), []).append(event.text)
    text = " · ".join(_counted(texts, more=more) for texts in alike.values())
    return RunEvent(events[-1].at, max((event.level.lower() for event in together), key=_gravity), text)


def _gravity(level: str) -> int:
    return _SEVERITY.index(level) if level in _SEVERITY else 0


def _counted(texts: Sequence[str], *, more: bool) -> str:
    """Return one text for the texts of events that differ only in numbers.

    Texts about chunks, workers and items become the newest text with a count. For all other texts, such as those about
    a setting, the result is the newest text.

    Args:
        texts: the texts, the newest last.
        more: True if there may have been more such events, so that numbers get a `+`.
    """
    newest, number, plus = texts[-1], len(texts), "+" if more else ""
    if number == 1:
        return newest
    if _CHUNK.match(newest):
        items = sum(int(found.group()) for text in texts if (found := _ITEMS.search(text)))
        return _ITEMS.sub(f"{items}{plus}", _CHUNK.sub(f"{number}{plus} chunks", newest))
    return f"{newest} (and {number - 1}{plus} like it)" if _OTHER.match(newest) else newest


_FRESH = 10.0
"""Seconds for which an event is new. A new event is shown in place of the table's filter and, if there is only one
line, in place of the errors."""
_RECENT = 60.0
"""Seconds after which an event that is no warning is drawn with a muted colour, so that it does not look new."""
_TEXT = 60
"""Most characters of an error's type, and of its message if several errors are on one line. Half a line of 120 cells:
a second error may fit."""
_ITEM_TEXTS = (60, 30)
"""Most characters of the value of an item. The second number is used if the items do not fit with the first one, and
have more than one line. A value of 60 fits on a line of 80 cells, and three values of 30 fit on a line of 120."""
_ITEM_LINES = 3
"""Most lines for the items that a run waits for."""
_NEWS_LINES = 3
"""Most lines for the newest event. A longer text can be read in the log."""
_WORTH_BEGINNING = 24
"""Fewest cells for the errors beside another text. With fewer cells, a text would be cut beyond recognition."""
_NARROW = 80
"""Cells of a line below which the time since the last finished item is left out, so that the items have room."""
_MARGIN = 4
"""Cells of a line that texts leave free: its indent, and a blank at the right end."""

_LEVEL_ROLES = {"warning": "warn", "error": "bad"}


@dataclass(frozen=True, slots=True)
class HostKeys:
    """The keys that messages about hosts name.

    Attributes:
        resume: the keys that resume a host.
        screen: the key of the hosts screen; empty if it has none.
    """

    resume: str
    screen: str


class EventLine(SnapshotWidget):
    """The event line: problems first (a stall, errors), then unconfirmed commands or the newest event.

    Args:
        resume_host: the keys that resume a host, for the sentence "… resumes".
        hosts: the key of the hosts screen, for the sentence "… shows the hosts".
        id: id of the widget.
    """

    def __init__(self, resume_host: str = "h, then p,", hosts: str = "h", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys = HostKeys(resume_host, hosts)
        self._asked: tuple[str, ...] = ()
        self._listing = ""
        self._recorded: tuple[ErrorGroup, ...] | None = None

    def show_asked(self, asked: tuple[str, ...]) -> None:
        """Show `asked`, the texts of commands that no snapshot has confirmed yet."""
        self._asked = asked
        self.repaint()

    def show_failures(self, failures: Sequence[Failures]) -> None:
        """Show the errors of an ended run as the ledger counts them, in place of those of the snapshot.

        If an item failed, ran again and failed again, a snapshot counts it twice, and the ledger once.
        """
        self._recorded = tuple(ErrorGroup(each.attempts, each.type, each.text, each.items or 0) for each in failures)
        self.repaint()

    def _with_recorded(self, snapshot: Snapshot) -> Snapshot:
        groups = self._recorded
        if groups is None or not snapshot.state.ended:
            return snapshot
        final = snapshot.items_failed  # this number counts each failed item once
        failed = sum(1 for group in groups if group.final)
        return replace(snapshot, errors=groups, error_groups=len(groups), failed_groups=failed, errors_final=final)

    def show_listing(self, text: str) -> None:
        """Show a text about the filter and the marks of the table. An empty text means that there are none."""
        self._listing = text
        self.repaint()

    def wanted(self, snapshot: Snapshot, width: int, least: int) -> int:
        """Return the number of lines that the texts for `snapshot` need, and at least `least`.

        All lines of warnings and of the reason why the run waits are counted. Lines of the items that the run waits
        for, of errors and of events are usually counted only if `least` is more than one, which is not so on low
        terminals.
        """
        notices = len(_notices(snapshot, width, self._keys))
        news = len(self._news(snapshot, width))
        if least > 1 and (items := _awaited(snapshot, width, _ITEM_LINES)):
            return max(least, notices + len(items) + bool(snapshot.errors) + news)
        if notices:
            return max(least, notices + (max(news, 1) if least > 1 or self._asked or self._listing else 0))
        return max(least, bool(snapshot.errors) + news) if least > 1 else least

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return at most `height` lines, the most important ones."""
        snapshot = self._with_recorded(snapshot)
        news = self._news(snapshot, width)
        if _trouble(snapshot, width, 1, self._keys):
            news = news[: max(height - 1, 1)]
        trouble = _trouble(snapshot, width, height - len(news), self._keys)
        if height == 1:
            waits = snapshot.reason or snapshot.warnings or host_wait(snapshot)
            calm = not waits and (self._listing or (news and _is_fresh(snapshot)))
            lines = news if self._asked or calm or not trouble else trouble[:1]
        else:
            if height <= len(trouble) and not (self._asked or self._listing):
                news = []  # the reason why the run waits is more important than an event
            room = max(height - len(news), 1)
            if len(trouble) > room:
                trouble = [*trouble[: room - 1], (*trouble[room - 1], (" …", "muted"))]
            lines = [*trouble, *news]
        return [fitted(line, width) for line in lines if line]

    def _news(self, snapshot: Snapshot, width: int) -> list[Line]:
        """Return lines with the unconfirmed commands, or else with the newest event and the filter of the table.

        An event that is new or a warning has up to `_NEWS_LINES` lines, and any other event has one.
        """
        if self._asked:
            return [((" … asked: " + " · ".join(self._asked), "accent"),)]
        listing: Line = ((f" {self._listing}  ", "accent"), ("(Esc clears)", "muted")) if self._listing else ()
        ended = snapshot.state.ended
        event = newest_moment([event for event in snapshot.events if not (ended and event.passes)])
        # An event about the pause would repeat the reason, which is shown above with newer numbers.
        known = event is not None and snapshot.reason and event.text.startswith(f"paused: {_begin(snapshot.reason)}")
        if event is None or known or (listing and not _is_fresh(snapshot)):
            return [listing] if listing else []
        # Mute an old event, because it must not look like a new one.
        role = _LEVEL_ROLES.get(event.level, "text" if snapshot.at - event.at <= _RECENT else "muted")
        moment = f" {clock(snapshot.began_at + event.at)} {ZONE}  "
        line: Line = ((moment, "muted"), (own(event.text), role))
        if listing:
            return [(*line, ("  ", "text"), *listing)]
        warned = event.level in _LEVEL_ROLES and snapshot.at - event.at <= _RECENT
        if not (_is_fresh(snapshot) or warned) or snapshot.state.ended:
            return [line]
        parts = wrap(own(event.text), max(width - len(moment) - 1, _WORTH_BEGINNING)) or [""]
        if len(parts) > _NEWS_LINES:
            parts[_NEWS_LINES - 1] += " …"
        return [
            ((" " * len(moment) if number else moment, "muted"), (part, role))
            for number, part in enumerate(parts[:_NEWS_LINES])
        ]


def _begin(reason: str) -> str:
    """Return the beginning of a reason, without the end that says what will happen.

    The event about the same pause has another end, so that only the beginnings can be compared.
    """
    return reason.rpartition("): ")[0] or reason


def _is_fresh(snapshot: Snapshot) -> bool:
    """Return True if the newest event is at most `_FRESH` seconds old and the run has not ended."""
    return bool(snapshot.events) and not snapshot.state.ended and snapshot.at - snapshot.events[-1].at <= _FRESH


def _notices(snapshot: Snapshot, width: int, keys: HostKeys) -> list[Line]:
    """Return lines about the run's state.

    They are its reason, the hosts that the user has paused, the hosts that all items wait for, the next attempts that
    most or all of the items left wait for, or the number of those that the retry budget holds back, and all warnings.
    """
    glyph, role = RUN_GLYPHS[snapshot.state]
    reason = snapshot.reason
    if snapshot.state is RunState.DRAINING and reason == ON_REQUEST:
        reason = "items in flight finish, then it ends"  # the usual text of this reason is for a run that has stopped
    notices = [(glyph, reason, role)] if reason else []
    if (hosts := snapshot.paused_hosts) and not snapshot.state.ended:
        more = f" and {short_plural(len(hosts) - 1, 'other host')}" if len(hosts) > 1 else ""
        paused, paused_role = RUN_GLYPHS[RunState.PAUSED]
        notices.append((paused, f"you have paused {hosts[0]}{more}: {keys.resume} resumes", paused_role))
    if wait := host_wait(snapshot):
        held = wait.text()
        notices.append((WARNING, f"{held}; {keys.screen} shows the hosts" if keys.screen else held, "warn"))
    if snapshot.state is RunState.RUNNING:
        if late := snapshot.retries_over_budget:
            held_back = f"the retry budget holds back {short_plural(late, 'due attempt')}, because many items fail"
            notices.append((WARNING, f"{held_back}; retry_budget of @job sets it", "warn"))
        elif not wait and (delayed := snapshot.delayed) and (snapshot.awaits_attempts or not snapshot.in_flight):
            these = "1 item waits for its" if delayed == 1 else f"{count(delayed)} items wait for their"
            first = "it" if delayed == 1 else "the first"
            due = f"in {countdown(snapshot.next_attempt)}" if snapshot.next_attempt else "now"
            notices.append((glyph, f"{these} next attempt; {first} is due {due}", "muted"))
    notices += [(WARNING, warning, "bad") for warning in snapshot.warnings]
    return [
        ((f" {' ' if number else glyph} {line}", role),)
        for glyph, text, role in notices
        for number, line in enumerate(wrap(own(text), max(width - _MARGIN, 10)))
    ]


def _trouble(snapshot: Snapshot, width: int, height: int, keys: HostKeys) -> list[Line]:
    """Return lines about problems: what `_notices` returns, the items that the run waits for, and the errors.

    If the lines would be more than `height`, the errors are put on the last line of the items, or left out.
    """
    lines = _notices(snapshot, width, keys)
    errors = _failures(snapshot, width)
    room = height - len(lines) - bool(errors)
    lines += _awaited(snapshot, width, max(min(room, _ITEM_LINES), 1))
    if lines and errors and height <= len(lines):
        if cells(lines[-1]) + _WORTH_BEGINNING <= width:
            lines[-1] = (*lines[-1], (" ", "text"), *errors)
    elif errors:
        lines.append(tuple(errors))
    return lines


def _awaited(snapshot: Snapshot, width: int, most: int) -> list[Line]:
    """Return at most `most` lines with the items that the run waits for, the oldest first.

    There are such items if the run is stalled, has items in flight in an outage, or has fewer items left than threads.
    """
    left = None if snapshot.items_total is None else snapshot.items_total - snapshot.items_finished
    if snapshot.stalled_seconds is not None and snapshot.state is RunState.RUNNING:
        since = duration(snapshot.stalled_seconds, short=True)
        # On narrow terminals, leave out the duration, which the header shows as well.
        head: Span = (f" {WARNING} {'' if width < _NARROW else f'nothing finished for {since}; '}oldest:", "bad")
    elif snapshot.in_outage and snapshot.oldest and snapshot.state is RunState.PAUSED:
        # Which of several items is being tried is unknown. The others were in flight when the outage began.
        is_trial = snapshot.trying and len(snapshot.oldest) == 1
        head = (" trying:" if is_trial else " still in flight:", "accent")
    elif left and left < snapshot.threads and snapshot.oldest and not snapshot.state.ended:
        head = (f" {left} left:", "accent")
    else:
        return []
    lines: list[Line] = []
    for limit in _ITEM_TEXTS if most > 1 else _ITEM_TEXTS[:1]:
        lines = _packed(head, [_item(item, limit) for item in snapshot.oldest], width)
        if len(lines) <= most:
            return lines
    return [*lines[: most - 1], (*lines[most - 1], ("  …", "muted"))]


def _packed(head: Span, items: Sequence[Span], width: int) -> list[Line]:
    """Return lines with the items side by side. The first line begins with `head` and has at least one item."""
    lines: list[Line] = [(head, *items[:1])]
    for item in items[1:]:
        if cells((*lines[-1], item)) + _MARGIN <= width:
            lines[-1] = (*lines[-1], item)
        else:
            lines.append(((" ", "text"), item))
    return lines


def _item(item: InFlight, limit: int) -> Span:
    """Return the duration and the value of an item in flight, and the host that holds the item."""
    text = item.text if item.text != str(item.item) else ""
    name = own(text, limit) or f"item {item.item}"
    by = f" (held by {own(item.held_by, limit)})" if item.held_by else ""
    return f"  {duration(item.seconds, short=True)} {name}{by}", "text"


def _failures(snapshot: Snapshot, width: int) -> list[Span]:
    """Return the groups of errors with the numbers of their failed items, the largest group first.

    If no item has failed after its last attempt, the numbers are those of failed attempts. Numbers of items and numbers
    of attempts are never mixed in one line.
    """
    groups = snapshot.errors
    if not groups:
        return []
    failed = [group for group in groups if group.final]
    failed = failed if snapshot.items_failed else []
    number: list[int] | None
    if failed and snapshot.finals_are_items:
        head, number = "failed:", [group.final for group in failed]
    elif failed and len(failed) == 1:
        head, number = "failed:", [snapshot.items_failed]
    elif failed:
        # If items ran again, the snapshot does not know which groups the failed items belong to, only their number.
        head, number = f"{short_plural(snapshot.items_failed, 'item')} failed:", None
    else:
        head, number = "tried again:", [group.count for group in groups]
    shown = failed or list(groups)
    # Count kinds as the errors screen does: those with failed items, or all kinds if no item has failed.
    others = max((snapshot.failed_groups if failed else snapshot.error_groups) - len(shown), 0)
    start: Span = (f" {WARNING} {head}", "bad" if failed else "warn")
    errors, left = _side_by_side(start, shown, number, others, width, _TEXT)
    if left == others + len(shown) - 1:
        # Only one error fits, so it may have the whole line.
        errors, left = _side_by_side(start, shown[:1], number, left, width, width)
    return [start, *errors, *([(f"  {more_kinds(left)}", "muted")] if left else [])]


def _side_by_side(
    start: Span, groups: Sequence[ErrorGroup], number: Sequence[int] | None, others: int, width: int, limit: int
) -> tuple[list[Span], int]:
    """Return those of `groups` that fit on a line, and the number of kinds of errors that are left out.

    The first group is always among them. Its message is cut if necessary, so that the number of other kinds fits.

    Args:
        start: beginning of the line.
        groups: groups of errors, the most important first.
        number: a number for each group; None to show no numbers.
        others: number of kinds of errors that are not among `groups`.
        width: cells of the line.
        limit: most characters of a message.
    """
    spans: list[Span] = []
    for place, group in enumerate(groups):
        kinds = len(groups) - place - 1 + others
        more = f"  {more_kinds(kinds)}" if kinds else ""
        room = None if place else width - cells((start,)) - len(more)
        error = _error(group, None if number is None else number[place], room, limit)
        if place and cells((start, *spans, *error)) + len(more) + 2 > width:
            return spans, kinds + 1
        spans += error
    return spans, others


def _error(group: ErrorGroup, number: int | None, room: int | None, most: int) -> list[Span]:
    head = f"  {'' if number is None else f'{count(number)} × '}{own(group.type, _TEXT)}"
    limit = most if room is None else max(min(room - len(head) - len(": "), most), 0)
    text = message_spans(group.shown, "warn", limit)
    return [(f"{head}{': ' if text else ''}", "warn"), *text]
