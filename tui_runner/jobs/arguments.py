"""Converts an item to the arguments of a function: by name or position, text converted by the annotation.

Lines of files and of standard input are text. So are texts in Parquet and JSON, and the values of a CSV column unless
all of them are numbers, dates or truth values. If the function declares `page: int`, it gets an integer, by the same
rules as for job parameters given with `--set`. Values other than text are not converted. Text is not converted either
if the parameter has no annotation, or is annotated with `str` or a type that includes text (`object`, `Iterable`).

The item itself is not converted: its key is computed from the text, and `current.item` is the text.

In a CSV file everything is text, and a text that looks like a number may be none: `1.10` is a version, `12.50` an
amount of money. So a column stays text if its parameter is annotated with another type, such as `str` or `Decimal`.
For a parameter without annotation, `1.10` becomes the number 1.1.

A row with several columns is passed by parameter name; columns without a parameter are omitted. A value of a single
column, or an item that a job creates itself, is passed as the only positional argument. If the function needs several
arguments, the members of a mapping are passed by name, and the elements of a tuple or list by position.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from tui_runner.errors import ItemError, UserError
from tui_runner.jobs.conversion import convert
from tui_runner.text.messages import did_you_mean, listed, nearest, plain

_TYPES = (int, float, Decimal, date, time, timedelta, PurePath, UUID, bytes, list, tuple, set, frozenset, dict, Enum)
"""Types to which text is converted, with their subclasses: `bool` is an `int`, and `datetime` a `date`."""

_SEEN_IN_CSV = (int, float, date)
"""Types that a CSV column gets if all values have their form, with their subclasses: `bool` is an `int`, and `datetime`
a `date`."""

_NOT_TEXT = frozenset({int, float})
"""Types of items that are passed unchanged as the only argument. Trying to convert each item would take a microsecond.
"""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class ItemText:
    """A converter of text among the arguments of one function, by the annotations of its parameters.

    Args:
        annotations: annotations of the function's parameters, by name; without the parameters that have none.
        names: names of the function's positional parameters, in order.
    """

    def __init__(self, annotations: Mapping[str, Any], names: Sequence[str]) -> None:
        self._wanted = {name: annotations[name] for name in names if is_converted(annotations.get(name))}
        self._places = {name: place for place, name in enumerate(names) if name in self._wanted}

    def __bool__(self) -> bool:
        """Return True if the text for at least one parameter is converted."""
        return bool(self._wanted)

    def converted(self, positional: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
        """Return the arguments, with text converted to the types of the annotations.

        Raises:
            ItemError: a text cannot be converted. The message names the parameter, the text and the expected values.
        """
        given, others = tuple(positional), dict(named)
        # only the parameters whose text is converted; most functions have none
        for name, place in self._places.items():
            if place < len(given):
                if type(given[place]) is str:
                    given = (*given[:place], self._convert(name, given[place]), *given[place + 1 :])
            elif type(others.get(name)) is str:
                others[name] = self._convert(name, others[name])
        return given, others

    def _convert(self, name: str, text: str) -> Any:
        try:
            return convert(text, self._wanted[name], name=name)
        except UserError as error:
            raise ItemError(str(error)) from None


def is_converted(annotation: Any) -> bool:
    """Return True if text for a parameter with this annotation is converted to another type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Annotated, typing.Final):
        return is_converted(arguments[0])
    if origin in (Union, types.UnionType):
        return all(is_converted(kind) for kind in arguments if kind is not type(None))
    if origin is Literal:
        return not any(isinstance(choice, str) for choice in arguments)
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, _TYPES)


