from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.text.redaction import MASK, SUSPECT, Redaction, Secret, is_redacted, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://ann:pw@h.org/a?b=1", "GET https://***@h.org/a?b=1"),
        ("postgres://u:p@ss:w@rd@db:5432/x", "postgres://***@db:5432/x"),
        ("https://ghp_123@github.com and ftp://a:b@c", "https://***@github.com and ftp://***@c"),
        ("https://h.org/a?api_key=abc&page=2", "https://h.org/a?api_key=***&page=2"),
        ("https://h.org/a?page=2&access_token=a.b-c&x=1#top", "https://h.org/a?page=2&access_token=***&x=1#top"),
        ("'https://h/?X-Amz-Signature=ab%2Fcd'", "'https://h/?X-Amz-Signature=***'"),
        ("https://h/?token=a&amp;apiKey=b&key=c&sig=d", "https://h/?token=***&amp;apiKey=***&key=***&sig=***"),
        ("https://h/p;jsessionid=12AB?q=1", "https://h/p;jsessionid=***"),
        ('"password": ["abcdef"], "n": 1', '"password": ***, "n": 1'),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("> authorization:Basic YTpi\nHost: h", "> authorization:***\nHost: h"),
        ("Set-Cookie: sid=1; Path=/\r\nX: y", "Set-Cookie: ***\nX: y"),
        ("{'Authorization': 'Bearer x', 'Accept': '*/*'}", "{'Authorization': '***', 'Accept': '*/*'}"),
        ('{"cookie":"a=\\"b\\"; c=d","n":1}', '{"cookie":"***","n":1}'),
        ("[(b'Cookie', b'a=b'), (b'Host', b'h')]", "[(b'Cookie', b'***'), (b'Host', b'h')]"),
        ("curl -H 'X-Api-Key: 123' https://h", "curl -H 'X-Api-Key: ***' https://h"),
        ("sent Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc", "sent Bearer ***"),
        ("sent Basic YWxhZGRpbjpvcGVu to h", "sent Basic *** to h"),
        ("X-Vault-Token: hvs.CAES, Host: h", "X-Vault-Token: ***, Host: h"),
        ("PRIVATE-TOKEN: glpat-x1\nHost: h", "PRIVATE-TOKEN: ***\nHost: h"),
        ("{'x-goog-api-key': 'AIza', 'n': 1}", "{'x-goog-api-key': '***', 'n': 1}"),
        ('{"api-key": "abc", "client-secret": "d"}', '{"api-key": "***", "client-secret": "***"}'),
        ("https://h/cb#access_token=ya29.x&expires=1", "https://h/cb#access_token=***&expires=1"),
        ('{"user": "ann", "password": "open sesame"}', '{"user": "ann", "password": "***"}'),
        ("login(user=ann, password=sesame) failed", "login(user=ann, password=*** failed"),
        ("host=h password=sesame dbname=x", "host=h password=*** dbname=x"),
        ("DB_PASSWORD: sesame", "DB_PASSWORD: ***"),
        ("dict(token='abc', n=1)", "dict(token='***', n=1)"),
        ("('password', 'x')", "('password', '***')"),
        ('["password", "x"]', '["password", "***"]'),
        ("got [(b'X-Api-Key', b'ab'), ('n', 1)]", "got [(b'X-Api-Key', b'***'), ('n', 1)]"),
        ('sent "[\\"db_password\\", \\"x\\"]"', 'sent "[\\"db_password\\", \\"***\\"]"'),
        ('["token", "a\\"b"]', '["token", "***"]'),
        ("GET https://u:a/b@h/", "GET https://***@h/"),
        ("https://u:a#b?c@h/x and https://u:80a@h", "https://***@h/x and https://***@h"),
        ("https://u:a/b@c@h/", "https://***@h/"),
        ("redis://:a/b@h:6379/0", "redis://***@h:6379/0"),
        ('sent Digest username="ann", realm="r", response="6629"', "sent Digest response=***"),
        (
            r"""{'x': 'Digest nonce=\"1\", response=\"6629\", qop=auth', 'n': 1}""",
            "{'x': 'Digest response=***', 'n': 1}",
        ),
        ("curl --password hunter2 https://h", "curl --password *** https://h"),
        ("curl --db-password=sesame,x https://h", "curl --db-password=*** https://h"),
        ("Command '['curl', '--password', 'x', 'h']' failed", "Command '['curl', '--password', '***', 'h']' failed"),
        ("run --api-key 'open sesame' now", "run --api-key '***' now"),
    ],
)
def test_texts_that_look_like_secrets_are_redacted(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected
    assert is_redacted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "nothing to see",
        "https://h.org/users/@ann?page=2&lang=de",
        "https://h.org/?q=a@b.c",
        "ann@h.org wrote: max_tokens=512",
        "the bearer of this token, a cookie, needs no authorization",
        "1 of 3: key=5",
        "x-rays",
        "unexpected token: <",
        "basic information about bearer certificates",
        "no password: none was asked for"[:11],
        "the secret of this key, a token",
        "***",
        "2 *** 3 https://h/",
        "https://host:8080/x@y",
        "https://host:8080?x=@y https://[::1]:80/x@y https://host:/x@y",
        "fields: ['user', 'password', 'name']",
        'columns = ["token", "secret", "key"]',
        "give --password to be asked, --token is optional; --password --user=ann1",
        "Digest realm=x, nonce=1",
        "the digest of a file",
    ],
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not is_redacted(text)


