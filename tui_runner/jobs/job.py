"""A job: a Python function, its declared settings, and the functions that belong to it.

    @job(table="books", threads=64)
    def books(page: int, *, base: str = "https://books.toscrape.com"):
        ...

    @books.items
    def pages(*, last: int = 50):
        return range(1, last + 1)

A `Job` can be called like its function, for example in tests.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from tui_runner.errors import UserError
from tui_runner.jobs.arguments import ItemText, Signature, converting, is_taken_as_written
from tui_runner.jobs.hosts import host_of
from tui_runner.jobs.parameters import Parameter, annotations_of, bind, merged, parameters_of
from tui_runner.jobs.reference import JobReference
from tui_runner.jobs.settings import check_setting
from tui_runner.system.process import is_ctrl_c, no_exit_at_once
from tui_runner.text.describe import line_of
from tui_runner.text.items import WideRow
from tui_runner.text.messages import did_you_mean, plain, quoted, raised, type_name
from tui_runner.text.redaction import Redaction

_F = TypeVar("_F", bound=Callable[..., Any])
RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool | None]
"""Argument of `@job(retry_on=…)`: exception types that are also retried, or a function that decides. If the function
returns None, the default rule decides."""


HostOf = str | Callable[[Any], str | None]
"""Argument of `@job(host=…)`: the name of a parameter that has a URL or host, or a function that returns the URL or
host of an item."""


class Job:
    """A function that runs over items, with its declared settings and the functions registered with it.

    Attributes:
        function: the function itself.
        name: name of the function; also of the results table, unless `settings` has another name.
        settings: checked settings from `@job(...)`.
        doc: first line of the function's docstring; empty without one.
        is_async: True for an `async def` or an asynchronous generator.
        retry_on: errors to retry, from `@job(retry_on=…)`; None for the default rule.
        frontier: True if items may add items to the run, from `@job(frontier=True)`.
        host: rule by which the host of an item is known before it starts, from `@job(host=…)`; None without a rule.
        parameters: parameters besides the item: the keyword-only parameters of the function and all parameters of its
            `items`, `setup` and `teardown` functions, each name once.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        settings: Mapping[str, object] | None = None,
        reference: JobReference | None = None,
        retry_on: RetryOn | None = None,
        host: HostOf | None = None,
        frontier: bool = False,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            given = f"the class {plain(function.__name__)}" if isinstance(function, type) else quoted(function)
            raise UserError(f"@job needs a function, not {given}")
        functools.update_wrapper(self, function)
        self.function = function
        self.name: str = reference.function if reference else getattr(function, "__name__", "job")
        where = f"@job of {plain(self.name)}"
        self.settings: Mapping[str, object] = {
            name: check_setting(name, value, where=f"{where}, {plain(name)}")
            for name, value in (settings or {}).items()
        }
        self.doc = (inspect.getdoc(function) or "").strip().split("\n", 1)[0]
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self.retry_on = _checked_retry_on(retry_on, where)
        self._signature = Signature(function)
        self.frontier = frontier is True
        self.host = _checked_host(host, self._signature.names, where)
        self._reference = reference
        self._items: Callable[..., Any] | None = None
        self._setup: list[Callable[..., Any]] = []
        self._teardown: list[Callable[..., Any]] = []
        self.parameters: tuple[Parameter, ...] = ()
        self._collect_parameters()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Job {self.name}>"

    def items(self, function: _F) -> _F:
        """Register the function that returns the items of the job: any iterable, which is read as the run needs items.

        Raises:
            UserError: the job already has an items function, `function` is asynchronous or cannot be called with job
                parameters alone, or it gives a parameter a default that another function of the job does not give it.
        """
        if self._items is not None:
            raise UserError(f"the job {plain(self.name)} has two functions for its items", do="keep one")
        self._check_hook(function, "items")
        self._items = function
        self._collect_parameters()
        return function

    def describe_hook(self, function: Callable[..., Any]) -> str:
        """Return a clause about what a registered function is used for; empty for a function that is not registered."""
        if function is self._items:
            return f"only makes the items of job {plain(self.name)}"
        for kind, hooks in (("setup", self._setup), ("teardown", self._teardown)):
            if any(function is hook for hook in hooks):
                return f"is only the {kind} function of job {plain(self.name)}"
        return ""

    def setup(self, function: _F) -> _F:
        """Register a function that runs once in each worker, before its first item.

        Several functions run in the order of their declaration. A function takes any of the job parameters, by name.

        Raises:
            UserError: as for `items`.
        """
        self._check_hook(function, "setup")
        self._setup.append(function)
        self._collect_parameters()
        return function

    def teardown(self, function: _F) -> _F:
        """Register a function that runs once in each worker, after its last item, unless the worker is killed.

        The function that was declared last runs first.

        Raises:
            UserError: as for `items`.
        """
        self._check_hook(function, "teardown")
        self._teardown.append(function)
        self._collect_parameters()
        return function

    @property
    def reference(self) -> JobReference:
        """The name by which another process loads this job.

        Raises:
            UserError: the function is not at the top level of a file or module.
        """
        return self._reference or _reference_of(self.function)

    def locate(self, reference: JobReference) -> None:
        """Set the name by which the loader has found the job; the function may be defined in another module."""
        self._reference = reference

    @property
    def path(self) -> str:
        """Name of the job in the ledger: `/abs/scrape.py:fetch` or `package.module:fetch`."""
        return f"{self.reference.source}:{self.reference.function}"

    @property
    def has_items(self) -> bool:
        """True if the job has a function for its items."""
        return self._items is not None

    def parameters_for(self, *, own_items: bool) -> tuple[Parameter, ...]:
        """Return the job parameters that a run uses.

        Args:
            own_items: True if the run takes the job's own items; False to omit parameters that only the items function
                takes.
        """
        if own_items or self._items is None:
            return self.parameters
        used = {each.name for each in parameters_of(self.function)}
        for hook in (*self._setup, *self._teardown):
            used.update(each.name for each in parameters_of(hook, keyword_only=False))
        return tuple(each for each in self.parameters if each.name in used)

    def bind(self, given: Mapping[str, object]) -> dict[str, Any]:
        """Return the value of every job parameter: the converted given value, or the default.

        Raises:
            UserError: a name is unknown, a required parameter has no value, or a text cannot be converted.
        """
        return bind(self.parameters, given)

    def make_items(self, params: Mapping[str, Any]) -> Iterable[object]:
        """Call the items function with the parameters that it takes.

        Args:
            params: the values of all job parameters, from `bind`.

        Raises:
            UserError: the job has no items function, or that function raised an error (which is the cause) or returned
                something that cannot be iterated.
        """
        if self._items is None:
            raise UserError(f"the job {plain(self.name)} has no items of its own", do="give it an --input")
        where = f"items of the job {plain(self.name)}"
        try:
            with no_exit_at_once():
                items = self._items(**_named(self._items, params))
                _check_items(items, where)
        except UserError:  # such an error already has a complete message, for example that of `crawl`
            raise
        except BaseException as error:  # the user's code may raise anything
            if is_ctrl_c(error):
                raise
            what = f"making the items failed: {raised(error, Redaction.of(params))}"
            raise UserError(what, where=line_of(error) or where) from error
        found: Iterable[object] = items
        return found

    def call_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of `params` that the function itself takes."""
        names = self._signature.keyword_only
        return {name: value for name, value in params.items() if name in names}

    def run_setup(self, params: Mapping[str, Any]) -> None:
        """Call the setup functions in the order of declaration. Their errors are not caught."""
        for function in self._setup:
            function(**_named(function, params))

    def run_teardown(self, params: Mapping[str, Any]) -> None:
        """Call the teardown functions, the last declared one first. Their errors are not caught."""
        for function in reversed(self._teardown):
            function(**_named(function, params))

    def check_input(self, columns: Sequence[str] | None) -> bool:
        """Return True if `arguments` divides an item among the parameters (`by_name`).

        Return False if each item is passed as one positional argument.

        Args:
            columns: columns of the input; None for items of any shape, such as the job's own items.

        Raises:
            UserError: the function's parameters do not fit; the message names them and the columns.
        """
        return self._signature.fit(columns)

    def wanted_columns(self, columns: Sequence[str] | None) -> tuple[str, ...] | None:
        """Return the columns of a table for which the function has a parameter. Other columns need not be read.

        Return None if the function takes all columns (`**kwargs`), or if the input has no columns or a single one. Call
        it after `check_input`.
        """
        return self._signature.wanted(columns)

    def columns_as_written(self, columns: Sequence[str] | None, *, by_name: bool) -> frozenset[str]:
        """Return the columns of a table that the function takes as text, even if they look like numbers.

        The result is for `Source.as_written`. `by_name` is the result of `check_input`.
        """
        annotations = annotations_of(self.function)
        names = self._signature.names
        takers = zip(columns or (), columns or () if by_name else names, strict=False)
        return frozenset(
            column
            for column, name in takers
            if name in names and name in annotations and is_taken_as_written(annotations[name])
        )

    def arguments(self, item: object, by_name: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments for an item, without the job parameters.

        With `by_name`, the members of a mapping are passed by name (members without a parameter are omitted), and the
        elements of a tuple or list by position. Otherwise the item is the only positional argument, unless it is a
        `WideRow`, which is always passed by name.
        """
        return self._signature.arguments(item) if by_name or type(item) is WideRow else ((item,), {})

    def caller(self, params: Mapping[str, Any], *, by_name: bool, from_input: bool = False) -> Callable[[Any], Any]:
        """Return a function that calls the job's function with one item.

        It is called a million times, so everything that does not depend on the item is done here.

        Args:
            params: the values of all job parameters, from `bind`.
            by_name: result of `check_input`.
            from_input: True if the items are from an input, so that text is converted by the annotations.
        """
        keywords = self.call_params(params)
        function = self.function
        text = ItemText(annotations_of(function) if from_input else {}, self._signature.names)
        if text:
            function = converting(function, text, functools.partial(self.arguments, by_name=by_name))
            by_name = from_input = False
        if by_name:
            arguments = self._signature.arguments

            def call(item: Any) -> Any:
                positional, named = arguments(item)
                return function(*positional, **named, **keywords)

            return call
        if from_input:
            arguments = self._signature.arguments

            def call_one(item: Any) -> Any:
                if type(item) is not WideRow:
                    return function(item, **keywords)
                positional, named = arguments(item)
                return function(*positional, **named, **keywords)

            return call_one
        # A partial has no Python frame, so it is fast. Without arguments to add, the function itself is even faster.
        return functools.partial(function, **keywords) if keywords else function

    def host_finder(self, *, by_name: bool) -> Callable[[object], str] | None:
        """Return a function that returns an item's host, empty if unknown. Return None if the job has no `host` rule.

        Args:
            by_name: result of `check_input`.
        """
        if self.host is None:
            return None
        asked = self.host

        def find(item: object) -> str:
            try:
                if callable(asked):
                    return host_of(asked(item))
                positional, named = self.arguments(item, by_name)
                return host_of({**dict(zip(self._signature.names, positional, strict=False)), **named}.get(asked))
            except Exception:  # the item fails when it is executed, with a better message
                return ""

        return find

    def _check_hook(self, function: Callable[..., Any], kind: str) -> None:
        where = f"{kind} of the job {plain(self.name)}"
        if not callable(function):
            raise UserError(f"@{plain(self.name)}.{kind} needs a function, not {quoted(function)}", where=where)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise UserError("it cannot be an async function", where=where, do="write it with def")
        fixed = (inspect.Parameter.POSITIONAL_ONLY,)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in fixed and parameter.default is inspect.Parameter.empty:
                name = plain(parameter.name)
                raise UserError(f"its parameter {name} can't be given by name", where=where, do="remove the / after it")

    def _collect_parameters(self) -> None:
        hooks = [*([self._items] if self._items else []), *self._setup, *self._teardown]
        groups = [parameters_of(self.function)]
        groups.extend(parameters_of(hook, keyword_only=False) for hook in hooks)
        self.parameters = merged(groups)


