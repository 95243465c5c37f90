"""Where the files that come with tui-runner are: themes and sample jobs.

In a wheel they are inside the package (`_bundled/`); in a checkout, also an editable one, beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """The folder `name` (`themes` or `sample_jobs`) that came with this installation.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    for parent in (_PACKAGE / "_bundled", _PACKAGE.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of tui-runner lacks its folder {name!r}; install it again")
