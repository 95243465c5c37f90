"""Queries of other processes, answered by the one that has the database open."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.waiting import eventually

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.access import LocalAccess, RemoteAccess, open_access
from tui_runner.store.arrow_batches import PIECE_BYTES
from tui_runner.store.database import Database
from tui_runner.store.lock import DatabaseInUse
from tui_runner.store.query.errors import QueryCancelled, QueryError
from tui_runner.store.query.pages import Pages
from tui_runner.store.remote import endpoint
from tui_runner.store.remote.client import OwnerGone, RemoteConsole
from tui_runner.store.remote.endpoint import Endpoint
from tui_runner.store.remote.server import QueryServer, ServerLimits, serve
from tui_runner.store.remote.wire import (
    HELLO,
    PROGRESS,
    REQUEST,
    Request,
    pack_request,
    receive_frame,
    send_frame,
    unpack_request,
)

pytestmark = pytest.mark.usefixtures("runtime")

ENDLESS = "SELECT range AS a, repeat('x', 100) AS b FROM range(100_000_000_000)"
CROSS_JOIN = "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE hash(a.range + b.range) % 7 = 3"
LONG = "SELECT count(*) FROM range(60_000_000) WHERE md5(range::VARCHAR) < 'a'"


@pytest.fixture
def server(database: Database, runtime: Path) -> Iterator[QueryServer]:
    cursor = database.cursor()
    cursor.execute("CREATE TABLE books AS SELECT range AS id, 'book ' || range AS title FROM range(10)")
    database.close_cursor(cursor)
    started = serve(database)
    yield started
    started.close()


@pytest.fixture
def console(server: QueryServer, path: Path) -> Iterator[RemoteConsole]:
    access = open_access(path)
    assert isinstance(access, RemoteAccess)
    with access.console() as opened:
        yield opened


def test_the_owner_is_found_through_the_lock(server: QueryServer, database: Database, path: Path) -> None:
    database.note_run(7)
    with open_access(path) as access:
        assert access.describe == f"books.duckdb, held by tui-runner (pid {os.getpid()}), run 7"
        assert not access.can_write


def test_wide_rows_come_in_small_batches(console: RemoteConsole) -> None:
    with console.query("SELECT repeat('x', 100_000) AS a FROM range(600)") as result:
        sizes = [(batch.nbytes, batch.num_rows) for batch in result]
    assert max(sizes)[0] <= PIECE_BYTES
    assert sum(rows for _, rows in sizes) == 600


def test_only_the_owner_of_the_folder_may_ask(server: QueryServer, runtime: Path) -> None:
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    (found,) = runtime.iterdir()
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


def no_unix_sockets(backlog: int) -> Endpoint:
    raise OSError("no Unix sockets here")


def test_without_unix_sockets_a_port_with_a_token_serves(
    database: Database, path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_listen_unix", no_unix_sockets)
    server = serve(database)
    (token,) = runtime.iterdir()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    with open_access(path) as access, access.console() as console:
        assert isinstance(access, RemoteAccess)
        assert access.record.socket is not None and access.record.socket.startswith("tcp:")
        assert console.query("SELECT count(*) AS n FROM range(50_000)").read_all().to_pylist() == [{"n": 50_000}]
        token.write_bytes(b"0" * 64)
        with pytest.raises(OwnerGone):
            console.query("SELECT 1")
    port = int(access.record.socket.split(":")[1])
    with socket.create_connection(("127.0.0.1", port)) as client:
        send_frame(client, REQUEST, pack_request(Request("SELECT 1", {})))
        with contextlib.suppress(ConnectionResetError):  # it hung up before it had read everything
            kind, _ = receive_frame(client, 64)
            assert kind == HELLO
            assert client.recv(1) == b""
    server.close()
    assert list(runtime.iterdir()) == []


def test_the_owner_says_how_far_a_statement_is(console: RemoteConsole) -> None:
    ended: list[UserError] = []

    def ask() -> None:
        try:
            console.query(LONG)
        except UserError as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: 0 < (console.progress() or 0) < 1)
    console.cancel()
    asking.join()
    assert isinstance(ended[0], QueryCancelled)


def test_without_an_owner_the_database_is_opened(path: Path) -> None:
    Database.open(path).close()
    with open_access(path) as access:
        assert isinstance(access, LocalAccess)
        assert access.can_write
        with access.console() as console:
            assert console.query("SELECT 1 AS a").read_all().to_pylist() == [{"a": 1}]
    Database.open(path).close()


@pytest.mark.parametrize(
    "statement",
    [
        "FROM books",
        "SELECT 1 AS a WHERE false",
        "SELECT range AS a, [range, NULL] AS b, {'x': range} AS c FROM range(20_000)",
        "SELECT 'a'::ENUM('a', 'b') AS e, ['b'::ENUM('a', 'b')] AS le, MAP {'k': 1.5} AS m, '[1]'::JSON AS j",
        "SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' AS t, INTERVAL 1 DAY AS i, '\\xFF'::BLOB AS b, 1::HUGEINT AS h",
        "SUMMARIZE books",
    ],
)
def test_answers_are_those_of_the_owner(console: RemoteConsole, database: Database, statement: str) -> None:
    with LocalAccess(database).console() as own, own.query(statement) as expected, console.query(statement) as result:
        assert result.schema.equals(expected.schema, check_metadata=True)
        assert result.read_all().equals(expected.read_all())
        assert result.complete


def test_parameters_arrive_as_they_are(console: RemoteConsole) -> None:
    with console.query(
        "SELECT $a AS a, $b AS b, $c IS NULL AS c, $d AS d", {"a": 5, "b": "ü'", "c": None, "d": True}
    ) as r:
        assert r.read_all().to_pylist() == [{"a": 5, "b": "ü'", "c": True, "d": True}]
    with pytest.raises(UserError, match="cannot be sent"):
        console.query("SELECT $a", {"a": object()})


def test_mistakes_arrive_with_their_place(console: RemoteConsole) -> None:
    with pytest.raises(QueryError) as caught:
        console.query("SELECT\n  titel FROM books")
    assert (caught.value.line, caught.value.column) == (2, 3)
    late = "SELECT CAST(CASE WHEN range = 900_000 THEN 'x' ELSE '1' END AS INTEGER) FROM range(1_000_000)"
    with pytest.raises(QueryError, match="Could not convert string 'x'"):
        console.query(late).read_all()


@pytest.mark.parametrize("statement", ["DELETE FROM books", "WITH a AS (DELETE FROM books RETURNING *) FROM a"])
def test_another_process_cannot_write(console: RemoteConsole, statement: str) -> None:
    with pytest.raises(UserError, match="only statements that read"):
        console.query(statement)
    with pytest.raises(UserError, match="another process has this database open"):
        console.write = True
    assert console.query("SELECT count(*) AS n FROM books").read_all().to_pylist() == [{"n": 10}]


def test_results_are_paged(console: RemoteConsole) -> None:
    pages = Pages(console.query("SELECT range AS a FROM range(100_000)"), page_rows=1_000)
    page = pages.page(70)
    assert page is not None
    assert page["a"][0].as_py() == 70_000
    pages.close()


def test_cancelling_ends_the_statement_there(console: RemoteConsole, database: Database) -> None:
    threading.Timer(0.2, console.cancel).start()
    with pytest.raises(QueryCancelled):
        console.query(CROSS_JOIN)
    eventually(lambda: not database._cursors)


def test_a_statement_that_the_owner_ends_says_why(console: RemoteConsole, database: Database) -> None:
    result = console.query(ENDLESS)
    rows = iter(result)
    next(rows)
    assert database.statements.end("the run needs the memory") == 1
    with pytest.raises(UserError, match="the statement was ended: the run needs the memory"):
        for _ in rows:
            pass
    assert not result.complete
    eventually(lambda: not database._cursors, "the end of the statement")


@pytest.mark.parametrize("width", [1, 70_000, 3_000_000])
def test_values_of_every_length_arrive_whole(console: RemoteConsole, width: int) -> None:
    rows = console.query(f"SELECT range AS a, repeat(chr(97 + range::INT), {width}) AS b FROM range(3)").read_all()
    assert rows.to_pylist() == [{"a": number, "b": "abc"[number] * width} for number in range(3)]


def test_hanging_up_ends_the_statement(console: RemoteConsole, database: Database) -> None:
    result = console.query(ENDLESS)
    next(iter(result))
    result.close()
    assert eventually(lambda: not database._cursors, "the end of the statement")


def test_a_client_that_reads_nothing_is_disconnected(database: Database, path: Path) -> None:
    server = serve(database, ServerLimits(stall=0.3))
    with open_access(path) as access, access.console() as console:
        result = console.query(ENDLESS)
        eventually(lambda: not database._cursors)
        with pytest.raises(OwnerGone, match="its rows were not read"):
            result.read_all()
    server.close()


def test_a_few_statements_run_at_once_and_others_wait(database: Database, path: Path) -> None:
    server = serve(database, ServerLimits(at_once=1, patience=0.3))
    with open_access(path) as access, access.console() as one, access.console() as other:
        result = one.query(ENDLESS)
        next(iter(result))
        with pytest.raises(DatabaseError, match="too many queries"):
            other.query("SELECT 1")
        result.close()
        eventually(lambda: not database._cursors)
        other.query("SELECT 1").close()
    server.close()


def test_too_many_connections_are_refused(database: Database, path: Path) -> None:
    server = serve(database, ServerLimits(connections=1))
    with open_access(path) as access, access.console() as one, access.console() as other:
        eventually(lambda: not server._conversations)
        result = one.query(ENDLESS)
        with pytest.raises(DatabaseError, match=r"too many queries|does not answer|no longer answers|was cut off"):
            other.query("SELECT 1")
        result.close()
    server.close()


def test_a_client_that_reads_nothing_is_not_cut_off_for_the_progress(database: Database, path: Path) -> None:
    server = serve(database, ServerLimits(stall=0.1, progress=0.0, alive=0.0))
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(access.record.socket)
            send_frame(client, REQUEST, pack_request(Request(CROSS_JOIN, {})))
            (talking,) = eventually(
                lambda: [each for each in list(server._conversations) if each._watcher.ident], "the statement"
            )
            # Three times as long as it may take over one frame.
            eventually(lambda: time.monotonic() - talking._sent_at > 0.3, "that there is no room for more progress")
            assert len(client.recv(1 << 20)) > 200
            assert talking in server._conversations and database._cursors
    server.close()


def test_a_statement_whose_progress_stays_is_said_to_run(database: Database, path: Path) -> None:
    server = serve(database, ServerLimits(progress=0.0, alive=0.0))
    with open_access(path) as access:
        assert isinstance(access, RemoteAccess) and access.record.socket is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(access.record.socket)
            send_frame(client, REQUEST, pack_request(Request(CROSS_JOIN, {})))
            (greeting, _), *frames = [receive_frame(client, 1024) for _ in range(50)]
    assert greeting == HELLO and {kind for kind, _ in frames} == {PROGRESS}
    assert any(one == next_one for one, next_one in pairwise(frames))
    server.close()


@pytest.mark.parametrize("nonsense", [b"", b"GET / HTTP/1.1\r\n\r\n", b"Q\x00\x00\x00\x02{}", b"Q\xff\xff\xff\xff"])
def test_nonsense_does_not_disturb_other_clients(
    server: QueryServer, console: RemoteConsole, runtime: Path, nonsense: bytes
) -> None:
    (address,) = runtime.iterdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(address))
        client.sendall(nonsense)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # it hung up before it had read everything
            while client.recv(4096):
                pass
    assert console.query("SELECT 1 AS a").read_all().num_rows == 1


def test_the_end_of_the_owner_ends_the_answer(console: RemoteConsole, server: QueryServer, database: Database) -> None:
    result = console.query(ENDLESS)
    next(iter(result))
    server.close()
    server.close()
    database.close()
    with pytest.raises(OwnerGone):
        result.read_all()
    with pytest.raises(OwnerGone):
        console.query("SELECT 1")


def test_an_owner_that_does_not_answer_is_waited_for_and_named(database: Database, path: Path) -> None:
    with pytest.raises(DatabaseInUse, match="already open in this process"):
        open_access(path, patience=0.1)


def test_an_owner_that_closes_meanwhile_is_waited_for(database: Database, path: Path) -> None:
    threading.Timer(0.2, database.close).start()
    with open_access(path) as access:
        assert isinstance(access, LocalAccess)


def test_a_record_of_a_dead_process_is_not_believed(path: Path, tmp_path: Path) -> None:
    Database.open(path).close()
    record = {"pid": os.getpid(), "started": 1.0, "run": 3, "socket": str(tmp_path / "x.sock")}
    (tmp_path / "books.duckdb.lock").write_text(json.dumps(record))
    with open_access(path) as access:
        assert isinstance(access, LocalAccess)


def test_a_run_without_a_place_for_a_socket_continues(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*, for_sockets: bool = False) -> Path:
        raise FileNotFoundError("no folder for temporary files")

    monkeypatch.setattr(endpoint, "private_folder", nowhere)
    server = serve(database)
    with pytest.raises(DatabaseInUse):
        open_access(path, patience=0.1)
    server.close()


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"sql":' * 50_000,
        b'{"sql": "SELECT \\ud800", "parameters": []}',
        b'{"sql": 1, "parameters": []}',
    ],
    ids=["lists", "objects", "surrogate", "number"],
)
def test_a_request_that_is_none_is_refused_like_any_other_mistake(content: bytes) -> None:
    with pytest.raises(UserError, match="the request"):
        unpack_request(content)
