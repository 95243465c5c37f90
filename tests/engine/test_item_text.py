"""Text of an input becomes what the function's annotations say, and stays text where text is wanted."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from support.command_line import CommandLine

from tui_runner.errors import ItemError
from tui_runner.jobs.job import Job


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    LOW = 1


class Own:
    pass


def takes(annotation: Any) -> Job:
    """Return a job whose only parameter has this annotation."""

    def work(item: Any) -> Any:
        return item

    work.__annotations__["item"] = annotation
    return Job(work)


def call(job: Job, item: object, *, by_name: bool = False) -> Any:
    return job.caller({}, by_name=by_name, from_input=True)(item)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "5", 5),
        (float, "1e3", 1000.0),
        (bool, "no", False),
        (date, "2026-01-31", date(2026, 1, 31)),
        (Path, "a/b", Path("a/b")),
        (Colour, "red", Colour.RED),
        (Literal[1, 2], "2", 2),
        (int | None, "", None),
        (Annotated[int, "a page"], "5", 5),
        (list[int], "1,2", [1, 2]),
        (dict, '{"a": 1}', {"a": 1}),
        (str, "5", "5"),
        (int | str, "5", "5"),
        (str | None, "", ""),
        (Literal["a"], "b", "b"),
        (object, "5", "5"),
        (Any, "5", "5"),
        (Iterable[str], "a,b", "a,b"),
        (Own, "5", "5"),
        ("Unknown", "5", "5"),
        (int, 5.5, 5.5),
        (str, 5, 5),
    ],
)
def test_the_annotation_says_what_text_stands_for(annotation: Any, text: object, value: object) -> None:
    found = call(takes(annotation), text)
    assert (type(found), found) == (type(value), value)


def test_items_of_the_jobs_own_and_parameters_without_annotation_stay_as_they_are() -> None:
    def bare(item):  # type: ignore[no-untyped-def]
        return item

    assert takes(int).caller({}, by_name=False)("5") == "5"
    assert Job(bare).caller({}, by_name=False, from_input=True)("5") == "5"


def test_rows_are_converted_by_name_and_by_place() -> None:
    def work(page: int, day: date, /, name: str = "", *rest: str, item: int = 0) -> Any:
        return page, day, name, rest, item

    caller = Job(work).caller({"item": 7}, by_name=True, from_input=True)
    assert caller({"page": "1", "day": "2026-01-31", "name": "3"}) == (1, date(2026, 1, 31), "3", (), 7)
    assert caller(["1", "2026-01-31", "3", "4"]) == (1, date(2026, 1, 31), "3", ("4",), 7)


def test_text_that_does_not_fit_names_the_parameter() -> None:
    with pytest.raises(ItemError, match=r"^parameter item: 'five' is not a whole number$"):
        call(takes(int), "five")


COUNTING = """
    from tui_runner import current

    def count(page: int):
        return {"next": page + 1, "item": type(current.item).__name__}

    async def later(page: int):
        return count(page)
"""
FOUND = "SELECT next, item FROM {}"


@pytest.mark.parametrize("job", ["count", "later"])
@pytest.mark.parametrize("source", ["-", "numbers.txt", "numbers.csv", "numbers.jsonl", "sql:SELECT '7' AS page"])
def test_whatever_the_input_the_function_gets_numbers(
    cli: CommandLine, tmp_path: Path, job_file: Callable[[str], str], source: str, job: str
) -> None:
    job_file(COUNTING)
    (tmp_path / "numbers.txt").write_text("7\nx\n")
    (tmp_path / "numbers.csv").write_text("page\n7\nx\n")
    (tmp_path / "numbers.jsonl").write_text('"7"\n"x"\n')
    ran = cli("run", f"work.py:{job}", "--input", source, "--db", "x.duckdb", cwd=tmp_path, stdin="7\nx\n")
    failed = 0 if source.startswith("sql:") else 1
    assert (ran.code, "ItemError: parameter page: 'x' is not a whole number" in ran.err) == (failed, bool(failed))
    found = cli("query", "x.duckdb", FOUND.format(job), "--format", "json", cwd=tmp_path)
    assert json.loads(found.out) == [{"next": 8, "item": "str"}]


PRICED = """
    from datetime import date
    from decimal import Decimal

    def price(version: str, amount: Decimal | None, day: date, count: int, seen):
        return {"version": version, "amount": str(amount), "day": str(day), "count": count, "seen": str(seen)}

    def release(version: str):
        return {"version": version}
"""


def test_a_csv_column_that_is_wanted_as_text_or_as_an_exact_number_is_not_read_as_a_float(
    cli: CommandLine, tmp_path: Path, job_file: Callable[[str], str]
) -> None:
    job_file(PRICED)
    (tmp_path / "a.csv").write_text(
        "seen,count,day,amount,version\n1.50,3,2026-01-31,12.50,1.10\n2.0,4,2026-02-01,,1.1\n"
    )
    (tmp_path / "b.csv").write_text("tag\n1.10\n1.1\n")
    for job, source in (("price", "a.csv"), ("release", "b.csv")):
        assert cli("run", f"work.py:{job}", "--input", source, "--db", "x.duckdb", cwd=tmp_path).code == 0
    found = cli("query", "x.duckdb", "SELECT * EXCLUDE (_run, _item) FROM price", "--format", "json", cwd=tmp_path)
    assert json.loads(found.out) == [
        {"version": "1.10", "amount": "12.50", "day": "2026-01-31", "count": 3, "seen": "1.5"},
        {"version": "1.1", "amount": "None", "day": "2026-02-01", "count": 4, "seen": "2.0"},
    ]
    found = cli("query", "x.duckdb", "SELECT version FROM release", "--format", "json", cwd=tmp_path)
    assert json.loads(found.out) == [{"version": "1.10"}, {"version": "1.1"}]


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (str, True),
        (str | None, True),
        (Decimal, True),
        (Path, True),
        (timedelta, True),
        (Colour, True),
        (Level, True),
        (list[int], True),
        (Literal["1", "2"], True),
        (Annotated[str, "a version"], True),
        (int, False),
        (bool, False),
        (float | None, False),
        (datetime, False),
        (str | int, False),
        (Literal[1, "2"], False),
        (object, False),
        (Any, False),
        (Own, False),
    ],
)
def test_which_columns_are_left_as_they_are_written(annotation: Any, written: bool) -> None:
    job = takes(annotation)
    assert job.columns_as_written(("tag",), by_name=False) == ({"tag"} if written else set())
    assert job.columns_as_written(("a", "item"), by_name=True) == ({"item"} if written else set())
