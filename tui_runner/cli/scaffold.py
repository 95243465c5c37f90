"""Writes files that users start from: the sample jobs, and a small job."""

from __future__ import annotations

import json
import keyword
import re
import shutil
import textwrap
from pathlib import Path
from typing import TextIO

from tui_runner.errors import EXIT_OK, ExitCode, UserError
from tui_runner.jobs.loading import sample_jobs
from tui_runner.system.files import check_links, written_atomically
from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import safe_text

_JOB = '''"""What this job does. Try it: tui-runner try {file} — run it: tui-runner run {file}"""

from tui_runner import current, job


@job(chunk_size=100, threads=16, retries=2)
def {name}(item: int, *, factor: int = 2) -> dict[str, object]:
    """Called for every item; returns its rows: a dict, a list of dicts, a DataFrame … or None."""
    current.log(f"working on {{item}}")
    return {{"number": item, "product": item * factor}}


@{name}.items
def items(*, last: int = 1000):
    """The inputs; any iterable, read lazily. Or give a file instead: --input urls.csv"""
    return range(1, last + 1)
'''
"""The file that `init` writes."""
_TAKEN = frozenset({"current", "job", "items", "range", "dict", "int", "object"})
"""Names that have another meaning in the file, so that the job's function cannot have them."""


def list_samples(out: TextIO, *, as_json: bool = False) -> ExitCode:
    """Print the name and summary of each sample job; with `as_json`, one JSON object per line."""
    samples = sample_jobs()
    if as_json:
        for each in samples:
            out.write(json.dumps({"sample": each.name, "summary": each.summary, "path": str(each.path)}) + "\n")
        return EXIT_OK
    width = max((len(sample.name) for sample in samples), default=0)
    # A program that reads the list gets a line for each sample.
    columns = shutil.get_terminal_size().columns if out.isatty() else 10_000
    for sample in samples:
        line = f"{sample.name:<{width}}  {safe_text(sample.summary)}"
        out.write(textwrap.fill(line, max(columns, width + 20), subsequent_indent=" " * (width + 2)) + "\n")
    out.write("Run one: tui-runner run NAME    Copy them all: tui-runner samples --copy DIR\n")
    return EXIT_OK


def copy_samples(folder: Path, out: TextIO) -> ExitCode:
    """Copy the sample jobs into `folder`, which is created if it does not exist. Nothing is overwritten.

    Raises:
        UserError: a file already exists, or the folder cannot be created or written. Nothing was copied.
    """
    samples = sample_jobs()
    check_links(folder)
    copied: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError("is not a folder", str(folder), "name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            what = "exists already, so nothing was copied"
            _write(folder / sample.path.name, sample.path.read_bytes(), what, "choose another folder")
            copied.append(folder / sample.path.name)
    except BaseException as error:
        for path in copied:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = f"cannot be written ({(error.strerror or str(error)).lower()})"
            raise UserError(what, str(folder), "choose another folder") from error
        raise
    out.write(f"{plural(len(samples), 'job')} copied to {safe_text(str(folder))}\n")
    return EXIT_OK


def write_job(file: Path, out: TextIO) -> ExitCode:
    """Write a small job to `file`, which must not exist.

    Raises:
        UserError: the file exists, its name does not end in `.py`, or it cannot be written.
    """
    if file.suffix != ".py":
        raise UserError("is not named like a Python file", str(file), f"write {file.name}.py")
    stem = file.stem
    name = stem if stem.isidentifier() and not keyword.iskeyword(stem) and stem not in _TAKEN else "work"
    # The name is inserted into a docstring, which some characters would end.
    shown = file.name if re.fullmatch(r"[\w.\- ]+", file.name) else "FILE"
    _write(file, _JOB.format(name=name, file=shown).encode(), "exists already", "choose another name")
    out.write(f"written: {safe_text(str(file))}\ntry it: tui-runner try {safe_text(str(file))}\n")
    return EXIT_OK


def _write(file: Path, content: bytes, what: str, do: str) -> None:
    """Write a new file. Raise `UserError` with `what` and `do` if its name is taken, even by a broken link."""
    if file.exists() or file.is_symlink():
        raise UserError(what, str(file), do)
    with written_atomically(file, replace=False) as stream:
        stream.write(content)
