"""Files to start from: the sample jobs, and a small job of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TextIO

from tui_runner.errors import EXIT_OK, UserError
from tui_runner.loading import sample_jobs
from tui_runner.safe_text import safe_text

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


def list_samples(out: TextIO) -> int:
    """Print the names of the sample jobs and what they do."""
    samples = sample_jobs()
    width = max((len(sample.name) for sample in samples), default=0)
    for sample in samples:
        out.write(f"{sample.name:<{width}}  {safe_text(sample.doc)}\n")
    out.write("Run one: tui-runner run NAME    Copy them all: tui-runner samples --copy DIR\n")
    return EXIT_OK


def copy_samples(folder: Path, out: TextIO) -> int:
    """Copy the sample jobs into `folder`, which is made when it does not exist; nothing is overwritten.

    Raises:
        UserError: one of the files is there already, or the folder cannot be written.
    """
    samples = sample_jobs()
    for sample in samples:
        if (folder / sample.path.name).exists():
            raise UserError("is there already", str(folder / sample.path.name), "choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            shutil.copyfile(sample.path, folder / sample.path.name)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", str(folder), "choose another folder") from error
    out.write(f"{len(samples)} jobs copied to {safe_text(str(folder))}\n")
    return EXIT_OK


def write_job(file: Path, out: TextIO) -> int:
    """Write a small job to `file`, which must not exist.

    Raises:
        UserError: it exists, is not named like a Python file, or cannot be written.
    """
    if file.suffix != ".py":
        raise UserError("is not named like a Python file", str(file), f"write {file.name}.py")
    name = file.stem if file.stem.isidentifier() else "work"
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(_JOB.format(name=name, file=file.name))
    except FileExistsError as error:
        raise UserError("exists already", str(file), "choose another name") from error
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", str(file), "choose another place") from error
    out.write(f"written: {safe_text(str(file))}\ntry it: tui-runner try {safe_text(str(file))}\n")
    return EXIT_OK
