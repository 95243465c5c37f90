"""Configures pyarrow before any other module of this process imports it.

pyarrow's default memory pool, mimalloc, reserves memory for each thread: 500 threads that return DataFrames took 5.1
GB. With the pool that uses the system's allocator they took 1.5 GB, and were 15 to 20 % faster.

pyarrow's first conversion of Python values imports pandas if it is installed, only to check if the values are of
pandas' types. That costs 0.3 s and 40 MB in every process. Values can be of these types only after some module has
imported pandas, so pandas is hidden from pyarrow until then.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_POOL = "ARROW_DEFAULT_MEMORY_POOL"
"""Environment variable for the memory pool, which pyarrow reads once. A value set by the user has priority."""


def prepare_arrow() -> None:
    """Import pyarrow with the system's allocator and without pandas, unless pyarrow is imported already.

    Call it only in processes of tui-runner itself, because it affects the whole process.
    """
    if "pyarrow" in sys.modules:
        return
    ours = not os.environ.get(_POOL)
    if ours:
        os.environ[_POOL] = "system"
    try:
        import pyarrow as pa

        pa.default_memory_pool()  # makes pyarrow read the variable now
    finally:
        if ours:
            del os.environ[_POOL]  # programs that a job starts must see the user's environment
    if "pandas" not in sys.modules:
        notice = _PandasNotice()
        sys.meta_path.insert(0, notice)
        pa.array([0])
        notice.hidden = False


class _PandasNotice:
    """An import finder that hides pandas from pyarrow, until another module imports pandas.

    Attributes:
        hidden: True while an import of pandas fails as if pandas were not installed.
    """

    def __init__(self) -> None:
        self.hidden = True

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Return the spec of pandas, changed so that `_notice` runs after its import.

        Return None for other modules, and if pandas is not installed.

        Raises:
            ModuleNotFoundError: pandas is hidden.
        """
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

        # The loader belongs to this spec alone, so no other import is affected.
        spec.loader.exec_module = execute_and_notice  # type: ignore[method-assign]
        return spec

    def _notice(self) -> None:
        import pyarrow as pa

        with contextlib.suppress(ValueError):  # another thread has removed it
            sys.meta_path.remove(self)
        # The suppressed errors mean that pandas is too old for pyarrow, or is a file of the user with that name.
        with contextlib.suppress(ImportError, AttributeError):
            pa.nulls(0).to_pandas()  # any function that needs pandas makes pyarrow look for it again
