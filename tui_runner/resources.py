"""Where tui-runner itself is: its own code, and the files that come with it, themes and sample jobs.

In a wheel these files are inside the package (`_bundled/`); in a checkout, also an editable one, beside it.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

_PACKAGE = Path(str(files("tui_runner")))
_CODE = f"{_PACKAGE}{os.sep}"
_BUNDLED = f"{_PACKAGE / '_bundled'}{os.sep}"


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


def is_own_code(filename: str) -> bool:
    """Return True if the file of a frame is tui-runner's own; sample jobs count as a user's."""
    return filename.startswith(_CODE) and not filename.startswith(_BUNDLED)
