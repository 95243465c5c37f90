"""The errors that tui-runner raises on purpose.

A mistake that the user can correct is a `UserError`. Its one line says what is wrong, where, and what to do. Anything
else that escapes is a fault of tui-runner's own.
"""

from __future__ import annotations

EXIT_OK = 0
"""Every item is done."""
EXIT_ITEMS_FAILED = 1
"""The run finished, and some items failed."""
EXIT_USAGE = 2
"""Nothing ran: the command line, the job or the input is at fault."""
EXIT_STOPPED = 3
"""The run stopped before its end and can be resumed."""
EXIT_DATABASE = 4
"""The database cannot be used."""
EXIT_KILLED = 130
"""A second Ctrl-C ended the program at once."""


LONGEST_LINE = 1_000
"""Characters of a line about an error at most, because a path or a value in it may be of any length."""
_ELLIPSIS = " … "
_PART = 300
"""The same for each of its three parts (fact, place, advice), if the line would be longer."""


def bounded(text: str, longest: int = LONGEST_LINE) -> str:
    """Shorten `text` to at most `longest` characters, with an ellipsis in the middle.

    Both ends matter: a line begins with what is wrong, and ends with what to do about it.
    """
    if len(text) <= longest:
        return text
    end = (longest - len(_ELLIPSIS)) // 3
    return text[: longest - len(_ELLIPSIS) - end] + _ELLIPSIS + text[-end:]


class UserError(Exception):
    """A mistake that the user can correct; prints as one line.

    Args:
        what: what is wrong, in plain words.
        where: the file, option or table that is wrong; empty if there is none.
        do: what to do about it; empty when `what` says it all.
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
            # Each part is shortened alone, so that a long one cannot push another out.
            line = self._line(*(bounded(part, _PART) for part in (self.what, self.where, self.do)))
        return line

    @staticmethod
    def _line(what: str, where: str, do: str) -> str:
        place = f"{where}: " if where else ""
        advice = f"; {do}" if do else ""
        # One line. Spaces are kept: they matter in a command that the user pastes.
        lines = f"{place}{what}{advice}".replace("\t", " ").splitlines()
        return " ".join(line.strip() for line in lines if line.strip())


class DatabaseError(UserError):
    """The database cannot be opened, read or written; the program ends with exit code 4."""

    exit_code = EXIT_DATABASE


class DiskFull(DatabaseError):
    """The disk is full. Nothing is lost: the same data can be written later."""


class ItemError(Exception):
    """An item does not fit the parameter that takes it; the item fails with this message."""


class RowError(Exception):
    """Raised for a result that cannot be stored; the item fails with this message, which names the column."""
