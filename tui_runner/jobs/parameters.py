"""The parameters of a job: the arguments of its functions besides the item, and how text becomes their values.

A parameter is converted to the type of its annotation, or without one, to the type of its default. Without both it is
text.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any
from uuid import UUID

from tui_runner.errors import UserError
from tui_runner.jobs.conversion import convert, described, mentions_secret, text_of_bytes
from tui_runner.jobs.settings import SET_PREFIX
from tui_runner.text.messages import did_you_mean, listed, plain
from tui_runner.text.redaction import MASK, Secret, is_redacted, redact

__all__ = ["Parameter", "Secret", "bind", "convert", "is_hidden", "jsonable", "merged", "parameters_of", "stored"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a job.

    Attributes:
        name: name in the function and after `--set`.
        annotation: type to which values are converted; `str` if unknown.
        default: the default value; None if the parameter is required.
        required: True if the parameter has no default.
        help: its meaning, from `Annotated[..., "text"]` or the `Args:` of the docstring; empty if unknown.
    """

    name: str
    annotation: Any
    default: Any = None
    required: bool = False
    help: str = ""

    @property
    def is_secret(self) -> bool:
        """True if its type is `Secret` or contains it."""
        return mentions_secret(self.annotation)

    @property
    def kind(self) -> str:
        """Short description of its type for users, with at most twelve of its choices."""
        return described(self.annotation)

    @property
    def default_text(self) -> str:
        """Its default as a user would type it: `none` for None, `***` for a secret that is not empty.

        If the default's class raises an error, the name of the class.
        """
        if self.default is None:
            return "none"
        if self.is_secret:
            return "" if self.default == "" else MASK
        if typing.get_origin(self.annotation) is typing.Literal:
            return str(self.default)
        try:
            made = jsonable(self.default)
        except Exception:  # the `repr` of a user's class may raise anything
            return type(self.default).__name__
        return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)

    def convert(self, value: object) -> Any:
        """Convert `value` to a value of this parameter; see `convert` in `conversion.py`.

        Raises:
            UserError: the value cannot be converted.
        """
        return convert(value, self.annotation, name=self.name)


def parameters_of(function: Callable[..., object], *, keyword_only: bool = True) -> tuple[Parameter, ...]:
    """Return the parameters of a function that are job parameters.

    Args:
        function: any callable. Some callables written in C have no signature, and therefore no parameters.
        keyword_only: True to return only the parameters after `*`; used for the function that takes the item.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, without a signature
        return ()
    kinds = [inspect.Parameter.KEYWORD_ONLY, *([] if keyword_only else [inspect.Parameter.POSITIONAL_OR_KEYWORD])]
    annotations = annotations_of(function)
    helps = docstring_args(inspect.getdoc(function) or "")
    return tuple(
        _parameter(parameter, annotations.get(parameter.name), helps.get(parameter.name, ""))
        for parameter in signature.parameters.values()
        if parameter.kind in kinds
    )


def merged(groups: Iterable[Sequence[Parameter]]) -> tuple[Parameter, ...]:
    """Merge the parameters of several functions of a job, in order, with each name once.

    A default that one function declares applies to all functions. A parameter that is secret in one function is secret
    in the job.

    Raises:
        UserError: two functions declare different defaults for a parameter.
    """
    every: dict[str, Parameter] = {}
    for parameter in (parameter for group in groups for parameter in group):
        first = every.get(parameter.name)
        secret = next((each for each in (first, parameter) if each is not None and each.is_secret), None)
        if first is None or (first.required and not parameter.required):
            every[parameter.name] = parameter
        elif not parameter.required and not _same(first.default, parameter.default):
            values = "" if secret else f", {_shown(first.default)} and {_shown(parameter.default)}"
            raise UserError(
                f"two functions of the job give the parameter {plain(parameter.name)} different defaults{values}",
                do="give it one default",
            )
        if secret:
            every[parameter.name] = replace(every[parameter.name], annotation=secret.annotation)
    return tuple(every.values())


def bind(parameters: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, Any]:
    """Return the value of every parameter: the converted given value, or the default.

    Args:
        parameters: parameters of the job.
        given: text from the command line, values from Python, or values that `jsonable` has stored in a ledger.

    Raises:
        UserError: a name is unknown, a value cannot be converted, or required parameters have no value
            (`MissingParameters`).
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            none = "it takes none: parameters stand after * in its function, as in def pages(url, *, depth)"
            advice = did_you_mean(name, known, "its parameters are") if known else none
            raise UserError(f"the job has no parameter {plain(name)}", do=advice)
    values: dict[str, Any] = {}
    missing: list[str] = []
    for name, parameter in known.items():
        if name in given and not is_hidden(parameter, given[name]):
            values[name] = parameter.convert(given[name])
        elif name in given or parameter.required:
            missing.append(name)
        else:
            values[name] = _made_secret(parameter.default) if parameter.is_secret else parameter.default
    if missing:
        hidden = [known[name] for name in missing if name in given]
        raise MissingParameters(missing, hidden, secret=next((n for n in missing if known[n].is_secret), None))
    return values


def _made_secret(default: Any) -> Any:
    """Return the default of a secret with all texts in it as `Secret`, so that they are found and redacted."""
    if isinstance(default, str):
        return Secret(default)
    if type(default) is dict:
        return {key: _made_secret(part) for key, part in default.items()}
    if type(default) in (list, tuple, set, frozenset):
        return type(default)(map(_made_secret, default))
    return default