def test_values_of_secrets_are_taken_out_wherever_they_stand() -> None:
    hide = Redaction.of({"token": Secret('s3cr/t+"é'), "more": [{"inner": Secret("zwölf")}], "open": "visible"})
    texts = ['s3cr/t+"é', repr('s3cr/t+"é'), json.dumps('s3cr/t+"é'), quote('s3cr/t+"é', safe=""), "x zwölf y"]
    for text in texts:
        assert "s3cr" not in hide(f"<{text}> visible")
        assert "zw" not in hide(f"<{text}> visible")
        assert hide(f"<{text}> visible").endswith("visible")


@pytest.mark.parametrize("secret", ["sésame/ö'pen", 'a"b\\c<d>&e', "tab\there\x1b\U0001f511", "plain-sesame"])
@pytest.mark.parametrize(
    "form",
    [
        lambda value: repr(value.encode()),
        ascii,
        repr,
        json.dumps,
        lambda value: json.dumps({"body": json.dumps({"key": value})}),
        lambda value: json.dumps(json.dumps([value], ensure_ascii=False), ensure_ascii=False),
        lambda value: json.dumps(value).replace("/", "\\/"),
        lambda value: json.dumps(json.dumps(value).replace("/", "\\/")),
        html.escape,
        lambda value: html.escape(value, quote=False),
        lambda value: html.escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        lambda value: value.encode().hex(),
        lambda value: f"0x{value.encode().hex().upper()}",
    ],
)
def test_a_secret_is_taken_out_in_every_form_that_python_gives_it(form: Callable[[str], str], secret: str) -> None:
    hidden = Redaction([secret])(f"<{form(secret)}>")
    assert re.fullmatch(r"""[<>\\/"'b\[\]{}0x:a-z ]{0,40}\*\*\*[<>\\/"'\]}]*""", hidden), hidden


def test_a_secret_of_several_lines_is_taken_out_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n}\n-----END KEY-----"
    hide = Redaction([key])
    assert hide(f"got {key}!") == f"got {MASK}!"
    assert [hide(line) for line in key.splitlines()] == [MASK, MASK, "}", MASK]


