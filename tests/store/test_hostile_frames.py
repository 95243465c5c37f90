"""Any content of a lock file and of a query connection ends in one line, in bounded time.

    EXAMPLES=10000 python -m pytest tests/store/test_hostile_frames.py

tries that many of each; without the variable it is over in a few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.access import RemoteAccess, open_access
from tui_runner.store.arrow_batches import PIECE_ROWS
from tui_runner.store.database import Database
from tui_runner.store.export import write_text
from tui_runner.store.lock import LockRecord
from tui_runner.store.remote import client
from tui_runner.store.remote.client import RemoteConsole, RemoteLimits
from tui_runner.store.remote.handshake import PROTOCOL, Token, admit
from tui_runner.store.remote.server import QueryServer, ServerLimits, serve
from tui_runner.store.remote.wire import (
    ARROW,
    END,
    FAILED,
    HELLO,
    PROGRESS,
    PROOF,
    REQUEST,
    Request,
    pack_request,
    receive_frame,
    send_frame,
)
from tui_runner.system.files import open_own

EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
SECONDS = 10.0
"""Longest time that one of them may take."""
KINDS = """
    SELECT range AS n, 'book ' || range AS title, range % 2 = 0 AS even, range * 1.5 AS price, '\\xFF'::BLOB AS bytes,
        range::DECIMAL(38, 2) AS d, DATE '2026-01-01' AS day, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS t,
        '24:00:00'::TIME AS late, 170141183460469231731687303715884105727::HUGEINT AS huge,
        CASE WHEN range < 5 THEN 'a' END::ENUM('a', 'b') AS e, [range, NULL] AS l, {'x': range, 'y': ['z']} AS s,
        MAP {'k': range} AS m, [1, 2]::INT[2] AS f, '[1]'::JSON AS j
    FROM range(20)