@overload
def job(function: Callable[..., Any], /) -> Job: ...
@overload
def job(
    *,
    table: str = ...,
    chunk_size: int = ...,
    open_chunks: int = ...,
    threads: int = ...,
    workers: int = ...,
    backend: str = ...,
    retries: int = ...,
    retry_on: RetryOn = ...,
    retry_budget: str | None = ...,
    timeout: float | None = ...,
    rate: float | None = ...,
    per_host: int | None = ...,
    delay: float = ...,
    adaptive: bool = ...,
    host: HostOf = ...,
    frontier: bool = ...,
    max_memory: int | str | None = ...,
    max_failures: int | str | None = ...,
    on_outage: str = ...,
    grace: float = ...,
) -> Callable[[Callable[..., Any]], Job]: ...
def job(function: Any = None, /, **settings: Any) -> Any:
    """Declare a function as a job: `@job`, or `@job(threads=64)` with `Settings`, `retry_on`, `host`, `frontier`.

    `host` tells the host of an item before the item starts. It is the name of a parameter with a URL or host name, or a
    function that takes the item and returns a URL or host name. An item whose host accepts no requests yet then waits
    without occupying a thread.

    `frontier=True` lets items add items with `current.add()`. The whole input is then read before the first item runs,
    and each item runs once, from the table `runner.added` of the ledger.

    `retry_on` selects errors to retry. Exception types are retried in addition to network errors, timeouts and HTTP
    responses that may change. A function takes the error and returns True, False, or None for the default rule.

    Raises:
        UserError: a setting is unknown (the message names the most similar one) or cannot have its value, or `function`
            is not a function.
    """
    if function is None:
        return functools.partial(_declare, settings)
    if not callable(function):
        raise UserError(f"@job({quoted(function)}) gives a setting without its name", do="write @job(table=…)")
    return _declare(settings, function)


