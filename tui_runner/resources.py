"""Where tui-runner itself is: its own code, and the files that come with it, themes and sample jobs.

In a wheel these files are inside the package (`_bundled/`); in a checkout, also an editable one, beside it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_PACKAGE = Path(str(files("tui_runner")))


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
