"""JSON and JSON lines files as inputs."""

from __future__ import annotations

import json
import re
import sys
from abc import abstractmethod
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from tui_runner.errors import UserError
from tui_runner.inputs.compressed_files import READ_ERRORS, PipedFile, blocks_of, is_compressed, unreadable
from tui_runner.inputs.source import FileSource, ItemReader, is_small, iterate
from tui_runner.inputs.text_lines import LineReader, check_encoding, lines_in
from tui_runner.text.items import MAX_INPUT_BYTES, MEND, UNREADABLE, Refused, WideRow
from tui_runner.text.messages import plain
from tui_runner.text.numbers import size

_decode = msgspec.json.Decoder().decode
_SAMPLE = 1000
"""JSON values from which the columns are determined; reading them takes milliseconds. If a later object has other
members, the item is that object."""


def parsed(text: bytes | str) -> object:
    """Return the value of a JSON text, as Python's `json.loads` does, but in a ninth of the time.

    If msgspec refuses a text, Python's parser is used. It also accepts NaN, lone surrogates, numbers beyond all floats,
    UTF-16 and a byte order mark, and its errors name the cause.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: the value is nested too deeply.
    """
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # Python's parser accepts more
        return json.loads(text)


def why_not_json(error: Exception) -> str:
    """Return a reason for messages why `parsed` raised `error`."""
    match error:
        case json.JSONDecodeError():
            return f"it is not JSON: {error.msg} (character {error.pos + 1:,})"
        case UnicodeError():
            return "it is not UTF-8 text"
        case RecursionError():
            return "it is nested too deep"
    # The only remaining error is Python's limit on the digits of an integer, whose own text advises to change a
    # setting.
    return f"it has a number of more than {sys.get_int_max_str_digits():,} digits"


class JsonValues(FileSource):
    """The JSON values in files, whatever separates the values."""

    def __init__(self, paths: Sequence[Path], text: str, max_bytes: int = MAX_INPUT_BYTES) -> None:
        super().__init__(paths, text, max_bytes)
        values = self._values()
        self.columns, self._pick = json_shape(islice(values, _SAMPLE))
        values.close()  # closes the file

    def __iter__(self) -> Iterator[object]:
        return map(self._pick, self._values())

    @abstractmethod
    def _values(self) -> Generator[object]:
        """Yield the values of all files in order, with `Refused` in place of a value that cannot be an item."""


