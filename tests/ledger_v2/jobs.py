"""The jobs whose runs are in `ledger.duckdb.gz`."""

import time

from tui_runner import job

SLOW, BROKEN, STUCK = 3, 4, 5
"""Last digits of numbers that end late, fail, and time out."""


def work(number: int) -> dict[str, int]:
    """Do what the last digit of `number` says."""
    time.sleep(0.02)
    if number % 10 == BROKEN and number < 60:
        raise ValueError(f"no {number}")
    if number % 20 == STUCK and number < 60:
        time.sleep(1.0)
    return {"number": number}


@job(retries=0, timeout=0.4, threads=2, chunk_size=10, table="lines")
def lines(line: str):
    """Take lines of text; some lines occur twice."""
    return work(int(line.removeprefix("n")))


@job(retries=0, timeout=0.4, threads=2, chunk_size=10, table="rows")
def rows(number: int, name: str):
    """Take two of the three columns of a table."""
    return work(number)


@job(retries=0, timeout=0.4, threads=2, chunk_size=10, table="numbers")
def numbers(value: int):
    """Take the numbers of a range."""
    return work(value)


class Page:
    """A value with a state of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


class Nameless(Page):
    """A value without a state: it is recognised by its position."""

    def __reduce_ex__(self, version):
        """Pickle, but not as the key of an item wants it."""
        if version == 4:
            raise TypeError("no state")
        return (Nameless, (self.number,))


@job(retries=0, timeout=0.4, threads=2, chunk_size=10, table="pages")
def pages(page):
    """Take objects."""
    return work(page.number)


@pages.items
def all_pages():
    """Return objects, one in three without a state."""
    return [(Nameless if number % 3 == 0 else Page)(number) for number in range(100)]