@pytest.mark.parametrize("user", ["", "a:", "ab:", "abc:", "user@example.org:"])
def test_a_secret_in_base64_is_taken_out_wherever_it_begins(user: str) -> None:
    for safe in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = safe(f"{user}s3cr>t?+sesame!".encode()).decode()
        hidden = Redaction(["s3cr>t?+sesame!"])(f"sent {encoded}")
        assert MASK in hidden
        assert len(hidden) < len(f"sent {encoded}") - 10


def test_a_secret_in_a_url_is_taken_out_in_either_case() -> None:
    assert Redaction(["a/b+sesame"])("x=a%2fb%2bsesame&y=a%2Fb%2Bsesame") == f"x={MASK}&y={MASK}"


def test_a_secret_of_three_characters_is_none() -> None:
    assert Redaction(["abc"])("abcabc") == "abcabc"


SECRET = st.text(st.characters(blacklist_characters="*"), min_size=4, max_size=20)


@given(st.lists(SECRET, max_size=4), st.lists(st.text(max_size=20), max_size=6), st.randoms())
def test_no_value_is_left_in_any_text(secrets: list[str], others: list[str], chance: object) -> None:
    parts = secrets + others
    chance.shuffle(parts)  # type: ignore[attr-defined]
    hidden = Redaction(secrets)("".join(parts))
    assert not any(secret in hidden for secret in secrets)


URL_TEXT = st.text("abcXYZ019-._~!$&'()*+,;=:%@", max_size=15)


@given(user=URL_TEXT, before=st.text(max_size=10), name=st.sampled_from(["token", "api_key", "X-Amz-Signature"]))
def test_users_of_urls_and_tokens_in_queries_never_stay(user: str, before: str, name: str) -> None:
    hidden = redact(f"{before} https://{user}@host.example/a?b=1&{name}=sesame&c=2")
    assert hidden.endswith(f"https://***@host.example/a?b=1&{name}=***&c=2")


PIECES = ["://", "@", "?", "&", "=", "token", "key", "Authorization", "cookie", ":", '"', "'", " ", "\n", "\\",
          "bearer ", "Basic ", "digest ", "response", "--", "[", "(", ")", "]", "x-api-key",
          "password", "#", "a1", "***", "b'", ",", "é", "/"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_twice_is_as_good_as_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "://", "://a", "://a@", "?", "?token", "&token=", "?tokentoken", "?a=b&", "authorization", "authorization:",
        "cookie'", "cookie' ", "'cookie'='\\", "cookie\\'", "bearer ", "bearer a", "x-api-key=\\", "\\\\", '"', " ",
        "://a:", "://a:b@", "://a:b/", "['token','", '("token",', "('token',\\\\", "--token ", "--a-token=", "-a",
        "--token '", "'--token','", 'digest a="', "digest a=b,", "digest a=b ", "digest a=",
    ],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.perf_counter()
    redact(text)
    # A tenth of a second where it is linear, minutes where it is quadratic.
    assert time.perf_counter() - began < 5


def test_secrets_in_a_dataclass_are_found() -> None:
    @dataclass
    class Login:
        user: str
        password: Secret

    redaction = Redaction.of({"login": [Login("ann", Secret("open-sesame"))], "kind": Login})
    assert redaction("ann open-sesame") == f"ann {MASK}"


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_every_redacted_text_is_suspect(text: str) -> None:
    if redact(text) != text:
        assert re.search(SUSPECT, text, re.IGNORECASE)


def test_every_kind_of_secret_is_suspect() -> None:
    found = [
        mark.args[1] for mark in test_texts_that_look_like_secrets_are_redacted.pytestmark if mark.name == "parametrize"
    ]
    texts = [text for cases in found for text, _ in cases]
    assert len(texts) > 20
    assert [text for text in texts if not re.search(SUSPECT, text, re.IGNORECASE)] == []


def test_the_place_of_a_value_in_a_message_is_no_secret() -> None:
    assert Redaction()("give --set token=… --set depth=…") == "give --set token=… --set depth=…"
    assert Redaction()("--set token=…abc") == f"--set token={MASK}"
