"""Opens and writes files safely: files that a user names, tui-runner's own files, and files bundled with it.

A pipe in place of a file can make the program that opens it wait forever. A link in place of one of our own files (for
example the lock beside a database) would make us write into the file it points to. Git stores links, so a cloned
repository can contain such a link. So `open_own` opens those own files whose names others can guess.

In a wheel, bundled files are inside the package (`_bundled/`); in a checkout, even an editable one, they are beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO

import platformdirs

from tui_runner.errors import UserError
from tui_runner.text.messages import plain

_AT_ONCE = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags of `open`: it does not wait for the other end of a pipe, a terminal does not become the controlling one, and
programs that are started do not inherit the descriptor."""
PRIVATE = 0o600
"""Mode of tui-runner's own files: only their owner may read and write them."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
"""Mode bits of a folder in which users other than its owner may create files."""
_LONGEST_PATH = 4096
"""Longest path that is accepted, in bytes. It is `PATH_MAX` of Linux; macOS accepts only a quarter of it."""
_MOST_LINKS = 40
"""Links that are followed in one path, as in Linux."""


class TooLarge(OSError):
    """Raised for a file that is larger than its caller allows."""

    def __init__(self, most: int) -> None:
        super().__init__(errno.EFBIG, f"it has more than {most:,} bytes")


class NotOwnFile(OSError):
    """Raised if a path that should be one of tui-runner's own files is something else. Nothing was written to it.

    Attributes:
        owner: uid of the file's owner if it is a regular file of another user, otherwise None.
        group: gid of that file, otherwise None.
    """

    def __init__(self, reason: str, owner: int | None = None, group: int | None = None) -> None:
        super().__init__(errno.EPERM, reason)
        self.owner = owner
        self.group = group


def regular(path: str | Path, flags: int) -> int:
    """Open a regular file, or `/dev/null`, and return its descriptor; an `opener` for `open`.

    Raises:
        OSError: the file cannot be opened, or is a pipe, a folder or another device.
    """
    # Opening a pipe for writing fails with ENXIO if it has no reader; report that it is a pipe instead.
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


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes of a file that the program found itself. Pipes and devices are refused: a read might never end.

    Args:
        path: path of the file.
        most: bytes that the file may have.

    Raises:
        TooLarge: the file has more than `most` bytes.
        OSError: see `regular`.
    """
    with open(path, "rb", opener=regular) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLarge(most)
    return content


def open_own(path: str | Path, flags: int) -> int:
    """Open a regular file of this user that has one hard link, and return its descriptor; an `opener` for `open`.

    A symbolic link is not followed. A new file gets mode `PRIVATE`, and so does an existing file that others may access
    or that may be executed. `O_TRUNC` truncates the file only after all checks.

    Raises:
        NotOwnFile: the path is something else. Nothing was written.
        OSError: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | _AT_ONCE, PRIVATE)
    except OSError as error:
        # A file that cannot be opened may also be the wrong kind of file; then `check_own` raises an error that says
        # more.
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
    except BaseException:  # the descriptor must not leak, whatever the check raised
        os.close(descriptor)
        raise
    return descriptor


def open_log(path: str | Path, flags: int) -> int:
    """Open a log file with `open_own`. A link to `/dev/null`, by which users discard a log, opens `/dev/null`."""
    return regular(os.devnull, flags) if is_thrown_away(path) else open_own(path, flags)


def is_thrown_away(path: str | Path) -> bool:
    """Return True if a path is a link to `/dev/null`."""
    try:
        return str(Path(path).readlink()) == os.devnull
    except OSError:  # no link, or nothing there
        return False


def check_own(path: str | Path) -> os.stat_result:
    """Return the status of a file that `open_own` would accept. For files that DuckDB opens by name.

    Raises:
        NotOwnFile: the path is something else.
        OSError: the file does not exist, or cannot be examined.
    """
    found = os.lstat(path)
    _check(found)
    return found


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream whose content replaces one of tui-runner's own files when the `with` block ends without error.

    The file is replaced by a rename, so a symbolic link with its name is replaced and not followed.

    Raises:
        OSError: the file cannot be written. It is unchanged.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
        try:
            yield stream
            stream.flush()
            Path(stream.name).replace(path)
        except BaseException:  # also for Ctrl-C: no temporary file may stay behind
            Path(stream.name).unlink(missing_ok=True)
            raise


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading `~` or `~user` replaced by the home folder.

    Raises:
        UserError: the system knows no home folder for the user, as for some accounts in containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise UserError(
            f"there is no home folder for {plain(user)}", plain(Path(path)), "write the whole path"
        ) from error


def with_short_home(text: str) -> str:
    """Return `text` with `~/` for the path of the home folder; unchanged if the user has no home folder."""
    try:
        return text.replace(f"{Path.home()}/", "~/")
    except RuntimeError:  # the system knows no home folder of this user
        return text


def without_dots(path: Path) -> Path:
    """Return an absolute path without `..`, for messages.

    Return it unchanged if a symbolic link makes `..` lead elsewhere, or if its folder does not exist.
    """
    shorter = Path(os.path.normpath(path))
    try:
        return shorter if shorter.parent.samefile(path.parent) else path
    except OSError:
        return path


def short_path(path: str, folder: Path | None) -> str:
    """Return a path as short as possible for a command that is entered in `folder`, not quoted.

    Args:
        path: a path, or a job that begins with one: `/home/ann/scrape/shop.py:books`.
        folder: the shell's current folder; an absolute path in it is made relative. None if unknown.
    """
    if folder is None or not path.startswith("/") or not Path(path).is_relative_to(folder) or Path(path) == folder:
        return path
    found = str(Path(path).relative_to(folder))
    return f"./{found}" if found.startswith("-") else found


def typed_path(path: str, folder: Path | None) -> str:
    """Return a path as a word of a shell command, quoted and as short as possible.

    Args:
        path: an absolute path.
        folder: the shell's current folder; a path in it is made relative. None if unknown.
    """
    if (found := short_path(path, folder)) != path:
        return shlex.quote(found)
    short = with_short_home(path)
    # Quote only what follows `~/`: a shell does not expand a quoted `~`.
    return f"~/{shlex.quote(short[2:])}" if short.startswith("~/") and path.startswith("/") else shlex.quote(path)


def user_name(uid: int) -> str:
    """Return a user's name for messages: `bob (uid 1001)`, or `uid 1001` if the system knows no name."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):  # no entry; or an id that does not fit into uid_t
        return f"uid {uid}"


def _check(found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise NotOwnFile("it is a link")
    if not stat.S_ISREG(found.st_mode):
        raise NotOwnFile("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is a device or a pipe, not a file")
    if found.st_nlink > 1:
        raise NotOwnFile(f"it is one of {found.st_nlink} hard links to one file")
    if found.st_uid != os.geteuid():
        raise NotOwnFile(f"it belongs to {user_name(found.st_uid)}", found.st_uid, found.st_gid)


def _is_none() -> OSError:
    return OSError(errno.EINVAL, "it is a device or a pipe, not a file")


def _is_null(found: os.stat_result) -> bool:
    null = Path(os.devnull).stat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev


_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})|/dev/(stderr)")
"""Matches paths that stand for descriptors of this process: the shell's `>(gzip > x.gz)` is the path `/dev/fd/63`."""


def descriptor_of(path: Path) -> int | None:
    """Return the number of the descriptor that a path such as `/dev/fd/63` stands for; None for any other path."""
    match = _DESCRIPTOR.fullmatch(str(path))
    return None if match is None else 2 if match[2] else int(match[1])


def is_open(descriptor: int) -> bool:
    """Return True if this process has this descriptor open."""
    try:
        os.fstat(descriptor)
    except OSError:  # the only error of `fstat` for a number that is not open
        return False
    return True