def is_taken_as_written(annotation: Any) -> bool:
    """Return True if a CSV column that looks like numbers stays text for a parameter with this annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Annotated, typing.Final):
        return is_taken_as_written(arguments[0])
    if origin in (Union, types.UnionType):
        return all(is_taken_as_written(kind) for kind in arguments if kind is not type(None))
    if origin is Literal:
        return all(isinstance(choice, str) for choice in arguments)
    kind = origin or annotation
    if not isinstance(kind, type) or issubclass(kind, _SEEN_IN_CSV):
        return isinstance(kind, type) and issubclass(kind, Enum)
    return issubclass(kind, (str, *_TYPES))


def converting(
    function: Callable[..., Any], text: ItemText, arguments: Callable[[Any], Arguments]
) -> Callable[..., Any]:
    """Return a function that takes an item, converts text in it, and calls `function`.

    Args:
        function: the job's function.
        text: converts text among the arguments.
        arguments: returns the positional and named arguments for an item.
    """

    def call(item: Any, /, **params: Any) -> Any:
        if type(item) in _NOT_TEXT:
            return function(item, **params)
        positional, named = text.converted(*arguments(item))
        return function(*positional, **named, **params)

    return call


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class MissingColumns(UserError):
    """Raised if the input lacks a column that the function needs, or has no column for which it has a parameter.

    Args:
        what: see `UserError`.
        do: see `UserError`.
        columns: columns of the input.
    """

    def __init__(self, what: str, *, do: str, columns: Sequence[str]) -> None:
        super().__init__(what, do=do)
        self.columns = columns


class Signature:
    """The parameters of a job's function.

    Attributes:
        names: the positional parameters, in order.
        required: the positional parameters without a default.
        keyword_only: the keyword-only parameters, which are job parameters.
        takes_more: True if the function has `**kwargs`.
        takes_any: True if the function has `*args`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function_name: str = getattr(function, "__name__", "the function")
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # some functions written in C have no signature; assume one argument
            parameters = [inspect.Parameter("item", inspect.Parameter.POSITIONAL_ONLY)]
        positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
        self.names = tuple(parameter.name for parameter in positional)
        self.required = tuple(
            parameter.name for parameter in positional if parameter.default is inspect.Parameter.empty
        )
        self.keyword_only = frozenset(
            parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )
        self.takes_more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        self.takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
        self._by_position = tuple(
            parameter.name for parameter in positional if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        )
        self._by_keyword = frozenset(self.names).difference(self._by_position)

    def fit(self, columns: Sequence[str] | None) -> bool:
        """Return True if `arguments` divides an item among the parameters, False to pass each item as one argument.

        Args:
            columns: columns of the input; None for items of any shape.

        Raises:
            UserError: the columns do not fit the parameters.
        """
        if columns is None:
            if not self.names and not self.takes_any and not self.takes_more:
                self._refuse_no_item("item")
            return len(self.required) > 1 or not (self.names or self.takes_any)
        if len(columns) == 1:
            self._fit_single(columns[0])
            return False
        self._fit_table(columns)
        return True

    def wanted(self, columns: Sequence[str] | None) -> tuple[str, ...] | None:
        """Return the `columns` that have a parameter; None to keep items as they are."""
        if columns is None or len(columns) < 2 or self.takes_more:
            return None
        return tuple(column for column in columns if column in self.names)

    def arguments(self, item: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for an item: a mapping is passed by name, a tuple or list by position.

        Any other item is the only argument.
        """
        if isinstance(item, Mapping):
            positional = tuple(item[name] for name in self._by_position if name in item)
            if self.takes_more:
                return positional, {name: item[name] for name in item if name not in self._by_position}
            return positional, {name: item[name] for name in item if name in self._by_keyword}
        if isinstance(item, (tuple, list)):
            return tuple(item), {}
        return (item,), {}

    def _fit_single(self, column: str) -> None:
        if not self.names and not self.takes_any:
            self._refuse_no_item(column)
        if len(self.required) > 1:
            raise UserError(
                f"{plain(self.function_name)} needs {listed(self.required)}, but the input has only {plain(column)}",
                do="give it an input with these columns",
            )

    def _fit_table(self, columns: Sequence[str]) -> None:
        name = plain(self.function_name)
        if not self.names and not self.takes_more:
            advice = f"write def {name}({', '.join(_identifiers(columns)) or '**row'})"
            raise UserError(f"{name} takes no columns, but the input has {listed(columns)}", do=advice)
        clash = [column for column in columns if column in self.keyword_only]
        if clash:
            raise UserError(
                f"{listed(clash)}: a column of the input, and a job parameter of {name} (after the *)",
                do="write it before the * to take it from the input, or select columns with --input 'sql:SELECT …'",
            )
        missing = [parameter for parameter in self.required if parameter not in columns]
        if not missing:
            if self.takes_more or any(column in self.names for column in columns):
                return
            missing = list(self.names)
        hint = (
            did_you_mean(missing[0], columns)
            if nearest(missing[0], columns)
            else f"write def {name}(**row) for whole rows"
        )
        what = f"{name} needs {listed(missing)}, which the input lacks; its columns are {listed(columns)}"
        raise MissingColumns(what, do=hint, columns=columns)

    def _refuse_no_item(self, item: str) -> None:
        name = plain(self.function_name)
        parameter = item if item.isidentifier() else "item"
        rest = ", *, …" if self.keyword_only else ""
        raise UserError(f"{name} has no parameter for the item", do=f"write def {name}({parameter}{rest})")


def _identifiers(columns: Sequence[str]) -> list[str]:
    names = [column for column in columns if column.isidentifier()]
    return names[:6] if len(names) == len(columns) <= 6 else []
