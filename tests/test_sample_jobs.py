"""The sample jobs on real input: files, source code, their own web server."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import duckdb
import httpx
import pytest

from tui_runner import http
from tui_runner.jobs.current import CONTEXT
from tui_runner.jobs.loading import load_job
from tui_runner.store.ledger.migrations import ensure_ledger
from tui_runner.store.rows.collect import build, collect
from tui_runner.system.files import bundled
from tui_runner.text.describe import shape

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in bundled("sample_jobs").glob("*.py"))


def sample(name: str) -> ModuleType:
    """Return the module of a sample job, loaded as tui-runner does."""
    return sys.modules[load_job(name).function.__module__]


@dataclass
class Item:
    """The context of an item, as the engine sets it."""

    value: Any = None
    attempt: int = 1
    deadline: float | None = None
    cancelled: bool = False

    def log(self, level: str, text: str) -> None:
        pass


@contextmanager
def attempt(number: int) -> Iterator[None]:
    token = CONTEXT.set(Item(attempt=number))
    try:
        yield
    finally:
        CONTEXT.reset(token)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_says_how_to_run_it_and_what_to_ask(name: str) -> None:
    head = inspect.getdoc(sample(name)) or ""
    assert f"tui-runner run {name}" in head
    for part in ("Parameters", "Rows: ", f"in table `{name}`", "SELECT "):
        assert part in head


@pytest.mark.parametrize("name", NAMES)
def test_without_options_its_rows_are_stored_and_answer_its_queries(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("1")
    job = load_job(name)
    params = job.bind({})
    job.run_setup(params)
    call = job.caller(params, by_name=False)
    first = islice(job.make_items(params), 2)
    built = build([(position, collect(call(item))) for position, item in enumerate(first)])
    http.close()
    job.run_teardown(params)
    assert not built.failed
    (rows,) = built.tables

    with duckdb.connect() as database:
        ensure_ledger(database, create=True)
        database.register("rows_of_the_job", rows)
        database.execute(f"CREATE TABLE {name} AS FROM rows_of_the_job")
        head = inspect.getdoc(sys.modules[job.function.__module__]) or ""
        queries = re.split(r"^ *-- .*$", head.split("Queries\n")[1], flags=re.MULTILINE)[1:]
        assert len(queries) == 2
        for query in queries:
            database.execute(query).fetchall()


# --- hash_files --------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what folders have in them, and names that some programs stumble over."""
    root = tmp_path / "tree"
    (root / "b" / "deep").mkdir(parents=True)
    (root / "a").mkdir()
    (root / "empty").mkdir()
    contents = {
        b"a/plain.txt": b"hello\n",
        b"a/empty": b"",
        b"a/large.bin": os.urandom(3_000_000),
        b"a/caf\xe9.txt": b"not UTF-8",
        b"a/line\nbreak \\x.txt": b"odd",
        "b/naïve [red] \x1b[31m.png".encode(): b"odd too",
        b"b/deep/same.txt": b"hello\n",
        b"last": b"z",
    }
    for name, content in contents.items():
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(content)
    (root / "results.duckdb").write_bytes(b"changes while it is read")
    (root / "results.duckdb.tmp").mkdir()
    (root / "results.duckdb.tmp" / "spilled").write_bytes(b"this too")
    (root / "link").symlink_to(root / "last")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # The path of a socket has about 100 bytes at most, which the folder of a test may exceed.
        here = Path.cwd()
        os.chdir(root)
        listener.bind("socket")
        os.chdir(here)
    return root


def test_hash_files_finds_every_file_once_in_order(tree: Path) -> None:
    module = sample("hash_files")
    found = list(module.files(root=tree))
    assert found == list(module.files(root=tree))
    expected = [
        b"last",
        b"a/caf\xe9.txt",
        b"a/empty",
        b"a/large.bin",
        b"a/line\nbreak \\x.txt",
        b"a/plain.txt",
        "b/naïve [red] \x1b[31m.png".encode(),
        b"b/deep/same.txt",
    ]
    assert [os.fsencode(os.path.relpath(path, tree)) for path in found] == expected


