"""Opens the run that the user starts or resumes in the launcher, and asks for missing secrets and for consent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from textual.app import App
from textual.screen import Screen

from tui_runner.engine.planning.request import RunRequest
from tui_runner.engine.runner import Runner
from tui_runner.jobs.origin import job_origin
from tui_runner.jobs.parameters import MissingParameters
from tui_runner.tui.background import in_thread
from tui_runner.tui.dialogs.questions import Ask, Confirm
from tui_runner.tui.widgets.paint import own

T = TypeVar("T")


class RunOpener:
    """Opens runs in a thread, and asks questions in dialogs of the application.

    Args:
        app: the application.
        begin: opens a run, its input and its database; it may raise `UserError`.
        reading: lock that is held while a database is opened.
        starting: called with False before the user is asked, and with True after the answer.
    """

    def __init__(
        self,
        app: App[Any],
        begin: Callable[[RunRequest], Runner | RunRequest],
        reading: threading.Lock,
        starting: Callable[[bool], None],
    ) -> None:
        self._app = app
        self._begin = begin
        self._reading = reading
        self._starting = starting

    async def open(self, ask: Callable[[], RunRequest], here: Path) -> Runner | RunRequest | None:
        """Return the open run, or None if the user declines it or enters no secret.

        Call it in a worker of the application, because it waits for the answers to dialogs.

        Args:
            ask: returns the request of the run. It is called in a thread, because it may read a ledger.
            here: folder of the launcher. A job of another folder may need the user's consent.

        Raises:
            UserError: the run cannot be opened.
            OSError: the folder or a file of the run cannot be used.
        """

        def wanted() -> RunRequest:
            with self._reading:
                return ask()

        request = await in_thread(wanted, "read the ledger")
        if not await self._may_run(request, here):
            return None
        while True:
            try:
                return await in_thread(lambda request=request: self._opened(request), "begin")  # type: ignore[misc]
            except MissingParameters as missing:
                # The ledger stores no secrets, so a resumed run lacks them.
                secrets = await self._secrets(missing)
                if secrets is None:
                    return None
                request = replace(request, params={**request.params, **secrets})

    def _opened(self, request: RunRequest) -> Runner | RunRequest:
        self._reading.acquire()
        try:
            opened = self._begin(request)
        except BaseException:
            self._reading.release()
            raise
        # Keep the lock: the run has its database open now, and a search of the launcher must not open it again.
        if not self._app.is_running and isinstance(opened, Runner):
            opened.close()  # the user left the launcher meanwhile
        return opened

    async def _secrets(self, missing: MissingParameters) -> dict[str, str] | None:
        """Ask for the secrets of a run, which its database does not store. Return None if one is left empty.

        Raises:
            MissingParameters: some of the missing parameters are not secret. They are not asked for.
        """
        if not missing.hidden or len(missing.hidden) < len(missing.names):
            raise missing
        typed: dict[str, str] = {}
        for name in missing.names:
            question = f"{own(name, 40)}: a secret, which the database does not keep"
            text = await self._answer(Ask(question, secret=True))
            if not text:
                return None
            typed[name] = text
        return typed

    async def _may_run(self, request: RunRequest, here: Path) -> bool:
        """Return True for a job of the list, for a recorded job that needs no consent, or if the user consents."""
        if request.run_id is None:
            return True
        origin = job_origin(
            request.job, input=request.input, database=request.database, begun_in=request.folder, here=here
        )
        if not origin.reasons:
            return True
        about = f"{own(origin.warning, 600)}\njob: {own(origin.text, 300)}"
        return await self._answer(Confirm("Run this job?", about, "Run it", "Leave it"))

    async def _answer(self, dialog: Screen[T]) -> T:
        """Return the answer to a dialog. While it is shown, nothing is being started."""
        self._starting(False)
        answer = await self._app.push_screen_wait(dialog)
        self._starting(True)
        return answer
