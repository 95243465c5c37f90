"""Opens files that are to be regular ones: a pipe in the place of one may keep whoever opens it waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_AT_ONCE = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Do not wait for the other end of a pipe; for regular files it means nothing."""


def regular(path: str | Path, flags: int) -> int:
    """A descriptor of a regular file, or of `/dev/null`; an `opener` for `open`.

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


def _is_none() -> OSError:
    return OSError(errno.EINVAL, "it is no file but a device or a pipe")


def _is_null(found: os.stat_result) -> bool:
    null = Path(os.devnull).stat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev
