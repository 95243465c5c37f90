"""The driver between Textual and the terminal.

The driver sends frames in few bytes, and keeps output of the user's code out of the frames.

Textual ends every span of text with a reset, and begins the next span with all of its colours. So five characters may
take forty bytes. Over a slow link, these bytes take most of the time. Without superfluous changes of style (`lean`), a
busy dashboard sends a third less.

While a dialog is open, Textual draws the whole screen whenever anything behind the dialog has changed, which is four
times per second during a run. When the dialog closes, Textual draws the screen twice. Over a slow link, each of these
frames takes a second. Text stays in a row of the terminal until the row is written again, so `RowDiff` omits rows that
have not changed. It forgets the rows when the terminal is resized, because that moves them, and every
`FORGOTTEN_AFTER` seconds, because another program may have written over the screen.

The launcher, the dashboard and the query screen follow each other. If each left the alternate screen at its end, the
user would see the shell for a fifth of a second. So an application with `keeps_screen` leaves it on, and the next one
draws over it. `kept_screen_ended` leaves it if no other application follows.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from textual import constants
from textual.app import App, ReturnType
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.system.terminal_guard import TERMINAL_GUARD
from tui_runner.text.plain_characters import PlainCharacters, is_unicode


def captured_output_of(app: App[Any]) -> CapturedOutput:
    """Return the `CapturedOutput` of `app`, which has the stream to the terminal.

    Return a new one if `app` does not capture output.
    """
    return app.captured_output if isinstance(app, CapturesOutput) else CapturedOutput()


class CapturesOutput(App[ReturnType]):
    """An application that keeps text printed by code of the user away from the screen.

    Args:
        captured_output: captures printed text, and has the stream to the terminal; None for a new `CapturedOutput`.
        args: arguments of Textual's application.
        options: keyword arguments of Textual's application.

    Attributes:
        captured_output: has the text that was printed while the application was shown.
        keeps_screen: True to leave the alternate screen on at the end, because another application follows.
    """

    keeps_screen = False

    def __init__(self, *args: Any, captured_output: CapturedOutput | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.captured_output = captured_output or CapturedOutput()

    def _print(self, text: str, stderr: bool = False) -> None:
        self.captured_output.write(text, complaint=stderr)
        super()._print(text, stderr)


_STYLE = re.compile(r"\x1b\[([0-9;]*)m")
"""Matches a control sequence that sets colours and attributes (SGR)."""
_MOVES = re.compile(r"(?:\x1b\[[0-9;]*H|[\r\n])*")
"""Matches moves of the cursor. They print nothing, so no style need be set before them."""
_RESET = "\x1b[0m"


class _Style(NamedTuple):
    """The style that an SGR sequence sets. Each part has parameters of the sequence; an empty part is the default."""

    attributes: str
    foreground: str
    background: str


_PLAIN = _Style("", "", "")


@lru_cache(maxsize=4096)  # a theme has far fewer styles
def _style(parameters: str) -> _Style:
    """Return the style that an SGR sequence with these parameters sets after a reset."""
    attributes: list[str] = []
    colours = {"38": "", "48": ""}
    parts = iter(parameters.split(";"))
    for part in parts:
        if part in colours:
            kind = next(parts, "")
            values = [next(parts, "") for _ in range(3 if kind == "2" else 1)]
            colours[part] = ";".join((part, kind, *values))
        elif part[:1] in ("3", "9") and len(part) == 2 and part != "39":
            colours["38"] = part
        elif (part[:1] == "4" and len(part) == 2 and part != "49") or (part[:2] == "10" and len(part) == 3):
            colours["48"] = part
        else:
            attributes.append(part)
    return _Style(";".join(attributes), colours["38"], colours["48"])


@lru_cache(maxsize=4096)  # the screens have far fewer pairs of styles beside each other
def _change(now: _Style | None, wanted: _Style) -> str:
    """Return the sequence that changes the style of the terminal from `now` to `wanted`; empty if they are equal.

    Args:
        now: the current style; None if it is unknown.
        wanted: the next style.
    """
    if now == wanted:
        return ""
    if wanted == _PLAIN:
        return _RESET
    if now is None or now.attributes != wanted.attributes:
        return f"\x1b[{';'.join(['0', *(part for part in wanted if part)])}m"
    parts = []
    if now.foreground != wanted.foreground:
        parts.append(wanted.foreground or "39")
    if now.background != wanted.background:
        parts.append(wanted.background or "49")
    return f"\x1b[{';'.join(parts)}m"


def lean(data: str) -> str:
    """Return shorter data that have the same effect on a terminal.

    Data that set a style on top of another one are returned unchanged.

    Args:
        data: text and control sequences for the terminal.
    """
    first, *rest = _STYLE.split(data)
    if not rest:
        return data
    written = [first]
    now: _Style | None = None
    wanted = _PLAIN
    for parameters, text in zip(rest[::2], rest[1::2], strict=True):
        if parameters in ("", "0"):
            wanted = _PLAIN
        elif wanted == _PLAIN:
            wanted = _style(parameters)
        else:
            # A style on top of another one, which Textual does not send for tui-runner's screens.
            return data
        start = _MOVES.match(text).end()  # type: ignore[union-attr]  # never None: `_MOVES` matches the empty text
        written.append(text[:start])
        if start < len(text):
            written += (_change(now, wanted), text[start:])
            now = wanted
    if now != wanted:
        written.append(_change(now, wanted))
    return "".join(written)


_MOUSE_REPORT = re.compile(rb"\x1b\[M.{3}", re.DOTALL)
"""Matches a mouse report in the old encoding (X10)."""
_BEGUN_REPORT = re.compile(rb"\x1b\[M.{0,2}\Z", re.DOTALL)
"""Matches an incomplete mouse report in the old encoding at the end of the input."""


class KeyDecoder:
    """Decodes the input from a terminal, and never raises an error.

    Bytes that are not UTF-8, as in a paste from a Latin-1 page or on a noisy line, become replacement characters. Mouse
    reports in the old encoding (X10: `ESC [ M` and three bytes) are removed. Textual does not request this encoding,
    but a terminal may use it after it was reattached. Right of column 95, such a report is not UTF-8.

    Textual 8.2.8 raises an error for input that is not UTF-8, and the error ends its input thread
    (`LinuxDriver.run_input_thread`). Remove this class when Textual decodes such input.
    """

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun = b""

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return the text of `data`.

        The bytes of an incomplete character or mouse report at the end are stored and decoded with the next data.

        Args:
            data: bytes of the input.
            final: True if no more data will come.
        """
        data = _MOUSE_REPORT.sub(b"", self._begun + data)
        begun = None if final else _BEGUN_REPORT.search(data)
        self._begun = begun[0] if begun else b""
        return self._utf8.decode(data.removesuffix(self._begun), final)


