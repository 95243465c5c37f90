r"""Fingerprint every file below a folder: path, size, time of change, SHA-256 and type.

    tui-runner run hash_files                                  the current folder
    tui-runner run hash_files --set root=/usr/share/doc        another one

Parameters
    root    the folder; default: the current one
    skip    names of files and folders to leave out, a pattern as in a shell; default `*.duckdb*`, since the
            database that this very run writes changes while it is read; empty: none

Rows: one per file, in table `hash_files`
    path      absolute; a name that isn't UTF-8 has its odd bytes written as `\xff`, and so can be stored
    size      bytes that were read
    mtime     time of the last change, UTC
    sha256    of the content, as `sha256sum` prints it
    type      guessed from the name: `text/plain`, `image/png` …

Symbolic links, sockets, pipes and devices are left out. A file that vanishes or can't be read is a failed item,
and so is a folder that can't be listed: `tui-runner errors hash_files.duckdb` names them.

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
    """One file: read once, in pieces, so that its size doesn't matter."""
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
    """Paths of the files below `root`, always in the same order, one folder's names in memory at a time.

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
    """Return a path as valid UTF-8 text, whatever bytes the name has on disk."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