def is_stream(path: Path) -> bool:
    """Return True for paths that are written directly and not replaced: open descriptors, pipes and devices."""
    if descriptor_of(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there yet
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def written_atomically(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Yield a stream whose content becomes the file at the end of the block. If the block fails, the file is unchanged.

    The content is written to a temporary file in the same folder, which is then renamed. The permissions of a replaced
    file of this user are retained. An open descriptor, a pipe or a device is written directly, so that a block that
    fails may have written a part. Exports, saved scripts and new job files are written by this function.

    Args:
        path: path of the file.
        replace: True to replace an existing file.

    Raises:
        UserError: the file cannot be written; it exists although `replace` is False; or another user interferes, by a
            link in the path or another file in its place.
        BrokenPipeError: the process that reads the pipe has closed it.
    """
    try:
        check_links(path)
        if is_stream(path):
            with os.fdopen(_open_stream(path), "wb") as stream:
                yield stream
            return
        path = path.resolve()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tui-runner-", delete=False) as stream:
            try:
                yield stream
                stream.flush()
                os.fchmod(stream.fileno(), _mode_at(path))
                _check_not_swapped(stream, path)
                if replace:
                    Path(stream.name).replace(path)
                else:
                    _move_without_replacing(Path(stream.name), path)
            except BaseException:  # also for Ctrl-C: no temporary file may stay behind
                with contextlib.suppress(OSError):  # another user has moved or removed it
                    Path(stream.name).unlink()
                raise
    except BrokenPipeError:
        raise  # the reader of the pipe has closed it, which is no mistake in the path
    except OSError as error:
        raise _unwritable(path, error) from error


def _open_stream(path: Path) -> int:
    """Return a new descriptor of an open descriptor, or of a pipe or device that belongs to this user or root."""
    known = descriptor_of(path)
    # duplicate it, so that writing continues at its position; opening the path would truncate the file
    if known is not None:
        return os.dup(known)
    _check_stream(path.stat())  # before opening, because opening a pipe waits for its reader
    descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_stream(os.fstat(descriptor))
    except BaseException:  # do not leak the descriptor of a file that is refused
        os.close(descriptor)
        raise
    return descriptor


def _check_stream(found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "another file took its place")
    if found.st_uid not in (os.geteuid(), 0):
        raise NotOwnFile(f"it is a pipe or a device of {user_name(found.st_uid)}")


def _mode_at(path: Path) -> int:
    """Return the permissions for a new file that replaces the file at `path`, or that is created there."""
    with contextlib.suppress(FileNotFoundError):  # nothing is there yet
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            return found.st_mode & 0o777
    return 0o666 & ~_umask()


def _check_not_swapped(stream: IO[bytes], path: Path) -> None:
    """Refuse to rename the temporary file if another user has replaced it under its name."""
    if is_same_file(stream.fileno(), Path(stream.name)):
        return
    os.ftruncate(stream.fileno(), 0)  # another program has the file now, and must not get the content
    what = "cannot be written (another program moved the unfinished file away)"
    raise UserError(what, plain(path), "choose a folder that others may not write to")


def _move_without_replacing(file: Path, path: Path) -> None:
    """Rename a file only if nothing exists at the new path, even if another program creates something just then."""
    try:
        try:
            os.link(file, path, follow_symlinks=False)
        except FileExistsError:
            raise  # handled below
        except OSError:  # a file system without hard links
            path.touch(exist_ok=False)
            file.replace(path)
        else:
            file.unlink()
    except FileExistsError as error:
        what = "was created by another program meanwhile, and was not replaced"
        raise UserError(what, plain(path), "choose another file") from error


def _unwritable(path: Path, error: OSError) -> UserError:
    if not path.parent.exists():
        return UserError("its folder does not exist", plain(path), "create the folder first")
    return UserError(f"cannot be written ({error.strerror})", plain(path), "choose another file")


def _umask() -> int:
    """Return the umask of this process. The system has no call that only reads it, so it is set and restored."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def is_same_file(descriptor: int, path: Path) -> bool:
    """Return True if the open file `descriptor` is the file at `path`. A symbolic link is not followed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:  # the path was removed
        return False


def check_links(path: Path, kind: type[UserError] = UserError) -> None:
    """Refuse a path that contains a link of another user. Call it before anything is read or written at the path.

    Raises:
        UserError: of type `kind`. The path contains such a link, which the message names. Or the path is longer than
            any valid path; checking each of its folders would take a minute.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise kind(f"is too long for a path: it has {len(str(path)):,} characters", plain(path), "check the path")
    link = foreign_link(path)
    if link is not None:
        what = f"{plain(link)} is a link of {user_name(link.lstat().st_uid)} in a folder that others write to"
        raise kind(what, plain(path), "name the file that it points to, or choose another one")


def foreign_link(path: Path) -> Path | None:
    """Return the first link in `path` that another user has created in a folder where several users may create files.

    Return None if there is no such link, or if the path has more links than the system follows, so that it cannot be
    opened. The rule is that of Linux's `fs.protected_symlinks`: links of this user, of root and of the folder's owner
    are followed. Here it also applies where that setting is off, and to folders that only a group may write. Missing
    parts are skipped as in `Path.resolve`, because a link may follow after `missing/..`.
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
        except (OSError, ValueError):  # it does not exist, or may not be examined
            here = step
            continue
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        folder = here.stat()
        if folder.st_mode & OTHERS_WRITE and found.st_uid not in (os.geteuid(), 0, folder.st_uid):
            return step
        links += 1
        if links > _MOST_LINKS:
            return None
        target = step.readlink()
        if target.is_absolute():
            here = Path("/")
        rest[:0] = target.parts[1:] if target.is_absolute() else target.parts
    return None


_PACKAGE = Path(str(files("tui_runner")))
_PROGRAM = "tui-runner"
"""Name of tui-runner's folders among the user's configuration and state folders."""
_NOWHERE = Path(os.devnull)
"""Stands for a folder that does not exist: reading or creating anything below it raises `OSError`."""


def bundled(name: str) -> Path:
    """Return the folder `name` (`themes` or `sample_jobs`) of this installation.

    Raises:
        FileNotFoundError: the installation lacks the folder.
    """
    package = _PACKAGE.resolve()
    for parent in (package / "_bundled", package.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of tui-runner lacks its folder {name!r}; install it again")


def config_folder() -> Path:
    """Return the folder of the user's configuration; it may not exist."""
    return _user_folder(platformdirs.user_config_path)


def state_folder() -> Path:
    """Return the folder for what tui-runner stores about its past use, such as recent jobs; it may not exist."""
    return _user_folder(platformdirs.user_state_path)


def _user_folder(kind: Callable[..., Path]) -> Path:
    """Return the folder from `kind`, a function of platformdirs; for a user without a home folder, an impossible path.

    An account in a container may have neither a passwd entry nor `HOME`, so `~` is not replaced. Without this check,
    the program would create a folder called `~` in the current folder, or read one that another user created there.
    """
    try:
        folder = kind(_PROGRAM, appauthor=False)
    except RuntimeError:  # there is no home folder
        return _NOWHERE / _PROGRAM
    return folder if folder.is_absolute() else _NOWHERE / _PROGRAM
