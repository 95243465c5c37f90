r"""Hash every file below a folder, and return its path, size, time of change, SHA-256 and type.

    tui-runner run hash_files                                  the current folder
    tui-runner run hash_files --set root=/usr/share/doc        another one

Parameters
    root    the folder; default: the current one
    skip    pattern, as in a shell, of the names of files and folders to leave out; empty for none. Default:
            `*.duckdb*`, because the database of this run changes while it is read

Rows: one per file, in table `hash_files`
    path      absolute; in a name that is not UTF-8, each invalid byte is written as `\xff`
    size      bytes that were read
    mtime     time of the last change, UTC
    sha256    of the content, as `sha256sum` prints it
    type      guessed from the name: `text/plain`, `image/png` …

Symbolic links, sockets, pipes and devices are left out. An item fails if its file vanishes or cannot be
read, or if a folder cannot be listed; `tui-runner errors hash_files.duckdb` names it.

Queries
    -- duplicate files
    SELECT sha256, count(*) AS copies, any_value(path), sum(size) FROM hash_files
    WHERE size > 0 GROUP BY sha256 HAVING copies > 1 ORDER BY sum(size) DESC
    -- bytes by type
    SELECT type, count(*), sum(size) FROM hash_files GROUP BY type ORDER BY sum(size) DESC
"""

import hashlib
import mimetypes
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tui_runner import job


@job(chunk_size=250, threads=8)
def hash_files(path: str) -> dict[str, Any]:
    """Hash one file. It is read in pieces, so a large file needs no more memory than a small one."""
    with Path(path).open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return {
            "path": storable(path),
            "size": file.tell(),
            "mtime": datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC),
            "sha256": digest.hexdigest(),
            "type": mimetypes.guess_type(path)[0],
        }


@hash_files.items
def files(*, root: Path = Path(), skip: str = "*.duckdb*") -> Iterator[str]:
    """Return the paths of the files below `root`, always in the same order.

    The names of one folder at a time are in memory, so the number of files is not limited.

    Args:
        root: the folder
        skip: pattern of names to leave out
    """
    folders = [str(root.expanduser().absolute())]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError:
            yield folder  # this item fails, so that the reason is among the errors of the run
            continue
        entries = [entry for entry in entries if not fnmatchcase(entry.name, skip)]
        yield from (entry.path for entry in entries if entry.is_file(follow_symlinks=False))
        folders.extend(entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False))


def storable(path: str) -> str:
    r"""Return `path` as text that can be stored: bytes that are not valid UTF-8 are written as `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