def _declare(settings: Mapping[str, Any], function: Callable[..., Any]) -> Job:
    given = dict(settings)
    retry_on, host = given.pop("retry_on", None), given.pop("host", None)
    return Job(function, given, retry_on=retry_on, host=host, frontier=given.pop("frontier", False))


def _checked_retry_on(value: Any, where: str) -> RetryOn | None:
    every = value if isinstance(value, tuple) else (value,)
    if isinstance(value, (type, tuple)):
        if not all(isinstance(each, type) and issubclass(each, BaseException) for each in every):
            raise UserError(f"retry_on={quoted(value)}: not all of them are exception types", where)
    elif value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise UserError(
            f"retry_on={quoted(value)} is neither exception types nor a function",
            where,
            "write retry_on=OSError, for example",
        )
    checked: RetryOn | None = value
    return checked


def _checked_host(value: Any, names: Sequence[str], where: str) -> HostOf | None:
    if value is None or (callable(value) and not inspect.iscoroutinefunction(value)):
        checked: HostOf | None = value
        return checked
    if not isinstance(value, str):
        raise UserError(f"host={quoted(value)} is neither a name nor a function", where, "give the name of a parameter")
    if value not in names:
        raise UserError(
            f"host={quoted(value)}: the function has no such parameter", where, did_you_mean(value, names, "it has")
        )
    return value


