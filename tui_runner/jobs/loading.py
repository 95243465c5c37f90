"""Finds the job that the user named: a file, a function in it, a function in a module, or a bundled sample.

A file is loaded as a module with a private name derived from its path, so that items of its classes can be pickled in
one process and unpickled in another. If loading fails, `sys.path` is restored and the user's modules are removed from
`sys.modules`. Modules of the standard library and of installed packages are not removed, because some (numpy) cannot be
imported twice.

A job's file may call `run` at its top level:

    squares = job(...)
    run(squares, range(100))        # no `if __name__ == "__main__":` around it

A worker loads this file for its function and also reaches the call of `run`. In a worker, `run` must not begin another
run. The code after the call must not run either, because it had not run in the program when that called `run`. So `run`
raises `ScriptEnds` in a worker, and loading ends there.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import CodeType, ModuleType

from tui_runner.errors import UserError
from tui_runner.jobs.job import Job
from tui_runner.jobs.reference import JobReference
from tui_runner.system.files import bundled, expanded, typed_path
from tui_runner.system.process import is_ctrl_c, no_exit_at_once
from tui_runner.text.describe import is_own_code
from tui_runner.text.messages import (
    did_you_mean,
    listed,
    nearest,
    nearest_file,
    no_such_file,
    one_line,
    plain,
    quoted,
    raised,
)
from tui_runner.text.redaction import redact

_loading: ContextVar[bool] = ContextVar("loading", default=False)
"""True while user code is being loaded in this context."""
_PRIVATE = "_tui_runner_job_"
"""Prefix of the module names of loaded job files, so that no job file replaces an imported module."""


@dataclass(frozen=True, slots=True)
class SampleJob:
    """A job that comes with tui-runner.

    Attributes:
        name: its name on the command line, as in `tui-runner run NAME`.
        summary: first line of its file's docstring; empty without one.
        path: path of its file.
    """

    name: str
    summary: str
    path: Path


@dataclass(frozen=True, slots=True)
class JobPlace:
    """The place of a job, found without executing its code.

    Attributes:
        source: path of an existing Python file with links resolved, or dotted name of a module, which may not exist.
        is_file: True if `source` is a path.
        function: name of the function in it; None for the only job of a file or module.
    """

    source: str
    is_file: bool
    function: str | None


class NoSuchFunction(UserError):
    """Raised if the file or module of a job has no function of the given name.

    Attributes:
        function: the name.
        others: names of the functions that it has.
    """

    def __init__(self, function: str, others: Sequence[str], where: str) -> None:
        do = did_you_mean(function, others, "it has") if others else "it has no functions"
        super().__init__(f"there is no function {quoted(function)} in it", where, do)
        self.function = function
        self.others = others


def load_job(text: str, *, folder: Path | None = None, redact: Callable[[str], str] = redact) -> Job:
    """Load the job that `text` names: a file, `file.py:function`, `package.module:function`, a module, or a sample.

    A file is executed again at each call. Its output is not captured.

    Args:
        text: name as typed by the user.
        folder: folder to which relative paths refer, and in which modules are searched for first; None for the current
            folder.
        redact: replaces secrets in errors of the user's code.

    Raises:
        UserError: there is no such job, it cannot be loaded, or the name is ambiguous.
    """
    base = (folder or Path.cwd()).absolute()
    place = locate_job(text, folder=base)
    if place.is_file:
        return _from_file(Path(place.source), place.function, redact)
    return _from_module(place.source, place.function, base, redact)


def locate_job(text: str, *, folder: Path) -> JobPlace:
    """Return the place where `load_job` would find the job that `text` names. Nothing is executed.

    Args:
        text: name as typed by the user.
        folder: folder to which relative paths refer.

    Raises:
        UserError: there is no such file or job.
    """
    base = folder.absolute()
    if not text.strip() or "\0" in text:
        raise UserError(f"{quoted(text)} names no job", do="give file.py, file.py:function or the name of a sample")
    whole = _path(base, text)
    if _is_file(whole):
        return _in_file(whole, None)
    left, colon, function = text.rpartition(":")
    if colon and left and (_looks_like_path(left) or _is_file(_path(base, left))):
        return _in_file(_path(base, left), function)
    if not _looks_like_path(text):
        # Samples take precedence over folders with the same name. The name of such a folder can be written as
        # `./flaky`.
        for sample in sample_jobs():
            if sample.name == text:
                return _in_file(sample.path, None)
    if _looks_like_path(text) or is_folder(whole):
        return _in_file(whole, None)
    if not colon:
        if "." in text and all(part.isidentifier() for part in text.split(".")) and module_files(text, folder=base):
            return JobPlace(text, False, None)
        what = "no file or module" if "." in text else "no job"
        raise UserError(f"there is {what} {quoted(text)}", do=_advice(text, base))
    if not all(part.isidentifier() for part in left.split(".")):
        raise UserError(f"{quoted(left)} is neither a file nor a module", where=plain(text))
    return JobPlace(left, False, function)


def module_files(name: str, *, folder: Path) -> list[Path]:
    """Return the files that the import of a module would execute: the files of its packages, then its own.

    Nothing is imported. `importlib.util.find_spec` is not used, because it would import the packages that contain the
    module.

    Args:
        name: dotted name of the module.
        folder: folder in which modules are searched for first, as in `load_job`.

    Returns:
        The files. The list is empty if there is no such module, or if the module or one of its packages has no file, as
        a built-in module.
    """
    importlib.invalidate_caches()
    files: list[Path] = []
    level, places = "", _searched(folder)
    for part in name.split("."):
        level = f"{level}.{part}" if level else part
        spec = _spec(level, places)
        if spec is None:
            return []
        places = list(spec.submodule_search_locations or ())
        if spec.origin is None and places:  # a namespace package, which has no code
            continue
        if not spec.has_location or spec.origin is None or not _is_file(Path(spec.origin)):
            return []
        files.append(Path(spec.origin).resolve())
    return files


def load_reference(reference: JobReference) -> Job:
    """Load a job in a worker, by the reference that the tui-runner process has sent.

    A file that this process has already loaded is not executed again, so that there is only one version of its classes.

    Raises:
        UserError: the job no longer exists, or can no longer be loaded.
    """
    if not reference.is_file:
        return _from_module(reference.source, reference.function, Path.cwd(), redact, in_worker=True)
    path = Path(reference.source)
    module = sys.modules.get(reference.module or private_name(path))
    if module is not None:
        return _chosen(module, reference.function, reference.source, True, redact)
    return _from_file(_checked(path), reference.function, redact, reference.module, in_worker=True)


def sample_jobs() -> list[SampleJob]:
    """Return the bundled sample jobs, sorted by name. Their files are read but not executed."""
    samples = []
    for path in sorted(bundled("sample_jobs").glob("[!_]*.py")):
        try:
            docstring = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        except (SyntaxError, ValueError):
            docstring = ""
        samples.append(SampleJob(path.stem, docstring.split("\n", 1)[0], path))
    return samples


def _in_file(path: Path, function: str | None) -> JobPlace:
    checked = _checked(path)
    if _is_database(checked):
        file = plain(typed_path(str(checked), Path.cwd()))
        do = f"tui-runner open {file} shows its rows, tui-runner resume {file} resumes an unfinished run"
        raise UserError("it is a DuckDB file, and a job is a Python file", where=plain(path), do=do)
    return JobPlace(str(checked), True, function)


def _is_database(path: Path) -> bool:
    """Return True if the file begins like a DuckDB file. A file that cannot be read gets its message later."""
    try:
        with path.open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError:
        return False


def _checked(path: Path) -> Path:
    """Return the path of a job's file with links resolved. Raise `UserError` if it is not a file."""
    if not _is_file(path):
        try:
            is_folder, is_there = path.is_dir(), path.exists()
        except OSError as error:  # for example, its name is too long
            what = f"it can't be read ({(error.strerror or str(error)).lower()})"
            raise UserError(what, where=plain(path), do="check the path") from None
        if is_folder:
            raise UserError("it is a folder", where=plain(path), do="name a Python file in it")
        if is_there:
            raise UserError("it is a device or a pipe, not a file", where=plain(path), do="name a Python file")
        raise UserError("there is no such file", where=plain(path), do=no_such_file(path))
    return path.resolve()


