"""The errors that tui-runner raises on purpose.

Everything a person can mend is a `UserError`: it says what is wrong, where, and what to do, in one line.
Anything else that escapes is a fault of tui-runner's own.
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


class UserError(Exception):
    """Something the person at the keyboard can mend; prints as one line.

    Args:
        what: what is wrong, in plain words.
        where: the file, option or table it is wrong in; empty when there is no such place.
        do: what to do about it; empty when `what` says it all.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, where: str = "", do: str = "") -> None:
        super().__init__(what, where, do)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.do}" if self.do else ""
        # One line; spaces stay as they are, in a command that is to be pasted they matter.
        lines = f"{place}{self.what}{advice}".replace("\t", " ").splitlines()
        return " ".join(line.strip() for line in lines if line.strip())


class DatabaseError(UserError):
    """The database cannot be opened, read or written; the program ends with exit code 4."""

    exit_code = EXIT_DATABASE


class DiskFull(DatabaseError):
    """There is no room for what is to be written: nothing is lost, and it can be tried again."""


class ItemError(Exception):
    """An item does not fit the parameter that takes it; the item fails with this message."""


class RowError(Exception):
    """What a function returned cannot be stored; the item fails with this message, which names the column."""