def _check_items(items: object, where: str) -> None:
    """Raise `UserError` if the result of an items function is not an iterable of items."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise UserError(f"the function returned {quoted(items)}", where, "return a list, a range or a generator")
    if hasattr(items, "__arrow_c_stream__") or hasattr(items, "__dataframe__"):
        raise UserError(f"the function returned a {type_name(items)}", where, "return its rows as a list of dicts")


def _named(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    names = {parameter.name for parameter in parameters_of(function, keyword_only=False)}
    return {name: value for name, value in params.items() if name in names}


def _reference_of(function: Callable[..., Any]) -> JobReference:
    """Return the name of a job that was declared in an imported module or a script and not found by `loading`."""
    name = getattr(function, "__qualname__", "")
    if not name.isidentifier():
        raise UserError(
            f"workers can't load {plain(name or function)}", do="define the function at the top level of a file"
        )
    module = function.__module__
    if module != "__main__":
        return JobReference(module, False, name)
    code = getattr(inspect.unwrap(function), "__code__", None)
    path = code.co_filename if code is not None else ""
    if not os.path.isfile(path):  # noqa: PTH113 - the name of code that was typed, such as "<stdin>", is not a path
        raise UserError(f"workers can't load {plain(name)}", do="save it in a file; it was typed into an interpreter")
    return JobReference(str(Path(path).resolve()), True, name)