def json_shape(sample: Iterable[object]) -> tuple[tuple[str, ...] | None, Callable[[object], object]]:
    """Return the columns of JSON values, and a function that converts a value to an item.

    Objects are rows; their columns are all member names in `sample`. If there is only one name, the items are the
    values of that member; a later object with other members is an item as a whole. If one of the values is not an
    object, or no object has a member, the columns are None and each value is an item.
    """
    names: dict[str, None] = {}
    for value in sample:
        if isinstance(value, Refused):
            continue
        if not isinstance(value, dict):
            return None, _as_it_is
        names.update(dict.fromkeys(value))
    if len(names) != 1:
        return tuple(names) or None, _as_it_is
    (only,) = names

    def pick(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return value.get(only) if value.keys() <= {only} else WideRow(value)

    return (only,), pick


def _as_it_is(value: object) -> object:
    return value


class JsonFiles(JsonValues):
    """The values of JSON files: the elements if a file is an array, otherwise the file's consecutive values.

    DuckDB finds the values without reading a whole file into memory. Then Python parses each of them, so that types
    stay as written: DuckDB's own conversion changes texts to dates and drops members that appear late.
    """

    def _count(self) -> int | None:
        return sum(1 for _ in _json_texts(self._paths, self._max_bytes)) if is_small(self._paths) else None

    def _values(self) -> Generator[object]:
        for path, number, text in _json_texts(self._paths, self._max_bytes):
            if isinstance(text, Refused):
                yield text
                continue
            try:
                yield parsed(str(text))
            except (ValueError, RecursionError) as error:
                raise UserError(why_not_json(error), where=f"{plain(path)}: row {number:,}") from None


def _check_end(path: Path) -> None:
    """Refuse an array that is cut off between two elements, which DuckDB would take for a complete array.

    An array that something follows is refused as well, and so is text in UTF-16 or UTF-32.
    """
    first = last = b""
    try:
        for number, block in enumerate(blocks_of(path)):
            if not number:
                check_encoding(block, plain(path))
            text = block.removeprefix(BOM_UTF8).strip()
            first = first or text[:1]
            last = text[-1:] or last
            if first not in (b"", b"["):
                return
        if first != b"[" or last == b"]":
            return
        line = _line_behind_array(path)
    except READ_ERRORS as error:
        raise unreadable(error, path) from None
    if line is None:
        raise UserError("its array does not end: the file was cut off", where=plain(path), do="get the whole file")
    raise _behind_array(path, line)


def _behind_array(path: Path, line: int) -> UserError:
    what = "something follows the end of its array"
    return UserError(what, f"{plain(path)}:{line}", "remove it, or write all values without the brackets of the array")


def _not_json(path: Path, message: str) -> UserError:
    """Return the error for a file that is not JSON.

    The error names the line if Python's parser finds it in a file of at most `_MOST_PARSED` bytes. Otherwise it quotes
    `message`.

    Args:
        path: path of the file.
        message: DuckDB's message.
    """
    of_duckdb = UserError(f"it is not JSON: {message}", where=plain(path))
    text = bytearray()
    for block in blocks_of(path):
        text += block
        if len(text) > _MOST_PARSED:
            return of_duckdb
    try:
        values, end = text.decode("utf-8-sig"), 0
        while match := _NOT_SPACE.search(values, end):
            _, end = _DECODER.raw_decode(values, match.start())
    except json.JSONDecodeError as error:
        if not values[error.pos :].strip():
            line = values.rstrip().count("\n") + 1
            return UserError("it is not JSON: its last value breaks off", f"{plain(path)}:{line}", "complete it there")
        what = f"it is not JSON: {error.msg} (character {error.colno:,})"
        return UserError(what, f"{plain(path)}:{error.lineno}", "correct it there")
    except (ValueError, RecursionError):  # for example text that is not UTF-8, which DuckDB's message names
        return of_duckdb
    return of_duckdb


_DECODER = json.JSONDecoder()
_NOT_SPACE = re.compile(r"\S")
_MOST_PARSED = 8 << 20
"""Decompressed bytes of a file at most that Python's parser reads again, to find the line that is not JSON. This takes
0.1 s, and several times these bytes of memory."""
_BRACKETS_AND_QUOTES = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


def _line_behind_array(path: Path) -> int | None:
    """Return the number of the line in which something follows the array that a file begins with.

    Returns:
        The number; None if the file does not begin with an array, nothing follows the array, or the array does not end.
    """
    depth, line, in_text, is_over, backslash = 0, 1, False, False, b""
    for block in blocks_of(path):
        text = backslash + block
        # The character that this last backslash escapes is in the next block.
        backslash = b"\\" if (len(text) - len(text.rstrip(b"\\"))) % 2 else b""
        text = text.removesuffix(backslash)
        if not depth and not is_over and not text.removeprefix(BOM_UTF8).lstrip().startswith(b"["):
            return None
        end = 0
        for mark in () if is_over else _BRACKETS_AND_QUOTES.finditer(text):
            if mark[0] == b'"':
                in_text = not in_text
            elif not in_text and len(mark[0]) == 1:
                depth += 1 if mark[0] in b"[{" else -1
                if not depth:
                    is_over, end = True, mark.end()
                    break
        if is_over and (rest := text[end:].lstrip()):
            return line + text.count(b"\n", 0, len(text) - len(rest))
        line += text.count(b"\n")
    return line if is_over and backslash else None


def _json_texts(paths: Sequence[Path], max_bytes: int) -> Iterator[tuple[Path, int, object]]:
    """Yield for each value its file, its number in the file, and its text or `Refused`."""
    for path in paths:
        _check_end(path)
        if not is_compressed(path) and not _has_mark(path):
            yield from _texts_of(path, None, max_bytes)
            continue
        with closing(PipedFile(path, _without_mark(path))) as piped:
            yield from _texts_of(path, piped, max_bytes)


def _has_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(BOM_UTF8)) == BOM_UTF8


