"""From the text of a `SOURCE` to the input that it names; every mistake in it is found here."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from tui_runner.errors import UserError
from tui_runner.inputs.json_files import JsonLines
from tui_runner.inputs.source import RangeSource, Source
from tui_runner.inputs.text_lines import StandardInput, TextLines
from tui_runner.system.files import expanded
from tui_runner.text.messages import is_text, listed, no_such_file, plain, quoted

_RANGE = "range:"
_SQL = "sql:"


def open_source(
    text: str,
    *,
    database: Path | None = None,
    stdin: IO[Any] | None = None,
    folder: Path | None = None,
) -> Source:
    """The input that `text` names.

    Call it before the run opens its database: `sql:` may have to read it, and a DuckDB file must never be opened
    and closed by a process that has it open already, for that drops the lock on it.

    Args:
        text: a `SOURCE`, see `tui_runner.inputs`.
        database: the run's database, for `sql:`; need not exist.
        stdin: read for `-` instead of the process's standard input.
        folder: where relative paths start; the current folder when None.

    Raises:
        UserError: nothing there, not of a kind that can be read, or broken at its beginning.
        DatabaseError: `sql:` needs the database, and that can't be opened.
    """
    if text == "-":
        if stdin is None and sys.stdin is None:  # `<&-`
            raise UserError("there is no standard input", "--input -", "name a file")
        return StandardInput(stdin)
    if text.startswith(_RANGE):
        return RangeSource(_parse_range(text), text)
    if text.startswith(_SQL):
        # DuckDB and Arrow take 300 ms to import; ranges and lines do without them.
        from tui_runner.inputs.sql_query import open_query

        return open_query(text.removeprefix(_SQL), text, database)
    paths = _find(text, folder or Path.cwd())
    kind = _kind(paths, text)
    foreign = next((path for path in paths if not is_text(str(path))), None)
    if foreign is not None and kind in _READ_BY_DUCKDB:
        raise UserError("its path is not UTF-8 text, which DuckDB needs", where=plain(foreign), do="rename it")
    return _KINDS[kind](paths, text)


def _csv(paths: Sequence[Path], text: str) -> Source:
    from tui_runner.inputs.csv_files import CsvFiles

    return CsvFiles(paths, text)


def _parquet(paths: Sequence[Path], text: str) -> Source:
    from tui_runner.inputs.parquet_files import ParquetFiles

    return ParquetFiles(paths, text)


def _json(paths: Sequence[Path], text: str) -> Source:
    from tui_runner.inputs.json_files import JsonFiles

    return JsonFiles(paths, text)


_KINDS: dict[str, Callable[[Sequence[Path], str], Source]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".txt": TextLines,
}


_READ_BY_DUCKDB = frozenset({".csv", ".tsv", ".parquet", ".json"})


def _find(text: str, folder: Path) -> list[Path]:
    """The files that a path or glob names, by name; at least one, all of them readable as far as one can tell."""
    if not text.strip() or "\0" in text:
        raise UserError(f"{quoted(text)} names no input", do="give a file, a glob, -, range:START:STOP or sql:SELECT …")
    try:
        path = folder / expanded(text)
        if path.is_dir():
            raise UserError("the input is a folder", where=plain(text), do=f"write {plain(path / '*.csv')}, say")
        if path.is_symlink() and not path.exists():
            raise UserError("the input is a link that leads nowhere", where=plain(text), do="check the link")
        if path.exists():
            if not path.is_file():  # opening a pipe would wait for who writes into it, for ever perhaps
                advice = "give a pipe with --input -, as in: tui-runner run JOB --input - < PIPE"
                raise UserError("the input is a pipe, a socket or a device and no file", where=plain(text), do=advice)
            return [_readable(path)]
    except (OSError, RuntimeError) as error:
        raise UserError(f"the input can't be read: {error}", where=plain(text)) from None
    if not glob.has_magic(text):
        if "://" in text:
            advice = "an input is a file or sql:SELECT …; put addresses in a .txt file, one a line"
            raise UserError("an address is no input", where=plain(text), do=advice)
        raise UserError("there is no such file", where=plain(text), do=no_such_file(path))
    found = sorted(match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file())  # noqa: PTH207 - Path.glob takes no absolute patterns
    if not found:
        raise UserError("no file matches", where=plain(text), do="check the pattern")
    _readable(found[0])
    return found


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
            name = kind or "no ending"
            raise UserError(f"{plain(name)} can't be read", where=plain(path), do=f"inputs end in {listed(_KINDS)}")
    if len({_KINDS[kind] for kind in kinds}) > 1:
        raise UserError(f"it matches files of several kinds: {listed(kinds)}", where=plain(text), do="name one kind")
    return next(iter(kinds))


def _suffix(path: Path) -> str:
    """The ending that says what a file is, without `.gz`."""
    name = path.name.lower()
    plain_name = Path(name.removesuffix(".gz"))
    # Parquet is compressed inside; DuckDB does not read it through gzip.
    return ".parquet.gz" if name.endswith(".parquet.gz") else plain_name.suffix


def _parse_range(text: str) -> range:
    parts = text.removeprefix(_RANGE).split(":")
    try:
        if len(parts) not in (2, 3):
            raise ValueError
        values = range(*map(int, parts))
        len(values)
        return values
    except OverflowError:
        raise UserError("it has more items than can be counted", where=plain(text), do="give a shorter range") from None
    except ValueError:
        raise UserError(
            f"{quoted(text)} is no range", do="write range:START:STOP or range:START:STOP:STEP, such as range:1:101"
        ) from None
