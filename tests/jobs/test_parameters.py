"""Job parameters: found in signatures, converted from text, stored in the ledger and read back."""

from __future__ import annotations

import math
import types
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import UserError
from tui_runner.jobs.conversion import described, described_source
from tui_runner.jobs.parameters import Parameter, Secret, bind, convert, jsonable, merged, parameters_of, stored
from tui_runner.text.redaction import secrets_in


class Level(Enum):
    LOW = 1
    HIGH = "high"


def fetch(
    page: int,
    *,
    base: str,
    depth: int = 2,
    ratio=0.5,
    tags=("a", "b"),
    until: Annotated[date | None, "last day"] = None,
    broken: Missing = None,  # type: ignore[name-defined]  # noqa: F821
) -> None:
    """Fetch a page.

    Args:
        page: not a parameter of the job.
        base: address of the site,
            without the slash.
        depth (int): how deep.

    Returns:
        base: nothing.
    """


def test_the_keyword_only_parameters_are_the_jobs() -> None:
    every = {parameter.name: parameter for parameter in parameters_of(fetch)}
    assert list(every) == ["base", "depth", "ratio", "tags", "until", "broken"]
    assert every["base"] == Parameter("base", str, None, True, "address of the site, without the slash.")
    assert every["depth"] == Parameter("depth", int, 2, False, "how deep.")
    assert every["ratio"].annotation is float
    assert every["tags"].annotation == tuple[str, ...]
    assert (every["until"].annotation, every["until"].help) == (date | None, "last day")
    assert every["broken"].annotation is str  # a name that does not resolve spoils no other


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, "int"),
        (Level, "one of: LOW, HIGH"),
        (Literal["a", 2], "one of: a, 2"),
        (Literal["low", "high"] | None, "one of: low, high or none"),
        (Optional[Level], "one of: LOW, HIGH or none"),  # noqa: UP045 - the old way to write it has to work too
        (Literal["all"] | int, "one of: all or int"),
        (Annotated[Level, "help"], "one of: LOW, HIGH"),
        (list[Level], "list of one of: LOW, HIGH"),
        (tuple[int, ...], "tuple of int"),
        (tuple[int, str], "tuple"),
        (list, "list"),
        (dict[str, int], "dict"),
        (Any, "Any"),
        (Enum("Code", "A B C D E F G H I J K L M N"), "one of: A, B, C, D, E, F, G, H, I, J, K, L and 2 more"),
    ],
)
def test_a_parameter_describes_its_type(annotation: Any, kind: str) -> None:
    assert Parameter("p", annotation).kind == kind


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (Level, Level.LOW, "LOW"),
        (Literal[1, True], True, "True"),
        (int | None, None, "none"),
        (bool, False, "false"),
        (str, "a b", "a b"),
        (float, 0.5, "0.5"),
        (timedelta, timedelta(minutes=1), "60.0"),
        (date, date(2026, 1, 31), "2026-01-31"),
        (Path, Path("/a"), "/a"),
        (bytes, b"\xff", "base64:/w=="),
        (list[str], ["a,b", "é"], '["a,b", "é"]'),
        (tuple[Level, ...], (Level.HIGH,), '["HIGH"]'),
        (dict[str, int], {"a": 1}, '{"a": 1}'),
    ],
)
def test_a_default_is_shown_as_it_would_be_typed(annotation: Any, default: object, text: str) -> None:
    parameter = Parameter("p", annotation, default)
    assert parameter.default_text == text
    assert parameter.convert(text) == default


def test_a_default_that_cannot_be_shown_or_may_not_be() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert Parameter("p", Broken, Broken()).default_text == "Broken"
    assert Parameter("p", Secret | None, "x").default_text == "***"
    assert Parameter("p", Secret, "").default_text == ""


