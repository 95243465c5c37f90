"""The commands that query a database: `query` and `export`.

If a run has the database open, they send their statements to its process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tui_runner.cli import overwritten_line
from tui_runner.cli.overwritten_line import Lines, SlowOnly
from tui_runner.errors import EXIT_OK, ExitCode, UserError
from tui_runner.store.access import open_access
from tui_runner.store.export.files import (
    EXPORT_FORMATS,
    check_output,
    chosen_format,
    is_standard_output,
    write_file,
    write_rows,
)
from tui_runner.store.query.catalog import CatalogTable, Queryable, catalog
from tui_runner.store.query.errors import QueryError
from tui_runner.store.query.result import Result
from tui_runner.store.query.statements import Statement, split, typed_value
from tui_runner.store.sql import quote
from tui_runner.system.terminal import is_terminal
from tui_runner.text.messages import did_you_mean, is_text, plain, quoted
from tui_runner.text.numbers import plural

_STANDARD_INPUT = "-"
_PRINT_EACH = ("table", "markdown")
"""Formats for users: the results of all statements are printed, one after another. Other formats are for programs and
contain only the last result."""


def run_query(
    path: Path,
    sql: str | None,
    out: TextIO,
    *,
    script: Path | None = None,
    parameters: Sequence[str] = (),
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
    err: TextIO | None = None,
) -> ExitCode:
    """Execute statements in order, and write results.

    In a format for users, without a file, all results are written; otherwise only the last one.

    Args:
        path: the database.
        sql: the statements; `-` for standard input; None to read them from `script`.
        out: standard output.
        script: a file with the statements, or `-`.
        parameters: `NAME=VALUE` for `$name`, `1=VALUE` for the first `?`.
        format: one of `FORMATS`; None to let `chosen_format` choose.
        output: the file to write; None or `-` for `out`.
        force: True to overwrite a file.
        err: standard error. If it is a terminal, it shows a message when something takes longer than a second.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: the format is unknown, a statement is rejected, or the file cannot be written.
    """
    if is_standard_output(output):
        output = None
    if output is not None:
        check_output(output, path, overwrite=force)
    format = chosen_format(format, output, out)
    text = _script(sql, script)
    statements = split(text)
    if not statements:
        raise UserError("no statement given", do="give one that reads, such as: SELECT count(*) FROM runner.items")
    values = _values(parameters, statements)
    lines = _lines(err)
    with open_access(path) as access, access.console() as console:
        for number, statement in enumerate(statements, start=1):
            last = number == len(statements)
            which = number if len(statements) > 1 else None
            doing = f"statement {number} of {len(statements)} is" if which else "the statement is"
            with _shown_if_slow(lines, f"{doing} running; Ctrl-C ends it"):
                result_context = _executed(console, statement, values, which, text)
            with result_context as result:
                if output is not None:
                    if last:
                        with _row_count_shown(lines) as progress:
                            write_file(result, format, output, progress, replace=force)
                elif last or format in _PRINT_EACH:
                    write_rows(result, format, out)
                    if not last:
                        out.write("\n")
    return EXIT_OK


def run_export(
    path: Path,
    what: str,
    output: Path,
    out: TextIO,
    *,
    parameters: Sequence[str] = (),
    format: str | None = None,
    force: bool = False,
    err: TextIO | None = None,
) -> ExitCode:
    """Write a table, or the result of a statement, into a file.

    Args:
        path: the database.
        what: name of a table (such as `runner.items` for a table of the ledger), or a statement; `-` for standard
            input.
        output: the file; `-` for `out`.
        out: standard output, for the rows, or for a message if they are written to a file.
        parameters: see `run_query`.
        format: one of `EXPORT_FORMATS`. None for the format of the file name's extension; for `out`, CSV.
        force: True to overwrite a file.
        err: see `run_query`.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such table, the statement is rejected, or the file cannot be written.
    """
    file = None if is_standard_output(output) else output
    if file is not None:
        check_output(file, path, overwrite=force)
    chosen = chosen_format(format or ("csv" if file is None else None), file, out)
    if chosen not in EXPORT_FORMATS:
        raise UserError(f"{chosen} is not an export format", "--format", f"the formats are {', '.join(EXPORT_FORMATS)}")
    with open_access(path) as access, access.console() as console:
        text = _script(what, None)
        statement = _exported(console, text)
        lines = _lines(err)
        with _shown_if_slow(lines, "the statement is running; Ctrl-C ends it"):
            result_context = _executed(console, statement, _values(parameters, [statement]), None, text)
        with result_context as result:
            if file is None:
                write_rows(result, chosen, out)
                return EXIT_OK
            with _row_count_shown(lines) as progress:
                count = write_file(result, chosen, file, progress, replace=force)
    out.write(f"{plural(count, 'row')} → {plain(file)}\n")
    return EXIT_OK


def _lines(err: TextIO | None) -> Lines | None:
    """Return a writer of progress lines to standard error; None if that is not a terminal."""
    return Lines(err, live=True) if err is not None and is_terminal(err) else None


@contextmanager
def _shown_if_slow(lines: Lines | None, doing: str) -> Iterator[None]:
    """Show the line `doing` once the `with` block has run for a second. Remove it when the block ends."""
    if lines is None:
        yield
        return
    timer = threading.Timer(overwritten_line.QUIET_SECONDS, lines.overwrite, (doing,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        lines.clear()


@contextmanager
def _row_count_shown(lines: Lines | None) -> Iterator[Callable[[int], bool] | None]:
    """Yield a `progress` function for `write_file` that shows the number of rows once a second."""
    if lines is None:
        yield None
        return
    say = SlowOnly(lines.overwrite)

    def progress(rows: int) -> bool:
        say(f"{plural(rows, 'row')} so far; Ctrl-C ends it")
        return True

    try:
        yield progress
    finally:
        lines.clear()


def _script(sql: str | None, script: Path | None) -> str:
    """Return the text of the statements: from the argument, from a file or from standard input."""
    if sql is not None and script is not None:
        raise UserError("both a statement and a file of statements are given", "-f", "leave one of them out")
    if script is not None and str(script) != _STANDARD_INPUT:
        try:
            return script.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise UserError("there is no such file", plain(script), "check the path") from None
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", plain(script)) from error
        except UnicodeDecodeError as error:
            raise UserError("is not UTF-8 text", plain(script), "save it as UTF-8") from error
    if sql is not None and sql != _STANDARD_INPUT:
        if not is_text(sql):
            raise UserError(
                "the statement is not UTF-8 text", quoted(sql), "write it to a file in UTF-8, and give -f FILE"
            )
        return sql
    if sys.stdin is None:  # `<&-`
        raise UserError("there is no standard input", do="give a statement, or -f FILE")
    if sql is None and script is None and sys.stdin.isatty():
        raise UserError("no statement given", do="give one, or -f FILE, or - to read standard input")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserError("is not UTF-8 text", "standard input", "convert it to UTF-8") from error


def _values(parameters: Sequence[str], statements: Sequence[Statement]) -> dict[str, object]:
    """Return the values of parameters by name. Raise `UserError` for a value that no statement uses."""
    wanted = {name for statement in statements for name in statement.parameters}
    values: dict[str, object] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().lstrip("$"):
            raise UserError(f"{quoted(text)} is not NAME=VALUE", "--set", "write --set name=VALUE")
        name = name.strip().lstrip("$").lower()
        if name not in wanted:
            asked = [f"${each}" for each in sorted(wanted)]
            do = did_you_mean(f"${name}", asked, "the parameters are") if asked else "leave it out"
            if wanted and all(each.isdigit() for each in wanted):
                do = "the parameters are ? without names; write --set 1=VALUE"
            raise UserError(f"no statement has a parameter {'?' if name.isdigit() else '$'}{plain(name)}", "--set", do)
        if name in values:
            raise UserError("it is given twice", f"--set {plain(name)}", "leave one of them out")
        values[name] = typed_value(value)
    return values


def _executed(
    console: Queryable, statement: Statement, values: Mapping[str, object], number: int | None, script: str
) -> Result:
    """Execute one statement. Its errors name their place in the script."""
    missing = [name for name in statement.parameters if name not in values]
    if missing:
        raise UserError(
            f"no value for {', '.join(f'?{name}' if name.isdigit() else f'${name}' for name in missing)}",
            "" if number is None else f"statement {number}",
            f"add --set {missing[0]}=VALUE",
        )
    try:
        return console.query(statement.sql, values)
    except QueryError as error:
        places = [] if number is None else [f"statement {number}"]
        if error.line is not None:
            first = error.line == 1
            before = script[: statement.start]
            line = error.line + before.count("\n")
            # Before the first line of the statement, the same line may have the end of another statement.
            column = (error.column or 1) + (len(before) - before.rfind("\n") - 1 if first else 0)
            places.append(f"line {line}, column {column}")
        raise QueryError(error.what, ", ".join(places), error.do, line=error.line, column=error.column) from error


def _exported(console: Queryable, what: str) -> Statement:
    """Return the statement to export, for the name of a table or for SQL text."""
    tables = catalog(console)
    wanted = what.strip().lower()
    for table in tables:
        if wanted in (table.name.lower(), f"{table.schema}.{table.name}".lower()):
            name = f"{quote(table.schema)}.{quote(table.name)}"
            return Statement(f"FROM {name}", 0, 0)
    statements = split(what)
    if len(statements) != 1:
        raise UserError(f"{len(statements)} statements given", do="export one table or statement at a time")
    if len(what.split()) == 1 and what.strip().replace(".", "_").isidentifier():
        names = [_shown(table) for table in tables]
        raise UserError(f"no table {quoted(what.strip())}", do=did_you_mean(what.strip(), names, "tables are"))
    return statements[0]


def _shown(table: CatalogTable) -> str:
    return table.name if table.schema == "main" else f"{table.schema}.{table.name}"
