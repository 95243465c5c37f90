"""Quotes user text in messages, and words their advice: "did you mean", and commands to run next.

Text from command lines, files and jobs may be hostile. The results contain no control characters: `repr` escapes every
unprintable character, including bidi controls and lone surrogates.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_LONGEST = 100
"""Characters of one quoted text at most. A longer text would push the advice at the end of the line off the screen."""
_MOST_NAMES = 12
"""Names in one list at most, because a table may have hundreds of columns."""


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Cut a text to `longest` characters; an ellipsis marks the cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quoted(value: object) -> str:
    """Return the `repr` of a value, at most 100 characters long.

    If `repr` raises, return the name of the type in angle brackets.
    """
    try:
        return shortened(repr(value))
    except Exception:  # `repr` is the user's code
        return f"<{type_name(value)}>"


def plain(text: object) -> str:
    """Return a path or a name unchanged if every character can be printed, otherwise quoted with escapes."""
    line = str(text)
    return line if line.isprintable() and line else repr(line)


def one_line(text: object) -> str:
    """Return `text` on one line of at most 300 characters, with unprintable characters escaped."""
    line = " ".join(str(text).split())
    return shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), 300)


def type_name(value: object, redact: Callable[[str], str] = str) -> str:
    """Return the name of the type of `value` on one line, shortened because a class can have a name of any length.

    Args:
        value: the object.
        redact: replaces secrets in the name.
    """
    return shortened(one_line(redact(type(value).__name__)))


def raised(error: BaseException, redact: Callable[[str], str] = str) -> str:
    """Return `Type: message` of an exception on one line, or only the type if the exception has no message.

    Args:
        error: the exception.
        redact: replaces secrets in type and message. Called before they are shortened, because it does not recognise
            part of a secret.
    """
    kind = type_name(error, redact)
    try:
        message = one_line(redact(str(error)))
    except Exception:
        message = ""
    return f"{kind}: {message}" if message else kind


def listed(names: Iterable[object]) -> str:
    """Return `a, b, c`; after the first twelve names `and N more`; `none` if `names` is empty."""
    every = [shortened(plain(name)) for name in names]
    shown = ", ".join(every[:_MOST_NAMES])
    rest = len(every) - _MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown or "none"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of `names`; None if none is similar enough."""
    folded = {_fold(candidate): candidate for candidate in names}
    close = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], kind: str = "there are") -> str:
    """Return advice for a wrong name: the most similar of `names`, or if none is similar, `kind` and all names."""
    known = list(names)
    near = nearest(name, known)
    if near is not None:
        return f"did you mean {plain(near)}?"
    return f"{kind} {listed(known)}"


def nearest_file(path: Path) -> Path | None:
    """Return the file in the same folder that the user probably meant; None if none has a similar name."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:  # the folder cannot be listed
        return None
    # Compare without extensions first: `missing.py` and `main.py` are similar mainly because of their extensions.
    near = nearest(path.name, [name for name in names if nearest(path.stem, [Path(name).stem])])
    return None if near is None else path.parent / near


def no_such_file(path: Path) -> str:
    """Return advice for a path that does not exist."""
    if not path.parent.is_dir():
        return f"there is no folder {plain(path.parent)}"
    near = nearest_file(path)
    return "check the path" if near is None else f"did you mean {plain(near)}?"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def is_text(text: str) -> bool:
    """Return True if `text` has no lone surrogates, which Python uses for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def resume_command(database: str, run_id: int) -> str:
    """Return the command that resumes a run."""
    return f"tui-runner resume {shlex.quote(database)} {run_id}"


def retry_command(database: str, run_id: int) -> str:
    """Return the command that retries the failed items of a run."""
    return f"tui-runner retry {shlex.quote(database)} {run_id}"


def runs_command(database: str) -> str:
    """Return the command that lists the runs of a database."""
    return f"tui-runner runs {shlex.quote(database)}"


def command_line(command: str, subject: str, options: Iterable[tuple[str, object]]) -> str:
    """Return a tui-runner command, quoted for a shell. Options whose value is None are omitted."""
    words = ["tui-runner", command, subject]
    for option, value in options:
        if value is not None:
            words += [option, str(value)]
    return shlex.join(words)


def pipe_command(
    *,
    job: str,
    database: str,
    table: str | None,
    params: Mapping[str, object],
    limit: int | None,
) -> str:
    """Return the command that resumes a run whose items came from a pipe.

    The command contains no secrets, so parameters may be missing from it; `--resume` ensures that it never starts a new
    run.

    Args:
        job: `JOB`, as in the ledger.
        database: path of the database, as written from the current folder.
        table: name of the results table; None for the job's default.
        params: the parameters from the ledger, without the secret ones.
        limit: the run's maximal number of items; None for no limit.
    """
    words = ["tui-runner", "run", job, "--input", "-", "--db", database]
    words += ["--table", table] if table is not None else []
    words += ["--limit", str(limit)] if limit is not None else []
    for name, value in params.items():
        if value is not None:
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return f"… | {shlex.join([*words, '--resume'])}"