def test_a_builtin_without_signature_has_no_parameters() -> None:
    assert parameters_of(dict.fromkeys) == () == parameters_of(max)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, " a,b ", " a,b "),
        (int, "1_000", 1000),
        (int, "0x1f", 31),
        (int, "-3", -3),
        (float, "1e3", 1000.0),
        (bool, "Yes", True),
        (bool, "off", False),
        (Path, "~", Path.home()),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T12:00:00+00:00", datetime.fromisoformat("2026-01-31T12:00:00+00:00")),
        (time, "12:30", time(12, 30)),
        (timedelta, "1.5", timedelta(seconds=1.5)),
        (Decimal, "0.10", Decimal("0.10")),
        (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
        (Level, "low", Level.LOW),
        (Level, "high", Level.HIGH),
        (Level, "1", Level.LOW),
        (Literal["a", 2], "2", 2),
        (Optional[int], "none", None),  # noqa: UP045 - the old way to write it has to work too
        (int | None, "", None),
        (int | None, "7", 7),
        (str | None, "none", "none"),
        (str | None, "", None),
        (str | int, "7", 7),
        (list[int], "1, 2,3", [1, 2, 3]),
        (list[str], '["a,b", "c"]', ["a,b", "c"]),
        (list, "", []),
        (tuple[int, ...], "1,2", (1, 2)),
        (tuple[int, str], "1,x", (1, "x")),
        (set[int], "1,1", {1}),
        (dict[str, int], '{"a": "1"}', {"a": 1}),
        (dict, '{"a": [1]}', {"a": [1]}),
        (Any, "[1]", [1]),
        (Any, "hello", "hello"),
        (Secret, "x", Secret("x")),
        (bytes, "é", "é".encode()),
        (Annotated[int, "help"], "3", 3),
    ],
)
def test_text_becomes_what_the_annotation_says(annotation: Any, text: str, value: object) -> None:
    converted = convert(text, annotation, name="p")
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (int, "many", "'many' is not a whole number"),
        (float, "x", "is not a number"),
        (bool, "maybe", "is not true or false"),
        (date, "31.1.2026", "is not a date such as"),
        (Level, "middle", "is not one of LOW, HIGH"),
        (Literal["a", "b"], "c", "is not one of a, b"),
        (list[int], "1,x", "is not a list of values that are each a whole number"),
        (tuple[int, int], "1", "is not 2 values"),
        (dict, "{", "is not a JSON object"),
        (dict, "[1]", "is not a JSON object"),
        (list[int], "[1", "is not a JSON list"),
        (complex, "i", "is not a complex number such as 1+2j"),
        (slice, "i", 'is not JSON; write JSON for the type slice, such as 3, "text" or [1, 2]; or declare it as str'),
        (list[slice], "i", "values that are each JSON; write JSON for the type slice"),
        (int | date, "x", "is not a whole number or a date"),
        (Decimal, "x", "is not a decimal number"),
        (int, "\x1b[31m\u202e", r"'\x1b[31m\u202e' is not"),
    ],
)
def test_text_that_does_not_convert_is_named_with_what_is_expected(annotation: Any, text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        convert(text, annotation, name="depth")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("parameter depth: ")
    assert str(caught.value).isprintable()


def test_values_from_python_are_taken_as_they_are_unless_they_can_only_be_a_slip() -> None:
    frame = object()
    assert convert(frame, Any, name="p") is frame
    assert convert(3, float, name="p") == 3.0
    assert convert(3.0, int, name="p") == 3
    for value, annotation in ((True, int), (2.5, int), (1, bool), (None, int), ([1], str)):
        with pytest.raises(UserError):
            convert(value, annotation, name="p")


def test_bind_fills_in_defaults() -> None:
    bound = bind(parameters_of(fetch), {"base": "http://x", "depth": "3"})
    assert bound == {"base": "http://x", "depth": 3, "ratio": 0.5, "tags": ("a", "b"), "until": None, "broken": None}


def test_bind_names_the_nearest_parameter_and_the_missing_ones() -> None:
    parameters = parameters_of(fetch)
    with pytest.raises(UserError, match=r"no parameter bsae; did you mean base\?"):
        bind(parameters, {"bsae": "x"})
    with pytest.raises(UserError, match=r"no parameter qqqq; its parameters are base, depth"):
        bind(parameters, {"qqqq": "x"})
    with pytest.raises(UserError, match=r"needs the parameter base; give --set base=…"):
        bind(parameters, {})
    with pytest.raises(UserError, match=r"no parameter x; it takes none: parameters stand after \*"):
        bind((), {"x": 1})


def test_parameters_of_several_functions_are_one_list() -> None:
    required, given_one = Parameter("base", str, None, True), Parameter("base", str, "x")
    assert merged([(required,), (given_one,)]) == (given_one,)
    assert merged([(given_one,), (required,)]) == (given_one,)
    with pytest.raises(UserError, match="parameter base different defaults, 'x' and 'y'"):
        merged([(given_one,), (Parameter("base", str, "y"),)])


def test_a_secret_shows_nowhere_and_has_to_be_given_again() -> None:
    parameters = (Parameter("token", Secret, None, True), Parameter("key", Secret | None, "preset"))
    bound = bind(parameters, {"token": "hunter2"})
    assert bound["token"] == "hunter2"
    assert "hunter2" not in repr(bound) and "preset" not in repr(bound)
    kept = stored(parameters, bound)
    assert kept == {"token": "***"}, "a default need not be given again"
    with pytest.raises(UserError, match="needs the parameter token, which the database does not keep"):
        bind(parameters, kept)
    assert bind(parameters, {**kept, "token": "again"}) == {"token": "again", "key": "preset"}
    assert stored(parameters, {"token": Secret("a"), "key": Secret("given")}) == {"token": "***", "key": "***"}
    with pytest.raises(UserError) as caught:
        convert("hunter2", list[int] | dict[str, Secret], name="p")
    assert "hunter2" not in str(caught.value)


def test_secrets_inside_a_default_are_redacted_and_not_stored() -> None:
    parameters = (
        Parameter("keys", list[Secret], ("first-key", "second-key")),
        Parameter("by_site", dict[str, Secret], {"a": "third-key"}),
    )
    bound = bind(parameters, {})
    assert bound == {"keys": ("first-key", "second-key"), "by_site": {"a": "third-key"}}
    assert "-key" not in repr(bound) and sorted(secrets_in(bound)) == ["first-key", "second-key", "third-key"]
    assert stored(parameters, bound) == {}


@pytest.mark.parametrize("secret_first", [True, False])
@pytest.mark.parametrize(("one", "other"), [("abcdefgh", "abcdefgh"), (None, "abcdefgh"), ("abcdefgh", None)])
def test_a_parameter_that_is_secret_in_one_function_is_secret_in_the_job(
    one: str | None, other: str | None, secret_first: bool
) -> None:
    kinds = (Secret, str) if secret_first else (str, Secret)
    first, second = (
        Parameter("token", kind, default, default is None) for kind, default in zip(kinds, (one, other), strict=True)
    )
    [token] = merged([(first,), (second,)])
    assert (token.is_secret, token.default_text, token.required) == (True, "***", False)


def test_two_defaults_of_a_secret_are_refused_without_showing_them() -> None:
    with pytest.raises(UserError) as caught:
        merged([(Parameter("token", Secret, "abcdefgh"),), (Parameter("token", str, "ijklmnop"),)])
    assert (
        str(caught.value) == "two functions of the job give the parameter token different defaults; give it one default"
    )


@pytest.mark.parametrize("annotation", ["Secret", "Secret | None", "tui_runner.Secret", "Missing | Secret"])
def test_a_secret_that_only_a_type_checker_imports_is_a_secret(annotation: str) -> None:
    def f(n: object, *, token: object = "abcdefgh", other: object = "x") -> None: ...

    f.__annotations__ = {"token": annotation, "other": "Unknown"}
    # This module imports the name, and a function of another one does not know it.
    unknowing = types.FunctionType(f.__code__, {}, "f")
    unknowing.__kwdefaults__, unknowing.__annotations__ = f.__kwdefaults__, f.__annotations__
    token, other = parameters_of(unknowing)
    assert (token.is_secret, token.default_text) == (True, "***")
    assert (other.is_secret, other.default_text) == (False, "x")


KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, st.text()),
    (bool, st.booleans()),
    (date, st.dates()),
    (datetime, st.datetimes()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Level, st.sampled_from(Level)),
    (UUID, st.uuids()),
    (bytes, st.binary() | st.just(b"base64:!")),
    (Path, st.just(Path("/a/b"))),
    (timedelta, st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds))),
]  # fmt: skip


