"""Passes the commands of the user to the run, and remembers which of them have not had their effect yet.

A command is passed on only if it can have an effect according to the newest snapshot. The call returns at once, and the
effect comes later. The screens show the command as "asked" until a snapshot shows its effect, which confirms it. A
command that never has an effect, because its chunk has just ended, for example, is no longer shown after `PATIENCE`
seconds.
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
"""Seconds after which a command is no longer shown although no snapshot has confirmed it. Without this limit, a command
that has no effect would be shown until the end of the run."""

_TRIED_SECONDS = 1.0
"""Seconds after which a trial of one item that the user has requested has certainly begun, because a run reads its
commands four times per second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that no snapshot has confirmed yet.

    Attributes:
        text: text of the command for the screens.
        confirmed: returns True for a snapshot that shows the effect of the command.
        at: `Snapshot.at` of the newest snapshot when the command was given.
    """

    text: str
    confirmed: Callable[[Snapshot], bool]
    at: float


class AskedCommands:
    """The commands that no snapshot has confirmed yet, in the order in which they were given."""

    def __init__(self) -> None:
        self._waiting: list[Asked] = []

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the commands, for the screens."""
        return tuple(asked.text for asked in self._waiting)

    def add(self, text: str, confirmed: Callable[[Snapshot], bool], at: float) -> None:
        """Add a command. It replaces a command whose text is equal up to the colon, as `rate: 9` replaces `rate: 5`.

        Args:
            text: text of the command.
            confirmed: returns True for a snapshot that shows the effect of the command.
            at: `Snapshot.at` of the newest snapshot.
        """
        kind = text.split(":")[0]
        self._waiting = [asked for asked in self._waiting if asked.text.split(":")[0] != kind]
        self._waiting.append(Asked(text, confirmed, at))

    def update(self, snapshot: Snapshot) -> None:
        """Remove the commands that `snapshot` confirms or that are older than `PATIENCE`; after the end, remove all."""
        self._waiting = [
            asked
            for asked in self._waiting
            if not asked.confirmed(snapshot) and snapshot.at - asked.at < PATIENCE and not snapshot.state.ended
        ]


class RunCommands:
    """Passes commands to the run. All screens of the application use the same object.

    Attributes:
        snapshot: the newest snapshot, or None before the first one.
        asked: commands that no snapshot has confirmed yet.
    """

    def __init__(self, control: RunControl) -> None:
        self._control = control
        self.snapshot: Snapshot | None = None
        self.asked = AskedCommands()
        # The number of threads that was requested and is not confirmed yet, or None. A second key press must change
        # this number, not that of the snapshot.
        self._threads: int | None = None
        self._tried = False
        """True if the user has requested a trial of one item in this outage. The next key press resumes the run."""

    @property
    def database(self) -> Database | None:
        """The database of the run, for `background.read`, or None if it is not open."""
        return self._control.database

    def take(self, snapshot: Snapshot) -> None:
        """Store a new snapshot, and remove the commands that it confirms."""
        self.snapshot = snapshot
        self.asked.update(snapshot)
        self._tried = self._tried and snapshot.in_outage
        if self._threads == snapshot.threads:
            self._threads = None

    @property
    def goes_on(self) -> bool:
        """True if the run has begun and has not ended, so that it accepts commands."""
        return self.snapshot is not None and not self.snapshot.state.ended

    @property
    def refusal(self) -> str:
        """The reason for which the run accepts no commands, as text for the user; empty if it accepts them."""
        if self.goes_on:
            return ""
        snapshot = self.snapshot
        return (
            "the run has not begun" if snapshot is None else f"the run is {snapshot.state}: nothing to change any more"
        )

    @property
    def can_retry(self) -> bool:
        """True if the run has finished and has failed or cancelled items, which can run again."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.state is not RunState.FINISHED:
            return False
        return bool(snapshot.items_failed or snapshot.items_cancelled)

    @property
    def space_tries(self) -> bool:
        """True if `pause_run` would try one item: the run waits in an outage, and the user has not tried yet."""
        snapshot = self.snapshot
        return snapshot is not None and snapshot.in_outage and not self._tried

    def pause_run(self) -> bool:
        """Pause the run, or resume it if it is paused. If it waits in an outage, try one item first.

        Return False if the run can be neither paused nor resumed.
        """
        snapshot = self.snapshot
        if snapshot is None or snapshot.state not in (RunState.RUNNING, RunState.PAUSED):
            return False
        if snapshot.state is RunState.PAUSED and self.space_tries:
            # During the outage, all started items would fail. One item is enough to find out if the outage has ended.
            self._tried = True
            self._control.try_now()
            asked = snapshot.at

            def tried(later: Snapshot) -> bool:
                # A short trial may begin and end between two snapshots. So consider it confirmed after some time.
                return later.trying or later.state is not RunState.PAUSED or later.at - asked >= _TRIED_SECONDS

            self._ask("run: try one item", tried)
        elif snapshot.state is RunState.PAUSED:
            self._control.resume()
            # A run that is held by a guard stays paused after it has accepted the command, and shows the reason.
            self._ask("run: resume", lambda later: later.state is not RunState.PAUSED or later.held)
        else:
            self._control.pause()
            self._ask("run: pause", lambda later: later.state is not RunState.RUNNING)
        return True

    def pause_chunks(self, chunks: Sequence[ChunkView]) -> None:
        """Pause those of `chunks` that are running or waiting. If there are none, resume the paused ones."""
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
        """Return the chunks that have ended or were cancelled and have failed items."""
        if self.snapshot is None:
            return []
        chunks = self.snapshot.chunks
        return [chunks[chunk.number] for chunk in chunks.scan() if chunk.state in AGAIN and chunk.failed]

    def cancel_chunks(self, chunks: Sequence[ChunkView]) -> None:
        """Cancel those of `chunks` that have not ended."""
        left = fit_for(Verb.CANCEL, chunks)
        if left:
            self._command(left, len(chunks), "cancel", self._control.cancel_chunks, lambda state: state.ended)

    def change_threads(self, direction: int) -> None:
        """Change the number of threads by a tenth, and at least by one.

        Args:
            direction: 1 for more threads, -1 for fewer threads.
        """
        if self.snapshot is None:
            return
        now = self.snapshot.threads if self._threads is None else self._threads
        self.set_threads(max(now + direction * max(now // 10, 1), 1))

    def set_threads(self, threads: int) -> None:
        """Execute at most `threads` items at once from now on."""
        snapshot = self.snapshot
        now = self._threads or (snapshot.threads if snapshot else 0)
        if not self.goes_on or threads == now:
            return
        self._threads = threads
        self._control.set_threads(threads)
        self._ask(f"threads: {threads}", lambda later: later.threads == threads)

    def set_open_chunks(self, open_chunks: int) -> None:
        """Have at most `open_chunks` chunks in progress at once from now on."""
        if self.goes_on:
            self._control.set_open_chunks(open_chunks)
            self._ask(f"open chunks: {open_chunks}", lambda later: later.open_chunks == open_chunks)

    def set_rate(self, rate: float | None) -> None:
        """Start at most `rate` items per second from now on; None removes the limit."""
        if self.goes_on:
            self._control.set_rate(rate)
            self._ask(f"rate: {'none' if rate is None else f'{rate:g}'}", lambda later: later.rate == rate)

    def pause_host(self, host: HostView) -> None:
        """Pause requests to a host, or resume them if they are paused."""
        if self.goes_on:
            paused = not host.paused
            self._control.pause_hosts([host.host], paused)
            self._ask(f"{safe_text(host.host)}: {'pause' if paused else 'resume'}", _host_is(host.host, paused=paused))

    def limit_hosts(self, limits: HostLimits, host: str = "") -> None:
        """Change the limits of requests to `host`. An empty name means all hosts that have no limits of their own."""
        if self.goes_on:
            self._control.set_host_limits(limits, host)
            confirmed = _host_is(host, limits=limits) if host else lambda later: later.host_limits == limits
            self._ask(f"{safe_text(host) or 'hosts'}: limits", confirmed)

    def set_max_memory(self, limit: int | str | None) -> None:
        """Limit the memory of the run.

        Args:
            limit: a number of bytes, or a share of the machine's memory such as `80 %`; None to remove the limit.
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
    """Return a function that returns True for a snapshot whose view of `host` has the values `fields`.

    It also returns True for a snapshot without a view of `host`.
    """

    def confirmed(later: Snapshot) -> bool:
        view = next((view for view in later.hosts if view.host == host), None)
        return view is None or all(getattr(view, name) == value for name, value in fields.items())

    return confirmed


