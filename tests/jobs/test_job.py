"""@job: the attributes of a declared function, and the conversion of items to its arguments."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tui_runner.errors import UserError
from tui_runner.jobs.job import Job, job
from tui_runner.jobs.reference import JobReference


@job(table="books", threads=64, max_memory="1GB")
def books(page: int, *, base: str = "http://x") -> str:
    """Fetch a page.

    And more.
    """
    return f"{base}/{page}"


@books.items
def pages(*, last: int = 3) -> range:
    return range(1, last + 1)


def test_a_job_is_called_like_its_function() -> None:
    assert books(3) == "http://x/3"
    assert books(3, base="y") == "y/3"


def test_a_job_knows_its_function() -> None:
    assert (books.name, books.doc, books.is_async, books.has_items) == ("books", "Fetch a page.", False, True)
    assert books.settings == {"table": "books", "threads": 64, "max_memory": 10**9}
    assert [parameter.name for parameter in books.parameters] == ["base", "last"]
    assert books.reference == JobReference(__name__, False, "books")
    assert books.path == f"{__name__}:books"
    assert books.__doc__ == books.function.__doc__


def test_its_items_are_made_with_the_parameters_they_name() -> None:
    params = books.bind({"last": "2"})
    assert list(books.make_items(params)) == [1, 2]
    assert books.call_params(params) == {"base": "http://x"}


def test_bare_decoration_and_async_functions() -> None:
    @job
    async def fetch(url: str) -> None: ...

    @job()
    async def stream(url: str) -> Any:
        yield url

    assert fetch.is_async and stream.is_async
    assert fetch.settings == {} == stream.settings
    assert fetch.doc == ""


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            lambda: job(max_workers=3)(pages),
            r"@job of pages, max_workers: there is no such setting; did you mean threads\?",
        ),  # type: ignore[call-overload]
        (lambda: job(thraeds=3)(pages), r"@job of pages, thraeds: there is no such setting; did you mean threads\?"),  # type: ignore[call-overload]
        (lambda: job(threads="many")(pages), "@job of pages, threads: 'many' is not a whole number"),  # type: ignore[call-overload]
        (lambda: job("books"), "gives a setting without its name"),  # type: ignore[call-overload]
        (lambda: job(dict), "needs a function, not the class dict"),
        (lambda: job(threads=1)(3), "needs a function"),  # type: ignore[arg-type]
        (lambda: books.items(pages), "two functions for its items"),
        (lambda: books.setup(3), "needs a function"),  # type: ignore[type-var]
    ],
)
def test_a_wrong_declaration_names_its_fault(declare: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        declare()


def test_hooks_run_with_the_parameters_they_name_and_backwards_at_the_end() -> None:
    calls: list[str] = []
    work = job(lambda item: item)

    @work.setup
    def first() -> None:
        calls.append("first")

    @work.setup
    def second(*, token: str) -> None:
        calls.append(token)

    @work.teardown
    def close() -> None:
        calls.append("close")

    @work.teardown
    def log_out(token: str) -> None:
        calls.append(f"out {token}")

    params = work.bind({"token": "t"})
    work.run_setup(params)
    work.run_teardown(params)
    assert calls == ["first", "t", "out t", "close"]


def test_hooks_that_cannot_be_called_are_refused_where_they_are_declared() -> None:
    work = job(lambda item: item)
    with pytest.raises(UserError, match=r"items of the job .*: its parameter last can't be given by name"):

        @work.items
        def numbers(last: int, /) -> range:
            return range(last)

    with pytest.raises(UserError, match="cannot be an async function"):

        @work.items
        async def stream() -> None: ...


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None; return a list, a range or a generator"),
        ("abc", "returned 'abc'"),
        (3, "returned 3"),
    ],
)
def test_an_items_function_has_to_return_items(returned: object, message: str) -> None:
    work = job(lambda item: item)
    work.items(lambda: returned)
    with pytest.raises(UserError, match=message):
        work.make_items({})


def test_an_error_of_an_items_function_is_one_line() -> None:
    work = job(lambda item: item)

    @work.items
    def fails() -> Iterator[int]:
        raise ValueError("no\nnetwork \x1b[31m")

    with pytest.raises(UserError) as caught:
        work.make_items({})
    assert r"ValueError: no network \x1b[31m" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_items_whose_attributes_raise_are_refused_in_one_line() -> None:
    class Hostile:
        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def __getattr__(self, name: str) -> object:
            raise ValueError(f"no {name}")

    work = job(lambda item: item)
    work.items(Hostile)
    with pytest.raises(UserError, match=r"test_job.py:\d+: making the items failed: ValueError: no __arrow_c_stream__"):
        work.make_items({})


def test_a_table_of_data_is_no_iterable_of_items() -> None:
    pandas = pytest.importorskip("pandas")
    work = job(lambda item: item)
    work.items(lambda: pandas.DataFrame({"a": [1]}))
    with pytest.raises(UserError, match="returned a DataFrame; return its rows as a list of dicts"):
        work.make_items({})


def test_a_function_that_no_worker_could_find_has_no_reference() -> None:
    def local(item: object) -> None: ...

    with pytest.raises(UserError, match="define the function at the top level of a file"):
        _ = Job(local).reference


# --- passing items -------------------------------------------------------------------------------------------


def one(url): ...
def two(url, depth): ...
def default(url, depth=1): ...
def row(**row): ...
def some(*values): ...
def none(): ...
def only_parameters(*, base=1): ...
def clash(url, *, depth=1): ...
def first_only(url, depth, /): ...
def rest(url, **rest): ...


@pytest.mark.parametrize(
    ("function", "columns", "by_name"),
    [
        (one, None, False), (two, None, True), (default, None, False), (row, None, True), (some, None, False),
        (one, ("x",), False), (default, ("x",), False), (some, ("x",), False),
        (one, ("url", "x"), True), (two, ("depth", "url"), True), (default, ("url", "x"), True),
        (row, ("a", "b"), True),
        (first_only, ("url", "depth"), True), (rest, ("url", "b"), True), (len, None, False), (max, None, False),
    ],
)  # fmt: skip
def test_items_are_passed_by_name_or_position(function: Any, columns: Any, by_name: bool) -> None:
    assert Job(function).check_input(columns) is by_name


@pytest.mark.parametrize(
    ("function", "columns", "message"),
    [
        (none, None, r"none has no parameter for the item; write def none\(item\)"),
        (none, ("url",), r"write def none\(url\)"),
        (only_parameters, ("a b",), r"write def only_parameters\(item, \*, …\)"),
        (none, ("url", "depth"), r"takes no columns, .* has url, depth; write def none\(url, depth\)"),
        (some, ("a", "b"), "takes no columns"),
        (row, ("url",), r"no parameter for the item"),
        (two, ("url",), "two needs url, depth, but the input has only url"),
        (two, ("url", "dept"), r"two needs depth, which the input lacks; .* are url, dept; did you mean dept\?"),
        (one, ("a", "b"), r"one needs url, which .* are a, b; write def one\(\*\*row\) for whole rows"),
        (clash, ("url", "depth"), "depth: a column of the input, and a job parameter of clash"),
        (one, ("\x1b[31m", "b"), r"its columns are '\\x1b\[31m', b"),
    ],
)  # fmt: skip
def test_a_signature_that_does_not_fit_names_both_sides(function: Any, columns: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Job(function).check_input(columns)


@pytest.mark.parametrize(
    ("function", "item", "arguments"),
    [
        (two, {"url": 1, "depth": 2, "more": 3}, ((), {"url": 1, "depth": 2})),
        (two, (1, 2), ((1, 2), {})),
        (two, [1, 2], ((1, 2), {})),
        (two, 1, ((1,), {})),
        (rest, {"url": 1, "more": 3}, ((), {"url": 1, "more": 3})),
        (first_only, {"depth": 2, "url": 1}, ((1, 2), {})),
    ],
)
def test_arguments_by_name(function: Any, item: object, arguments: object) -> None:
    assert Job(function).arguments(item, True) == arguments
    assert Job(function).arguments(item, False) == ((item,), {})


def test_wanted_columns_are_those_that_the_function_names() -> None:
    assert Job(default).wanted_columns(("x", "depth", "url")) == ("depth", "url")
    assert Job(one).wanted_columns(("url", "x")) == ("url",)
    assert Job(row).wanted_columns(("url", "x")) is None
    assert Job(one).wanted_columns(("x",)) is None
    assert Job(one).wanted_columns(None) is None


def test_caller_takes_one_item() -> None:
    def show(url: str, depth: int = 1, *, base: str = "b") -> tuple[object, ...]:
        return url, depth, base

    shown = Job(show)
    params = shown.bind({"base": "c"})
    assert shown.caller(params, by_name=False)("u") == ("u", 1, "c")
    assert shown.caller(params, by_name=True)({"url": "u", "depth": 2, "x": 3}) == ("u", 2, "c")
    assert Job(one).caller({}, by_name=False) is one


def test_items_reach_a_function_whatever_mapping_they_are() -> None:
    class Row(Mapping[str, int]):
        def __getitem__(self, name: str) -> int:
            return {"url": 1, "depth": 2}[name]

        def __iter__(self) -> Iterator[str]:
            return iter(["url", "depth"])

        def __len__(self) -> int:
            return 2

    assert Job(two).arguments(Row(), True) == ((), {"url": 1, "depth": 2})


def test_the_reference_can_be_sent_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(books.reference)) == books.reference
    assert Path(__file__).name.startswith(books.reference.source.rpartition(".")[2])


# --- what is tried again --------------------------------------------------------------------------------------


def test_retry_on_decides_which_errors_are_retried() -> None:
    @job(retry_on=(KeyError, TimeoutError), retries=5)
    def fetch(url: str) -> None: ...

    assert fetch.retry_on == (KeyError, TimeoutError)
    assert fetch.settings == {"retries": 5}
    assert books.retry_on is None


@pytest.mark.parametrize("value", ["KeyError", 5, int, (KeyError, "x"), [KeyError]])
def test_invalid_retry_on_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="retry_on="):
        job(retry_on=value)(lambda url: None)
