"""Writes a file whole or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tui_runner.errors import UserError
from tui_runner.text.messages import plain

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