class Verb(StrEnum):
    """A command on chunks. Its value is the verb for messages."""

    PAUSE = "pause"
    RETRY = "retry"
    CANCEL = "cancel"


GOING = (ChunkState.RUNNING, ChunkState.WAITING)
"""States of chunks that can be paused."""
AGAIN = (ChunkState.FAILED, ChunkState.CANCELLED)
"""States of chunks whose failed or cancelled items can run again."""


def named(chunks: Sequence[ChunkView], of: int | None = None) -> str:
    """Return a name for `chunks`: `chunk 76`, `3 chunks`, or `2 of 3 chunks`.

    Args:
        chunks: the chunks on which a command has an effect.
        of: number of chunks for which the command was given; None if it is the number of `chunks`.
    """
    if of is not None and of > len(chunks):
        return f"{len(chunks)} of {of} chunks"
    return chunk_name(chunks[0].number) if len(chunks) == 1 else f"{len(chunks)} chunks"


def fit_for(verb: Verb, chunks: Sequence[ChunkView]) -> list[ChunkView]:
    """Return those of `chunks` on which a command has an effect. `Verb.PAUSE` also resumes paused chunks."""
    if verb is Verb.RETRY:
        return [chunk for chunk in chunks if chunk.state in AGAIN]
    return [chunk for chunk in chunks if not chunk.state.ended]


def disabled_reason(verb: Verb, chunks: Sequence[ChunkView], snapshot: Snapshot | None, retry_all: str) -> str:
    """Return the reason why a command has no effect on any of these chunks, as text; empty if it has an effect.

    Args:
        verb: the command.
        chunks: the chunks for which the command was given.
        snapshot: the newest snapshot; None before the first one.
        retry_all: name of the key that runs the failed items of an ended run again.
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
    return f"{chunk_name(chunk.number)} {standing}: nothing to {verb}{later}"


def retry_confirmation(chunks: Sequence[ChunkView], later: int = 0) -> str:
    """Return the text that says which items will run again if the user confirms it.

    Args:
        chunks: the chunks whose failed and cancelled items will run again.
        later: number of failed items in chunks that have not ended. They cannot run again yet.
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
    """Return the reason why there is nothing to retry, as text for the user who has asked to retry everything."""
    if snapshot is None or not snapshot.state.ended:
        why = "no chunk has ended with failed items"
    elif snapshot.state is RunState.FINISHED:
        why = "nothing failed, nothing was cancelled"
    else:
        why = f"the run has {snapshot.state}, `tui-runner resume` goes on with it and with what failed"
    return f"nothing to run again: {why}"
