"""The code of a job that is sent to other machines: its file, the local modules that it imports, and `--ship DIR`.

Imports are found by parsing, not by executing, so that imports inside functions count as well. A module is local if it
is beside the job's file, or under the current folder for a job that is named by module. All other modules must be
installed on the workers' machines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.jobs.loading import private_name
from tui_runner.jobs.reference import JobReference
from tui_runner.text.messages import plain
from tui_runner.text.numbers import size

MOST_BYTES = 4 << 20
"""Most bytes of code that are sent to each machine. A larger folder probably contains data, which should be stored
where all machines can read it."""
_SKIPPED = {"__pycache__", "node_modules"}
"""Folders without code of the job."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files to write on the machines of workers.

    Attributes:
        files: contents of the files, by path relative to a folder.
        job: path of the job's file in `files`; empty for a job that is named by module.
    """

    files: dict[str, bytes]
    job: str = ""

    def write(self, folder: Path) -> None:
        """Write the files into `folder`.

        Raises:
            ValueError: a path leads out of the folder.
            OSError: a file cannot be written.
        """
        for name, content in self.files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name} is not in its folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def reference(self, job: JobReference, folder: Path) -> JobReference:
        """Return the reference to the copy of the job in `folder`. The copy's module has the name of the original."""
        if not self.job:
            return job
        return replace(job, source=str(folder / self.job), module=private_name(Path(job.source)))


def bundle_of(job: JobReference, *, ship: Path | None = None, folder: Path) -> Bundle:
    """Return the code that a job needs.

    Args:
        job: the job.
        ship: folder with more code or data. If it is a package, the paths begin with its name.
        folder: folder in which modules are found first.

    Raises:
        UserError: the folder `ship` does not exist, a file cannot be read, or the code is larger than `MOST_BYTES`.
    """
    root = Path(job.source).parent if job.is_file else folder
    paths = set(_shipped(ship)) if ship is not None else set()
    files: dict[str, Path] = {str(path.relative_to(base)): path for base, path in paths}
    first = [Path(job.source)] if job.is_file else list(_module_paths(root, job.source))
    for path in _with_imports(first, root):
        files.setdefault(str(path.relative_to(root)), path)
    contents: dict[str, bytes] = {}
    nbytes = 0
    for name, path in sorted(files.items()):  # in a fixed order, so that the same code makes the same bundle
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            what = f"it can't be read ({error.strerror or error})"
            raise UserError(what, plain(path), "check that you may read the file") from None
        nbytes += len(contents[name])
        if nbytes > MOST_BYTES:
            what = f"the code of the job has more than {size(MOST_BYTES)}, which is sent to every machine"
            raise UserError(what, plain(path), "install it on the machines, or ship a smaller folder")
    return Bundle(contents, Path(job.source).name if job.is_file else "")


def _shipped(folder: Path) -> Iterator[tuple[Path, Path]]:
    if not folder.is_dir():
        raise UserError("there is no such folder", plain(folder), "give --ship the folder of the code")
    folder = folder.resolve()
    base = folder.parent if (folder / "__init__.py").is_file() else folder
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in _SKIPPED or part.startswith(".") for part in parts):
            yield base, path


def _with_imports(paths: list[Path], root: Path) -> Iterator[Path]:
    """Yield the given files and the local modules that they import, each once."""
    seen: set[Path] = set()
    while paths:
        path = paths.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue  # importing the file in the host process fails with the same error, where the user sees it
        for node in ast.walk(tree):
            for name in _imported(node):
                paths.extend(_module_paths(root, name))


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(str(module), names, 0):
            return [module, *(f"{module}.{alias.name}" for alias in names)]
    return []  # a relative import stays within its package, and packages are sent whole


def _module_paths(root: Path, name: str) -> Iterator[Path]:
    """Yield the Python files of the top-level module or package of `name`, if `root` contains it."""
    top = name.partition(".")[0]
    if (root / f"{top}.py").is_file():
        yield root / f"{top}.py"
    elif (root / top).is_dir() and top.isidentifier():
        yield from (path for path in (root / top).rglob("*.py") if not _SKIPPED.intersection(path.parts))
