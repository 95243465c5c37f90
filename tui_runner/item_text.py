"""Text of an input, converted by the annotation of the parameter that takes it.

A line of a file or of standard input is text, and so are the values of a CSV column that are not all numbers, or of
Parquet and JSON where they were written so. If the function says `page: int`, it gets an integer: by the same rules as
job parameters that are given with `--set`. Nothing else is converted, and no text where text is wanted: the parameter
has no annotation, is annotated with `str` or with something that text is as well (`object`, `Iterable`).

The item stays what it was: its key, and `current.item`, are those of the text.

In a CSV file everything is text, and what looks like a number need not be one: `1.10` is a version, `12.50` an amount
of money. A column whose parameter asks for anything but a number, a date or a truth value is left as it is written.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from tui_runner.conversion import convert
from tui_runner.errors import ItemError, UserError

_TYPES = (int, float, Decimal, date, time, timedelta, PurePath, UUID, bytes, list, tuple, set, frozenset, dict, Enum)
"""What text may stand for; `bool` is an `int`, and `datetime` a `date`."""

_SEEN_IN_CSV = (int, float, date)
"""What values of a CSV column are made of by their looks; `bool` is an `int`, and `datetime` a `date`."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class ItemText:
    """Converts the arguments of one function.

    Args:
        annotations: of its parameters, by name; those without one are missing.
        names: of its positional parameters, in order.
    """

    def __init__(self, annotations: Mapping[str, Any], names: Sequence[str]) -> None:
        self._wanted = {name: annotations[name] for name in names if is_converted(annotations.get(name))}
        self._names = tuple(names)

    def __bool__(self) -> bool:
        """Whether there is anything to convert at all."""
        return bool(self._wanted)

    def converted(self, positional: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
        """The arguments with each text converted that stands for a value of another type.

        Raises:
            ItemError: a text does not stand for such a value; names the parameter, the text and what is expected.
        """
        given = [
            self._convert(self._names[index], value) if index < len(self._names) else value
            for index, value in enumerate(positional)
        ]
        return tuple(given), {name: self._convert(name, value) for name, value in named.items()}

    def _convert(self, name: str, value: Any) -> Any:
        if type(value) is not str or name not in self._wanted:
            return value
        try:
            return convert(value, self._wanted[name], name=name)
        except UserError as error:
            raise ItemError(str(error)) from None


def is_converted(annotation: Any) -> bool:
    """Whether text for a parameter with this annotation is to become something else."""
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
    """Whether a number, date or truth value in a CSV file is to reach a parameter with this annotation as its text."""
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
    """`function` as something that takes an item and job parameters, and is called with the item's text converted.

    Args:
        function: the job's.
        text: converts its arguments.
        arguments: makes positional and named arguments of an item.
    """

    def call(item: Any, /, **params: Any) -> Any:
        positional, named = text.converted(*arguments(item))
        return function(*positional, **named, **params)

    return call
