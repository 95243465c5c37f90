"""The driver between Textual and the terminal.

It sends frames in few bytes, and keeps output of the user's code out of them.

Textual ends every span of text with a reset and begins the next one with all of its colours: forty bytes for five
characters. Over a slow link, these bytes take most of the time: without them a busy dashboard sends a third less.

While a dialog is open, Textual draws the whole screen whenever anything behind it has changed, four times a second
during a run, and twice when the dialog closes. Over a slow link, each redraw takes a second.

Text in a row stays until the row is written again, so the same text at the same place need not be sent again. A
terminal that changes its size moves its content, so everything is sent again then. Another program may write over the
screen without notice, so every row is sent again after `FORGOTTEN_AFTER`.
"""

from __future__ import annotations

import codecs
import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from textual import constants
from textual.app import App, ReturnType
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.system.terminal_guard import TERMINAL_GUARD
from tui_runner.tui.terminal.plain_characters import PlainCharacters, is_unicode


def captured_output_of(app: App[Any]) -> CapturedOutput:
    """Return the `CapturedOutput` of `app`, through which the terminal is reached.

    Return a new one if `app` captures nothing.
    """
    return app.captured_output if isinstance(app, CapturesOutput) else CapturedOutput()


class CapturesOutput(App[ReturnType]):
    """An application whose process also runs code of the user.

    Args:
        captured_output: captures printed text, and has the stream to the terminal; None for a new one.
        args: arguments of Textual's application.
        options: keyword arguments of Textual's application.

    Attributes:
        captured_output: text printed while the application was shown.
    """

    def __init__(self, *args: Any, captured_output: CapturedOutput | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.captured_output = captured_output or CapturedOutput()

    def _print(self, text: str, stderr: bool = False) -> None:
        self.captured_output.write(text, complaint=stderr)
        super()._print(text, stderr)


_STYLE = re.compile(r"\x1b\[([0-9;]*)m")
"""A sequence that sets colours and attributes (SGR)."""
_MOVES = re.compile(r"(?:\x1b\[[0-9;]*H|[\r\n])*")
"""Matches sequences that print nothing: no style need be set before them."""
_RESET = "\x1b[0m"


class _Style(NamedTuple):
    """The style set by SGR: attributes, foreground, background, each as its parameters; empty for none."""

    attributes: str
    foreground: str
    background: str


_PLAIN = _Style("", "", "")


@lru_cache(maxsize=4096)  # far more styles than a theme has
def _style(parameters: str) -> _Style:
    """Return the style that these parameters set on a terminal without a style."""
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


@lru_cache(maxsize=4096)  # the pairs of styles that meet on the screens
def _change(now: _Style | None, wanted: _Style) -> str:
    """Return the sequence that changes the current style to `wanted`; None if `wanted` is unknown."""
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
    """Return data with the same effect on a terminal in fewer bytes. The style at its end is the style before it.

    Args:
        data: text and sequences, in which every style is set on a plain terminal and reset after its text.
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
            # This is a style on top of another one, which tui-runner never sends. Leave the data unchanged.
            return data
        start = _MOVES.match(text).end()  # type: ignore[union-attr]  # it matches the empty text
        written.append(text[:start])
        if start < len(text):
            written += (_change(now, wanted), text[start:])
            now = wanted
    if now != wanted:
        written.append(_change(now, wanted))
    return "".join(written)


_MOUSE_REPORT = re.compile(rb"\x1b\[M.{3}", re.DOTALL)
_BEGUN_REPORT = re.compile(rb"\x1b\[M.{0,2}\Z", re.DOTALL)
"""A mouse report in the old encoding (X10), and the beginning of one at the end of the input."""


class KeyDecoder:
    """Decodes the input from a terminal without ever failing.

    Bytes that are not UTF-8 (a paste from a Latin-1 page, a noisy line) become replacement characters. Mouse reports in
    xterm's first form, `ESC [ M` and three bytes, are skipped. They were not requested, but a terminal may send them
    after it was reattached, and right of column 95 they are not UTF-8.

    Textual 8.2.8 decodes strictly, in a thread that ends with its first error (`LinuxDriver.run_input_thread`). Remove
    this class when Textual has changed that.
    """

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun = b""

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return the text of `data`.

        Bytes of an incomplete character or mouse report are stored until the others arrive.
        """
        data = _MOUSE_REPORT.sub(b"", self._begun + data)
        begun = None if final else _BEGUN_REPORT.search(data)
        self._begun = begun[0] if begun else b""
        return self._utf8.decode(data.removesuffix(self._begun), final)


# The driver's loop gets its decoder from its own module, and is one function that cannot be overridden in parts.
setattr(linux_driver, "getincrementaldecoder", lambda encoding: KeyDecoder)  # noqa: B010 - it is no public name


class CompactDriver(LinuxDriver):
    """Textual's driver for a terminal, with frames in fewer bytes, on standard output.

    Textual writes to standard error. If that is redirected to a file, an application that was started because standard
    output is a terminal would be invisible.

    Attributes:
        shown: rows that the terminal shows.
    """

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # Other output to standard output is captured meanwhile.
        self._own_output = captured_output_of(app)

        def on_fault(error: Exception) -> None:
            app.call_later(app._handle_exception, error)

        self._on_fault = on_fault
        self._terminal = self._own_output.out
        self._file = self._terminal  # type: ignore[assignment]  # Textual needs no more than a stream of text
        encoding = self._terminal.encoding
        self._plain = None if is_unicode(encoding) else PlainCharacters(encoding)
        self.shown = RowDiff()

    def start_application_mode(self) -> None:
        """Take over the terminal."""
        self._own_output.cover()
        TERMINAL_GUARD.shows(True)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Return the terminal to the state before `start_application_mode`."""
        super().stop_application_mode()
        TERMINAL_GUARD.shows(False)
        self._own_output.uncover()

    def _run_input_thread(self) -> None:
        """Read keys. An error here ends the screen: it is stored, and the run continues without the screen.

        Textual would print the traceback and exit.
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
        return columns or 80, lines or 25

    def write(self, data: str) -> None:
        """Write to the terminal."""
        text = lean(self.shown.without(data))
        super().write(text if self._plain is None else self._plain.of(text))


def driver_class() -> type[Driver] | None:
    """Return the driver for an application; None if the environment names another driver, for example for a browser."""
    return None if constants.DRIVER else CompactDriver


FORGOTTEN_AFTER = 30.0
"""A row that is drawn again after this many seconds is sent in any case, because another program may have written over
it."""
_MOVE = re.compile(r"(\x1b\[(\d+);\d+H)")
"""A sequence that moves the cursor, with its row."""
_OTHER_SCREEN = "\x1b[?1049"
"""Beginning of the sequences that switch to the alternate screen and back."""


class RowDiff:
    """Text and place of what each row of the terminal shows, as far as it is known.

    Args:
        clock: returns seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, str] = {}
        self._since = clock()
        self._height = 0

    def forget(self) -> None:
        """Forget all rows, so that the whole next frame is sent."""
        self._rows.clear()
        self._since = self._clock()

    def resized(self, height: int) -> None:
        """Record that the terminal now has this many rows."""
        self._height = height
        self.forget()

    def without(self, frame: str) -> str:
        """Return a frame with the same effect on the terminal, without rows that the terminal already shows.

        Args:
            frame: texts that stay within their rows, each after a move to its place; or sequences that print nothing.
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
            # After each row, Textual moves the cursor to the next line; the next piece begins with a move to its own
            # place.
            text = text.removesuffix("\n")
            if text:
                drawn[int(row)] = drawn.get(int(row), "") + move + text
            else:
                cursor = move
        changed = [text for row, text in drawn.items() if self._rows.get(row) != text]
        self._rows |= drawn
        if max(drawn, default=0) > self._height:
            # The terminal has fewer lines now, and drew the excess rows of this frame over its last line.
            self.forget()
        return "".join((before, *changed, cursor))
