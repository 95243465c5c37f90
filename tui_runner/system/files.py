"""Files: regular ones, the user's own, written whole or not at all, and those that come with the program.

A pipe in the place of a file may keep the program that opens it waiting for ever. A link in the place of one of our
own files (the lock beside a database, say) would have us write into whatever it points to: git keeps links, so a
cloned repository is enough. Whatever the program itself keeps under a name that others can guess is opened by
`open_own`.

In a wheel these files are inside the package (`_bundled/`); in a checkout, also an editable one, beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, BinaryIO

import platformdirs

from tui_runner.errors import UserError
from tui_runner.text.messages import plain

_AT_ONCE = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Do not wait for the other end of a pipe; for regular files it means nothing."""
PRIVATE = 0o600
"""Mode of the files that the program keeps for itself."""


class NotOwnFile(OSError):
    """What stands under the name of a file of ours is not one; nothing was written to it.

    Attributes:
        owner: uid of the other user that a regular file belongs to; None for whatever else is wrong.
    """

    def __init__(self, reason: str, owner: int | None = None) -> None:
        super().__init__(errno.EPERM, reason)
        self.owner = owner


def regular(path: str | Path, flags: int) -> int:
    """Return a descriptor of a regular file, or of `/dev/null`; an `opener` for `open`.

    Raises:
        OSError: it cannot be opened, or it is a pipe, a folder or another device.
    """
    # A pipe that nobody reads cannot be opened to be written: that is told as what it is, too.
    try:
        descriptor = os.open(path, flags | _AT_ONCE, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _is_none() from error
        raise
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) or _is_null(found):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise _is_none()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes.

    Raises:
        OSError: as `regular`.
    """
    return open(path, "rb", opener=regular)


def open_own(path: str | Path, flags: int) -> int:
    """Return a descriptor of a regular file that has one name and belongs to this user; an `opener` for `open`.

    A link is not followed. A file that is made is `PRIVATE`; one that others may read or write becomes so.
    `O_TRUNC` cuts the file only when all of this is known.

    Raises:
        NotOwnFile: it is something else. Nothing was written.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | _AT_ONCE, PRIVATE)
    except OSError as error:
        # One that we may not open can still be named for what it is.
        with contextlib.suppress(FileNotFoundError):
            check_own(path)
        raise error
    try:
        found = os.fstat(descriptor)
        _check(found)
        if found.st_mode & 0o177:
            os.fchmod(descriptor, PRIVATE)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_log(path: str | Path, flags: int) -> int:
    """Return what `open_own` does, or `/dev/null` where the path is a link to that: a log that its user throws away."""
    return regular(os.devnull, flags) if is_thrown_away(path) else open_own(path, flags)


def is_thrown_away(path: str | Path) -> bool:
    """Return True if a path is a link to `/dev/null`."""
    try:
        return str(Path(path).readlink()) == os.devnull
    except OSError:
        return False


def check_own(path: str | Path) -> os.stat_result:
    """Return what stands at a path if it is such a file as `open_own` opens; for files that others open by name.

    Raises:
        NotOwnFile: it is something else.
        OSError: there is nothing, or it cannot be told.
    """
    found = os.lstat(path)
    _check(found)
    return found


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose bytes are a file of our own once the block has ended; until then the file stays as it is.

    Whatever stood under that name is replaced by a rename, so a link there is not followed.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
        try:
            yield stream
            stream.flush()
            Path(stream.name).replace(path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


def user_name(uid: int) -> str:
    """Return how a message names a user: `bob (uid 1001)`, or `uid 1001` where the system has no name for it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):
        return f"uid {uid}"


def _check(found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise NotOwnFile("it is a link")
    if not stat.S_ISREG(found.st_mode):
        raise NotOwnFile("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is no file but a device or a pipe")
    if found.st_nlink > 1:
        raise NotOwnFile(f"it is one of {found.st_nlink} hard links to one file")
    if found.st_uid != os.geteuid():
        raise NotOwnFile(f"it belongs to {user_name(found.st_uid)}", found.st_uid)


def _is_none() -> OSError:
    return OSError(errno.EINVAL, "it is no file but a device or a pipe")


def _is_null(found: os.stat_result) -> bool:
    null = Path(os.devnull).stat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev


_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})|/dev/(stderr)")
"""Paths of what this process has open: `>(gzip > x.gz)` of a shell is `/dev/fd/63`."""


def descriptor_of(path: Path) -> int | None:
    """The number of an open file that a path names."""
    match = _DESCRIPTOR.fullmatch(str(path))
    return None if match is None else 2 if match[2] else int(match[1])


def is_open(descriptor: int) -> bool:
    """Whether this process has a file open by this number."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def is_stream(path: Path) -> bool:
    """Whether a path is that of an open file, a pipe or a device, which is written into and not replaced."""
    if descriptor_of(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def written_whole(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Give a stream whose bytes are the file's once the block has ended; if it fails, the file stays as it was.

    It is written beside the file and moved to its place, with the rights of the file that was there. What is open, a
    pipe or a device is written as it comes.

    Args:
        path: the file.
        replace: whether one that exists is replaced.

    Raises:
        UserError: it cannot be written, or exists and is not to be replaced.
        BrokenPipeError: who read the pipe has gone.
    """
    try:
        if is_stream(path):
            descriptor = descriptor_of(path)
            # An open file goes on where it is; opened by its path it would be cut.
            with path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb") as stream:
                yield stream
            return
        path = path.resolve()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tui-runner-", delete=False) as stream:
            try:
                yield stream
                stream.flush()
                Path(stream.name).chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
                if replace:
                    Path(stream.name).replace(path)
                else:
                    _put_where_none_is(Path(stream.name), path)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _put_where_none_is(file: Path, path: Path) -> None:
    """Move a file to a path where no other may be, even one that appears at this moment."""
    try:
        try:
            path.hardlink_to(file)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            path.touch(exist_ok=False)
            file.replace(path)
        else:
            file.unlink()
    except FileExistsError as error:
        what = "came into being while the rows were written, and was left as it is"
        raise UserError(what, plain(path), "choose another file") from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot be written ({error.strerror})", plain(path), "choose another file")


def _umask() -> int:
    """The process's mask; it can be read only by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


_PACKAGE = Path(str(files("tui_runner")))
_PROGRAM = "tui-runner"


def bundled(name: str) -> Path:
    """Return the folder `name` (`themes` or `sample_jobs`) that came with this installation.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    package = _PACKAGE.resolve()
    for parent in (package / "_bundled", package.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of tui-runner lacks its folder {name!r}; install it again")


def config_folder() -> Path:
    """Return the folder of the user's configuration, whether it exists or not."""
    return platformdirs.user_config_path(_PROGRAM, appauthor=False)


def state_folder() -> Path:
    """Return the folder for what the program remembers for its user, whether it exists or not."""
    return platformdirs.user_state_path(_PROGRAM, appauthor=False)
