"""Finds jobs in Python files, and runs in databases, for the launcher. The Python files are not executed."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tui_runner.engine.planning.resume import begun_in
from tui_runner.engine.states import RunState, recorded_state
from tui_runner.errors import UserError
from tui_runner.jobs.loading import module_of, sample_jobs
from tui_runner.jobs.origin import job_origin
from tui_runner.jobs.parameters import docstring_args
from tui_runner.store.access import ConsoleCursor, open_access
from tui_runner.store.connection import HeldElsewhere
from tui_runner.store.database import Database
from tui_runner.store.file_check import WRITE_AHEAD_LOGS, companion
from tui_runner.store.ledger import Ledger, RunSummary, readable
from tui_runner.store.ledger.reports import ResultTable, RunCurves, result_tables, run_curves
from tui_runner.store.lock import DatabaseInUse
from tui_runner.store.records import RunRecord
from tui_runner.store.remote.client import RemoteLimits
from tui_runner.system.files import TooLarge, read_regular, with_short_home
from tui_runner.text.redaction import MASK, Secret, redact

_LARGEST = 1 << 20
"""Most bytes of a Python file that is searched for jobs. A larger one was most likely generated."""
_FILES = 500
"""Most Python files of a folder that are searched. Parsing a large one takes 20 ms, so thousands would delay the list
by a minute."""
_DATABASES = 20
"""Most databases that are opened, the last written first. Opening one takes up to 0.2 s on a busy machine."""
_PATIENCE = 0.3
"""Seconds to wait for a process that has a database open without a run, usually another launcher that reads it. Reading
one takes 0.1 s, so three launchers that begin together get past each other."""
_CURVES = 5
"""Most runs of a database whose throughput is read, the newest first. Older runs have no curve."""
CURVE_PARTS = 36
"""Values in the throughput curve of a run: as many cells as the text beside the list has for it at 100 columns."""
_OWNER = RemoteLimits(greeting=1.0, silence=1.0)
"""Limits for a process that has a database open. They are short, because the list waits for its answer."""
_OURS = "tui_runner"
HERE = "in this folder"
"""Group of the jobs in the launcher's folder."""
SAMPLES_HERE = "in sample_jobs"
"""Group of the jobs in the folder `sample_jobs` inside the launcher's folder."""
PACKAGES = "in packages of this folder"
"""Group of the jobs in packages directly below the launcher's folder."""
FUNCTIONS = "functions in this folder"
"""Group of the functions without `@job` in the launcher's folder."""
SAMPLES = "samples"
"""Group of the jobs that come with tui-runner."""
RECENT = "recent, of other folders"
"""Group of the recently started jobs of other folders."""
Stamp = tuple[int, ...]
"""Inode, size and times of a file, and of its write-ahead log if it has one. They differ after a change."""
_SECRET = Secret.__name__
"""A name in the source that contains this word stands for a secret: `Secret`, `tui_runner.Secret`, `MySecret`."""
_KINDS = {"items", "setup", "teardown"}
"""Names of a job's decorators: `@scrape.items` marks the function that makes the items of the job `scrape`."""


