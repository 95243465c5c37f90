"""Converts text from a command line, a form or a ledger to the type of an annotation."""

from __future__ import annotations

import ast
import base64
import collections.abc
import json
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from tui_runner.errors import UserError
from tui_runner.system.files import expanded
from tui_runner.text.messages import listed, plain, quoted
from tui_runner.text.redaction import Secret

_NO_JSON = (ValueError, RecursionError)
"""Errors that `json` raises for text that is not JSON, and for values that are nested too deeply."""


class _Unfit(Exception):
    """Raised for a value that cannot be converted; the message describes the expected values.

    Attributes:
        do: what the user can do, if the message does not show it; otherwise empty.
    """

    def __init__(self, expected: str, do: str = "") -> None:
        super().__init__(expected)
        self.do = do


def convert(value: object, annotation: Any, *, name: str) -> Any:
    """Convert a value to the type of an annotation.

    Text is converted. The elements of lists and dicts, as from JSON, are converted one by one. A number is converted to
    the numeric type of the annotation, or to a `timedelta`, and a value of an enumeration to its member. Other values
    from Python code or JSON are refused if they certainly do not fit, such as a list for a number; otherwise they are
    returned unchanged.

    * `bool`: true/false, yes/no, on/off, 1/0. `int` takes `1_000` and `0x1f`.
    * `date`, `datetime`, `time`: ISO 8601. `timedelta`: seconds.
    * an enumeration: the name or the value of a member. `Literal`: one of its choices.
    * `X | None`: empty text, `none` and `null` mean None; if X is `str`, only empty text does.
    * `list[X]`, `tuple[X, ...]`, `set[X]`: comma-separated, or a JSON list.
    * `bytes`: the text, or `base64:` and bytes in base64.
    * `Any`, `object`: JSON, or the text itself if it is not JSON.
    * `dict` and everything else: JSON.

    Args:
        value: the given value.
        annotation: a type, or a type form from `typing`.
        name: name of the parameter, for the message.

    Raises:
        UserError: the value cannot be converted. The message names the parameter, the value and the expected values.
    """
    try:
        return _convert(value, annotation)
    except _Unfit as unfit:
        shown = "'***'" if mentions_secret(annotation) else quoted(value)
        raise UserError(f"{shown} is not {unfit}", where=f"parameter {name}", do=unfit.do) from None


