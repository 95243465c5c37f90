"""Items on their way to a worker."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.packed_items import pack, unpack
from tui_runner.text.items import Refused


@dataclass
class Page:
    number: int


class Grumpy:
    def __reduce__(self):
        raise RuntimeError("not today")


@given(st.lists(st.none() | st.integers() | st.text() | st.binary() | st.dictionaries(st.text(), st.floats(0, 1))))
def test_items_arrive_as_they_were_sent(values):
    assert unpack(pack(values)) == values


def test_objects_arrive_as_objects():
    assert unpack(pack([Page(3), date(2024, 2, 29), ("a", 1)])) == [Page(3), date(2024, 2, 29), ("a", 1)]


def test_an_item_that_cannot_be_sent_does_not_keep_the_others():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    values = unpack(pack([1, threading.Lock(), "two", Grumpy(), lambda: 3, nested, 4]))
    assert [value for value in values if not isinstance(value, Refused)] == [1, "two", 4]
    messages = [value.message for value in values if isinstance(value, Refused)]
    assert messages[0] == "an item of type lock cannot be sent to a worker: TypeError"
    assert messages[1] == "an item of type Grumpy cannot be sent to a worker: RuntimeError"
    assert messages[3] == "an item of type list cannot be sent to a worker: RecursionError"
    while nested:  # freeing it all at once would recurse as deeply as packing did
        nested = nested.pop()


def test_lone_surrogates_arrive():
    assert unpack(pack(["\ud800"])) == ["\ud800"]


def test_error_of_an_item_that_cannot_be_sent_can_be_sent():
    assert pickle.loads(pickle.dumps(Refused("TypeError", "why"))) == Refused("TypeError", "why")