@dataclass(frozen=True, slots=True)
class FoundParameter:
    """A parameter of a job, as its source declares it. Texts are not yet safe to show.

    Attributes:
        name: name of the parameter.
        kind: its type as written in the source; empty without an annotation.
        default: its default, as a user would type it, `***` for a secret; None if the parameter is required.
        help: its description, from `Annotated[..., "text"]` or the `Args:` of the docstring; empty without one.
        secret: True if its type or its default mentions `Secret`, or a name that stands for it in the source.
        of_items: True if only the function that makes the job's items has this parameter.
    """

    name: str
    kind: str = ""
    default: str | None = None
    help: str = ""
    secret: bool = False
    of_items: bool = False


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job, a plain function that can be run as one, or a file that is broken. Texts are not yet safe to show.

    Attributes:
        job: the job's text for `load_job`; the path of a broken file.
        name: name of the function or of the broken file.
        doc: first line of `about`; the summary of a bundled job.
        group: one of the groups `HERE`, `SAMPLES_HERE`, `PACKAGES`, `FUNCTIONS`, `SAMPLES` and `RECENT`.
        error: reason for which the job cannot be loaded; empty if none is known.
        about: whole docstring of the job; if it has none, that of its file.
        place: file and line.
        item: names of the parameters that take the item.
        parameters: the other parameters.
        makes_items: name of the function that makes the job's items; empty if the job needs an input.
        returns: type of the result as written in the source; empty without an annotation.
        settings: the arguments of `@job` that are literals in the source.
        decorated: True for a job with `@job`, False for a plain function.
        folder: folder in which the job runs, and to which its paths are relative; None for the launcher's folder. A
            job that needs its package is named by its module, which is found from that folder only.
    """

    job: str
    name: str
    doc: str
    group: str
    error: str = ""
    about: str = ""
    place: str = ""
    item: tuple[str, ...] = ()
    parameters: tuple[FoundParameter, ...] = ()
    makes_items: str = ""
    returns: str = ""
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)
    decorated: bool = True
    folder: Path | None = None

    @property
    def is_here(self) -> bool:
        """True for a job or function of the launcher's folder, its packages or its `sample_jobs`."""
        return self.group in (HERE, SAMPLES_HERE, PACKAGES, FUNCTIONS)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run in a database.

    Attributes:
        database: path of the database.
        summary: the run, and the counts of its items.
        job: place of the run's job, as `JobOrigin.text`. For an older finished run, or if the job was not found, it is
            the text of the ledger.
        curves: the throughput of the run; empty without samples, and for all but the newest runs.
        last_seen: seconds since the epoch. For the newest run, it is the last write to the file of the database. For
            others, it is the end of the run; if the end is unknown, the start.
        goes_on: True if another process executes the run.
    """

    database: Path
    summary: RunSummary
    job: str = ""
    curves: RunCurves = field(default_factory=RunCurves)
    last_seen: float = 0.0
    goes_on: bool = False

    @property
    def ended_or_seen(self) -> float:
        """Seconds since the epoch of the end of the run, or `last_seen` if it has not ended."""
        ended_at = self.summary.record.ended_at
        return self.last_seen if ended_at is None or self.unfinished else ended_at.timestamp()

    @property
    def state(self) -> str:
        """State of the run, or "interrupted" if it was not ended and no process executes it."""
        return recorded_state(self.summary.record.state, goes_on=self.goes_on)

    @property
    def unfinished(self) -> bool:
        """True if the run can be resumed."""
        return self.summary.record.state != RunState.FINISHED

    @property
    def can_be_retried(self) -> bool:
        """True if the run has finished and some of its items failed or were cancelled."""
        return not self.unfinished and self.summary.totals.failed + self.summary.totals.cancelled > 0


@dataclass(frozen=True, slots=True)
class FoundDatabase:
    """A database with runs, or a file that cannot be opened (`error` has the reason).

    Attributes:
        path: the file.
        runs: the runs in the database, the newest first.
        tables: the tables with results.
        error: reason for which the launcher cannot open the file; empty if it can.
        in_use: True if a tui-runner process has the database open.
        is_held: True if another program, such as DuckDB's own shell, has the file open.
        newest: the newest run of a database that is `in_use`, whose `runs` are not read; None if it cannot be read.
        last_seen: time of the last write to the file, in seconds since the epoch; 0 with an `error`.
        nbytes: size of the file; 0 with an `error`.
    """

    path: Path
    runs: tuple[FoundRun, ...] = ()
    tables: tuple[ResultTable, ...] = ()
    error: str = ""
    in_use: bool = False
    is_held: bool = False
    newest: FoundRun | None = None
    last_seen: float = 0.0
    nbytes: int = 0

    @property
    def can_be_queried(self) -> bool:
        """True if the database can be opened for queries, or queried through the process that has it open."""
        return self.in_use or not self.error

    @property
    def rows(self) -> int:
        """Number of rows in all tables with results."""
        return sum(table.rows for table in self.tables)

    @property
    def to_retry(self) -> FoundRun | None:
        """The newest finished run with items that failed or were cancelled; None if there is none."""
        return next((run for run in self.runs if run.can_be_retried), None)


def find_jobs(folder: Path, recent: Iterable[str]) -> list[FoundJob]:
    """Return the jobs of a folder, its packages and its `sample_jobs`, its plain functions, the samples, and `recent`.

    A job that belongs to several of these groups is returned once. Jobs of `recent` whose file is gone are left out.

    Args:
        folder: folder of which at most `_FILES` Python files are searched, and as many of its packages together.
        recent: jobs of any folder, as `FILE:FUNCTION`.
    """
    found: list[FoundJob] = []
    for group, place in ((HERE, folder), (SAMPLES_HERE, folder / "sample_jobs")):
        with contextlib.suppress(OSError):  # no such folder, or it cannot be read
            for path in sorted(place.glob("*.py"))[:_FILES]:
                found += jobs_in(path, group)
    for path in _files_of_packages(folder):
        of_package = jobs_in(path, PACKAGES)
        found += [job if job.folder else replace(job, place=f"{path.parent.name}/{job.place}") for job in of_package]
    for path in sorted(folder.glob("*.py"))[:_FILES]:
        found += functions_in(path, FUNCTIONS)
    known = {job.job for job in found}
    files = [sample.path for sample in sample_jobs()]
    samples = [sample for sample in sample_jobs() if not any(job.startswith(f"{sample.path}:") for job in known)]
    for sample in samples:
        inside = next((job for job in jobs_in(sample.path, SAMPLES) if job.name == sample.name), None)
        plain = FoundJob(sample.name, sample.name, sample.summary, SAMPLES, about=sample.summary)
        found.append(plain if inside is None else replace(inside, job=sample.name, doc=sample.summary))
    for job in recent:
        path = Path(job.rpartition(":")[0])
        if job not in known and path not in files and path.is_file():
            found.append(_recent(job, path))
    return found


def job_stamps(folder: Path, recent: Iterable[str]) -> dict[Path, Stamp]:
    """Return the stamps of the files that `find_jobs` reads for these arguments, and that do not come with tui-runner.

    While they are the same, `find_jobs` returns the same jobs.
    """
    files = [Path(job.rpartition(":")[0]) for job in recent]
    with contextlib.suppress(OSError):  # the folder cannot be read
        for place in (folder, folder / "sample_jobs"):
            files += sorted(place.glob("*.py"))[:_FILES]
    stamps: dict[Path, Stamp] = {}
    for path in (*files, *_files_of_packages(folder)):
        with contextlib.suppress(OSError, ValueError):  # it is gone, or a recent job has a NUL byte in its path
            stamps[path] = _stamp(path.stat())
    return stamps


def _files_of_packages(folder: Path) -> list[Path]:
    """Return at most `_FILES` Python files of the packages directly below a folder."""
    files: list[Path] = []
    with contextlib.suppress(OSError):  # the folder cannot be read
        for package in sorted(folder.iterdir()):
            if len(files) >= _FILES:
                break
            if package.name != "sample_jobs" and (package / "__init__.py").is_file():
                files += sorted(package.glob("*.py"))
    return files[:_FILES]


def _recent(job: str, path: Path) -> FoundJob:
    """Return a recent job of another folder. Its place names that folder, to distinguish jobs with the same name."""
    there = jobs_in(path, RECENT)
    broken = next((found for found in there if found.error), None)
    name = job.rpartition(":")[2]
    inside = next((found for found in there if found.job == job), FoundJob(job, name, "", RECENT))
    where = with_short_home(str(path))
    place = inside.place.replace(path.name, where, 1) if inside.place else where
    return replace(inside, place=place, group=RECENT, error=broken.error if broken else "")


def jobs_in(path: Path, group: str) -> list[FoundJob]:
    """Return the jobs that a file declares with `@job`; one with `error` if the file cannot be read or parsed.

    A file that does not contain the text `tui_runner` is not parsed.
    """
    try:
        source = read_regular(path, _LARGEST)
        if _OURS.encode() not in source:
            return []
        tree = ast.parse(source, str(path))
        about, secrets = ast.get_docstring(tree) or "", _names_of_secrets(tree, source)
        _write_out_enumerations(tree)
        found = [
            _found(path, node, group, about, secrets, tree.body)
            for node in tree.body
            if isinstance(node, _FUNCTIONS) and any(map(_is_job, node.decorator_list))
        ]
        return _of_package(found, path, tree)
    except TooLarge:  # generated, so not a job
        return []
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return [FoundJob(str(path), path.name, "", group, f"{where}{error.msg}")]
    except OSError as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {error.strerror}")]
    # The parser, and what goes through its tree, raise these for expressions that are nested too deeply, and the parser
    # for NUL bytes.
    except (ValueError, RecursionError, MemoryError) as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {type(error).__name__}")]


def _of_package(found: list[FoundJob], path: Path, tree: ast.Module) -> list[FoundJob]:
    """Return the jobs of a file, named by its module if the file imports from its own package."""
    if not found or not (path.parent / "__init__.py").is_file():
        return found
    module, folder = module_of(path)
    package = module.partition(".")[0]
    if not all(part.isidentifier() for part in module.split(".")) or not any(
        _imports_from(node, package) for node in ast.walk(tree)
    ):
        return found
    inside = path.relative_to(folder).parent
    return [replace(job, job=f"{module}:{job.name}", folder=folder, place=str(inside / job.place)) for job in found]


def _imports_from(node: ast.AST, package: str) -> bool:
    """Return True if a node is a relative import, or an import from a package of this name."""
    match node:
        case ast.ImportFrom(module=module, level=level):
            return level > 0 or (module or "").partition(".")[0] == package
        case ast.Import(names=names):
            return any(name.name.partition(".")[0] == package for name in names)
    return False


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions_in(path: Path, group: str) -> list[FoundJob]:
    """Return the plain functions of a file that does not mention `tui_runner`. Return an empty list for a broken file.

    These are public functions without decorators that take a positional argument. Tests and `main` are left out.
    """
    try:
        source = read_regular(path, _LARGEST)
        if _OURS.encode() in source:
            return []
        tree = ast.parse(source, str(path))
        secrets = _names_of_secrets(tree, source)
        _write_out_enumerations(tree)
        found = [
            replace(_found(path, node, group, "", secrets), decorated=False)
            for node in tree.body
            if isinstance(node, _FUNCTIONS)
            and not node.name.startswith(("_", "test_"))
            and node.name != "main"
            and not node.decorator_list
            and (node.args.posonlyargs or node.args.args)
        ]
        return _of_package(found, path, tree)
    except (TooLarge, OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # `jobs_in` reports broken files
        return []


def _names_of_secrets(tree: ast.Module, source: bytes) -> set[str]:
    """Return the names that stand for `Secret` in a file: imported under another name, assigned, or a subclass."""
    if _SECRET.encode() not in source:  # most files; a walk through a large one takes as long as parsing it
        return set()
    names: set[str] = set()
    made: list[tuple[str, list[str]]] = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=imported):
                names.update(each.asname or each.name for each in imported if _SECRET in each.name)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                made.append((name, _names_in(value)))
            case ast.ClassDef(name=name, bases=bases):
                made.append((name, [each for base in bases for each in _names_in(base)]))
    before = -1
    while len(names) > before:  # a name may stand for another one: S = Secret, Token = S | None
        before = len(names)
        names.update(name for name, parts in made if _has_secret(parts, names))
    return names


def _write_out_enumerations(tree: ast.Module) -> None:
    """Replace enumerations that the file defines by their members, as the loaded job shows them.

    In the arguments of functions, the type becomes a `Literal` of the names of its members, and a member its name.
    """
    members = {
        node.name: [
            target.id
            for each in node.body
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name) and not target.id.endswith("_")  # _order_
        ]
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any("Enum" in name for base in node.bases for name in _names_in(base))
    }
    if members:
        for node in tree.body:
            if isinstance(node, _FUNCTIONS):
                _WrittenOut(members).visit(node.args)


class _WrittenOut(ast.NodeTransformer):
    def __init__(self, members: Mapping[str, Sequence[str]]) -> None:
        self._members = members

    def visit_Name(self, node: ast.Name) -> ast.expr:
        names = self._members.get(node.id)
        if not names:
            return node
        return ast.Subscript(ast.Name("Literal"), ast.Tuple([ast.Constant(name) for name in names]))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        match node.value:
            case ast.Name(id=name) if node.attr in self._members.get(name, ()):
                return ast.Constant(node.attr)
        return node


def _names_in(node: ast.expr) -> list[str]:
    names = (getattr(part, "id", None) or getattr(part, "attr", None) for part in ast.walk(node))
    return [name for name in names if name]


def _has_secret(names: Iterable[str], secrets: Collection[str]) -> bool:
    return any(_SECRET in name or name in secrets for name in names)


def _found(
    path: Path,
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    group: str,
    about: str,
    secrets: Collection[str],
    beside: Sequence[ast.stmt] = (),
) -> FoundJob:
    """Return the description of a function, from its source and from functions in `beside` that belong to the job."""
    about = ast.get_docstring(node) or about
    settings = next((each for each in node.decorator_list if isinstance(each, ast.Call) and _is_job(each)), None)
    hooks = [each for each in beside if isinstance(each, _FUNCTIONS) and _hook(each, node.name)]
    items = next((each for each in hooks if _hook(each, node.name) == "items"), None)
    parameters = {each.name: each for each in _parameters(node, secrets, keyword_only=True)}
    for hook in sorted(hooks, key=lambda each: each is items):
        for each in _parameters(hook, secrets):
            first = parameters.setdefault(each.name, replace(each, of_items=hook is items))
            if each.secret and not first.secret:  # a secret of one function is a secret of the job, as in `merged`
                parameters[each.name] = replace(first, secret=True, default=_masked(first.default))
    return FoundJob(
        f"{path}:{node.name}",
        node.name,
        about.split("\n", 1)[0],
        group,
        about=about,
        place=f"{path.name}:{node.lineno}",
        item=tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args)),
        parameters=tuple(parameters.values()),
        makes_items="" if items is None else items.name,
        returns="" if node.returns is None else ast.unparse(node.returns),
        settings={} if settings is None else _plain_values(settings),
    )


def _hook(node: ast.FunctionDef | ast.AsyncFunctionDef, job: str) -> str:
    """Return the name of the decorator with which a function belongs to `job`, such as `items`; empty without one."""
    for each in node.decorator_list:
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == job:
            return each.attr if each.attr in _KINDS else ""
    return ""


def _plain_values(call: ast.Call) -> dict[str, object]:
    values: dict[str, object] = {}
    for each in call.keywords:
        if each.arg is not None:
            with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # not a literal
                values[each.arg] = ast.literal_eval(each.value)
    return values


def _parameters(
    node: ast.FunctionDef | ast.AsyncFunctionDef, secrets: Collection[str], *, keyword_only: bool = False
) -> Iterator[FoundParameter]:
    arguments, helps = node.args, docstring_args(ast.get_docstring(node) or "")
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [] if keyword_only else list(zip(positional, defaults, strict=True))
    for each, default in (*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)):
        kind, text = _kind(each.annotation)
        typed = None if default is None else _typed(default)
        # The words of the type, because it may be in quotes. A text in the default says nothing about its type.
        names = re.findall(r"\w+", kind) + ([] if default is None else _names_in(default))
        secret = _has_secret(names, secrets)
        yield FoundParameter(
            each.arg, kind, _masked(typed) if secret else typed, text or helps.get(each.arg, ""), secret
        )


def _kind(annotation: ast.expr | None) -> tuple[str, str]:
    """Return the type in an annotation, and the first text of `Annotated[type, text]`; both may be empty."""
    match annotation:
        case None:
            return "", ""
        case ast.Subscript(
            value=ast.Name(id="Annotated") | ast.Attribute(attr="Annotated"), slice=ast.Tuple(elts=parts)
        ):
            texts = (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
            return ast.unparse(parts[0]), next(texts, "")
        case ast.Constant(value=str(text)):  # a type in quotes
            return text, ""
    return ast.unparse(annotation), ""


def _masked(typed: str | None) -> str | None:
    """Return the default of a secret as the loaded job shows it; see `Parameter.default_text`."""
    return typed if typed in (None, "", "none") else MASK


def _typed(default: ast.expr) -> str:
    """Return the source of a default as a user would type the value: texts without quotes, None as `none`."""
    if isinstance(default, ast.Constant):
        return "none" if default.value is None else redact(str(default.value))
    return redact(ast.unparse(default))


def _is_job(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(target, ast.Name) and target.id == "job") or (
        isinstance(target, ast.Attribute) and target.attr == "job"
    )


def find_databases(folder: Path) -> list[FoundDatabase]:
    """Return databases with runs, and files that cannot be opened, in `folder`; the last written first.

    Only the `_DATABASES` files that were last written are examined.
    """
    found = (read_database(path, folder) for path in database_stamps(folder))
    return [database for database in found if database is not None]


def database_stamps(folder: Path) -> dict[Path, Stamp]:
    """Return the `_DATABASES` DuckDB files in `folder` that were last written, the newest first, with their stamps."""
    written: list[tuple[int, Path, Stamp]] = []
    for path in folder.glob("*.duckdb"):
        with contextlib.suppress(OSError):  # it was removed meanwhile, or cannot be examined
            about = path.stat()
            if stat.S_ISREG(about.st_mode):
                written.append((-about.st_mtime_ns, path, _stamp(about)))
    return {path: stamp + _stamp_of_log(path) for _, path, stamp in sorted(written)[:_DATABASES]}


def _stamp(about: os.stat_result) -> Stamp:
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _stamp_of_log(database: Path) -> Stamp:
    """Return the stamp of a write-ahead log. A run writes only to the log until DuckDB makes a checkpoint."""
    try:
        return _stamp(companion(database, WRITE_AHEAD_LOGS[0]).stat())
    except OSError:  # there is none, as a rule
        return ()


def read_database(path: Path, folder: Path) -> FoundDatabase | None:
    """Return the runs and tables of a database, or the reason for which it cannot be opened.

    Return None for a DuckDB file without runs.

    Args:
        path: the file.
        folder: folder of the launcher, in which jobs of runs are searched for.
    """
    try:
        with Database.open(path, create=False, patience=_PATIENCE) as database, readable(path):
            cursor = database.cursor()
            runs = Ledger(cursor).runs()
            tables = tuple(result_tables(cursor)) if runs else ()
            curves = {run.record.run_id: run_curves(cursor, run.record.run_id, CURVE_PARTS) for run in runs[:_CURVES]}
        seen = path.stat()
    except DatabaseInUse as error:
        return FoundDatabase(path, error=error.what, in_use=True, newest=_newest_of_owner(path))
    except UserError as error:
        return FoundDatabase(path, error=error.what, is_held=isinstance(error, HeldElsewhere))
    except OSError as error:  # it was removed or replaced after it had been read
        return FoundDatabase(path, error=f"cannot be read: {error.strerror}")
    if not runs:
        return None
    every = tuple(
        FoundRun(
            path,
            run,
            # Finding the file of a job takes time, and it is only needed where the launcher may show it.
            job=_place(run.record, path, folder)
            if run is runs[0] or run.record.state != RunState.FINISHED
            else run.record.job_path,
            curves=curves.get(run.record.run_id, RunCurves()),
            # The time of the file says nothing about older runs, because later ones have written to it.
            last_seen=seen.st_mtime if run is runs[0] else (run.record.ended_at or run.record.started_at).timestamp(),
        )
        for run in runs
    )
    return FoundDatabase(path, every, tables, last_seen=seen.st_mtime, nbytes=seen.st_size)


def shared_table(found: FoundJob, jobs: Iterable[FoundJob], databases: Iterable[FoundDatabase], folder: Path) -> str:
    """Return a warning if a job would store its rows in the table of another file's job; empty if not.

    Jobs of the same name in two files have the same database and the same table by default.

    Args:
        found: the job.
        jobs: all found jobs.
        databases: all found databases.
        folder: folder of the launcher.
    """
    if found.settings.get("table") is not None or ":" not in found.job:  # a sample has a name of its own
        return ""
    home = found.folder or folder
    path = home / f"{found.name}.duckdb"
    runs = (run for each in databases if each.path == path for run in each.runs)
    last = next((run.summary.record for run in runs if run.summary.record.table_name == found.name), None)
    if last is not None:
        if _resolved_job(last.job_path) == _resolved_job(found.job):
            return ""
        owner = with_short_home(last.job_path)
        return f"its table {found.name} already has rows of {owner}: name another file to keep them apart"
    others = [
        job
        for job in jobs
        if job.name == found.name and job.job != found.job and not job.error and (job.folder or folder) == home
    ]
    if not others or found.group == RECENT:
        return ""
    return f"{others[0].place.partition(':')[0]} has a job of this name, for the same table: name another file"


def _resolved_job(job: str) -> str:
    """Return the text of a job with the links of its file resolved, as a ledger has it."""
    source, colon, function = job.rpartition(":")
    return f"{Path(source).resolve()}{colon}{function}" if source.endswith((".py", ".pyw")) else job


def _newest_of_owner(path: Path) -> FoundRun | None:
    """Return the newest run of a database, read through the process that has the database open; None if that fails."""
    try:
        with open_access(path, patience=0.0, limits=_OWNER) as access, access.console() as console, readable(path):
            runs = Ledger(ConsoleCursor(console)).runs()
    except UserError:  # the process has just ended, or hangs; the list then shows only that the database is in use
        return None
    goes_on = bool(runs) and runs[0].record.run_id == access.run
    return FoundRun(path, runs[0], runs[0].record.job_path, goes_on=goes_on) if runs else None


def _place(record: RunRecord, database: Path, folder: Path) -> str:
    try:
        begun = begun_in(record, database)
        return job_origin(record.job_path, input=record.input, database=database, begun_in=begun, here=folder).text
    except UserError:  # the job's file or folder is gone
        return record.job_path
