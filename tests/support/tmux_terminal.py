"""A program in tmux, which is a terminal of its own: the content of its screen, and keys to press."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from support.pseudo_terminal import terminal_environment
from support.waiting import eventually


class Tmux:
    """Runs `tui-runner` in a tmux server of its own. When it has ended, its exit code is said, and the pane echoes.

    Args:
        arguments: of the command line.
        folder: where it runs.
        size: columns and lines of the terminal.
    """

    def __init__(self, arguments: list[str], folder: Path, size: tuple[int, int] = (120, 40)) -> None:
        # Not in the folder of the test: the path of a socket may have a hundred characters only.
        self._sockets = tempfile.TemporaryDirectory(prefix="tmux-", dir="/tmp")
        self._environ = terminal_environment(folder)
        program = shlex.join([sys.executable, "-m", "tui_runner", *arguments])
        shell = f"echo before; env -u TMUX TERM=xterm-256color {program}; echo left with $?; exec cat"
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "-c", str(folder), shell
        )  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    @property
    def screen(self) -> str:
        """Return the current content of the screen."""
        return self._tmux("capture-pane", "-p")

    def state(self, name: str) -> str:
        """Return one of tmux's variables about the pane."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them."""
        self._tmux("send-keys", *keys)

    def shows(self, *texts: str) -> str:
        """Wait until all of these texts are on the screen. Return its content then."""

        def shown() -> str:
            screen = self.screen
            return screen if all(text in screen for text in texts) else ""

        try:
            return str(eventually(shown, f"{texts} on the screen"))
        except AssertionError as error:
            raise AssertionError(f"{error}; there is\n{self.screen}") from None

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run([*self._command, "kill-server"], capture_output=True, check=False)
        self._sockets.cleanup()

    @property
    def _command(self) -> list[str]:
        # In UTF-8 whatever the locale says: otherwise every glyph is shown as `_`.
        return ["tmux", "-u", "-S", f"{self._sockets.name}/socket"]
