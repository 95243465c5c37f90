"""Divides a result into pages that can be read forwards and backwards, with limited memory.

A page is read from the statement when it is first requested. Pages that were not used for a while are moved to an
unnamed file. So scrolling back does not execute the statement again, and shows the same rows.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.query.result import Result

PAGE_ROWS = 10_000
"""Rows of a page: enough to scroll in, and few enough to be read in some milliseconds."""
_PAGES_IN_MEMORY = 8
"""Pages in memory at most, so that paging back a few pages does not read the file."""
_BYTES_IN_MEMORY = 128 << 20
"""Bytes of the pages in memory at most, without the current page. Eight pages of rows of 10 KB would have 800 MB."""
_FILE_BYTES = 4 << 30
"""Largest size of the file in bytes, so that a result cannot fill the disk. Nobody pages through more rows; they can be
exported."""


class Pages:
    """The pages of one result. Closing the pages closes the result. Thread-safe.

    Attributes:
        schema: schema of the result.
        page_rows: rows per page; the last page may have fewer.
        rows_known: number of rows read so far.
        complete: True if all rows were read.
        nbytes: size of the rows read so far, in bytes.
    """

    def __init__(self, result: Result, *, page_rows: int = PAGE_ROWS) -> None:
        self.schema = result.schema
        self.page_rows = page_rows
        self.rows_known = 0
        self.nbytes = 0
        self.complete = False
        self._result = result
        self._batches = iter(result)
        self._left: pa.RecordBatch | None = None
        self._guard = threading.Lock()
        """Held while a page is read, because pages come from one stream, in order."""
        self._in_memory: OrderedDict[int, pa.Table] = OrderedDict()
        self._count = 0
        self._file: IO[bytes] | None = None
        self._places: dict[int, tuple[int, int]] = {}
        self._closed = False

    @property
    def cut_off(self) -> bool:
        """True if the statement was ended before its last row, for example by the next statement of its console."""
        return self._result.closed and not self.complete

    def page(self, number: int) -> pa.Table | None:
        """Return page `number`, counted from 0; None if the result ends before that page.

        This blocks until the page is read.

        Raises:
            UserError: the statement failed or was cancelled, the result was closed before its end, or the pages are
                larger than the file may be.
        """
        with self._guard:
            while number >= self._count and not self.complete:
                self._read_page()
            if number >= self._count or number < 0:
                return None
            return self._known(number)

    def all_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows from the first one on, for an export. Blocks. Raises the errors of `page`."""
        number = 0
        while (page := self.page(number)) is not None:
            yield from page.to_batches()
            number += 1

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Return `all_batches()`, because `store/export` reads a result by iterating over it."""
        return self.all_batches()

    def close(self) -> None:
        """End the statement and release all pages. Repeated calls do nothing."""
        self._result.close()
        with self._guard:
            self._closed = True
            self._in_memory.clear()
            self._left = None
            if self._file is not None:
                self._file.close()
                self._file = None

    def _read_page(self) -> None:
        """Read the next page from the statement and store it."""
        parts: list[pa.RecordBatch] = []
        missing = self.page_rows
        try:
            while missing:
                batch = self._left if self._left is not None else next(self._batches, None)
                self._left = None
                if batch is None:
                    self.complete = self._result.complete
                    break
                if batch.num_rows > missing:
                    self._left = batch.slice(missing)
                    batch = batch.slice(0, missing)
                parts.append(batch)
                missing -= batch.num_rows
            if not missing and self._left is None:
                # Read one batch more to find out if the result has ended: after `LIMIT 10000` a second page must not be
                # offered.
                self._left = next(self._batches, None)
                self.complete = self._left is None and self._result.complete
        except UserError:
            # Show the rows that were read before the failure.
            self._store(parts)
            raise
        self._store(parts)
        if missing and not self.complete and not parts:
            raise UserError("this result was ended before its last row", do="run the statement again")

    def _store(self, parts: list[pa.RecordBatch]) -> None:
        if not parts:
            return
        page = pa.Table.from_batches(parts, schema=self.schema)
        self._in_memory[self._count] = page
        self._count += 1
        self.rows_known += page.num_rows
        self.nbytes += page.nbytes
        self._evict()

    def _known(self, number: int) -> pa.Table:
        """Return a page that was read before, from memory or from the file."""
        if self._closed:
            raise UserError("this result is closed", do="run the statement again")
        if number in self._in_memory:
            self._in_memory.move_to_end(number)
            return self._in_memory[number]
        if self._file is None:
            raise AssertionError("a page that is not in memory is in the file")
        offset, size = self._places[number]
        self._file.seek(offset)
        page = pa.ipc.open_stream(self._file.read(size)).read_all()
        self._in_memory[number] = page
        self._evict()
        return page

    def _evict(self) -> None:
        """Write the least recently used pages to the file and remove them from memory."""
        while len(self._in_memory) > 1 and (
            len(self._in_memory) > _PAGES_IN_MEMORY
            or sum(page.nbytes for page in list(self._in_memory.values())[:-1]) > _BYTES_IN_MEMORY
        ):
            number, page = self._in_memory.popitem(last=False)
            if number not in self._places:
                self._write(number, page)

    def _write(self, number: int, page: pa.Table) -> None:
        """Append a page to the file. If the file is full, keep the page in memory and raise `UserError`."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="tui-runner-")  # noqa: SIM115 - closed by `close`
        offset = self._file.seek(0, 2)
        if offset + page.nbytes > _FILE_BYTES:
            self._in_memory[number] = page
            self._in_memory.move_to_end(number, last=False)
            raise UserError("the result is too large to page through", do="export it, or ask for less")
        with pa.ipc.new_stream(self._file, page.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(page)
        self._places[number] = (offset, self._file.tell() - offset)
