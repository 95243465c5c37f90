"""Opens the input that a `SOURCE` names, and reports mistakes in the name."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from tui_runner.errors import UserError
from tui_runner.inputs.compressed_files import ENDINGS
from tui_runner.inputs.json_files import JsonLines
from tui_runner.inputs.source import Progress, RangeSource, Source, silent
from tui_runner.inputs.text_lines import StandardInput, TextLines
from tui_runner.system.files import expanded
from tui_runner.text.items import MAX_INPUT_BYTES
from tui_runner.text.messages import is_text, listed, no_such_file, plain, quoted
from tui_runner.text.numbers import plural
from tui_runner.text.redaction import redact

_RANGE = "range:"
_SQL = "sql:"


def open_source(
    text: str,
    *,
    database: Path | None = None,
    stdin: IO[Any] | None = None,
    folder: Path | None = None,
    max_bytes: int = MAX_INPUT_BYTES,
    progress: Progress = silent,
) -> Source:
    """Return the input that `text` names.

    Call this before the run opens its database, because `sql:` may have to read it. A process that has a DuckDB file
    open loses its lock on the file when it opens and closes the file a second time.

    Args:
        text: a `SOURCE`, as described in `tui_runner.inputs`.
        database: the run's database, which `sql:` may query; it need not exist.
        stdin: stream for `-` instead of the process's standard input.
        folder: folder to which relative paths refer; None for the current folder.
        max_bytes: bytes that an item may have; a larger one becomes `Refused`.
        progress: called with a text about the current work while the files of a glob, and their columns, are found.

    Raises:
        UserError: the input does not exist, is of an unknown kind, or is broken at its beginning.
        DatabaseError: `sql:` needs the database, but it cannot be opened.
    """
    if text == "-":
        if stdin is None and sys.stdin is None:  # `<&-`
            raise UserError("there is no standard input", "--input -", "name a file")
        return StandardInput(stdin, max_bytes)
    if text.startswith(_RANGE):
        return RangeSource(_parse_range(text), text)
    if text.startswith(_SQL):
        # lazy: DuckDB and Arrow take 300 ms to import; ranges and lines do not need them
        from tui_runner.inputs.sql_query import open_query

        return open_query(text.removeprefix(_SQL), text, database, max_bytes)
    paths, others = _find(text, folder or Path.cwd(), progress)
    kind = _kind(paths, text)
    foreign = next((path for path in paths if not is_text(str(path))), None)
    if foreign is not None and kind in _READ_BY_DUCKDB:
        raise UserError("its path is not UTF-8 text, which DuckDB needs", where=plain(foreign), do="rename it")
    source = _KINDS[kind](paths, text, max_bytes, progress)
    if others:
        matches = f"{len(others):,} of {len(paths) + len(others):,} matches of {plain(text)}"
        are = "is not a file and is" if len(others) == 1 else "are not files and are"
        source.remarks = (f"{matches} {are} left out: {listed(others)}",)
    return source


def _csv(paths: Sequence[Path], text: str, max_bytes: int, progress: Progress) -> Source:
    from tui_runner.inputs.csv_files import CsvFiles

    return CsvFiles(paths, text, max_bytes, progress)


def _parquet(paths: Sequence[Path], text: str, max_bytes: int, progress: Progress) -> Source:
    from tui_runner.inputs.parquet_files import ParquetFiles

    return ParquetFiles(paths, text, max_bytes, progress)


def _json(paths: Sequence[Path], text: str, max_bytes: int, progress: Progress) -> Source:
    from tui_runner.inputs.json_files import JsonFiles

    return JsonFiles(paths, text, max_bytes)


def _json_lines(paths: Sequence[Path], text: str, max_bytes: int, progress: Progress) -> Source:
    return JsonLines(paths, text, max_bytes)


def _lines(paths: Sequence[Path], text: str, max_bytes: int, progress: Progress) -> Source:
    return TextLines(paths, text, max_bytes)


_KINDS: dict[str, Callable[[Sequence[Path], str, int, Progress], Source]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".txt": _lines,
}
"""Functions that open the files of each kind, by their extension."""


_READ_BY_DUCKDB = frozenset({".csv", ".tsv", ".parquet", ".json"})
"""Extensions of files that DuckDB itself opens."""


def _find(text: str, folder: Path, progress: Progress) -> tuple[list[Path], list[str]]:
    """Return the files that a path or glob names, sorted: at least one, and the first is readable.

    The second list has the matches of a glob that are neither files nor folders: broken links, pipes, devices.
    """
    if not text.strip() or "\0" in text:
        raise UserError(f"{quoted(text)} names no input", do="give a file, a glob, -, range:START:STOP or sql:SELECT …")
    try:
        path = folder / expanded(text)
        if path.is_dir():
            do = f"write {plain(path / '*.csv')}, for example"
            raise UserError("the input is a folder", where=plain(text), do=do)
        if path.is_symlink() and not path.exists():
            raise UserError("the input is a link that leads nowhere", where=plain(text), do="check the link")
        if path.exists():
            if not path.is_file():  # opening a pipe would wait until another process writes to it
                advice = "give a pipe with --input -, as in: tui-runner run JOB --input - < PIPE"
                raise UserError("the input is a pipe, a socket or a device, not a file", where=plain(text), do=advice)
            return [_readable(path)], []
    except (OSError, RuntimeError) as error:
        raise UserError(f"the input can't be read: {error}", where=plain(text)) from None
    if "://" in text:  # before the check for globs, because the `?` of a URL's query looks like one
        advice = "put URLs in a .txt file, one a line, and name that file"
        raise UserError("a URL cannot be the input itself", where=quoted(redact(text)), do=advice)
    if not glob.has_magic(text):
        raise UserError("there is no such file", where=plain(text), do=no_such_file(path))
    found: list[Path] = []
    others: list[str] = []
    for match in glob.iglob(str(path), recursive=True):  # noqa: PTH207 - Path.glob takes no absolute patterns
        if os.path.isfile(match):  # noqa: PTH113 - for a million names this takes a third of the time of `Path.is_file`
            found.append(Path(match))
        elif not os.path.isdir(match):  # noqa: PTH112 - folders among the matches are expected, so they are not reported
            others.append(match)
        progress(f"looking for {plain(text)}: {plural(len(found), 'file')} so far")
    found.sort()
    if not found:
        what = f"nothing that matches is a file: {listed(sorted(others))}" if others else "no file matches"
        raise UserError(what, where=plain(text), do="check the pattern")
    _readable(found[0])
    return found, sorted(others)


def _readable(path: Path) -> Path:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"the input can't be read: {error.strerror}", where=plain(path)) from None
    return path


def _kind(paths: Sequence[Path], text: str) -> str:
    kinds = {_suffix(path): path for path in paths}
    for kind, path in kinds.items():
        if kind not in _KINDS:
            what = f"{plain(kind)} can't be read" if kind else "its name has no ending"
            do = f"inputs end in {', '.join(_KINDS)}; all but .parquet may be compressed ({', '.join(ENDINGS)})"
            raise UserError(what, where=plain(path), do=do)
    if len({_KINDS[kind] for kind in kinds}) > 1:
        raise UserError(f"it matches files of several kinds: {listed(kinds)}", where=plain(text), do="name one kind")
    return next(iter(kinds))


def _suffix(path: Path) -> str:
    """Return the extension that tells the format of a file, without the extension of the compression, in lower case."""
    name = path.name.lower()
    ending = next((each for each in ENDINGS if name.endswith(each)), "")
    suffix = Path(name.removesuffix(ending)).suffix
    # A Parquet file is compressed inside. If it also has the extension of a compression, no format is found.
    return suffix + ending if suffix == ".parquet" else suffix


def _parse_range(text: str) -> range:
    parts = text.removeprefix(_RANGE).split(":")
    try:
        if len(parts) not in (2, 3):
            raise ValueError
        values = range(*map(int, parts))
        if not len(values) and values.start != values.stop:
            raise UserError("it has no items", plain(text), "START comes first; to count down, give a negative STEP")
        return values
    except OverflowError:
        raise UserError("it has more items than can be counted", where=plain(text), do="give a shorter range") from None
    except ValueError:
        raise UserError(
            f"{quoted(text)} is not a range", do="write range:START:STOP or range:START:STOP:STEP, such as range:1:101"
        ) from None
