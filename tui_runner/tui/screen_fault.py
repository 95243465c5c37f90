"""What becomes of a fault of the screen's own.

Textual would print its traceback with the values of all variables: secrets among them, and text of others. So the fault
is kept instead, and told by whoever started the application, as any other.
"""

from __future__ import annotations

from textual.app import App, ReturnType
from textual.worker import NoActiveWorker, WorkerFailed, get_current_worker


class ScreenFailed(Exception):
    """The dashboard has ended by a fault of its own, which is this error's cause; the run goes on."""


class KeepsFault(App[ReturnType]):
    """An application that prints nothing of the fault that ended it.

    Attributes:
        fault: what ended it; None when it was left.
    """

    fault: Exception | None = None

    def run_or_raise(self) -> ReturnType | None:
        """`run`, but a fault that ended it is raised."""
        answer = self.run()
        if self.fault is not None:
            raise self.fault
        return answer

    def _handle_exception(self, error: Exception) -> None:
        if isinstance(error, WorkerFailed) and _is_left():
            return
        self.fault = self.fault or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()


def _is_left() -> bool:
    """Whether the worker that has failed is of a part that is being removed: what it looked for may be gone already."""
    try:
        return get_current_worker().node._pruning
    except NoActiveWorker:
        return False
