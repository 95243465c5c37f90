"""Output and log lines of jobs."""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
import threading
from collections import deque

import pytest

from tui_runner.engine.worker.job_output import (
    MAX_LINE_LENGTH,
    MAX_LINES,
    JobLog,
    JobLogHandler,
    JobStream,
    join_logging,
)
from tui_runner.engine.worker.opened_chunk import OpenedChunk
from tui_runner.engine.worker.slot import Slot
from tui_runner.jobs.current import CONTEXT


def task(position, chunk=0):
    """Return a slot that executes an item."""
    slot = Slot(0, lambda *_: None)
    slot.chunk = OpenedChunk(chunk, [position], [None], deque(), 1)
    slot.index = 0
    return slot


def during(item, function, *arguments):
    """Call `function` as the job of an item does."""

    def call():
        CONTEXT.set(item)
        function(*arguments)

    contextvars.copy_context().run(call)


@pytest.fixture
def log():
    return JobLog(worker=3)


@pytest.fixture
def stream(log):
    return JobStream(log, "INFO", None)


def texts(log):
    return [line.text for line in log.take_all()[0]]


# --- printing -----------------------------------------------------------------------------------------------


def test_a_printed_line_knows_its_item(log, stream):
    during(task(7, chunk=2), lambda: print("hello", "world", file=stream))
    ((line,), dropped) = log.take_all()
    assert (line.text, line.level, line.chunk, line.item, line.worker) == ("hello world", "INFO", 2, 7, 3)
    assert dropped == 0


def test_lines_are_logged_when_they_are_complete(log, stream):
    stream.write("one, ")
    stream.flush()
    assert texts(log) == []
    stream.write("two\nthree\n\nfour")
    assert texts(log) == ["one, two", "three", ""]
    stream.write("\n")
    assert texts(log) == ["four"]


def test_an_item_does_not_continue_the_line_of_another(log, stream):
    during(task(1), stream.write, "unfinished")
    during(task(2), stream.write, "next\n")
    lines, _ = log.take_all()
    assert [(line.item, line.text) for line in lines] == [(1, "unfinished"), (2, "next")]


def test_a_line_belongs_to_the_item_that_began_it_in_a_thread_that_has_gone_on(log, stream):
    slot = task(1)

    def two_items():
        stream.write("unfinished")
        slot.chunk.positions[0] = 2
        stream.write("next\n")

    during(slot, two_items)
    lines, _ = log.take_all()
    assert [(line.item, line.text) for line in lines] == [(1, "unfinished"), (2, "next")]


def test_threads_do_not_mix_their_lines(log, stream):
    first_half_written = threading.Barrier(4)

    def run(number):
        stream.write(f"{number}-")
        first_half_written.wait()
        for _ in range(100):
            stream.write(f"{number}\n{number}-")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(log)) == sorted(f"{n}-{n}" for n in range(4) for _ in range(100))


def test_of_a_progress_bar_the_last_state_is_kept(log, stream):
    for percent in range(0, 101, 10):
        stream.write(f"\r{percent:3} % |")
    assert texts(log) == []
    stream.write("\nREAL\n")
    assert texts(log) == ["100 % |", "REAL"]


def test_a_bar_that_ends_with_a_carriage_return_is_one_line_too(log, stream):
    for percent in (10, 20):
        stream.write(f"{percent} %\r")
    stream.write("done\r\nnext\r")
    stream.write("\n")
    assert texts(log) == ["done", "next"]


def test_a_bar_of_many_steps_in_one_text_is_one_line(log, stream):
    stream.write("".join(f"\r{step}" for step in range(5_000)) + "\n")
    assert texts(log) == ["4999"]


def test_a_line_of_a_megabyte_is_cut(log, stream):
    stream.write("x" * 1_000_000 + "\n")
    assert texts(log) == ["x" * MAX_LINE_LENGTH]


def test_text_without_line_ends_does_not_pile_up(log, stream):
    for _ in range(1_000):
        stream.write("y" * 1_000)
    lines = texts(log)
    assert all(len(line) <= MAX_LINE_LENGTH for line in lines)
    assert len(lines) > 80


def test_dropped_lines_are_counted_once(log, stream):
    stream.write("line\n" * (MAX_LINES + 30))
    lines, dropped = log.take_all()
    assert (len(lines), dropped) == (MAX_LINES, 30)
    stream.write("again\n")
    lines, dropped = log.take_all()
    assert (len(lines), dropped) == (1, 0)


def test_lone_surrogates_are_written_out(log, stream):
    stream.write("\udcff\n")
    assert texts(log) == ["\\udcff"]


def test_output_of_no_item_goes_where_it_went_before(log):
    terminal = io.StringIO()
    stream = JobStream(log, "INFO", terminal)
    stream.write("from the program\n")
    during(task(1), stream.write, "from a job\n")
    assert terminal.getvalue() == "from the program\n"
    assert texts(log) == ["from a job"]


def test_a_stream_is_enough_of_a_file_for_print_and_its_like(log, stream):
    assert stream.writable()
    assert not stream.isatty()
    assert stream.encoding == "utf-8"
    assert stream.write("abc\n") == 4
    stream.writelines(["d\n", "e\n"])
    assert texts(log) == ["abc", "d", "e"]
    with pytest.raises(TypeError):
        stream.write(b"bytes")