# Textual's input loop is one long function that takes the decoder from its own module, so replace it in that module.
setattr(linux_driver, "getincrementaldecoder", lambda encoding: KeyDecoder)  # noqa: B010 - mypy refuses an assignment


class CompactDriver(LinuxDriver):
    """Textual's driver for a terminal, which sends frames in fewer bytes, and to standard output.

    Textual's own driver writes to standard error. If standard error is redirected to a file, the application would be
    invisible, although standard output is a terminal.

    Attributes:
        shown: the rows that the terminal shows.
    """

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # All other output to standard output is captured while the screen is shown.
        self._own_output = captured_output_of(app)
        self._shown_app = app if isinstance(app, CapturesOutput) else None

        def on_fault(error: Exception) -> None:
            app.call_later(app._handle_exception, error)

        self._on_fault = on_fault
        self._terminal = self._own_output.out
        self._file = self._terminal  # type: ignore[assignment]  # Textual needs no more than a stream of text
        encoding = self._terminal.encoding
        self._plain = None if is_unicode(encoding) else PlainCharacters(encoding)
        self.shown = RowDiff()
        self._left_out: tuple[str, ...] = ()
        """Control sequences that `write` leaves out."""

    def start_application_mode(self) -> None:
        """Capture all output, and switch the terminal to the screen of the application, unless it is kept."""
        self._own_output.cover()
        TERMINAL_GUARD.shows(True)
        if self._own_output.screen_is_kept:
            self._left_out = (_ENTER_SCREEN,)  # it would clear the screen before the first frame
            self._own_output.screen_is_kept = False
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._left_out = ()

    def stop_application_mode(self) -> None:
        """Undo `start_application_mode`: restore the terminal, and capture no more output."""
        keeps = self._shown_app is not None and self._shown_app.keeps_screen
        if keeps:
            self._left_out = (_LEAVE_SCREEN, _SHOW_CURSOR)
            self._own_output.screen_is_kept = True
        super().stop_application_mode()
        TERMINAL_GUARD.shows(keeps)
        self._own_output.uncover()

    def _run_input_thread(self) -> None:
        """Read keys until the application ends.

        An error is passed to the application, which stores it and ends. The run continues without the screen. Textual's
        own method would print the traceback and exit.
        """
        try:
            self.run_input_thread()
        except Exception as error:
            self._on_fault(error)

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            columns, lines = os.get_terminal_size(self._terminal.fileno())
        except OSError:  # the terminal is gone
            return super()._get_terminal_size()
        return columns or 80, lines or 25  # Textual's own values for a terminal that does not know its size

    def write(self, data: str) -> None:
        """Write data to the terminal. Leave out rows that it shows already, and superfluous changes of style."""
        if data in self._left_out:
            return
        text = lean(self.shown.without(data))
        super().write(text if self._plain is None else self._plain.of(text))


