"""Name a job between processes, and digest its source."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path


def source_digest(reference: JobReference) -> str | None:
    """Return a digest of the source of a loaded job; None without a file to read, as for a zipped module.

    It is that of the whole file: a helper that changes matters as much as the function itself. Other modules, which it
    imports, do not count.
    """
    path = reference.source if reference.is_file else getattr(sys.modules.get(reference.source), "__file__", None)
    if not path:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class JobReference:
    """The name by which a worker loads the function again; functions are never pickled.

    Attributes:
        source: path of a Python file, or dotted name of a module.
        is_file: whether `source` is a path.
        function: name of the function in it.
        module: module name to load a copy of the file as: that of the original, because pickled values name their
            module. Empty if `source` is the original.
    """

    source: str
    is_file: bool
    function: str
    module: str = ""
