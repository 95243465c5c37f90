"""Where a database is, and what may stand beside it.

A database has companions whose names everybody can guess: DuckDB's write-ahead log, its folder for what it spills, our
lock, the log of its runs. A link under such a name would have DuckDB or us write into the file that it points to, and
rows would be read out of a write-ahead log that somebody else put there. So what stands there is looked at before
anything is opened.

A folder that other users may write to (a group's, or `/tmp`) is one where they can put such names at any moment. What
is checked here is checked again before each transaction of a run (`Database.check_in_place`); between the two only the
kernel can help, with `fs.protected_symlinks` in folders like `/tmp`.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from tui_runner.errors import DatabaseError
from tui_runner.system.files import NotOwnFile, check_own, is_thrown_away, user_name
from tui_runner.text.messages import plain

LOCK = ".lock"
SPILL = ".tmp"
WRITE_AHEAD_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""The latter two stand beside the first during a checkpoint, and after a crash in one."""
LOGS = (".log", ".log.1")
COMPANIONS = (LOCK, SPILL, *WRITE_AHEAD_LOGS, *LOGS)
"""What belongs to a database has one of these behind its name."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40
"""Links in one path, as Linux bounds them."""


def companion(database: Path, ending: str) -> Path:
    """Return the path of what stands beside a database under one of the `COMPANIONS`."""
    return database.with_name(database.name + ending)


def check_place(path: Path, *, create: bool) -> Path:
    """Return where the database `path` really is, behind links. Nothing is written, not even a lock file.

    A link may lead to a database, but not to a place where none is: a run would make one there.

    Args:
        path: the file.
        create: whether it need not exist.

    Raises:
        DatabaseError: it can be told from the outside that no database can be there.
    """
    try:
        foreign = foreign_link(path)
        if foreign is not None:
            what = f"{plain(foreign)} is a link of {user_name(foreign.lstat().st_uid)} in a folder that others write to"
            raise DatabaseError(what, str(path), "name the file that it points to")
        real = path.resolve(strict=False)
        if real.is_dir():
            raise DatabaseError("is a folder", str(path), "name a file in it")
        if path.is_symlink() and (not real.exists() or (real.is_file() and not real.stat().st_size)):
            what = f"is a link to {plain(real)}, where no database is"
            raise DatabaseError(what, str(path), "remove the link, or name the file itself")
        if not real.exists():
            if not create:
                raise DatabaseError("no such database", str(path), "check the path")
            if not real.parent.is_dir():
                raise DatabaseError("its folder does not exist", str(path), "create the folder first")
        elif not stat.S_ISREG(real.stat().st_mode):
            raise DatabaseError("is not a regular file", str(path), "choose another path")
    except (OSError, RuntimeError, ValueError) as error:
        raise DatabaseError(f"cannot be opened ({error})", str(path)) from error
    return real


def check_companions(real: Path, *, read_only: bool = False, for_run: bool = False) -> None:
    """Refuse a database beside which stands what must not be opened under the name that it has.

    Args:
        real: the database, behind links; it need not exist.
        read_only: whether it is only read; then nothing is opened beside it but what was left of its last transactions.
        for_run: whether a run is to write to it, and so to its log.

    Raises:
        DatabaseError: a companion is a link, no regular file, one of several hard links, or another user's whom the
            database does not trust; nothing was opened.
    """
    try:
        database = real.stat()
    except FileNotFoundError:
        database = None
    opened = WRITE_AHEAD_LOGS if read_only else (*WRITE_AHEAD_LOGS, LOCK, SPILL, *(LOGS if for_run else ()))
    for ending in opened:
        _check_companion(companion(real, ending), ending, database)
    if for_run and database is not None:
        _check_owner(real, database)


def check_write_ahead_logs(real: Path) -> None:
    """Refuse to go on when something else stands where DuckDB is about to write; a few microseconds.

    Raises:
        DatabaseError: as `check_companions`.
    """
    database = real.stat()
    for ending in WRITE_AHEAD_LOGS:
        _check_companion(companion(real, ending), ending, database)


def foreign_link(path: Path) -> Path | None:
    """Return the first link on the way to `path` that another user put into a folder that several may write to.

    None if there is none. It is the rule of Linux's `fs.protected_symlinks`, also where that is switched off, and in
    folders of a group: follow links of our own, of root and of the folder's owner.
    """
    here, rest, links = Path("/"), list(path.absolute().parts[1:]), 0
    while rest:
        name = rest.pop(0)
        if name == "..":
            here = here.parent
            continue
        step = here / name
        try:
            found = step.lstat()
        except OSError:  # nothing is there, or nothing that we may look at: opening it says so
            return None
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        folder = here.stat()
        if folder.st_mode & _OTHERS_WRITE and found.st_uid not in (os.geteuid(), 0, folder.st_uid):
            return step
        links += 1
        if links > _MOST_LINKS:
            return None
        target = step.readlink()
        if target.is_absolute():
            here = Path("/")
        rest[:0] = target.parts[1:] if target.is_absolute() else target.parts
    return None


def own_spill(real: Path) -> Path | None:
    """Return the folder beside a database of ours that DuckDB may spill into; None if it is another user's.

    Where other users may put files, it is made at once: DuckDB makes it when it needs it, and would take what stands
    there by then.
    """
    spill = companion(real, SPILL)
    if real.parent.stat().st_mode & _OTHERS_WRITE:
        spill.mkdir(mode=0o700, exist_ok=True)
    try:
        return spill if spill.lstat().st_uid == os.geteuid() else None
    except FileNotFoundError:
        return spill


def _check_companion(path: Path, ending: str, database: os.stat_result | None) -> None:
    try:
        if ending == SPILL:
            _check_spill(path)
        elif not (ending in LOGS and is_thrown_away(path)):
            check_own(path)
    except FileNotFoundError:
        return
    except NotOwnFile as error:
        # Another user's lock and log are left alone; what is in a write-ahead log becomes rows.
        harmless = error.owner is not None and (ending not in WRITE_AHEAD_LOGS or _may_write(database, error.owner))
        if harmless:
            return
        raise DatabaseError(
            f"{plain(path.name)} stands in the way ({error.strerror})",
            str(path.parent),
            "look at it and remove it; nothing was opened",
        ) from error
    except OSError as error:
        raise DatabaseError(f"cannot be looked at ({error.strerror})", str(path)) from error


def _check_spill(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise NotOwnFile("it is a link" if stat.S_ISLNK(mode) else "it is no folder")


def _may_write(database: os.stat_result | None, uid: int) -> bool:
    """Return True if a user may write to the database anyway, so that his write-ahead log can do no more."""
    if uid == 0:
        return True
    if database is None:
        return False
    if uid == database.st_uid or database.st_mode & stat.S_IWOTH:
        return True
    return bool(database.st_mode & stat.S_IWGRP) and _is_member(uid, database.st_gid)


def _is_member(uid: int, gid: int) -> bool:
    try:
        user = pwd.getpwuid(uid)
        return user.pw_gid == gid or user.pw_name in grp.getgrgid(gid).gr_mem
    except KeyError:
        return False


def _check_owner(real: Path, database: os.stat_result) -> None:
    """Refuse a database that somebody has put where everybody may put files, as `fs.protected_regular` does."""
    folder = real.parent.stat()
    if folder.st_mode & stat.S_IWOTH and database.st_uid not in (os.geteuid(), folder.st_uid):
        what = f"belongs to {user_name(database.st_uid)}, in a folder where everybody may put files"
        raise DatabaseError(what, str(real), "choose another path; your rows would be in that user's hands")
