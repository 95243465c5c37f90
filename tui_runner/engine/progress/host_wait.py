"""Finds out if a run executes no item because all items wait for hosts, and says so in a few words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tui_runner.engine.progress.chunk_views import ChunkView, WaitCause
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.text.numbers import ZONE, clock, short_plural
from tui_runner.text.safe_text import display_width, safe_text

_HOST = 60
"""Most characters of the name of a host."""
_LEAST_HOST = 12
"""Fewest characters of the name of a host on a narrow line: enough to tell two hosts apart in most runs."""


@dataclass(frozen=True, slots=True)
class HostWait:
    """The hosts that keep a run from executing any item.

    Attributes:
        host: the host that most chunks wait for; must pass `safe_text` before it is shown.
        status: status of the response for which the run waits; None if the host has refused no request.
        backs_off: True if it asks for a shorter wait, or names no time: the wait is back-off of our own.
        others: number of other hosts that chunks wait for.
        until: time at which the first chunk continues, in seconds since the epoch; None if unknown.
    """

    host: str
    status: int | None = None
    backs_off: bool = False
    others: int = 0
    until: int | None = None

    def text(self) -> str:
        """Return a sentence: `all items wait for books.example (429) until 12:03:41 UTC`.

        `(429, own back-off)` says that the host has not asked for so long a wait.
        """
        return f"all items wait for {self._hosts(_HOST, self._refusal(', own back-off'))}"

    def brief(self, width: int) -> str:
        """Return a phrase of at most `width` columns if possible.

        The words about the back-off are left out first, then the name of the host is cut; the time never is.
        """
        refusals = [self._refusal(words) for words in (", own back-off", ", back-off", "")]
        for refusal in refusals:
            whole = f"waits for {self._hosts(_HOST, refusal)}"
            over = display_width(whole) - width
            if over <= 0:
                return whole
        return f"waits for {self._hosts(max(len(safe_text(self.host, limit=_HOST)) - over, _LEAST_HOST), refusals[-1])}"

    def _refusal(self, words: str) -> str:
        return "" if self.status is None else f" ({self.status}{words if self.backs_off else ''})"

    def _hosts(self, limit: int, refusal: str) -> str:
        more = f" and {short_plural(self.others, 'other host')}" if self.others else ""
        when = "" if self.until is None else f" until {clock(self.until)} {ZONE}"
        return f"{safe_text(self.host, limit=limit)}{refusal}{more}{when}"


def host_wait(snapshot: Snapshot) -> HostWait | None:
    """Return the hosts that keep a run from executing any item; None if it executes items."""
    if snapshot.state is not RunState.RUNNING or snapshot.in_flight:
        return None
    opened = snapshot.chunks.open()
    waits = [chunk.wait for chunk in opened if chunk.wait is not None and chunk.wait.cause is WaitCause.HOST]
    # A chunk with quick items runs although none of them is in flight at the moment of the snapshot.
    others = any(chunk.state is ChunkState.RUNNING or _retries(chunk) for chunk in opened)
    if not waits or others:
        return None
    host, _ = Counter(wait.host for wait in waits).most_common(1)[0]
    view = next((each for each in snapshot.hosts if each.host == host), None)
    return HostWait(
        host,
        None if view is None else view.refusal,
        view is not None and view.backs_off,
        len({wait.host for wait in waits}) - 1,
        min((wait.until for wait in waits if wait.until is not None), default=None),
    )


def _retries(chunk: ChunkView) -> bool:
    return chunk.wait is not None and chunk.wait.cause in (WaitCause.RETRY, WaitCause.RETRY_BUDGET)
