"""The private names of other libraries that we use still exist: an upgrade that takes one away fails here, by name."""

from __future__ import annotations

import ast
import atexit
import codecs
import importlib
import multiprocessing.process
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import httpx
import pytest
from textual.app import App
from textual.command import CommandPalette
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.widget import Widget
from textual.widgets import Input, TextArea

import tui_runner

READ = httpx.Response(200, content=b"text")
assert (READ.text, READ.encoding) == ("text", "utf-8")  # which gives it the attributes of both

PACKAGE = Path(tui_runner.__path__[0])
PRIVATE: dict[str, tuple[object, ...]] = {
    # Textual 8.2; what each is for stands where it is used.
    "_action_command_list": (CommandPalette,),
    "_action_escape": (CommandPalette,),
    "_close_messages_no_wait": (App,),
    "_driver": (App[None](),),
    "_fatal_error": (App,),
    "_get_terminal_size": (LinuxDriver,),
    "_handle_exception": (App,),
    "_notifications": (App[None](),),
    "_on_key": (Input, TextArea),
    "_print": (App,),
    "_pruning": (Widget(),),
    "_replace_via_keyboard": (TextArea,),
    "_run_input_thread": (LinuxDriver,),
    "_unnotify": (App,),
    "getincrementaldecoder": (linux_driver,),
    # httpx 0.28: the transports of a client, and what a response that is built at once needs.
    "_content": (READ,),
    "_encoding": (READ,),
    "_init_proxy_transport": (httpx.Client, httpx.AsyncClient),
    "_init_transport": (httpx.Client, httpx.AsyncClient),
    "_mounts": (httpx.Client(),),
    "_num_bytes_downloaded": (READ,),
    "_request": (READ,),
    "_text": (READ,),
    # CPython 3.11 to 3.13.
    "_is_text_encoding": (codecs.lookup("utf-8"),),
    "_run_exitfuncs": (atexit,),
    "_shutdown": (threading,),
    "_config": (multiprocessing.process.current_process(),),
    "_forkserver": (forkserver,),
    "_forkserver_alive_fd": (forkserver._forkserver,),
}
MODULES: dict[str, tuple[str, ...]] = {
    # Typer 0.29 offers the script of a shell that is named by nothing public: `--show-completion` guesses the shell.
    "typer._completion_classes": ("completion_init",),
    "typer._completion_shared": ("get_completion_script",),
}
"""Private modules that we import from, and what."""
OTHERS = frozenset({"_asdict", "_getframe"})
"""Documented, for all that they begin with an underscore."""


@pytest.mark.parametrize("name", PRIVATE)
def test_private_name_still_exists(name: str) -> None:
    for owner in PRIVATE[name]:
        assert hasattr(owner, name), f"{owner!r} has no {name} any more"


def test_every_private_name_of_others_is_listed() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    used = {name for tree in trees for name in _read_attributes(tree)}
    own = {name for tree in trees for name in _own_names(tree)}
    assert used - own - OTHERS <= PRIVATE.keys()


@pytest.mark.parametrize("module", MODULES)
def test_private_module_still_has_what_is_imported_from_it(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in MODULES[module] if not hasattr(found, name)] == []


def test_every_import_from_a_private_module_of_others_is_listed() -> None:
    imports = {
        (node.module, each.name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("tui_runner", "__"))
        for each in node.names
        if any(part.startswith("_") for part in node.module.split("."))
    }
    assert imports == {(module, name) for module, names in MODULES.items() for name in names}


def _read_attributes(tree: ast.AST) -> Iterator[str]:
    """Yield the attributes that are read whose names begin with one underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield node.attr


def _own_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that our own code defines: functions, and attributes that are assigned or declared."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name
