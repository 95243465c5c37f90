"""`os._exit` while a job is imported."""

from __future__ import annotations

import os
import signal

import pytest

from tui_runner.import_guard import no_exit_at_once


def test_it_raises_within_and_is_itself_again_afterwards() -> None:
    original = os._exit
    with no_exit_at_once():
        with pytest.raises(SystemExit) as ended, no_exit_at_once():
            os._exit(7)
        assert ended.value.code == 7
        assert os._exit is not original
    assert os._exit is original


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_meanwhile_ends_as_it_wants_to() -> None:
    with no_exit_at_once():
        child = os.fork()
        if not child:
            try:
                os._exit(7)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)  # were it to raise, this copy of the tests must not go on
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