def test_hash_files_leaves_out_what_skip_matches(tree: Path) -> None:
    module = sample("hash_files")
    names = [os.path.basename(path) for path in module.files(root=tree, skip="")]  # noqa: PTH119 - not UTF-8
    assert {"results.duckdb", "spilled"} < set(names)
    names = [os.path.basename(path) for path in module.files(root=tree, skip="*.txt")]  # noqa: PTH119
    assert "plain.txt" not in names
    assert "results.duckdb" in names


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum to compare with")
def test_hash_files_agrees_with_sha256sum(tree: Path) -> None:
    module = sample("hash_files")
    paths = list(module.files(root=tree))
    printed = subprocess.run(["sha256sum", "-z", *paths], check=True, capture_output=True).stdout
    expected = {line[66:]: line[:64].decode() for line in printed.split(b"\0") if line}
    assert len(expected) == 8
    assert {os.fsencode(path): module.hash_files(path)["sha256"] for path in paths} == expected


def test_hash_files_tells_size_time_and_type(tree: Path) -> None:
    module = sample("hash_files")
    path = tree / "a" / "plain.txt"
    os.utime(path, (0, 1_700_000_000.5))
    row = module.hash_files(str(path))
    assert row == {
        "path": str(path),
        "size": 6,
        "mtime": datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
        "sha256": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "type": "text/plain",
    }
    assert module.hash_files(str(tree / "a" / "empty"))["size"] == 0


def test_hash_files_writes_odd_names_so_that_they_can_be_stored(tree: Path) -> None:
    module = sample("hash_files")
    (odd,) = (path for path in module.files(root=tree) if "caf" in path)
    stored = module.hash_files(odd)["path"]
    assert stored.endswith(r"/a/caf\xe9.txt")
    stored.encode()


