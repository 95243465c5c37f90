"""The errors that tui-runner raises on purpose.

A mistake that the user can correct is a `UserError`. Its one line says what is wrong, where, and what to do. Any other
exception that reaches the user is a bug in tui-runner.
"""

from __future__ import annotations

ExitCode = int
"""The exit code of a command: one of the constants below, or 70 after an error of tui-runner itself."""
EXIT_OK = 0
"""Every item is done."""
EXIT_ITEMS_FAILED = 1
"""The run finished, and some items failed."""
EXIT_USAGE = 2
"""Nothing ran, because the command line, the job or the input has a mistake."""
EXIT_STOPPED = 3
"""The run stopped before its end and can be resumed."""
EXIT_DATABASE = 4
"""The database cannot be used."""
EXIT_KILLED = 130
"""A second Ctrl-C ended the program at once."""
EXIT_TERMINATED = 143
"""SIGTERM ended the launcher or the query screen: 128 + 15, as shells report this signal."""


LONGEST_LINE = 1_000
"""Characters of an error's line at most, because the line may quote a path or a value of any length."""
_ELLIPSIS = " … "
_PART = 300
"""Characters of the fact, of the place and of the advice at most, in a line that would exceed `LONGEST_LINE`."""


def bounded(text: str, longest: int = LONGEST_LINE) -> str:
    """Shorten `text` to at most `longest` characters, with an ellipsis two thirds along.

    Both ends of an error's line matter: it begins with what is wrong and ends with what to do.
    """
    if len(text) <= longest:
        return text
    end = (longest - len(_ELLIPSIS)) // 3
    return text[: longest - len(_ELLIPSIS) - end] + _ELLIPSIS + text[-end:]


class UserError(Exception):
    """Raised for a mistake that the user can correct. It is printed as one line: `where: what; do`.

    Args:
        what: what is wrong.
        where: the path, option or name that is wrong; may be empty.
        do: what the user can do about it; may be empty.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, where: str = "", do: str = "") -> None:
        super().__init__(what, where, do)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        line = self._line(self.what, self.where, self.do)
        if len(line) > LONGEST_LINE:
            # Shorten each part by itself, so that a long part does not push out another.
            line = self._line(*(bounded(part, _PART) for part in (self.what, self.where, self.do)))
        return line

    @staticmethod
    def _line(what: str, where: str, do: str) -> str:
        place = f"{where}: " if where else ""
        advice = f"; {do}" if do else ""
        # Spaces within the line are not changed, because they matter in a command that the user pastes.
        lines = f"{place}{what}{advice}".replace("\t", " ").splitlines()
        return " ".join(line.strip() for line in lines if line.strip())


class DatabaseError(UserError):
    """Raised if the database cannot be opened, read or written. If nothing handles it, the exit code is 4."""

    exit_code = EXIT_DATABASE


class DiskFull(DatabaseError):
    """Raised if the disk is full. Nothing is lost: the same data can be written later."""


class ItemError(Exception):
    """Raised for an item that does not fit the parameter it is passed to. The item fails with this message."""


class RowError(Exception):
    """Raised for a result that cannot be stored. The item fails with this message, which names the column."""