def _from_file(
    path: Path, function: str | None, redact: Callable[[str], str], name: str = "", *, in_worker: bool = False
) -> Job:
    name = name or private_name(path)
    with _undone_on_failure(name), _neighbours_first(path.parent, in_worker=in_worker):
        loader = _Loader(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise UserError("it can't be loaded as Python", where=plain(path), do="name a .py file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with _faults_of(path, redact), contextlib.suppress(ScriptEnds):  # the file ends at its call of `run`
            loader.exec_module(module)
        return _chosen(module, function, str(path), True, redact)


def _from_module(
    name: str, function: str | None, folder: Path, redact: Callable[[str], str], *, in_worker: bool = False
) -> Job:
    where = plain(f"{name}:{function}")
    with _undone_on_failure(name), _neighbours_first(folder, in_worker=in_worker):
        importlib.invalidate_caches()
        try:
            with _faults_of(None, redact, name):
                module = importlib.import_module(name)
        except _NotFound as missing:
            raise UserError(
                f"there is no module {plain(missing.name)}", where=where, do="check the name, or name its file"
            ) from None
        return _chosen(module, function, name, False, redact)


_PYTHON_SUFFIXES = frozenset({"", ".py", ".pyw"})
"""Suffixes of files that were meant to be Python if they are not valid Python. A script may have no suffix."""


class _Loader(importlib.machinery.SourceFileLoader):
    """A loader without Python's cache of compiled files, which misses a second change of a file within a second."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


class _NotFound(Exception):
    """Raised if the requested module does not exist; not raised if a module that it imports does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextlib.contextmanager
def _faults_of(path: Path | None, redact: Callable[[str], str], module: str = "") -> Iterator[None]:
    """Convert any exception of user code that is being imported to a `UserError` with its place, without secrets."""
    where = plain(path) if path else f"module {plain(module)}"
    loading = _loading.set(True)
    try:
        with no_exit_at_once(every_thread=True):
            yield
    except SyntaxError as error:
        place = f"{plain(error.filename)}:{error.lineno}" if error.filename and error.lineno else where
        what = f"it is not valid Python ({type(error).__name__}: {one_line(redact(str(error.msg)))})"
        # Text and pictures are no Python, and a file with null bytes has no line to correct.
        is_python = path is None or path.suffix in _PYTHON_SUFFIXES or Path(error.filename or "") != path
        do = "correct that line" if error.lineno and is_python else "a job is a Python file; name a .py file"
        raise UserError(what, where=place, do=do) from error
    except ModuleNotFoundError as error:
        if error.name and module and (module == error.name or module.startswith(error.name + ".")):
            raise _NotFound(error.name) from None
        raise UserError(
            raised(error, redact), where=_line_of(error, path) or where, do="install it, or put it beside the file"
        ) from error
    except UserError as error:  # for example from @job(...) with a wrong setting
        what, place, do = map(redact, (error.what, error.where, error.do))
        raise UserError(what, ": ".join(filter(None, (_line_of(error, path) or where, place))), do) from error
    except SystemExit as error:
        raise UserError(
            f"it ends the program while it is imported ({raised(error, redact)})",
            where=_line_of(error, path) or where,
            do='put that under if __name__ == "__main__":',
        ) from error
    except BaseException as error:  # user code may raise anything
        if is_ctrl_c(error):
            raise
        is_relative = isinstance(error, ImportError) and "relative import with no known parent" in str(error)
        raise UserError(
            f"importing it raised {raised(error, redact)}",
            where=_line_of(error, path) or where,
            do=_as_module(path) if is_relative and path is not None else "",
        ) from error
    finally:
        _loading.reset(loading)


def _as_module(path: Path) -> str:
    """Return advice for a file with relative imports: these work only if the job is named by its package and module."""
    name, folder = module_of(path)
    try:
        functions = [each for each in ast.parse(path.read_bytes()).body if isinstance(each, _FUNCTIONS)]
    except (OSError, SyntaxError, ValueError):
        functions = []
    # A function with a decorator is probably the job's function.
    chosen = sorted(functions, key=lambda each: (not each.decorator_list, each.name.startswith("_")))
    reference = f"{name}:{chosen[0].name}" if chosen else name
    return f"name it as a part of its package, in the folder {plain(folder)}: {plain(reference)}"


def module_of(path: Path) -> tuple[str, Path]:
    """Return the dotted name of the module in a file of a package, and the folder in which the name is valid."""
    root = path.parent
    while (root.parent / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    return ".".join(path.relative_to(root.parent).with_suffix("").parts), root.parent


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def _line_of(error: BaseException, path: Path | None) -> str:
    """Return `file:line` of the innermost frame in the job's file, or without `path`, outside of libraries.

    Return an empty text if there is no such frame.
    """
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        own = frame.filename == str(path) if path else not _is_installed(frame.filename)
        if own and not frame.filename.startswith("<") and not is_own_code(frame.filename):
            return f"{plain(frame.filename)}:{frame.lineno}"
    return ""


def private_name(path: Path) -> str:
    """Return the module name under which a job's file is loaded, derived from its path."""
    stem = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return f"{_PRIVATE}{stem}_{blake2b(os.fsencode(path), digest_size=4).hexdigest()}"


def _chosen(module: ModuleType, function: str | None, source: str, is_file: bool, redact: Callable[[str], str]) -> Job:
    where = plain(source)
    if function is None:
        function = _only_job(module, where)
    with _faults_of(Path(source) if is_file else None, redact, source):
        found = getattr(module, function, None)
    jobs, functions = _jobs_in(module), _functions_in(module)
    reference = JobReference(source, is_file, function)
    if isinstance(found, Job):
        found.locate(reference)
        return found
    if inspect.isroutine(found):
        for name, each in jobs.items():
            if use := each.describe_hook(found):
                raise UserError(f"{plain(function)} {use}", where=where, do=f"run {where}:{name}")
        return Job(found, reference=reference)
    names = list(jobs) or functions
    if not function.isidentifier() or not hasattr(module, function):
        raise NoSuchFunction(function, [*jobs, *functions] if names else [], where)
    kind = type(found).__name__
    what = f"{plain(function)} is not a function; its type is {kind}"
    do = f"it has {listed(names)}" if names else "write a function in it, with @job before it"
    raise UserError(what, where=where, do=do)


def _only_job(module: ModuleType, where: str) -> str:
    jobs = _jobs_in(module)
    if len(jobs) == 1:
        return next(iter(jobs))
    if jobs:
        first = next(iter(jobs))
        raise UserError(
            f"there are {len(jobs)} jobs in it: {listed(jobs)}", where=where, do=f"name one: {where}:{first}"
        )
    functions = _functions_in(module)
    if not functions:
        raise UserError("there is no job in it", where=where, do="write a function and put @job before it")
    raise UserError(
        f"there is no job in it, only plain functions: {listed(functions)}",
        where=where,
        do=f"put @job before one, or name it: {where}:{functions[0]}",
    )


def _jobs_in(module: ModuleType) -> dict[str, Job]:
    """Return the jobs declared in a module, each once, by its first name. If there are none, return imported jobs."""
    every = {name: value for name, value in vars(module).items() if isinstance(value, Job)}
    own = {name: value for name, value in every.items() if value.function.__module__ == module.__name__}
    once: dict[int, tuple[str, Job]] = {}
    for name, value in (own or every).items():
        once.setdefault(id(value), (name, value))
    return dict(once.values())


def _functions_in(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def _path(base: Path, text: str) -> Path:
    try:
        return base / expanded(text)
    except UserError:  # "~nobody" may be the name of a file
        return base / text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long or has characters that are invalid in paths
        return False


def is_folder(path: Path) -> bool:
    """Return True if `path` is a folder that can be reached. The path may be any text."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # not a valid path
        return False


def _looks_like_path(text: str) -> bool:
    return text.endswith((".py", ".pyw")) or "/" in text or os.sep in text


def _advice(text: str, base: Path) -> str:
    if _is_file(base / f"{text}.py"):
        return f"did you mean {plain(text)}.py?"
    file = nearest_file(base / text) if "." in text else None
    if file is not None:
        return f"did you mean {plain(file.name)}?"
    samples = [sample.name for sample in sample_jobs()]
    near = nearest(text, samples)
    if near is not None:
        return f"did you mean the sample {near}?"
    return f"give file.py, file.py:function, package.module:function or one of the samples {listed(samples)}"


def _spec(name: str, places: list[str]) -> importlib.machinery.ModuleSpec | None:
    """Return the spec of a module from the first finder that has it; None if no finder has it.

    Args:
        name: name of the module.
        places: folders to search. They are the folders of the module's package; `sys.path` for a module without a
            package.
    """
    package, _, last = name.rpartition(".")
    for finder in sys.meta_path:
        if finder is importlib.machinery.PathFinder:
            # Search for the last part of the name only. For the whole name, the finder would look up the package in
            # `sys.modules`.
            spec = finder.find_spec(last, places)
        else:
            spec = finder.find_spec(name, places if package else None)
        if spec is not None:
            return spec
    return None


@contextlib.contextmanager
def _neighbours_first(folder: Path, *, in_worker: bool) -> Iterator[None]:
    """Search `folder` for modules before installed packages, as for a script, but after the standard library.

    In a worker this order is permanent. The program itself imports parts of its libraries late, and must not import a
    user's file called `pygments.py` instead. So in the program, the folder is moved to the end of the path when the job
    is loaded.
    """
    path = _searched(folder)
    moves = not in_worker and path != sys.path
    sys.path[:] = path
    yield
    if moves:
        with contextlib.suppress(ValueError):  # the job has removed it
            sys.path.remove(str(folder))
        sys.path.append(str(folder))


def _searched(folder: Path) -> list[str]:
    """Return the `sys.path` with which a job in `folder` is loaded."""
    entry, path = str(folder), sys.path[:]
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    first = next((index for index, place in enumerate(path) if _is_site(place)), len(path))
    if entry in path[:first]:  # the folder is already first, because it is that of the script that runs the job
        return path
    if entry in path:
        path.remove(entry)
    last = -1
    for index, place in enumerate(path):
        if place.startswith(library) and not _is_site(place):
            last = index
    path.insert(last + 1, entry)
    return path


def _is_site(place: str) -> bool:
    return "site-packages" in place or "dist-packages" in place


def _is_installed(filename: str) -> bool:
    places = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    with contextlib.suppress(AttributeError):  # the `site` of old virtualenvs has no such function
        places.append(site.getusersitepackages())
    return _is_site(filename) or filename.startswith(tuple(place + os.sep for place in places))


@contextlib.contextmanager
def _undone_on_failure(name: str) -> Iterator[None]:
    """Restore `sys.path`, and remove the user's modules from `sys.modules`, if loading `name` fails."""
    path, before = sys.path[:], dict(sys.modules)
    try:
        yield
    except BaseException:
        sys.path[:] = path
        importlib.invalidate_caches()
        for added in [module for module in sys.modules if module not in before]:
            if added == name or added.startswith(name + ".") or _is_users(sys.modules[added]):
                _forget(added)
        if name in before:
            sys.modules[name] = before[name]
        raise


def _is_users(module: ModuleType) -> bool:
    spec: Callable[[], object] | object = getattr(module, "__spec__", None)
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return False
    file = getattr(module, "__file__", None)
    places = [file] if file else [str(place) for place in getattr(module, "__path__", [])]
    # A module without a file or folder was created by code, of the failed job or of a library. Removing it is harmless.
    return not places or not all(_is_installed(place) for place in places)


def _forget(name: str) -> None:
    module = sys.modules.pop(name, None)
    parent, _, child = name.rpartition(".")
    # `from package import child` finds the module as an attribute of the package.
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        with contextlib.suppress(AttributeError):  # `getattr` may have found it through the package's `__getattr__`
            delattr(sys.modules[parent], child)


class ScriptEnds(BaseException):
    """Raised by `run` in a job's file that is being loaded, so that loading ends there.

    It is not an `Exception`, because a script that catches exceptions around its call of `run` must not continue.
    """


def abort_if_importing() -> None:
    """Raise `ScriptEnds` if the caller is in a file that is being loaded for its job."""
    if _loading.get():
        raise ScriptEnds("run() was called while the job was loaded; put the call under if __name__ == '__main__':")