def test_hash_files_fails_for_what_vanished(tree: Path) -> None:
    module = sample("hash_files")
    found = iter(module.files(root=tree))
    assert [Path(next(found)).parent.name for _ in range(2)] == ["tree", "a"]
    shutil.rmtree(tree / "b")
    (tree / "a" / "plain.txt").unlink()
    failed = []
    for path in found:
        try:
            module.hash_files(path)
        except FileNotFoundError as error:
            failed.append(error.filename)
    assert failed == [str(tree / "a" / "plain.txt"), str(tree / "b")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_hash_files_fails_for_a_folder_it_may_not_list(tree: Path) -> None:
    module = sample("hash_files")
    (tree / "a").chmod(0)
    try:
        assert str(tree / "a") in list(module.files(root=tree))
        with pytest.raises(PermissionError):
            module.hash_files(str(tree / "a"))
    finally:
        (tree / "a").chmod(0o755)


def test_hash_files_takes_the_current_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sample("hash_files")
    monkeypatch.chdir(tree / "b")
    assert [Path(path).name for path in module.files()] == ["naïve [red] \x1b[31m.png", "same.txt"]


# --- parse_python ------------------------------------------------------------------------------------------

SOURCE = '''
import functools

@functools.cache
@property
def outer(a, /, b, *rest, c=1, **more):
    """Does it."""
    def inner():
        return [x for x in a if x if not x] or (b and c and more)
    if a:
        while b:
            b -= 1
    return inner

class Engine:
    class Part:
        async def run(self): ...

    def check(self, value):
        try:
            match value:
                case 1: return "one" if value else "none"
                case _: pass
        except (ValueError, TypeError):
            for part in value: print(part)
'''


def test_parse_python_reads_a_known_file(tmp_path: Path) -> None:
    module = sample("parse_python")
    path = tmp_path / "known.py"
    path.write_text(SOURCE)
    rows = {row["qualified_name"]: row for row in module.parse_python(str(path))}
    assert sorted(rows) == ["Engine.Part.run", "Engine.check", "outer", "outer.<locals>.inner"]
    assert rows["outer"] == {
        "file": str(path),
        "line": 6,
        "end_line": 13,
        "name": "outer",
        "qualified_name": "outer",
        "arguments": ["a", "b", "*rest", "c", "**more"],
        "decorators": ["functools.cache", "property"],
        "is_async": False,
        "docstring": 8,
        "lines": 8,
        "complexity": 3,
    }
    # inner: a comprehension with two conditions (3), `or` (1), `and` of three (2)
    assert rows["outer.<locals>.inner"]["complexity"] == 7
    # check: except, for, two cases, a conditional expression
    assert rows["Engine.check"]["complexity"] == 6
    assert rows["Engine.Part.run"]["is_async"]
    assert rows["Engine.Part.run"]["docstring"] is None


def functions_in(code: CodeType) -> Iterator[tuple[str, int]]:
    """Yield qualified name and number of parameters of each function that Python compiled."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & inspect.CO_NEWLOCALS and not constant.co_name.startswith("<"):
                variadic = bool(constant.co_flags & inspect.CO_VARARGS) + bool(
                    constant.co_flags & inspect.CO_VARKEYWORDS
                )
                parameters = constant.co_argcount + constant.co_kwonlyargcount + variadic
                yield constant.co_qualname, parameters
            yield from functions_in(constant)


@pytest.mark.parametrize("name", ["argparse.py", "asyncio/base_events.py", "functools.py", "typing.py"])
def test_parse_python_finds_what_the_compiler_finds(name: str) -> None:
    module = sample("parse_python")
    path = Path(sysconfig.get_path("stdlib"), name)
    compiled = compile(path.read_bytes(), path, "exec", dont_inherit=True)
    found = Counter((row["qualified_name"], len(row["arguments"])) for row in module.parse_python(str(path)))
    assert found.total() > 20
    assert found == Counter(functions_in(compiled))


def test_parse_python_fails_for_what_is_not_python(tmp_path: Path) -> None:
    module = sample("parse_python")
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n")
    with pytest.raises(SyntaxError, match=r"^not Python 3\.\d+, line 1: `invalid syntax`$"):
        list(module.parse_python(str(path)))


def test_parse_python_says_that_broken_files_of_the_standard_library_are_meant_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sample("parse_python")
    path = tmp_path / "bad_encoding.py"
    path.write_text("# coding: uft-8\n")
    monkeypatch.setattr(module, "STANDARD_LIBRARY", tmp_path)
    with pytest.raises(SyntaxError, match=r"on purpose, as a test of Python itself\), line 1: `unknown encoding"):
        list(module.parse_python(str(path)))


def test_parse_python_gives_failures_of_one_kind_whatever_is_wrong_with_a_file(tmp_path: Path) -> None:
    module = sample("parse_python")
    kinds = set()
    for number, text in enumerate(("# coding: uft-8\n", "def f(:\n", "print 'x'\n", "x = 08\n", "\u20ac = 1\n")):
        path = tmp_path / f"broken_{number}.py"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SyntaxError) as failure:
            list(module.parse_python(str(path)))
        kinds.add(shape(str(failure.value)))
    assert kinds == {"not Python N, line N: `…`"}


def test_parse_python_walks_in_order_and_names_folders_that_it_cannot_list(tmp_path: Path) -> None:
    module = sample("parse_python")
    for name in ("b/x.py", "a/y.py", "a/no.txt", "z.py", "site-packages/q.py", "b/__pycache__/x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(Path(path).relative_to(tmp_path)) for path in module.python_files(root=tmp_path)]
    assert found == ["z.py", "a/y.py", "b/x.py"]
    missing = tmp_path / "missing"
    assert list(module.python_files(root=missing)) == [str(missing)]


def test_parse_python_has_input_everywhere() -> None:
    paths = sample("parse_python").python_files()
    assert len(paths) > 300
    assert all("site-packages" not in path for path in paths)


# --- fetch_site --------------------------------------------------------------------------------------------


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module with its shop open; what the shop's slow pages wait is noted in `module.waits`."""
    module = sample("fetch_site")
    module.waits = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=module.waits.append))
    module.open_shop()
    yield module
    http.close()
    module.close_shop()


def test_fetch_site_gets_the_rows_that_the_shop_has(site: ModuleType) -> None:
    rows = site.fetch_site(1)
    assert 1_000 <= len(rows) <= 3_000
    assert rows == site.fetch_site(1)
    assert site.shop.visits["/orders?page=1"] == 2
    assert {name: type(value) for name, value in rows[0].items()} == {
        "order": int,
        "customer": str,
        "city": str,
        "quantity": int,
        "amount": float,
        "ordered": date,
    }
    assert {row["customer"] for row in rows} >= {"Ada & Co", "O'Hara <Ltd>", "Tom [bold] Smith"}
    assert [row["order"] for row in rows] == list(range(10_000, 10_000 + len(rows)))


def test_fetch_site_has_pages_that_recover(site: ModuleType) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        site.fetch_site(7)
    assert caught.value.response.headers["Retry-After"] == "1"
    # Page 123 drops its connection the first time: of one that was used before, `http` asks once more by itself.
    for page in (7, 123):
        assert len(site.fetch_site(page)) >= 1_000


def test_fetch_site_has_pages_that_fail_for_good(site: ModuleType) -> None:
    for _ in range(2):
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            site.fetch_site(13)
        with pytest.raises(ValueError, match=r"row \d+ of page 29 has 5 of 6 cells"):
            site.fetch_site(29)