_ENTER_SCREEN, _LEAVE_SCREEN, _SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
"""Control sequences that Textual's driver writes at its start and end, each alone."""


@contextlib.contextmanager
def kept_screen_ended(captured_output: CapturedOutput) -> Iterator[None]:
    """Leave the alternate screen at the end of a `with` block if an application has kept it and none has followed."""
    try:
        yield
    finally:
        if captured_output.screen_is_kept:
            captured_output.screen_is_kept = False
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                captured_output.out.write(_LEAVE_SCREEN + _SHOW_CURSOR)
                captured_output.out.flush()
            TERMINAL_GUARD.shows(False)


def driver_class() -> type[Driver] | None:
    """Return the driver class for an application, or None for Textual's choice.

    The environment may name another driver, for example one for a browser. Then the choice is Textual's.
    """
    return None if constants.DRIVER else CompactDriver


FORGOTTEN_AFTER = 30.0
"""Seconds after which a row that is drawn again is sent even if it has not changed, because another program may have
written over the screen. Sending unchanged rows more often would cost a slow link too much."""
_MOVE = re.compile(r"(\x1b\[(\d+);\d+H)")
"""Matches a sequence that moves the cursor. Its second group is the row."""
_OTHER_SCREEN = "\x1b[?1049"
"""Beginning of the sequences that switch the terminal to its alternate screen and back."""


class RowDiff:
    """Omits from frames the rows that the terminal shows already.

    Args:
        clock: returns seconds, for `FORGOTTEN_AFTER`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, str] = {}
        self._since = clock()
        self._height = 0

    def forget(self) -> None:
        """Forget what the terminal shows, so that every row of the next frame is sent."""
        self._rows.clear()
        self._since = self._clock()

    def resized(self, height: int) -> None:
        """Record that the terminal has `height` rows now, and forget what it shows."""
        self._height = height
        self.forget()

    def without(self, frame: str) -> str:
        """Return `frame` without the rows that the terminal shows already.

        Args:
            frame: texts, each after a move of the cursor to its place and within one row; or control sequences without
                such moves, which are returned unchanged.
        """
        before, *pieces = _MOVE.split(frame)
        if not pieces:
            if _OTHER_SCREEN in frame:
                self.forget()
            return frame
        if self._clock() - self._since > FORGOTTEN_AFTER:
            self.forget()
        drawn: dict[int, str] = {}
        cursor = ""
        for move, row, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            # Textual ends each row with a newline. It has no effect, because the next text begins with a move.
            text = text.removesuffix("\n")
            if text:
                drawn[int(row)] = drawn.get(int(row), "") + move + text
            else:
                cursor = move
        changed = [text for row, text in drawn.items() if self._rows.get(row) != text]
        self._rows |= drawn
        if max(drawn, default=0) > self._height:
            # The terminal is lower than the frame, and has drawn the excess rows over its last line.
            self.forget()
        return "".join((before, *changed, cursor))
