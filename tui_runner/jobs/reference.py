"""References a job from another process, and computes a digest of its source."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path


def source_digest(reference: JobReference) -> str | None:
    """Return a digest of the source of a loaded job; None if it has no file, for example in a zipped module.

    The digest covers the whole file, because a change in a helper function matters as well. Imported modules are not
    covered.
    """
    path = reference.source if reference.is_file else getattr(sys.modules.get(reference.source), "__file__", None)
    if not path:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:  # the file is gone
        return None


@dataclass(frozen=True, slots=True)
class JobReference:
    """The name by which a worker loads the function again; functions are never pickled.

    Attributes:
        source: path of a Python file, or dotted name of a module.
        is_file: True if `source` is a path.
        function: name of the function in it.
        module: module name under which a copy of the file is loaded: the name of the original, because pickled values
            name their module. Empty if `source` is the original.
    """

    source: str
    is_file: bool
    function: str
    module: str = ""
