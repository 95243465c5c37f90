"""Defines the reference by which another process loads a job, and computes a digest of the job's source."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path


def source_digest(reference: JobReference) -> str | None:
    """Return a digest of the source file of a loaded job; None if it has no file, for example in a zipped module.

    The digest covers the whole file, because a change in a helper function matters as well. It does not cover imported
    modules.
    """
    path = reference.source if reference.is_file else getattr(sys.modules.get(reference.source), "__file__", None)
    if not path:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]  # 64 bits tell the versions of a file apart
    except OSError:  # the file is gone
        return None


@dataclass(frozen=True, slots=True)
class JobReference:
    """The name by which a worker loads the function again, because functions are never pickled.

    Attributes:
        source: path of a Python file, or dotted name of a module.
        is_file: True if `source` is a path.
        function: name of the function in the file or module.
        module: name of the module as which the file is loaded, if the file is a copy: the original's module name,
            because pickled values contain it. Empty for the original.
    """

    source: str
    is_file: bool
    function: str
    module: str = ""
