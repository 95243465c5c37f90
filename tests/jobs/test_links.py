"""The links of a page."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.jobs import crawl
from tui_runner.jobs.http.links import MOST_URL, canonicalizer, links_of

pytest.importorskip("w3lib")

BASE = "http://a.test/dir/page"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<a href="b">', ["http://a.test/dir/b"]),
        ("<A HREF=/b?x=1&amp;y=2>", ["http://a.test/b?x=1&y=2"]),
        ("<a title='>' href='../c#d'>", ["http://a.test/c#d"]),
        ('<area href="//b.test/x"><iframe src="f"></iframe>', ["http://b.test/x", "http://a.test/dir/f"]),
        ('<base href="/other/"><a href=x>', ["http://a.test/other/x"]),
        ('<meta http-equiv="Refresh" content="0; url=/next">', ["http://a.test/next"]),
        ('<link rel="next" href="2"><link rel="stylesheet" href="s.css">', ["http://a.test/dir/2"]),
        ('<a href="mailto:x@y"><a href="javascript:x()"><a href="ftp://x/"><a href="data:,x"><a>', []),
        ('<!-- <a href="hidden"> --><script>"<a href=hidden>"</script><a href="seen">', ["http://a.test/dir/seen"]),
        ('<a href="b"><a href="b">', ["http://a.test/dir/b"]),
        ('<a href="http://[bad">', []),
        ("<a href=''><a href=\" c \">", ["http://a.test/dir/c"]),
    ],
)
def test_links_are_those_that_a_browser_would_follow(text: str, expected: list[str]) -> None:
    assert links_of(text, BASE) == expected


@settings(max_examples=33)
@given(st.text(alphabet="<>a \"'=href/!-", max_size=400))
def test_any_text_has_links_or_none(text: str) -> None:
    assert isinstance(links_of(text, BASE), list)


@pytest.mark.parametrize(
    "text",
    ['<a "' * 200_000, "<!--" * 200_000, "<a href=" * 100_000, "<script>" * 50_000],
    ids=["quotes", "comments", "values", "scripts"],
)
def test_hostile_page_takes_no_minutes(text: str) -> None:
    began = time.process_time()
    links_of(text, BASE)
    assert time.process_time() - began < 10


def test_addresses_of_one_page_are_one() -> None:
    canonical = canonicalizer()
    assert canonical("HTTP://A.test/x?b=2&a=1#top") == canonical("http://a.test/x?a=1&b=2")
    assert canonical("http://a.test") == "http://a.test/"


def test_traps_and_other_sites_are_not_followed() -> None:
    crawl._rules.hosts = frozenset({"a.test"})
    crawl._rules.include, crawl._rules.exclude = (), ()
    try:
        assert crawl._may_follow("http://a.test/x")
        assert crawl._may_follow("https://www.a.test/x")
        for url in ("http://b.test/", "ftp://a.test/", f"http://a.test/{'x' * MOST_URL}", f"http://a.test{'/x' * 9}"):
            assert not crawl._may_follow(url)
    finally:
        crawl._rules.hosts = frozenset()
        crawl._rules.include, crawl._rules.exclude = (), ()
