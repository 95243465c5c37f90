"""Files as inputs, in tests: written, read whole, and what is said of a broken one."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tui_runner.errors import UserError
from tui_runner.inputs import open_source


def written(name: str, content: str | bytes) -> str:
    """The name of a file with this content in the current folder; compressed if it ends in .gz."""
    raw = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return name


def read(text: str, **options: Any) -> list[object]:
    source = open_source(text, **options)
    items = list(source)
    assert source.total in (None, len(items))
    return items


def refusal(text: str, **options: Any) -> str:
    """What opening or reading says."""
    with pytest.raises(UserError) as caught:
        list(open_source(text, **options))
    assert str(caught.value).isprintable()
    return str(caught.value)