class MissingParameters(UserError):
    """Raised if required parameters have no value.

    Attributes:
        names: names of the parameters without a value.
        hidden: names of the parameters whose values were secret, so that the ledger does not contain them.
    """

    def __init__(self, names: Sequence[str], hidden: Sequence[Parameter], secret: str | None = None) -> None:
        self.names = tuple(names)
        self.hidden = tuple(parameter.name for parameter in hidden)
        noun = "parameter" if len(names) == 1 else "parameters"
        why = ", which the database does not keep because it is secret" if len(hidden) == len(names) == 1 else ""
        # A secret on a command line would be stored in the shell's history and visible in every list of processes.
        secret = hidden[0].name if hidden else secret
        options = " ".join(f"--set {plain(name)}=…" for name in names[:3] if name != secret)
        do = f"give {options}"
        if secret is not None:
            first = f"{do}, and the secret" if options else "give it"
            do = f"{first} as --set {plain(secret)}=@FILE or in {SET_PREFIX}{secret.upper()}"
        super().__init__(f"the job needs the {noun} {listed(names)}{why}", do=do)


def is_hidden(parameter: Parameter, value: object) -> bool:
    """Return True if a parameter's value from a ledger was masked, because it is or contains a secret."""
    if isinstance(value, str):
        return is_redacted(value) or (value == MASK and parameter.is_secret)
    if isinstance(value, Mapping):
        return any(is_hidden(parameter, part) for part in value.values())
    return isinstance(value, (list, tuple)) and any(is_hidden(parameter, part) for part in value)


def stored(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of parameters as JSON values for the ledger, from which `bind` restores them.

    Secrets become `***`. A secret that has its default value is omitted: `bind` uses the default again, so that the
    user need not enter it.
    """
    defaults = {parameter.name: parameter for parameter in parameters if not parameter.required}
    kept = {}
    for name, value in values.items():
        parameter = defaults.get(name)
        made = jsonable(value)
        if parameter is None or not is_hidden(parameter, made) or value != parameter.default:
            kept[name] = made
    return kept


def jsonable(value: Any) -> Any:
    """Return `value` as JSON values for the ledger, from which `bind` restores it.

    Secrets become `***`. A value of any other class becomes its `repr`, from which it may not be restored.
    """
    if value is None or type(value) in (bool, int, float):
        return value
    match value:
        case Secret():
            return MASK
        case Enum():
            return value.name
        case str():
            return redact(str(value))
        case bool() | int() | float():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | UUID() | PurePath():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return text_of_bytes(bytes(value))
        case Mapping():
            return {str(jsonable(key)): jsonable(part) for key, part in value.items()}
        case set() | frozenset():
            return sorted((jsonable(part) for part in value), key=repr)
        case list() | tuple():
            return [jsonable(part) for part in value]
    return repr(value)


def _parameter(parameter: inspect.Parameter, annotation: Any, help_text: str) -> Parameter:
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    if typing.get_origin(annotation) is Annotated:
        annotation, *extras = typing.get_args(annotation)
        help_text = next((extra for extra in extras if isinstance(extra, str)), help_text)
    if annotation is None:
        annotation = _type_of(default)
    return Parameter(parameter.name, annotation, default, required, help_text)


def _type_of(default: object) -> Any:
    """Return the type to which a parameter without annotation is converted, from its default."""
    if default is None:
        return str
    if isinstance(default, (list, tuple, set, frozenset)) and default:
        kinds = {type(part) for part in default}
        part_kind = kinds.pop() if len(kinds) == 1 else str
        return tuple[part_kind, ...] if isinstance(default, tuple) else type(default)[part_kind]  # type: ignore[index,valid-type]
    return type(default)


def annotations_of(function: Callable[..., object]) -> dict[str, Any]:
    """Return the annotations of a function as types. Omit those that cannot be evaluated.

    For example, the name of a type that is imported under TYPE_CHECKING is unknown at run time. `Secret` is known even
    then: otherwise the value would be shown.
    """
    while isinstance(function, functools.partial):
        function = function.func
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # evaluating annotations executes user code, which may raise anything
        found: dict[str, Any] = {}
        for name, annotation in getattr(function, "__annotations__", {}).items():
            if not isinstance(annotation, str):
                found[name] = annotation
                continue
            holder = type("holder", (), {"__annotations__": {name: annotation}})
            known = {Secret.__name__: Secret} | getattr(function, "__globals__", {})
            try:
                hints = typing.get_type_hints(holder, known, include_extras=True)
            except Exception:  # only this parameter is treated as if it had no annotation, unless it is a secret
                hints = {name: Secret} if re.search(rf"\b{Secret.__name__}\b", annotation) else {}
            found.update(hints)
        return found


_ARGUMENT = re.compile(r"^(\s+)\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s+(.*)$")
"""Matches the first line of an argument under `Args:` in a docstring."""


def docstring_args(docstring: str) -> dict[str, str]:
    """Return the descriptions under `Args:` of a docstring in Google's style, by argument, each on one line."""
    texts: dict[str, str] = {}
    inside, indent, name = False, "", ""
    for line in docstring.splitlines():
        if not inside:
            inside = line.strip() in ("Args:", "Arguments:", "Parameters:")
        elif line.strip() and not line[0].isspace():
            break
        elif (found := _ARGUMENT.match(line)) and (not indent or found[1] == indent):
            indent, name, texts[found[2]] = found[1], found[2], found[3].strip()
        elif line.strip() and name:
            texts[name] += " " + line.strip()
    return texts


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and bool(one == other)


def _shown(value: object) -> str:
    return repr(jsonable(value))
