"""Passes the commands that a user gives on a screen to the run.

A command is given only if it can have an effect according to the newest snapshot. The call returns at once, and the
effect comes later. Until a snapshot shows the effect, the screen shows the command as "asked". A command without
effect, such as pausing a run that has just ended, is dropped after `PATIENCE` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tui_runner.engine.control import RunControl
from tui_runner.engine.progress.chunk_views import ChunkView
from tui_runner.engine.progress.snapshot import HostView, Snapshot
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.jobs.hosts import HostLimits
from tui_runner.store.database import Database
from tui_runner.system.memory import memory_bound
from tui_runner.text.numbers import plural, size
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.run.chunk_rows import chunk_name

PATIENCE = 10.0
"""Seconds after which an unconfirmed command is no longer shown. A command that had no effect, because its chunk had
ended, is never confirmed."""


_TRIED_SECONDS = 1.0
"""Seconds after which a trial that the user requested has certainly begun. A run reads commands four times a second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command: its text, the test of its effect, and the time at which it was given (`Snapshot.at`)."""

    text: str
    confirmed: Callable[[Snapshot], bool]
    at: float


class AskedCommands:
    """The commands that wait for their effect, in order."""

    def __init__(self) -> None:
        self._waiting: list[Asked] = []

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to show."""
        return tuple(asked.text for asked in self._waiting)

    def add(self, text: str, confirmed: Callable[[Snapshot], bool], at: float) -> None:
        """Add a command. `rate: 9` replaces `rate: 5`, because their texts are the same up to the colon."""
        kind = text.split(":")[0]
        self._waiting = [asked for asked in self._waiting if asked.text.split(":")[0] != kind]
        self._waiting.append(Asked(text, confirmed, at))

    def update(self, snapshot: Snapshot) -> None:
        """Drop commands that this snapshot confirms, and commands that have waited for too long."""
        self._waiting = [
            asked
            for asked in self._waiting
            if not asked.confirmed(snapshot) and snapshot.at - asked.at < PATIENCE and not snapshot.state.ended
        ]


