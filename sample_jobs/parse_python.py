"""List every function in the Python files below a folder, with its size and complexity.

    tui-runner run parse_python                          the standard library of the Python that runs this
    tui-runner run parse_python --set root=src           your own code
    tui-runner run parse_python --limit 200              the first 200 files

Parsing is CPU-bound, and threads of one process cannot do it in parallel, so the job uses one worker process
per processor.

Parameters
    root    the folder; default: the standard library. Folders `__pycache__` and `site-packages` are left out.

Rows: one per function or method, in table `parse_python`
    file, line, end_line    where it is; lines count from 1
    name, qualified_name    `run` and `Engine.run`; `outer.<locals>.inner` for a function within a function
    arguments               names of its parameters, a list
    decorators              as they are written, a list
    is_async                true for an `async def`
    docstring               number of characters of its docstring; null if it has none
    lines                   lines from `def` to its end
    complexity              number of ways through it: 1, and 1 more for every `if`, loop, `except`, `case`, `and` …
                            (T. J. McCabe, A Complexity Measure, 1976)

An item fails if Python cannot parse its file (some tests of the standard library are broken on purpose), or if a
folder cannot be listed.

Queries
    -- the most complex functions
    SELECT complexity, lines, qualified_name, file, line FROM parse_python ORDER BY complexity DESC LIMIT 20
    -- share of documented functions, by file
    SELECT file, count(*) AS functions, count(docstring) / count(*) AS documented
    FROM parse_python GROUP BY file ORDER BY functions DESC
"""

import ast
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_runner import job

Function = ast.FunctionDef | ast.AsyncFunctionDef

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
BROKEN_ON_PURPOSE = " (probably on purpose, as a test of Python itself)"
PROCESSORS = min(os.cpu_count() or 1, 8)
SKIPPED_FOLDERS = {"__pycache__", "site-packages"}
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension)


@job(chunk_size=25, workers=PROCESSORS, threads=PROCESSORS)
def parse_python(path: str) -> Iterator[dict[str, Any]]:
    """Parse a file and return a row for each of its functions."""
    try:
        tree = ast.parse(Path(path).read_bytes(), filename=path)
    except SyntaxError as error:
        about = BROKEN_ON_PURPOSE if Path(path).is_relative_to(STANDARD_LIBRARY) else ""
        # In back quotes, so that failures are one kind, whatever Python says of each file.
        raise SyntaxError(f"not Python {VERSION}{about}, line {error.lineno or 1}: `{error.msg}`") from None
    for qualified_name, function in functions(tree):
        docstring = ast.get_docstring(function)
        end_line = function.end_lineno or function.lineno
        yield {
            "file": os.fsencode(path).decode("utf-8", "backslashreplace"),
            "line": function.lineno,
            "end_line": end_line,
            "name": function.name,
            "qualified_name": qualified_name,
            "arguments": argument_names(function.args),
            "decorators": [ast.unparse(decorator) for decorator in function.decorator_list],
            "is_async": isinstance(function, ast.AsyncFunctionDef),
            "docstring": None if docstring is None else len(docstring),
            "lines": end_line - function.lineno + 1,
            "complexity": complexity(function),
        }


@parse_python.items
def python_files(*, root: Path = STANDARD_LIBRARY) -> list[str]:
    """Return the paths of the `.py` files below `root`, sorted by folder.

    They are a list, not a generator: its length is known before the first file is parsed, so the dashboard shows a
    total and an estimate.

    Args:
        root: the folder
    """
    paths: list[str] = []
    unlisted: list[OSError] = []
    for folder, subfolders, names in os.walk(root.expanduser().absolute(), onerror=unlisted.append):
        subfolders[:] = sorted(set(subfolders) - SKIPPED_FOLDERS)
        paths.extend(str(Path(folder, name)) for name in sorted(names) if name.endswith(".py"))
    # A folder that can't be listed becomes an item that fails, so that the reason is among the errors of the run.
    return [*paths, *(error.filename for error in unlisted)]


@parse_python.setup
def quiet() -> None:
    """Hide Python's warnings about the parsed code, which would fill the log and are no errors of the job."""
    warnings.simplefilter("ignore", SyntaxWarning)


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield every function in `tree` with its qualified name, in no particular order."""
    todo: list[tuple[ast.AST, str]] = [(tree, "")]
    while todo:
        node, prefix = todo.pop()
        if isinstance(node, Function):
            yield prefix + node.name, node
            prefix += f"{node.name}.<locals>."
        elif isinstance(node, ast.ClassDef):
            prefix += f"{node.name}."
        todo.extend((child, prefix) for child in ast.iter_child_nodes(node))


def argument_names(arguments: ast.arguments) -> list[str]:
    """Return the names of the parameters in the order of their definition, with `*` and `**` where they have them."""
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    names += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    names += [argument.arg for argument in arguments.kwonlyargs]
    names += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return names


def complexity(function: Function) -> int:
    """Return the number of ways through `function`, without functions and classes inside it."""
    ways = 1
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, Function | ast.ClassDef):
            continue
        if isinstance(node, BRANCHES):
            ways += 1
        if isinstance(node, ast.comprehension):
            ways += len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
        elif isinstance(node, ast.Match):
            ways += len(node.cases)
        todo.extend(ast.iter_child_nodes(node))
    return ways