"""
UNREADABLE_PLACES = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"]
"""Values written over a place: the critical ones for a length or an offset."""

many = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """Return changes of bytes, each with where it is made, from 0.0 to 1.0."""
    change = st.tuples(
        st.sampled_from(["write", "insert", "cut", "end", "repeat"]),
        st.floats(0, 1),
        st.sampled_from(UNREADABLE_PLACES) | st.binary(max_size=9),
    )
    return draw(st.lists(change, min_size=1, max_size=6))


def mutated(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """Return the bytes with the changes made."""
    for what, where, new in changes:
        place = int(where * len(content))
        before, after = content[:place], content[place:]
        match what:
            case "write":
                content = before + new + after[len(new) :]
            case "insert":
                content = before + new + after
            case "cut":
                content = before + after[len(new) :]
            case "end":
                content = before
            case "repeat":
                content = before + after[: 8 * len(new)] + after
    return content


@pytest.fixture
def server(database: Database, runtime: Path) -> Iterator[QueryServer]:
    started = serve(database, ServerLimits(stall=5.0))
    yield started
    started.close()


@pytest.fixture
def answer(server: QueryServer, path: Path) -> list[tuple[bytes, bytes]]:
    """The frames of a true answer."""
    frames = []
    with asked(path) as client:
        send_frame(client, REQUEST, pack_request(Request(KINDS, {})))
        while not frames or frames[-1][0] not in (END, FAILED):
            frames.append(receive_frame(client, 1 << 22))
    assert frames[-1][0] == END
    return frames


@contextlib.contextmanager
def asked(path: Path) -> Iterator[socket.socket]:
    """Yield a connection to the owner of the database that was greeted."""
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        address = access.record.socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(address)
        assert receive_frame(client, 1024) == (HELLO, PROTOCOL.to_bytes(2))
        yield client


def packed(frames: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(kind + len(content).to_bytes(4) + content for kind, content in frames)


def assert_rows_or_one_line(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Read an answer and write its rows in two formats. Assert that it ends in time, at most with a line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # more than the connection holds
            theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        monkeypatch.setattr(client, "connect", lambda address, until: (ours, None))
        record = LockRecord(os.getpid(), 0.0, None, "x")
        console = RemoteConsole(Path("books.duckdb"), record, "x", RemoteLimits(greeting=5.0, silence=5.0))
        began = time.monotonic()
        try:
            table = console.query("SELECT 1").read_all()
            for format in ("csv", "json"):
                write_text(table.to_reader(), format, io.StringIO())
        except UserError as error:
            assert len(str(error).splitlines()) == 1
        assert time.monotonic() - began < SECONDS


@many
@given(changes=mutations())
def test_an_answer_with_changed_bytes_is_rows_or_one_line(
    answer: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch, changes: list[tuple[str, float, bytes]]
) -> None:
    assert_rows_or_one_line(monkeypatch, mutated(packed([(HELLO, PROTOCOL.to_bytes(2)), *answer]), changes))


@many
@given(changes=mutations(), cut=st.integers(1, 1 << 12))
def test_an_arrow_stream_with_changed_bytes_is_rows_or_one_line(
    answer: list[tuple[bytes, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    changes: list[tuple[str, float, bytes]],
    cut: int,
) -> None:
    # The frames around it are whole, so all of it gets to Arrow.
    stream = mutated(b"".join(content for kind, content in answer if kind == ARROW), changes)
    pieces = [(ARROW, stream[start : start + cut]) for start in range(0, len(stream), cut)]
    assert_rows_or_one_line(monkeypatch, packed([(HELLO, PROTOCOL.to_bytes(2)), *pieces, (END, b"")]))


@many
@given(
    frames=st.lists(
        st.tuples(st.sampled_from([HELLO, PROOF, REQUEST, ARROW, END, FAILED, PROGRESS, b"?"]), st.binary(max_size=40)),
        max_size=6,
    ),
    greeted=st.booleans(),
)
def test_frames_in_any_order_are_one_line(
    monkeypatch: pytest.MonkeyPatch, frames: list[tuple[bytes, bytes]], greeted: bool
) -> None:
    assert_rows_or_one_line(monkeypatch, packed([(HELLO, PROTOCOL.to_bytes(2))] * greeted + frames))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = {"a": 5, "b": "ü'", "c": None, "d": True, "f": 1.5}
TYPES = ["null", "bool", "int", "float", "decimal", "text", "datetime", "date", "?"]
TEXTS = [
    "",
    "1",
    "-1e999999",
    "9" * 5_000,
    "nan",
    "Infinity",
    "2026-01-01",
    "0001-01-01T00:00:00+23:59",
    "\ud800",
    "\0",
]
REQUESTS = st.fixed_dictionaries(
    {
        "sql": st.sampled_from(["SELECT $a AS a", "SELECT ?", "", "SELECT", "\0", "SELECT $a, $b FROM range($a)"])
        | JSON_VALUES,
        "parameters": st.lists(
            st.tuples(st.sampled_from(["a", "b", "1", "", "\0"]), st.sampled_from(TYPES), st.sampled_from(TEXTS))
            | JSON_VALUES,
            max_size=3,
        )
        | JSON_VALUES,
    }
)


@many
@given(
    content=REQUESTS.map(json.dumps).map(str.encode) | JSON_VALUES.map(json.dumps).map(str.encode),
    changes=st.just([]) | mutations(),
)
@example(content=pack_request(Request("SELECT $a, $b, $c, $d, $f", PARAMETERS)), changes=[])
def test_a_request_that_is_none_costs_the_owner_nothing(
    server: QueryServer, path: Path, content: bytes, changes: list[tuple[str, float, bytes]]
) -> None:
    with asked(path) as client:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            client.sendall(mutated(packed([(REQUEST, content)]), changes))
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
        assert time.monotonic() - began < SECONDS
    assert server._thread.is_alive()


@many
@given(frames=st.lists(st.tuples(st.sampled_from([PROOF, REQUEST, HELLO]), st.binary(max_size=70)), max_size=3))
def test_an_invalid_proof_is_not_admitted(frames: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(packed(frames))
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError, EOFError):
            assert not admit(ours, Token(b"a" * 64, 1), time.monotonic() + SECONDS)


@contextlib.contextmanager
def held(path: Path, note: bytes) -> Iterator[None]:
    """Hold the lock of a database, with a note in it."""
    with open(path.with_name(path.name + ".lock"), "wb", opener=open_own) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(note)
        lock.flush()
        yield


NUMBERS = st.sampled_from([0, -1, True, 2**31, 2**63, 10**200, -(10**200), 1.5, float("nan"), float("inf"), 1e300, ""])


@pytest.fixture(scope="module")
def started() -> float:
    return psutil.Process().create_time()


@many
@given(
    note=st.fixed_dictionaries(
        {
            "pid": st.sampled_from([os.getpid(), 1]) | NUMBERS | JSON_VALUES,
            "started": st.none() | NUMBERS | JSON_VALUES,
            "run": st.sampled_from([None, 3]) | NUMBERS | JSON_VALUES,
            "socket": st.sampled_from(["PORT", "FILE", "UNIX", "tcp:1:\0", "\ud800"]) | JSON_VALUES,
        }
    ),
    changes=st.just([]) | mutations(),
)
@example(note={"pid": 1, "started": 0, "run": 0, "socket": "x" * 5_000}, changes=[])
def test_an_invalid_note_is_one_line_and_no_process_is_asked(
    path: Path,
    runtime: Path,
    started: float,
    note: dict[str, object],
    changes: list[tuple[str, float, bytes]],
) -> None:
    folder = path.parent / "private"
    folder.mkdir(exist_ok=True)
    key = folder / "id_rsa"
    key.write_text("a" * 64)
    key.chmod(0o640)
    before = (key.stat().st_mode, key.stat().st_mtime_ns, sorted(folder.iterdir()), sorted(runtime.iterdir()))
    if not path.exists():
        Database.open(path).close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        places = {"PORT": f"tcp:{listener.getsockname()[1]}:{key}", "FILE": str(key), "UNIX": "/var/run/docker.sock"}
        said = {**note, "socket": places.get(str(note.get("socket")), note.get("socket"))}
        if said.get("started") is None:
            said["started"] = started
        began = time.monotonic()
        with (
            held(path, mutated(json.dumps(said).encode().ljust(1024), changes)),
            pytest.raises(DatabaseError) as caught,
        ):
            open_access(path, patience=0.0)
        assert len(str(caught.value).splitlines()) == 1
        assert time.monotonic() - began < SECONDS
        with pytest.raises(BlockingIOError):
            listener.accept()
    after = (key.stat().st_mode, key.stat().st_mtime_ns, sorted(folder.iterdir()), sorted(runtime.iterdir()))
    assert after == before


@pytest.mark.parametrize(
    "note",
    [
        # Hypothesis raises the limit of the recursion: these are tried without it.
        b"[" * 1024,
        b'{"pid":' * 146,
        b"9" * 1024,
        b"\xff\xfe\x00",
        b"",
        b"null",
        b'["pid", "started", "run", "socket"]',
        *(
            f'{{"pid": {pid}, "started": {started}, "run": null, "socket": null}}'.encode()
            for pid, started in [
                *((pid, 1) for pid in (-1, 0, "true", "1.0", 2**31, 10**300, "NaN", '"1"', "null", "[]")),
                *((1, started) for started in ("NaN", "Infinity", "-1", 10**300, "1e999", "true", '"1"', "null", "{}")),
            ]
        ),
    ],
    ids=lambda note: repr(note[:70]),
)
def test_a_note_that_is_none_names_no_owner(path: Path, note: bytes) -> None:
    Database.open(path).close()
    # The system may tell who holds the lock; the note does not.
    told = (
        "already open in this process" if Path("/proc/locks").exists() else "in use by another tui-runner; wait for it"
    )
    with held(path, note), pytest.raises(DatabaseError, match=told):
        open_access(path, patience=0.0)


@pytest.mark.parametrize(
    "kind",
    [pa.list_view(pa.int8()), pa.run_end_encoded(pa.int32(), pa.int8()), pa.month_day_nano_interval(), pa.uuid()],
    ids=str,
)
def test_a_type_that_no_answer_has_is_one_line(monkeypatch: pytest.MonkeyPatch, kind: pa.DataType) -> None:
    sink = io.BytesIO()
    schema = pa.schema([("a", kind)])
    with pa.ipc.new_stream(sink, schema):
        pass
    with pytest.raises(ValueError, match="is no type of an answer"):
        client.AnswerCheck(schema)
    frames = [(HELLO, PROTOCOL.to_bytes(2)), (ARROW, sink.getvalue()), (END, b"")]
    assert_rows_or_one_line(monkeypatch, packed(frames))


def test_a_batch_that_describes_memory_that_is_not_there_is_refused() -> None:
    lengths = pa.py_buffer(b"".join(number.to_bytes(8, "little") for number in (0, 1 << 40, 1)))
    forged = pa.Array.from_buffers(pa.large_string(), 2, [None, lengths, pa.py_buffer(b"x")])
    batch = pa.record_batch({"a": forged})
    with pytest.raises(pa.ArrowInvalid):
        client.AnswerCheck(batch.schema).check(batch)


def test_more_rows_than_are_sent_at_once_are_refused() -> None:
    batch = pa.record_batch({"a": pa.nulls(PIECE_ROWS + 1)})
    with pytest.raises(ValueError, match="more rows than"):
        client.AnswerCheck(batch.schema).check(batch)
