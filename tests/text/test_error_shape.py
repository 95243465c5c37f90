from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.text.describe import shape


@pytest.mark.parametrize(
    ("message", "folded"),
    [
        ("timed out after 30.5 s", "timed out after N s"),
        ("row 7: 12,000 > 9", "row N: N > N"),
        ("<object at 0x7f31C0de>", "<object at N>"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is gone", "id N is gone"),
        ("id 3f2504e04f8911d39a0c0305e82c3301 is gone", "id N is gone"),
        ("utf8 and SHA256 are names, int64 too", "utf8 and SHA256 are names, int64 too"),
        ("db498897 down, db0 up", "dbN down, dbN up"),
        ("bad price for SKU124, SKU7 of col12_a", "bad price for SKUN, SKUN of colN_a"),
        ("use an 0o prefix, not 0b or 0x; line 8", "use an 0o prefix, not 0b or 0x; line N"),
        ("0o17 and 0b11 of 0B, 10b and 30s", "N and N of NB, Nb and Ns"),
        ("no item1234 in p17.html", "no itemN in pN.html"),
        ("host img41.example, db7-3.local reset", "host imgN.example, dbN-N.local reset"),
        ("id 6866a0f missing, 9aab0f too", "id N missing, N too"),
        ("a facade of deadbeef", "a facade of deadbeef"),
        ("first line\nsecond 2", "first line"),
        ("  \n padded 1 ", "padded N"),
        ("no such page: https://h.org/a/b?c=7", "no such page: https://…"),
        ("no column 'price' in 'shop 7'", "no column '…' in '…'"),
        ("can't open it, it's gone", "can't open it, it's gone"),
        ("can't open 'it's.txt': gone", "can't open '…': gone"),
        ("cannot read /data/in/a-17.csv at row 3", "cannot read … at row N"),
        ("12 items/s and/or 1/2", "N items/s and/or N/N"),
        ("invalid syntax (page_a.py, line 3)", "invalid syntax (…, line N)"),
        ("invalid character '€' (U+20AC)", "invalid character '…' (N)"),
        ("not Python 3.13, line 7: `expected ':'`", "not Python N, line N: `…`"),
        ("'price'", "'price'"),
        ("'user-17'", "'…'"),
        ("", ""),
    ],
)
def test_parts_that_differ_between_alike_errors_are_folded(message: str, folded: str) -> None:
    assert shape(message) == folded


@pytest.mark.parametrize(
    ("message", "folded"),
    [
        ("Client error '404 Not Found' for url 'https://x.org/17'", "Client error '404 Not Found' for url '…'"),
        ("503 Server Error: gone for url: http://x/8", "503 Server Error: gone for url: http://…"),
        ("page 404 has status 500", "page N has status 500"),
        ("HTTP/1.1 429 on attempt 3", "HTTP/1.1 429 on attempt N"),
        ("status code: 418", "status code: 418"),
        ("[Errno 13] Permission denied: '/tmp/88'", "[Errno 13] Permission denied: '…'"),
        ("returned non-zero exit status 2.", "returned non-zero exit status 2."),
        ("code 12345 of 404", "code N of N"),
    ],
)  # fmt: skip
def test_a_number_that_tells_kinds_of_errors_apart_stays(message: str, folded: str) -> None:
    assert shape(message) == folded


@given(st.text(max_size=2_000))
def test_a_shape_is_short_and_one_line(message: str) -> None:
    folded = shape(message)
    assert len(folded) <= 200
    assert "\n" not in folded
