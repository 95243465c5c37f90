"""Decides whether a job named in a ledger may run without asking the user.

A database may come from elsewhere: a download, a cloned repository, a folder that several people share. Its ledger may
name any Python file on this machine, and resuming a run executes that file. So the name of the file is shown first. The
user is asked if the file belongs to another user or is in another folder, and for the other reasons in `job_origin`.
The decision is the same for the command line and the launcher. No code of the job is executed here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_runner.jobs.loading import locate_job, module_files
from tui_runner.system.files import bundled, user_name
from tui_runner.text.messages import shortened


@dataclass(frozen=True, slots=True)
class JobOrigin:
    """Facts about a job that the user may need before it is loaded. The texts are not yet safe to show.

    Attributes:
        text: `/path/file.py:function`, links resolved; the recorded name if the file of its module cannot be found.
        reasons: clauses that say why the user must be asked before the job is loaded. Empty if the job may be loaded
            without a question.
    """

    text: str
    reasons: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """All reasons in one text, joined by commas and "and"."""
        return ", and ".join(self.reasons)

    @property
    def warning(self) -> str:
        """Two sentences to show before the question: the reasons, and the consequence of "yes"."""
        return f"Asked because {self.why}. Its code would run with your permissions."


BUILT_IN = frozenset({"tui_runner.jobs.crawl", "tui_runner.jobs.fetch"})
"""Modules with the jobs of the commands `fetch` and `crawl`."""

_INSTALLED = re.compile(r"/(?:site-packages|dist-packages|lib\d*/(?:python|pypy)\d[^/]*)/", re.IGNORECASE)
"""Matches paths of installed packages, in the environment of this program and in any other."""


def job_origin(job: str, *, input: str | None, database: Path | None, begun_in: Path | None, here: Path) -> JobOrigin:
    """Return the place of a job that a ledger names, and the reasons to ask before it runs.

    Args:
        job: name of the job in the ledger.
        input: the `SOURCE` in the ledger; None for the job's own items.
        database: the file with the ledger.
        begun_in: the folder in which the run began; None for `here`.
        here: the current folder.

    Raises:
        UserError: there is no such file or job.
    """
    folder = begun_in or here
    place = locate_job(job, folder=folder)
    files = [Path(place.source)] if place.is_file else module_files(place.source, folder=folder)
    # The file itself comes first, because the message begins with the first reason.
    checked = [("its file" if file == files[-1] else "its package", file) for file in reversed(files)]
    is_sample = place.is_file and files[0].parent == _resolved(bundled("sample_jobs"))
    is_built_in = not place.is_file and place.source in BUILT_IN
    if is_sample or is_built_in:
        checked = []  # built-in jobs are part of this program
    if not place.is_file and not is_built_in:
        # Modules that the job imports are searched for in this folder before installed packages.
        checked.append((f"the folder {folder} that it imports from", _resolved(folder)))
    homes = [_resolved(here)]
    if database is not None:
        homes.append(_resolved(database).parent)
    # Several files may be in one package, so remove duplicates.
    outside = dict.fromkeys(what for what, path in checked if not any(path.is_relative_to(home) for home in homes))
    reasons = [] if files else ["the file of its module cannot be found"]
    if outside:
        reasons.append(f"{_are(outside)} outside the database's folder and the current folder")
    # Some functions in installed packages execute any code that is passed to them. So ask about every function of an
    # environment, even if the environment is in an accepted folder.
    installed = dict.fromkeys(what for what, path in checked if what not in outside and _is_installed(path, homes))
    if installed:
        reasons.append(f"{_are(installed)} part of Python or of an installed package")
    if is_built_in and input is not None and not _is_among(folder / input, homes):
        reasons.append(f"its input is outside the database's folder and the current folder: {shortened(input)}")
    if is_sample and input is not None:
        reasons.append(f"its input is chosen by the database: {shortened(input)}")
    if database is not None:
        checked.append(("the database", _resolved(database)))
    reasons += dict.fromkeys(reason for what, path in checked if (reason := _not_ours(what, path)))
    return JobOrigin(_named(files[-1], place.function) if files else shortened(job), tuple(reasons))


def _is_among(path: Path, homes: Sequence[Path]) -> bool:
    return path.exists() and any(_resolved(path).is_relative_to(home) for home in homes)


def _are(names: Collection[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _is_installed(path: Path, homes: Sequence[Path]) -> bool:
    """Return True if a file is part of an installed package, or of a Python installation in one of the `homes`."""
    prefixes = {_resolved(Path(prefix)) for prefix in (sys.prefix, sys.base_prefix)}
    inner = [prefix for prefix in prefixes if any(prefix.is_relative_to(home) for home in homes)]
    return bool(_INSTALLED.search(str(path))) or any(path.is_relative_to(prefix) for prefix in inner)


def _named(file: Path, function: str | None) -> str:
    return str(file) if function is None else f"{file}:{shortened(function)}"


def _not_ours(what: str, path: Path) -> str:
    """Return a clause that a file or folder belongs to another user, or cannot be examined.

    The text is empty if it belongs to this user.
    """
    try:
        owner = path.stat().st_uid
    except OSError as error:
        return f"{what} cannot be examined ({error.strerror})"
    return "" if owner == os.geteuid() else f"{what} belongs to {user_name(owner)}"


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `Path.resolve` raises an error for links in a circle
