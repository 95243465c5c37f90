"""A folder for files that this process needs while it lives: sockets, tokens, copies of inputs.

No other user may enter it, and it is removed however the process ends. At a normal end the process removes it. If the
process was killed, a fork server that is a fork of it (`fork_server._fork_server`) notices that and removes the folder.
Otherwise the next tui-runner of the user removes it. A lock (`flock`) on the folder shows that it is in use. The lock
ends with its process, and unlike a stored process id it cannot refer to a later process.

The folders of all processes of a user are in one folder, `tui-runner-UID`, in the folder for temporary files.
`XDG_RUNTIME_DIR` would suit sockets, but it is removed when its user logs out, while runs continue.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LONGEST_SOCKET = 100
"""Bytes of the path of a Unix socket at most, a little below the limits of macOS (104) and Linux (108)."""
_LONGEST_NAME = 35
"""Bytes of a socket's path that are reserved for its last two parts: the folder of the process and the socket's name.
"""
_OURS = re.compile(r"\d+-[0-9a-f]{6}")
"""Matches the name of the folder of one process: its id and random digits."""
_ROOT = "tui-runner-"
"""Start of the name of a user's folder."""
_ROOTS = re.compile(rf"{_ROOT}(\d+|[a-z0-9_]{{8}})")
"""Matches the name of a user's folder, which ends with the user's id, or with eight characters from `mkdtemp`."""
_TRIES = 100
"""Attempts to create a folder. One fails if another process removes the enclosing folder meanwhile; the bound only
prevents an endless loop."""


@dataclass(frozen=True, slots=True)
class _LockedFolder:
    """A private folder of this process. It is locked while `descriptor` is open."""

    path: Path
    descriptor: int
    pid: int


_guard = threading.Lock()
"""Protects `_folders`, because several threads may need the folder first."""
_folders: dict[Path, _LockedFolder] = {}
_of_last_resort: list[Path] = []


def private_folder(*, for_sockets: bool = False) -> Path:
    """Return the private folder of this process.

    Before it is created, the private folders of dead processes are removed.

    Args:
        for_sockets: True for a folder with a short path, because the path of a Unix socket is limited to about 100
            bytes. If there is no such folder, the usual one is returned.

    Raises:
        OSError: there is no folder for temporary files.
    """
    with _guard:
        root = _root(for_sockets)
        folder = _folders.get(root)
        if folder is None or folder.pid != os.getpid() or not folder.path.is_dir():
            if not _folders:
                atexit.register(_remove_own)
            folder = _folders[root] = _new(root)
        return folder.path


def leave_to_parent() -> None:
    """Forget the parent's folders in a forked process, because their locks must end with the parent."""
    for folder in _folders.values():
        os.close(folder.descriptor)
    _folders.clear()


def is_private(path: Path) -> bool:
    """Return True if `path` is directly in the private folder of a living process of this user.

    Use it for paths that come from outside this process. An archive that the user has unpacked may contain folders with
    fitting names and modes. But it cannot hold the lock: only a process that may enter the folder can.
    """
    folder = path.parent
    try:
        if not (path.is_absolute() and _has_own_name(folder) and _is_closed(folder.parent) and _is_closed(folder)):
            return False
        with _locked(folder):
            return False
    except BlockingIOError:  # a living process holds the lock
        return True
    except (OSError, ValueError):  # a path with a NUL character in it is a ValueError
        return False


def discard(folder: Path) -> None:
    """Remove the private folder of a process that has ended. Do nothing if `folder` is no private folder."""
    if _has_own_name(folder):
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # folders of other processes are in it
            folder.parent.rmdir()


def _remove_own() -> None:
    for folder in _folders.values():
        if folder.pid == os.getpid():
            discard(folder.path)


def _root(for_sockets: bool) -> Path:
    """Return the folder that contains the private folders of all processes of this user."""
    name = f"{_ROOT}{os.getuid()}"
    roots = [Path(tempfile.gettempdir()) / name]
    if for_sockets and not _is_short(roots[0]):
        roots = [*filter(_is_short, (Path(folder) / name for folder in _short_folders())), *roots]
    for root in roots:
        if _is_usable(root):
            return root
    # Another user may have created folders with the names above. A random name cannot be guessed.
    if not _of_last_resort:
        _of_last_resort.append(Path(tempfile.mkdtemp(prefix=_ROOT)))
    return _of_last_resort[0]


def _short_folders() -> list[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return ["/tmp", "/var/tmp", *([runtime] if os.path.isabs(runtime) else [])]  # noqa: S108, PTH117 - checked by `_is_usable`


def _is_short(root: Path) -> bool:
    return len(os.fsencode(root)) + _LONGEST_NAME <= _LONGEST_SOCKET


def _is_usable(root: Path) -> bool:
    """Create the folder if it does not exist. Return True if it belongs to this user and others cannot enter it."""
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        return _is_closed(root)
    except OSError:  # for example, it cannot be created on a read-only file system
        return False


def _has_own_name(folder: Path) -> bool:
    return bool(_OURS.fullmatch(folder.name) and _ROOTS.fullmatch(folder.parent.name))


def _is_closed(folder: Path) -> bool:
    """Return True if `folder` is a folder and not a link, belongs to this user and cannot be entered by others."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _new(root: Path) -> _LockedFolder:
    """Create and lock a new private folder in `root`."""
    _remove_stale(root)
    for _ in range(_TRIES):
        path = root / f"{os.getpid()}-{os.urandom(3).hex()}"
        try:
            root.mkdir(mode=0o700, exist_ok=True)
            path.mkdir(mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, FileExistsError):  # another process has just removed the root or this folder
            continue
        # On a file system without locks, no process can find out if the folder is in use, so none removes it.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):  # another process has removed it before it was locked
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return _LockedFolder(path, descriptor, os.getpid())
        os.close(descriptor)
    raise FileNotFoundError(f"{root} is removed again and again")


def _remove_stale(root: Path) -> None:
    for path in root.iterdir():
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(OSError):  # its process lives, or another process is removing it
                _remove_if_unlocked(path)


def _remove_if_unlocked(folder: Path) -> None:
    with _locked(folder):
        shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder whose process has ended, for the duration of a `with` block.

    Raises:
        BlockingIOError: the process still lives and holds the lock.
        OSError: `folder` is not a folder, or cannot be locked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