def test_bytes_and_a_new_encoding_are_taken_as_those_of_a_terminal_are(log, stream):
    stream.reconfigure(encoding="latin-1", line_buffering=True)
    print("füß", file=stream)
    assert stream.buffer.write(b"caf\xc3\xa9 \xff\n") == 8
    stream.buffer.write(memoryview(b"two"))
    stream.buffer.flush()
    stream.write("\n")
    assert texts(log) == ["füß", "café \\xff", "two"]


def test_only_a_stream_with_a_descriptor_gives_one(log, stream):
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
    with pytest.raises(io.UnsupportedOperation):
        stream.buffer.fileno()
    given = JobStream(log, "INFO", None, 1)
    assert (given.fileno(), given.buffer.fileno(), given.isatty()) == (1, 1, False)


# --- logging ------------------------------------------------------------------------------------------------


class Secret:
    def __str__(self):
        raise RuntimeError("secret")

    __repr__ = __str__


@pytest.fixture
def logger(log):
    logger = logging.Logger("scraper")
    logger.addHandler(JobLogHandler(log))
    return logger


def test_a_record_keeps_its_level_and_knows_its_item(log, logger):
    during(task(5), logger.warning, "slow: %s s", 3)
    ((line,), _) = log.take_all()
    assert (line.text, line.level, line.item) == ("scraper: slow: 3 s", "WARNING", 5)


def test_a_logged_exception_comes_with_its_traceback(log, logger):
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    lines = texts(log)
    assert lines[0] == "scraper: failed"
    assert lines[-1] == "ValueError: why"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("%d items", "many"), "%d format: a real number is required, not str"),
        (("a %s and a %s", 1), "not enough arguments for format string"),
        (("%s", Secret()), "secret"),
        ((Secret(),), "secret"),
    ],
)
def test_a_record_that_cannot_be_formatted_is_logged_as_such(log, logger, arguments, expected):
    logger.error(*arguments)
    assert texts(log) == [f"scraper: a record that cannot be formatted: {expected}"]


# --- what the job sets up -----------------------------------------------------------------------------------


@contextlib.contextmanager
def fresh_root():
    """The root logger as it is in a fresh process; a fixture would have pytest's own handlers."""
    logger = logging.getLogger()
    kept, level = logger.handlers[:], logger.level
    logger.handlers[:] = []
    logger.setLevel(logging.WARNING)
    yield logger
    logger.handlers[:] = kept
    logger.setLevel(level)


def test_a_job_without_logging_of_its_own_has_info_and_above_logged(log):
    with fresh_root():
        join_logging(log)
        logging.info("told")
        logging.debug("in detail")
        assert texts(log) == ["root: told"]


def test_logging_that_the_job_has_set_up_holds(log, tmp_path):
    with fresh_root() as root:
        logging.basicConfig(filename=tmp_path / "mine.log", level=logging.DEBUG, format="%(message)s")
        join_logging(log)
        logging.info("told")
        logging.debug("in detail")
        assert (tmp_path / "mine.log").read_text() == "told\nin detail\n"
        assert texts(log) == ["root: told"]
        root.handlers[0].close()


def test_a_job_that_logs_fewer_has_fewer_logged(log):
    with fresh_root() as root:
        root.setLevel(logging.ERROR)
        join_logging(log)
        logging.warning("not this")
        logging.error("this")
        assert texts(log) == ["root: this"]


@pytest.mark.parametrize(
    "library", ["httpx", "httpx2._client", "httpcore2.http11", "urllib3.connectionpool", "aiohttp.client"]
)
def test_requests_of_http_libraries_are_no_lines_unless_the_job_asks_for_them(log, library):
    logger = logging.getLogger(library)
    with fresh_root(), fresh_level(library.partition(".")[0]):
        join_logging(log)
        logger.info("GET http://x/ 200 OK")
        logger.warning("connection pool is full")
    assert texts(log) == [f"{library}: connection pool is full"]
    with fresh_root(), fresh_level(library.partition(".")[0]):
        logging.getLogger(library.partition(".")[0]).setLevel(logging.INFO)
        join_logging(log)
        logger.info("GET http://x/ 200 OK")
    assert texts(log) == [f"{library}: GET http://x/ 200 OK"]


@contextlib.contextmanager
def fresh_level(name):
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(before)


def test_a_job_that_logs_to_standard_error_has_each_line_once(log, monkeypatch):
    monkeypatch.setattr("sys.stderr", JobStream(log, "WARNING", None))
    with fresh_root():
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        join_logging(log)
        logging.info("told")
        assert texts(log) == ["told"]


def test_logging_in_the_file_of_a_job_does_not_hide_info_nor_change_levels(log, monkeypatch):
    monkeypatch.setattr("sys.stderr", JobStream(log, "WARNING", None))
    with fresh_root():
        logging.warning("while loading")  # sets up a handler by itself
        join_logging(log)
        logging.info("told")
        logging.error("wrong")
        lines = log.take_all()[0]
    assert [(line.level, line.text) for line in lines] == [
        ("WARNING", "WARNING:root:while loading"), ("INFO", "root: told"), ("ERROR", "root: wrong"),
    ]  # fmt: skip
