"""The examples of docs/jobs.md: each loads as a job and does what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tui_runner import http
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import load_job

PAGE = (Path(__file__).parents[1] / "docs" / "jobs.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def examples(tmp_path: Path) -> dict[str, Job]:
    """The jobs of the page, each loaded from a file of its own."""
    jobs = {}
    for number, code in enumerate(EXAMPLES):
        path = tmp_path / f"example_{number}.py"
        path.write_text(code)
        plain = re.match(r"\s*(?:import .*\s+|from .*\s+)*def (\w+)", code)
        job = load_job(f"{path}:{plain[1]}" if plain else str(path))
        jobs[job.name] = job
    return jobs


def items_of(job: Job, **params: object) -> list[Any]:
    return list(job.make_items(job.bind(params)))


def test_the_examples_of_the_page_do_what_it_says(
    examples: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examples["divisors"](12) == {"number": 12, "count": 6, "prime": False}
    assert examples["distance"](latitude=-10.0, longitude=1.0)["from_equator_km"] == pytest.approx(1112)

    (tmp_path / "notes.txt").write_text("a,b\n1,2\n3,4\n")
    (path,) = items_of(examples["count_lines"], root=str(tmp_path))
    assert examples["count_lines"](path)["lines"] == 3
    assert list(examples["read_csv"](path))[1] == {"file": path, "row": 2, "a": "3", "b": "4"}

    days = items_of(examples["daylight"], count="200")
    assert len(days) == 200
    assert 8 < examples["daylight"](days[0])["hours"] < 9
    assert examples["daylight"](days[171], latitude=70, unit="minutes")["minutes"] == 24 * 60

    assert examples["parse"](" a = 1.5") == {"name": "a", "amount": 1.5}
    with pytest.raises(Exception, match="no '='"):
        examples["parse"]("nothing")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert len(items_of(examples["settle"])) == 500
    assert examples["settle"](7) == {"number": 7, "attempt": 1}

    look_up = examples["look_up"]
    look_up.run_setup({})
    assert [look_up(number) for number in (5, 950)] == [{"number": 5, "title": "Volume 5"}, None]
    look_up.run_teardown({})

    assert examples["wait_a_little"].is_async
    assert asyncio.run(examples["wait_a_little"](10)) == {"number": 10, "attempt": 1}


def test_the_example_with_requests_logs_in(examples: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "abc")
    examples["repository"].run_setup({})
    try:
        assert http.client().headers["Authorization"] == "Bearer abc"
    finally:
        http.configure(headers=None)
        http.close()


def test_the_example_with_a_secret_has_it_hidden(examples: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def get(url: str, *, headers: dict[str, str]) -> httpx.Response:
        sent.append(headers)
        return httpx.Response(200, json={"total": 12}, request=httpx.Request("GET", url))

    monkeypatch.setattr(http, "get", get)
    params = examples["invoice"].bind({"token": "sesame"})
    assert examples["invoice"](3, **params) == {"total": 12}
    assert sent == [{"Authorization": "Bearer sesame"}]
    assert "sesame" not in repr(params)


def test_the_example_with_a_host_names_it(examples: dict[str, Job]) -> None:
    find = examples["page_size"].host_finder(by_name=False)
    assert find is not None
    assert find("https://Example.org/x") == "example.org"


def test_every_example_of_the_page_is_tried(examples: dict[str, Job]) -> None:
    assert len(EXAMPLES) == len(examples) == 12