def test_fetch_site_has_slow_pages(site: ModuleType) -> None:
    assert len(site.fetch_site(11)) >= 1_000
    assert site.waits == [1]


def test_fetch_site_keeps_its_proportions(site: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    order = site.table_row("td", [1, "Ada", "Graz", 1, 1.5, date(2024, 1, 1)])
    monkeypatch.setattr(site, "orders_page", lambda page: site.table_row("th", list(site.COLUMNS)) + order)
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for attempts in (first, second):
        for page in site.page_numbers(pages=100):
            try:
                site.fetch_site(page)
            except Exception as error:
                attempts[type(error).__name__] += 1
    # The two connections that are dropped without an answer had been used before: `http` asks once more by itself.
    assert first == {"HTTPStatusError": 3, "ValueError": 1}
    assert second == {"HTTPStatusError": 1, "ValueError": 1}
    assert len(site.waits) == 10


def test_fetch_site_closes_its_shop_and_opens_another(site: ModuleType) -> None:
    old = site.shop.url
    site.close_shop()
    http.close()
    with pytest.raises(httpx.ConnectError):
        http.get(f"{old}/orders?page=1")
    site.open_shop()
    assert len(site.fetch_site(1)) >= 1_000


# --- flaky -------------------------------------------------------------------------------------------------


def test_flaky_fails_in_fixed_proportions() -> None:
    module = sample("flaky")
    tries = {number: [type(module.error_of(number, n)).__name__ for n in (1, 2, 3)] for number in range(1_000)}
    expected = {
        ("ValueError",) * 3: 10,
        ("TimeoutError",) * 3: 10,
        ("KeyError",) * 3: 10,
        ("RuntimeError",) * 3: 10,
        ("ConnectionError", "NoneType", "NoneType"): 40,
        ("OSError", "OSError", "NoneType"): 10,
        ("NoneType",) * 3: 910,
    }
    assert Counter(map(tuple, tries.values())) == expected


def test_flaky_asks_which_attempt_it_is() -> None:
    module = sample("flaky")
    with attempt(1), pytest.raises(ConnectionError):
        module.flaky(41, seconds=0)
    with attempt(2):
        assert module.flaky(41, seconds=0) == {"number": 41, "attempt": 2}


def test_flaky_has_hostile_messages() -> None:
    module = sample("flaky")
    assert "[/foo]" in str(module.error_of(127, 1))
    assert "\x1b]0;" in str(module.error_of(137, 1))


def test_flaky_takes_the_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sample("flaky")
    waits: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    for number in range(1_100):
        if module.error_of(number, 1) is None:
            module.flaky(number, seconds=0.2)
    assert sum(waits) / len(waits) == pytest.approx(0.2, rel=0.02)


# --- tables ------------------------------------------------------------------------------------------------


def test_tables_are_of_the_size_that_is_asked_for_and_always_the_same() -> None:
    module = sample("tables")
    pages = {page: module.tables(page, min_rows=50, max_rows=100) for page in module.page_numbers(pages=20)}
    assert list(pages) == list(range(1, 21))
    assert all(50 <= len(rows) <= 100 for rows in pages.values())
    assert len({len(rows) for rows in pages.values()}) > 5
    assert pages[3] == module.tables(3, min_rows=50, max_rows=100)
    products = [row["product"] for rows in pages.values() for row in rows]
    assert len(set(products)) == len(products)
    assert 5_000 <= len(module.tables(1)) <= 10_000


def test_tables_have_columns_of_mixed_types() -> None:
    rows = sample("tables").tables(1)
    kinds = {name: {type(row[name]) for row in rows} for name in rows[0]}
    assert kinds == {
        "product": {int},
        "category": {str},
        "price": {float, type(None)},
        "stock": {int},
        "available": {bool},
        "published": {date},
        "updated": {datetime},
        "labels": {list},
    }


def test_a_sample_needs_nothing_but_python_and_tui_runner() -> None:
    allowed = {"tui_runner", *sys.stdlib_module_names}
    for name in NAMES:
        tree = ast.parse((bundled("sample_jobs") / f"{name}.py").read_bytes())
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=[*names]):
                    assert {alias.name.split(".")[0] for alias in names} <= allowed
                case ast.ImportFrom(module=str(module)):
                    assert module.split(".")[0] in allowed
