"""Plain functions that every contender of `peers.py` runs."""

from __future__ import annotations

import json
import random
import re
import time

EMAIL = re.compile(r"[\w.]+@[\w.]+\.\w+")
PRICE = re.compile(r"(\d+)\.(\d\d) EUR")
COLUMNS = 6
"""Columns of a table, as a table on the page of a shop may have."""
TABLE_ROWS = 7_500
"""Rows of a table: the middle of 5 to 10 thousand, the size of table for which tui-runner is made."""


def empty(number: int) -> dict[str, int]:
    """Do nothing, and return a row."""
    return {"number": number}


def busy(number: int) -> dict[str, int]:
    """Compute for about a millisecond."""
    return {"number": number, "sum": sum(index * index for index in range(14_000))}


def asleep(number: int) -> dict[str, float]:
    """Wait, as an item that waits for a server: 50 ms in the mean, usually less, sometimes a second."""
    seconds = random.Random(number).lognormvariate(-3.5, 1.0)
    time.sleep(seconds)
    return {"number": number, "seconds": seconds}


def record(id: int, name: str, text: str) -> dict[str, object]:
    """Find two things in a text."""
    email, price = EMAIL.search(text), PRICE.search(text)
    return {"id": id, "name": name, "email": email and email[0], "cents": price and int(price[1] + price[2])}


def line(text: str) -> dict[str, object]:
    """Parse a line of JSON, and find two things in it."""
    return record(**json.loads(text))


def json_lines(count: int) -> str:
    """Return `count` lines of JSON of 387 bytes, the items of `line` and `record`."""
    chance = random.Random(7)
    words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "eiusmod"]
    made = []
    for number in range(count):
        text = f"mail a.{number}@example.org for {number % 500}.{number % 90 + 10} EUR " + " ".join(
            chance.choices(words, k=60)
        )
        found = {"id": number, "name": f"name {number % 1000}", "text": ""}
        found["text"] = text[: 387 - len(json.dumps(found))].ljust(387 - len(json.dumps(found)))
        made.append(json.dumps(found))
    return "\n".join(made) + "\n"


def table(number: int) -> list[dict[str, object]]:
    """Return 7,500 rows of six columns."""
    return [
        {"n": number, "row": row, "price": row * 0.5, "title": f"title {row}", "sold": row % 3 == 0, "stock": row % 97}
        for row in range(TABLE_ROWS)
    ]