def _without_mark(path: Path) -> Iterator[bytes]:
    """Yield the content of a file without its byte order mark. After a mark, DuckDB takes an array for one value."""
    blocks = blocks_of(path)
    yield next(blocks, b"").removeprefix(BOM_UTF8)
    yield from blocks


def _texts_of(path: Path, piped: PipedFile | None, max_bytes: int) -> Iterator[tuple[Path, int, object]]:
    from tui_runner.inputs import duckdb_reader  # lazy: importing it takes 300 ms, and JSON lines need no DuckDB

    def fault(error: BaseException) -> UserError:
        if "maximum_object_size" in str(error):
            do = "raise max_input_bytes to have it read"
            return UserError(f"a value is larger than {size(max_bytes)}", where=plain(path), do=do)
        of_duckdb = duckdb_reader.fault_of(plain(path))(error)
        if found := re.match(r"Malformed JSON: ([^.]*)", of_duckdb.what):  # omits DuckDB's advice about its options
            line = _line_behind_array(path)
            return _behind_array(path, line) if line else _not_json(path, found[1])
        return of_duckdb

    column = duckdb_reader.Column("json", "json", nbytes="strlen(json)")
    # DuckDB's read buffer for each file has the size `maximum_object_size`.
    options = f"format='auto', compression='none', maximum_object_size={max_bytes}"
    relation = f"read_json_objects({duckdb_reader.file_literal(piped.path if piped else path)}, {options})"
    with closing(duckdb_reader.connect(max_bytes)) as connection:
        bound = duckdb_reader.Bound(max_bytes, plain(path))
        slices = duckdb_reader.slices(connection, [column], relation, fault, bare=True, bound=bound)
        for number, text in enumerate(duckdb_reader.rows(piped.checked(slices) if piped else slices), 1):
            yield path, number, text


class JsonLines(JsonValues):
    """The values of JSON lines files, one per line. Blank lines are skipped.

    Types stay as written. A line that is not JSON is an item that fails; its message has the number of the line. Files
    that hardly have JSON lines are refused when the source is created (`_check_lines`).
    """

    def __init__(self, paths: Sequence[Path], text: str, max_bytes: int = MAX_INPUT_BYTES) -> None:
        _check_lines(iterate(_reader(paths, parsed, max_bytes)))
        super().__init__(paths, text, max_bytes)

    def _count(self) -> int | None:
        return lines_in(self._paths)

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the values from the first one, or from byte `offset` of the concatenated files."""
        pick = self._pick
        convert = parsed if pick is _as_it_is else lambda line: pick(parsed(line))
        return _reader(self._paths, convert, self._max_bytes, offset or 0)

    def _values(self) -> Generator[object]:
        return iterate(_reader(self._paths, parsed, self._max_bytes))


def _reader(paths: Sequence[Path], convert: Callable[[bytes], object], max_bytes: int, start: int = 0) -> LineReader:
    return LineReader(paths, convert, start, max_bytes, why_not_json)


def _check_lines(values: Generator[object]) -> None:
    """Refuse files that do not have one JSON value per line.

    Files are refused if none of their first lines is a JSON value. They are also refused if the first line and most
    others are not JSON, and the rest are scalars, as in one JSON text that spans several lines. A few broken lines
    among others are items that fail.

    Args:
        values: the first values of the files; closed by this function.
    """
    first: Refused | None = None
    broken = scalars = 0
    with closing(values):
        for value in islice(values, _SAMPLE):
            if isinstance(value, Refused):
                if value.type == UNREADABLE:
                    first = first or value
                    broken += 1
            elif first is None or isinstance(value, (dict, list)):
                return
            else:
                scalars += 1
    if first is not None and broken > scalars:
        raise UserError(
            first.message.removesuffix(MEND),
            do="write one JSON value a line, or name a file that is one JSON text .json",
        )