@settings(max_examples=50)
@given(st.data())
def test_stored_parameters_are_read_again_as_they_were(data: st.DataObject) -> None:
    annotation, strategy = data.draw(st.sampled_from(KINDS))
    value = data.draw(strategy)
    for kind, whole in (
        (annotation, value),
        (list[annotation], [value, value]),  # type: ignore[valid-type]
        (dict[str, annotation], {"a": value}),  # type: ignore[valid-type]
        (tuple[annotation, int], (value, 1)),  # type: ignore[valid-type]
    ):
        parameters = (Parameter("p", kind),)
        again = bind(parameters, jsonable({"p": whole}))
        assert again == {"p": whole}


@settings(max_examples=50)
@given(st.sampled_from(KINDS), st.text())
def test_any_text_converts_or_is_refused_in_one_printable_line(kind: tuple[Any, object], text: str) -> None:
    try:
        value = convert(text, kind[0], name="p")
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert isinstance(value, kind[0])


def test_bytes_are_their_text_or_base64_in_a_ledger() -> None:
    assert jsonable({"t": "ü".encode(), "b": b"\xff\x00"}) == {"t": "ü", "b": "base64:/wA="}
    with pytest.raises(UserError, match="is not text, or base64:"):
        convert("base64:?", bytes, name="p")


def test_jsonable_takes_anything() -> None:
    assert jsonable({"a": {3, 1}, "b": object, "c": math.pi}) == {"a": [1, 3], "b": repr(object), "c": math.pi}


@pytest.mark.parametrize(
    "annotation",
    [
        "int",
        "int | None",
        "Optional[str]",
        "Literal['eu', 'us']",
        "Literal['eu', 3] | None",
        "list[int]",
        "tuple[int, ...]",
        "tuple[int, str]",
        "dict[str, int]",
        "Annotated[list[str], 'text']",
        "datetime",
        "Path",
    ],
)
def test_annotation_is_described_in_the_same_words_before_and_after_the_job_is_loaded(annotation: str) -> None:
    assert described_source(annotation) == described(eval(annotation))


@pytest.mark.parametrize("annotation", ["list[", "no type at all", "x" * 3 + "[" * 5_000, "Literal[f()]"])
def test_annotation_that_cannot_be_read_is_shown_as_it_is(annotation: str) -> None:
    assert described_source(annotation) == annotation