def _convert(value: object, annotation: Any) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _convert(value, arguments[0])
    if origin in (Union, types.UnionType):
        return _of_union(value, arguments)
    if origin is Literal:
        return _of_choices(value, {str(choice): choice for choice in arguments})
    if origin is typing.Final or origin is typing.ClassVar:
        return _convert(value, arguments[0])
    kind = origin or annotation
    if kind in _COLLECTIONS:
        return _of_collection(value, _COLLECTIONS[kind], arguments)
    if kind in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _of_dict(value, arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _of_enum(value, kind)
    if kind is timedelta and isinstance(value, (int, float)):
        return timedelta(seconds=value)
    if not isinstance(value, str):
        return _plain(value, kind)
    if kind is Any or kind is object:
        return _json_or_text(value)
    if isinstance(kind, type) and kind is not str and isinstance(value, kind):
        return value
    return _of_text(value, kind)


def described(annotation: Any) -> str:
    """Return a short description of an annotation for users: `int`, `int or none`, `one of: a, b`, `list of int`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Annotated, typing.Final, typing.ClassVar):
        return described(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(described(kind) for kind in arguments)
    if origin is Literal:
        return f"one of: {listed(arguments)}"
    kind = origin or annotation
    if kind is type(None):
        return "none"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of: {listed(kind.__members__)}"
    name = getattr(kind, "__name__", None) or str(kind)
    each = kind in _COLLECTIONS and arguments and (kind is not tuple or arguments[-1] is Ellipsis)
    return f"{name} of {described(arguments[0])}" if each else name


def described_source(annotation: str) -> str:
    """Return the text of `described` for an annotation in source code, without executing it.

    A name says nothing about its type, so an enumeration is described by its name, not by its members.
    """
    try:
        return _described(ast.parse(annotation, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a text in quotes may be anything
        return annotation


def _described(node: ast.expr) -> str:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{_described(left)} or {_described(right)}"
        case ast.Constant(value=None):
            return "none"
        case ast.Constant(value=str(text)):  # a type in quotes
            return text
        case ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            if name == "Literal":
                return f"one of: {listed([ast.literal_eval(part) for part in parts])}"
            if name == "Optional":
                return f"{_described(inside)} or none"
            if name == "Union":
                return " or ".join(map(_described, parts))
            if name in ("Annotated", "Final", "ClassVar"):
                return _described(parts[0])
            of_any_length = len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is Ellipsis
            if name in {kind.__name__ for kind in _COLLECTIONS} and (name != "tuple" or of_any_length):
                return f"{name} of {_described(parts[0])}"
            return name
    return ast.unparse(node)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except _NO_JSON:
        return text


def _of_text(text: str, kind: Any) -> Any:
    for base, (make, expected) in _FROM_TEXT.items():
        if kind is base or (isinstance(kind, type) and issubclass(kind, base)):
            try:
                made = make(text)
                return made if isinstance(made, kind) else kind(made)
            except (ValueError, InvalidOperation, OverflowError, RuntimeError, UserError):
                raise _Unfit(expected) from None
    try:
        return json.loads(text)
    except _NO_JSON:
        name = getattr(kind, "__name__", None) or str(kind)
        do = f"""write JSON for the type {plain(name)}, such as 3, "text" or [1, 2]; or declare it as str"""
        raise _Unfit("JSON", f"{do} and convert it in the function") from None


def _plain(value: object, kind: Any) -> Any:
    """Check a value that is not text, and convert between kinds of numbers, which JSON does not distinguish."""
    if kind is bool and not isinstance(value, bool):
        raise _Unfit(_FROM_TEXT[bool][1])
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and (isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())):
        raise _Unfit(_FROM_TEXT[int][1])
    if kind is int and isinstance(value, float):
        return int(value)
    if kind is Decimal and isinstance(value, (int, float)):
        return Decimal(str(value))
    if kind in (int, float, str, Decimal) and (value is None or isinstance(value, (list, dict))):
        raise _Unfit(_FROM_TEXT[kind][1])
    return value


def _of_union(value: object, kinds: tuple[Any, ...]) -> Any:
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) < len(kinds):
        if value is None:
            return None
        words = ("",) if any(kind is str for kind in others) else ("", "none", "null")
        if isinstance(value, str) and value.strip().lower() in words:
            return None
    if not isinstance(value, str):
        for kind in others:
            if isinstance(kind, type) and type(value) is kind:
                return value
    expected = []
    # Every text is a valid `str`, so try the other types first.
    for kind in sorted(others, key=lambda kind: kind is str):
        try:
            return _convert(value, kind)
        except _Unfit as unfit:
            expected.append(str(unfit))
    raise _Unfit(" or ".join(dict.fromkeys(expected)))


def _of_choices(value: object, choices: dict[str, Any]) -> Any:
    for choice in choices.values():
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, str) and value in choices:
        return choices[value]
    raise _Unfit(f"one of {listed(choices)}")


def _of_enum(value: object, kind: type[Enum]) -> Enum:
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        names = {name.lower(): member for name, member in kind.__members__.items()}
        if value in kind.__members__:
            return kind.__members__[value]
        if value.lower() in names:
            return names[value.lower()]
    for member in kind:
        if member.value == value or str(member.value) == value:
            return member
    raise _Unfit(f"one of {listed(kind.__members__)}")


def _of_collection(value: object, make: Callable[[list[Any]], Any], arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        parts = _split(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = list(value)
    else:
        raise _Unfit("a list: write its values with commas between")
    if make is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(parts) != len(arguments):
            raise _Unfit(f"{len(arguments)} values with commas between")
        return tuple(_convert(part, kind) for part, kind in zip(parts, arguments, strict=True))
    kind = arguments[0] if arguments else str
    try:
        return make([_convert(part, kind) for part in parts])
    except _Unfit as unfit:
        raise _Unfit(f"a list of values that are each {unfit}", unfit.do) from None


def _split(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            return list(json.loads(text))
        except _NO_JSON:
            raise _Unfit("a JSON list") from None
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _of_dict(value: object, arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except _NO_JSON:
            raise _Unfit('a JSON object such as {"name": "value"}') from None
    if not isinstance(value, collections.abc.Mapping):
        raise _Unfit('a JSON object such as {"name": "value"}')
    if len(arguments) != 2:
        return value
    return {_convert(key, arguments[0]): _convert(part, arguments[1]) for key, part in value.items()}


def mentions_secret(annotation: Any) -> bool:
    """Return True if a value of this type is a secret or contains secrets."""
    if isinstance(annotation, type) and issubclass(annotation, Secret):
        return True
    return any(mentions_secret(part) for part in typing.get_args(annotation))


def _bool(text: str) -> bool:
    return _TRUTH[text.strip().lower()] if text.strip().lower() in _TRUTH else _fail()


def _fail() -> bool:
    raise ValueError


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # `int` accepts a prefix, as in 0x1f, only with base 0
        return int(text, 0)


def _decimal(text: str) -> Decimal:
    return Decimal(text.strip())


def _seconds(text: str) -> timedelta:
    return timedelta(seconds=float(text))


_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""Words that mean true or false."""

_BASE64 = "base64:"
"""Prefix of text that encodes bytes in base64."""


def text_of_bytes(value: bytes) -> str:
    """Return text from which `convert` restores the bytes: decoded if they are UTF-8, otherwise base64."""
    if not value.startswith(_BASE64.encode()):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # the bytes are not text
    return _BASE64 + base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    if text.startswith(_BASE64):
        return base64.b64decode(text.removeprefix(_BASE64), validate=True)
    return text.encode()


_FROM_TEXT: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (_bool, "true or false"),
    int: (_int, "a whole number"),
    float: (float, "a number"),
    complex: (complex, "a complex number such as 1+2j"),
    Decimal: (_decimal, "a decimal number"),
    datetime: (datetime.fromisoformat, "a time such as 2026-01-31T12:00"),
    date: (date.fromisoformat, "a date such as 2026-01-31"),
    time: (time.fromisoformat, "a time of day such as 12:00"),
    timedelta: (_seconds, "a number of seconds"),
    PurePath: (expanded, "a path"),
    UUID: (UUID, "a UUID"),
    bytes: (_bytes, f"text, or {_BASE64} and bytes in base64"),
    str: (str, "text"),
}
"""Converter and description for each type. A subclass precedes its base: `bool` before `int`, `datetime` before `date`.
"""

_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    tuple: tuple,
    set: set,
    collections.abc.Set: frozenset,
    frozenset: frozenset,
}
