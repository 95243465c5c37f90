"""Results page by page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.store.query import pages as pages_module
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import QueryCancelled
from tui_runner.store.query.pages import Pages


@pytest.fixture
def console(database: Database) -> Iterator[Console]:
    with Console(database) as opened:
        yield opened


def numbers(pages: Pages, page: int) -> list[int]:
    table = pages.page(page)
    assert table is not None
    return table["a"].to_pylist()


def test_pages_are_cut_at_rows(console: Console) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(2_500)"), page_rows=1_000)
    assert numbers(pages, 0) == list(range(1_000))
    assert (pages.rows_known, pages.complete) == (1_000, False)
    assert numbers(pages, 2) == list(range(2_000, 2_500))
    assert pages.page(3) is None
    assert pages.page(-1) is None
    assert (pages.rows_known, pages.complete) == (2_500, True)
    pages.close()


def test_an_empty_result_has_no_page(console: Console) -> None:
    pages = Pages(console.query("SELECT 1 AS a WHERE false"))
    assert pages.page(0) is None
    assert pages.complete
    assert pages.schema.names == ["a"]


def test_pages_that_left_memory_come_back(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "_PAGES_IN_MEMORY", 2)
    pages = Pages(console.query("SELECT range AS a FROM range(10_000)"), page_rows=100)
    assert pages.page(50) is not None
    assert len(pages._in_memory) == 2
    for page in (0, 50, 17, 49, 0, 51, 16):
        assert numbers(pages, page) == list(range(page * 100, page * 100 + 100))
        assert len(pages._in_memory) <= 2
    pages.close()


def test_wide_pages_leave_memory_by_their_size(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "_BYTES_IN_MEMORY", 1 << 20)
    pages = Pages(console.query("SELECT repeat('x', 100_000) AS a FROM range(100)"), page_rows=10)
    assert pages.page(9) is not None
    assert sum(page.nbytes for page in pages._in_memory.values()) <= (2 << 20) + 4096
    pages.close()


def test_the_first_page_comes_before_the_rest_is_made(console: Console) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(100_000_000_000)"))
    assert numbers(pages, 0)[-1] == 9_999
    pages.close()
    with pytest.raises(UserError, match="run the statement again"):
        pages.page(0)


def test_a_later_statement_ends_the_pages_of_the_one_before(console: Console) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(100_000)"), page_rows=10_000)
    pages.page(0)
    console.query("SELECT 1").close()
    with pytest.raises(UserError):
        pages.page(5)
    assert not pages.complete
    assert numbers(pages, 0) == list(range(10_000))


def test_rows_before_a_mistake_are_shown(console: Console) -> None:
    sql = (
        "SELECT CAST(CASE WHEN range = 3_000_000 THEN 'x' ELSE range::VARCHAR END AS BIGINT) AS a FROM range(5_000_000)"
    )
    pages = Pages(console.query(sql), page_rows=1_000)
    assert numbers(pages, 0) == list(range(1_000))
    with pytest.raises(UserError, match="Could not convert"):
        pages.page(4_999)
    assert not pages.complete
    pages.close()


def test_every_row_is_exported(console: Console) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(12_345)"), page_rows=1_000)
    pages.page(3)
    assert [n for batch in pages.all_batches() for n in batch["a"].to_pylist()] == list(range(12_345))
    assert pages.complete
    pages.close()


def test_closing_ends_calls_that_wait_for_a_page(console: Console, database: Database) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(100_000_000_000)"))
    caught: list[BaseException] = []

    def read() -> None:
        try:
            pages.page(1_000_000)
        except UserError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while pages.rows_known < 20_000:
        pass
    pages.close()
    reader.join()
    assert isinstance(caught[0], QueryCancelled) or "ended before its last row" in str(caught[0])
    assert database._cursors == []


def test_the_file_has_a_bound(console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages_module, "_PAGES_IN_MEMORY", 1)
    monkeypatch.setattr(pages_module, "_FILE_BYTES", 1 << 20)
    pages = Pages(console.query("SELECT hash(range) AS a FROM range(1_000_000)"))
    with pytest.raises(UserError, match="too large to page through"):
        pages.page(90)
    pages.close()
