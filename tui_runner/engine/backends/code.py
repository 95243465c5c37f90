"""The code of a job on its way to other machines: its file, the modules beside it that it imports, and `--ship DIR`.

Imports are found by reading, not by executing: what a function imports when it is called counts, too. A module is local
if it stands beside the job's file, or under the folder in which a module was named; everything else has to be installed
where the workers are.
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
"""Bytes of code that travel to each host; data belongs where all hosts read it."""
_SKIPPED = {"__pycache__", "node_modules"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files to be written where workers are.

    Attributes:
        files: their contents, by path relative to a folder.
        job: the path among them of the job's file; empty for a job of a module.
    """

    files: dict[str, bytes]
    job: str = ""

    def write(self, folder: Path) -> None:
        """Write the files.

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
        """Return the name of the copy of the job in `folder`; its module has the name that it has at home."""
        if not self.job:
            return job
        return replace(job, source=str(folder / self.job), module=private_name(Path(job.source)))


def bundle_of(job: JobReference, *, ship: Path | None = None, folder: Path) -> Bundle:
    """Return the code that a job needs.

    Args:
        job: the job.
        ship: a folder with more code or data; a package's own folder keeps its name.
        folder: where modules are found first.

    Raises:
        UserError: it cannot be read, or has more than `MOST_BYTES`.
    """
    root = Path(job.source).parent if job.is_file else folder
    paths = set(_shipped(ship)) if ship is not None else set()
    files: dict[str, Path] = {str(path.relative_to(base)): path for base, path in paths}
    first = [Path(job.source)] if job.is_file else list(_module_paths(root, job.source))
    for path in _with_imports(first, root):
        files.setdefault(str(path.relative_to(root)), path)
    contents: dict[str, bytes] = {}
    nbytes = 0
    for name, path in sorted(files.items()):
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            raise UserError(f"it can't be read ({error.strerror or error})", plain(path), "check it") from None
        nbytes += len(contents[name])
        if nbytes > MOST_BYTES:
            what = f"the code of the job has more than {size(MOST_BYTES)}, which is sent to every host"
            raise UserError(what, plain(path), "install it on the hosts, or ship a smaller folder")
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
    """Yield files and the local modules that they import, each once."""
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
            continue  # importing it fails there with the same error
        for node in ast.walk(tree):
            for name in _imported(node):
                paths.extend(_module_paths(root, name))


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(str(module), names, 0):
            return [module, *(f"{module}.{alias.name}" for alias in names)]
    return []  # relative imports stay within a package, which is sent whole


def _module_paths(root: Path, name: str) -> Iterator[Path]:
    """Yield the files of a module under `root`; a package is taken whole."""
    top = name.partition(".")[0]
    if (root / f"{top}.py").is_file():
        yield root / f"{top}.py"
    elif (root / top).is_dir() and top.isidentifier():
        yield from (path for path in (root / top).rglob("*.py") if not _SKIPPED.intersection(path.parts))
