"""Prepares pyarrow before anything else in a process of tui-runner's own imports it.

Its default pool, mimalloc, keeps memory for each thread: 500 threads that return DataFrames took 5.1 GB, and 1.5 GB
with the pool that uses the system's allocator, which was 15 to 20 % faster besides.

The first conversion of Python values imports pandas wherever that is installed, only to ask whether the values are of
its types: 0.3 s and 40 MB in every process. Values can be of its types only once a module has imported it, so pyarrow
finds no pandas until then.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_POOL = "ARROW_DEFAULT_MEMORY_POOL"
"""The variable that pyarrow reads once; a user's own value is respected."""


def prepare_arrow() -> None:
    """Import pyarrow with the system's allocator and without pandas; does nothing when it is imported already.

    For processes of tui-runner's own: what it changes holds for everything in the process.
    """
    if "pyarrow" in sys.modules:
        return
    ours = not os.environ.get(_POOL)
    if ours:
        os.environ[_POOL] = "system"
    try:
        import pyarrow as pa

        pa.default_memory_pool()  # reads the variable
    finally:
        if ours:
            del os.environ[_POOL]  # a program that a job starts is to find what it would find
    if "pandas" not in sys.modules:
        notice = _PandasNotice()
        sys.meta_path.insert(0, notice)
        pa.array([0])
        notice.hidden = False


class _PandasNotice:
    """Tells pyarrow of pandas when that has been imported; finds nothing by itself.

    Attributes:
        hidden: whether pandas is as if it were not installed.
    """

    def __init__(self) -> None:
        self.hidden = True

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Return what the other finders have for pandas, with the notice behind its execution."""
        if name != "pandas":
            return None
        if self.hidden:
            raise ModuleNotFoundError("not before the job imports it", name=name)
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_notice(module: ModuleType) -> None:
            execute(module)
            self._notice()

        # On this loader alone, which belongs to this spec: everything else that is asked of it stays as it is.
        spec.loader.exec_module = execute_and_notice  # type: ignore[method-assign]
        return spec

    def _notice(self) -> None:
        import pyarrow as pa

        with contextlib.suppress(ValueError):  # another thread was here
            sys.meta_path.remove(self)
        # It may be too old for pyarrow, or a file of the user's that is called so.
        with contextlib.suppress(ImportError, AttributeError):
            pa.nulls(0).to_pandas()  # whatever needs pandas has pyarrow look for it again