class RunCommands:
    """Gives commands to the run. The application owns the object, and all its screens use it.

    Attributes:
        snapshot: the newest snapshot; None before the first.
        asked: commands that no snapshot has confirmed yet.
    """

    def __init__(self, control: RunControl) -> None:
        self._control = control
        self.snapshot: Snapshot | None = None
        self.asked = AskedCommands()
        # Requested number of threads that is not confirmed yet: a second key press adds to this number, not to the
        # number in the snapshot.
        self._threads: int | None = None
        self._tried = False
        """True if the user has requested a trial in this outage. The next request resumes the run without a trial."""

    @property
    def database(self) -> Database | None:
        """The database of the run, for `background.read`; None if it is not open."""
        return self._control.database

    def take(self, snapshot: Snapshot) -> None:
        """Store a new snapshot."""
        self.snapshot = snapshot
        self.asked.update(snapshot)
        self._tried = self._tried and snapshot.in_outage
        if self._threads == snapshot.threads:
            self._threads = None

    @property
    def goes_on(self) -> bool:
        """True if there is a run that accepts commands."""
        return self.snapshot is not None and not self.snapshot.state.ended

    @property
    def can_retry(self) -> bool:
        """True if the run has ended and some of its items can run again."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.state is not RunState.FINISHED:
            return False
        return bool(snapshot.items_failed or snapshot.items_cancelled)

    @property
    def space_tries(self) -> bool:
        """True if `pause_run` would try one item: the run waits in an outage, and no trial was requested in it."""
        snapshot = self.snapshot
        return snapshot is not None and snapshot.in_outage and not self._tried

    def pause_run(self) -> bool:
        """Pause or resume the run; in an outage, try one item first. Return False if the run accepts no command."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.state not in (RunState.RUNNING, RunState.PAUSED):
            return False
        if snapshot.state is RunState.PAUSED and self.space_tries:
            # If all items started at once, they would fail until the run pauses itself again. One item shows as much.
            self._tried = True
            self._control.try_now()
            asked = snapshot.at

            def tried(later: Snapshot) -> bool:
                # A quick item may have begun and ended between two snapshots; its end is shown as an event.
                return later.trying or later.state is not RunState.PAUSED or later.at - asked >= _TRIED_SECONDS

            self._ask("run: try one item", tried)
        elif snapshot.state is RunState.PAUSED:
            self._control.resume()
            # A held run has accepted the command, and shows the reason for the hold.
            self._ask("run: resume", lambda later: later.state is not RunState.PAUSED or later.held)
        else:
            self._control.pause()
            self._ask("run: pause", lambda later: later.state is not RunState.RUNNING)
        return True

    def pause_chunks(self, chunks: Sequence[ChunkView]) -> None:
        """Pause `chunks`; if none of them can be paused, resume them."""
        going = [chunk for chunk in chunks if chunk.state in GOING]
        paused = [chunk for chunk in chunks if chunk.state is ChunkState.PAUSED]
        of = len(chunks)
        if going:
            self._command(going, of, "pause", self._control.pause_chunks, lambda state: state not in GOING)
        elif paused:
            resumed = self._control.resume_chunks
            self._command(paused, of, "resume", resumed, lambda state: state is not ChunkState.PAUSED)

    def retry_chunks(self, chunks: Sequence[ChunkView]) -> None:
        """Run the failed and cancelled items of `chunks` again."""
        again = fit_for(Verb.RETRY, chunks)
        if again and self.goes_on:
            retry = self._control.retry_chunks
            self._command(again, len(chunks), "retry", retry, lambda state: state not in AGAIN)

    def failed_chunks(self) -> list[ChunkView]:
        """Return the ended chunks with failed items, cancelled chunks among them."""
        if self.snapshot is None:
            return []
        chunks = self.snapshot.chunks
        return [chunks[chunk.number] for chunk in chunks.scan() if chunk.state in AGAIN and chunk.failed]

    def cancel_chunks(self, chunks: Sequence[ChunkView]) -> None:
        """Cancel the unended ones of `chunks`."""
        left = fit_for(Verb.CANCEL, chunks)
        if left:
            self._command(left, len(chunks), "cancel", self._control.cancel_chunks, lambda state: state.ended)

    def change_threads(self, direction: int) -> None:
        """Change the number of items executed at once by a tenth, at least by one.

        Args:
            direction: 1 to raise it, -1 to lower it.
        """
        if self.snapshot is None:
            return
        now = self.snapshot.threads if self._threads is None else self._threads
        self.set_threads(max(now + direction * max(now // 10, 1), 1))

    def set_threads(self, threads: int) -> None:
        """Set the number of items executed at once to `threads`."""
        snapshot = self.snapshot
        now = self._threads or (snapshot.threads if snapshot else 0)
        if not self.goes_on or threads == now:
            return
        self._threads = threads
        self._control.set_threads(threads)
        self._ask(f"threads: {threads}", lambda later: later.threads == threads)

    def set_open_chunks(self, open_chunks: int) -> None:
        """Set the number of chunks that are open at once to `chunks`."""
        if self.goes_on:
            self._control.set_open_chunks(open_chunks)
            self._ask(f"open chunks: {open_chunks}", lambda later: later.open_chunks == open_chunks)

    def set_rate(self, rate: float | None) -> None:
        """Limit the number of items started per second to `rate`; None removes the limit."""
        if self.goes_on:
            self._control.set_rate(rate)
            self._ask(f"rate: {'none' if rate is None else f'{rate:g}'}", lambda later: later.rate == rate)

    def pause_host(self, host: HostView) -> None:
        """Pause or resume requests to a host."""
        if self.goes_on:
            paused = not host.paused
            self._control.pause_hosts([host.host], paused)
            self._ask(f"{safe_text(host.host)}: {'pause' if paused else 'resume'}", _host_is(host.host, paused=paused))

    def limit_hosts(self, limits: HostLimits, host: str = "") -> None:
        """Limit requests to `host`; if it is empty, to every host that has no limits of its own."""
        if self.goes_on:
            self._control.set_host_limits(limits, host)
            confirmed = _host_is(host, limits=limits) if host else lambda later: later.host_limits == limits
            self._ask(f"{safe_text(host) or 'hosts'}: limits", confirmed)

    def set_max_memory(self, limit: int | str | None) -> None:
        """Limit the memory of the run.

        Args:
            limit: bytes, or a share of the machine's memory such as `80 %`; None removes the limit.
        """
        if self.goes_on:
            self._control.set_max_memory(limit)
            bound = memory_bound(limit)
            self._ask(f"memory: {'none' if bound is None else size(bound)}", lambda later: later.memory_limit == bound)

    def _command(
        self,
        chunks: Sequence[ChunkView],
        of: int,
        verb: str,
        command: Callable[[Collection[int]], None],
        obeyed: Callable[[ChunkState], bool],
    ) -> None:
        numbers = [chunk.number for chunk in chunks]
        command(numbers)
        self._ask(f"{named(chunks, of)}: {verb}", lambda later: all(obeyed(later.chunks.state(n)) for n in numbers))

    def _ask(self, text: str, confirmed: Callable[[Snapshot], bool]) -> None:
        self.asked.add(text, confirmed, self.snapshot.at if self.snapshot else 0.0)


def _host_is(host: str, **fields: object) -> Callable[[Snapshot], bool]:
    """Return a test of snapshots: True if the view of `host` has the values `fields`, or there is no view of it."""

    def confirmed(later: Snapshot) -> bool:
        view = next((view for view in later.hosts if view.host == host), None)
        return view is None or all(getattr(view, name) == value for name, value in fields.items())

    return confirmed


class Verb(StrEnum):
    """A command on chunks."""

    PAUSE = "pause"
    RETRY = "retry"
    CANCEL = "cancel"


GOING = (ChunkState.RUNNING, ChunkState.WAITING)
"""States between which chunks change without a command."""
AGAIN = (ChunkState.FAILED, ChunkState.CANCELLED)
"""States of chunks with items that can run again."""


def named(chunks: Sequence[ChunkView], of: int | None = None) -> str:
    """Return `chunk 00076` or `3 chunks`; `2 of 3 chunks` if a command for 3 chunks has an effect on only 2 of them."""
    if of is not None and of > len(chunks):
        return f"{len(chunks)} of {of} chunks"
    return f"chunk {chunk_name(chunks[0].number)}" if len(chunks) == 1 else f"{len(chunks)} chunks"


def fit_for(verb: Verb, chunks: Sequence[ChunkView]) -> list[ChunkView]:
    """Return the chunks on which the command has an effect. The command to pause also resumes."""
    if verb is Verb.RETRY:
        return [chunk for chunk in chunks if chunk.state in AGAIN]
    return [chunk for chunk in chunks if not chunk.state.ended]


def disabled_reason(verb: Verb, chunks: Sequence[ChunkView], snapshot: Snapshot | None, retry_all: str) -> str:
    """Return the reason for which a command has no effect on any of these chunks; empty if it has an effect.

    Args:
        verb: the command.
        chunks: the chunks for which it was given.
        snapshot: the newest snapshot.
        retry_all: the key that runs the failed items of an ended run again.
    """
    if snapshot is None or not chunks:
        return f"there is no chunk to {verb}"
    if snapshot.state.ended:
        if verb is not Verb.RETRY:
            return f"the run is over; there is nothing to {verb}"
        if snapshot.state is RunState.FINISHED and (snapshot.items_failed or snapshot.items_cancelled):
            return f"the run is over; press {retry_all} to retry its failed items"
        return "the run is over; use `tui-runner resume` if it was stopped"
    if fit_for(verb, chunks):
        return ""
    if len(chunks) > 1:
        state = "has ended with failed items" if verb is Verb.RETRY else "is still to be done"
        return f"nothing to {verb}: none of the {len(chunks)} chunks {state}"
    chunk = chunks[0]
    standing = f"has ended, {chunk.failed:,} failed" if chunk.state is ChunkState.FAILED else f"is {chunk.state}"
    later = "; what failed in it can run again when it has ended" if verb is Verb.RETRY and chunk.failed else ""
    return f"chunk {chunk_name(chunk.number)} {standing}: nothing to {verb}{later}"


def retry_confirmation(chunks: Sequence[ChunkView], later: int = 0) -> str:
    """Return the text that tells the user what running failed and cancelled items of `chunks` again will do.

    Args:
        chunks: ended chunks, each with failed items.
        later: number of failed items of unended chunks, which cannot run again yet.
    """
    failed = sum(chunk.failed for chunk in chunks)
    cancelled = sum(chunk.cancelled for chunk in chunks)
    also = f", and {plural(cancelled, 'cancelled item')} of the same chunks," if cancelled else ""
    verb = "runs" if failed == 1 and not cancelled else "run"
    text = f"{plural(failed, 'failed item')} of {named(chunks)}{also} {verb} again, before what is still waiting."
    if later:
        text += f" {plural(later, 'other')} failed in chunks that have not ended and can run again when these have."
    return text


def nothing_runs_again(snapshot: Snapshot | None) -> str:
    """Return the reason why the key that retries all failed items has no effect."""
    if snapshot is None or not snapshot.state.ended:
        why = "no chunk has ended with failed items"
    elif snapshot.state is RunState.FINISHED:
        why = "nothing failed, nothing was cancelled"
    else:
        why = f"the run has {snapshot.state}, `tui-runner resume` goes on with it and with what failed"
    return f"nothing to run again: {why}"
