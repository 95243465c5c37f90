"""Where the sockets, or else the tokens, are by which queries are answered: a folder that only its owner may enter."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

import psutil

from tui_runner.errors import DatabaseError

_LONGEST_PATH = 100
"""Bytes of the path of a Unix socket, a little below the 104 of macOS and the 108 of Linux."""
_OURS = re.compile(r"(\d+)-[0-9a-f]+\.(sock|token)")


def socket_folder(longest: int | None = _LONGEST_PATH) -> Path:
    """The folder, made if need be: in `$XDG_RUNTIME_DIR`, else in the folder for temporary files.

    Args:
        longest: bytes of the path of a file in it at most; None for no bound.

    Raises:
        DatabaseError: it cannot be made, or belongs to somebody else.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(runtime) / "tui-runner"] if os.path.isabs(runtime) else []  # noqa: PTH117 - "" is no path
    candidates.append(Path(tempfile.gettempdir()) / f"tui-runner-{os.getuid()}")
    problem = "the paths of the folders for sockets are too long"
    for folder in candidates:
        if longest is not None and len(os.fsencode(folder)) + 40 > longest:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            # Whoever else may write temporary files could have made it first, to listen to us.
            found = folder.lstat()
        except OSError as error:
            problem = f"{folder} cannot be made ({error.strerror})"
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
        problem = f"{folder} is not a folder that only you may enter"
    raise DatabaseError(f"queries of other processes cannot be answered: {problem}")


def new_socket_path() -> Path:
    """A path for a socket of this process. What dead processes left behind is removed.

    Raises:
        DatabaseError: as `socket_folder`.
    """
    return _new_path(socket_folder(), "sock")


def new_token_path() -> Path:
    """The same for the token of a port, whose path may be of any length."""
    return _new_path(socket_folder(None), "token")


def _new_path(folder: Path, ending: str) -> Path:
    for path in folder.iterdir():
        found = _OURS.fullmatch(path.name)
        if found and not psutil.pid_exists(int(found[1])):
            path.unlink(missing_ok=True)
    return folder / f"{os.getpid()}-{os.urandom(6).hex()}.{ending}"
