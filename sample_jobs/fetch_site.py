"""Fetch the pages of a web shop, each with a table of thousands of orders, and store their rows.

    tui-runner run fetch_site                          300 pages, about 600,000 rows
    tui-runner run fetch_site --set pages=3000         more
    tui-runner run fetch_site --per-host 4             no more than 4 requests at once

No network is needed: every worker serves the shop to itself, on a free port of this machine (`Shop`, below),
and the server ends with the worker. Some pages are slow or fail, as on a real site. Of every 100 pages, by the
last digits:
    11, 31, 51, 71, 91    slow: one second
    07, 57                503 with `Retry-After` the first time, then the page
    23, 73                the connection is reset the first time, then the page
    13                    404: the item fails
    29                    cut off in the middle of the table: the item fails

`python fetch_site.py` prints the address of the shop and serves it until Ctrl-C. The shop also has a catalog, with
products and their pictures, for `tui-runner crawl` and `fetch` (docs/http.md).

Parameters
    pages    number of pages to fetch; default 300

Rows: one per order, in table `fetch_site`, with the columns of the shop's table as numbers and dates.

Queries
    -- turnover by city and month
    SELECT city, date_trunc('month', ordered) AS month, sum(amount) FROM fetch_site GROUP BY ALL ORDER BY ALL
    -- the slowest pages
    SELECT item, seconds, attempts, rows FROM runner.items ORDER BY seconds DESC LIMIT 20
"""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from html import escape
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tui_runner import http, job

# --- the job -----------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[str], Any]] = {
    "order": int,
    "customer": str,
    "city": str,
    "quantity": int,
    "amount": float,
    "ordered": date.fromisoformat,
}
"""The columns of the shop's table, each with the function that converts its text."""


@job(chunk_size=10, threads=16, retries=2, timeout=30)
def fetch_site(page: int) -> list[dict[str, Any]]:
    """Fetch a page and return its orders."""
    response = http.get(f"{shop.url}/orders", params={"page": page})
    response.raise_for_status()
    header, *rows = read_table(response.text)
    if header != list(COLUMNS):
        raise ValueError(f"page {page} has the columns {header}")
    for number, cells in enumerate(rows, 1):
        if len(cells) != len(COLUMNS):
            raise ValueError(f"row {number} of page {page} has {len(cells)} of {len(COLUMNS)} cells")
    return [
        {name: convert(cell) for (name, convert), cell in zip(COLUMNS.items(), cells, strict=True)} for cells in rows
    ]


@fetch_site.items
def page_numbers(*, pages: int = 300) -> range:
    """Return the numbers of the pages, from 1.

    Args:
        pages: number of pages to fetch
    """
    return range(1, pages + 1)


@fetch_site.setup
def open_shop() -> None:
    """Start the shop of a worker, before its first item."""
    shop.open()


@fetch_site.teardown
def close_shop() -> None:
    """Stop the shop of a worker, after its last item."""
    shop.close()


class TableReader(HTMLParser):
    """A parser that collects the text of the cells of every table row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a row or a cell."""
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        """Add text to the cell. The parser may pass the text of a cell in several parts."""
        if self.in_cell:
            self.rows[-1][-1] += data


def read_table(html: str) -> list[list[str]]:
    """Return the rows of all tables in `html`; a row is the list of the texts of its cells."""
    reader = TableReader()
    reader.feed(html)
    reader.close()
    return reader.rows


# --- the shop that it fetches from -------------------------------------------------------------------------


class Shop:
    """A small web server on loopback, with pages that always have the same content."""

    def __init__(self) -> None:
        self.url = ""
        self.visits: Counter[str] = Counter()
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        """Start serving in a thread of this process, on a free port."""
        self.visits.clear()
        self._server = ShopServer(("127.0.0.1", 0), ShopPage)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="shop", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class ShopServer(ThreadingHTTPServer):
    """A server with a thread for each connection. The threads end with the worker."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # all threads of a run connect at once; the default of 5 would refuse some

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a connection: a client that disconnects early is no fault of the shop."""


class ShopPage(BaseHTTPRequestHandler):
    """A connection to the shop."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a page of the catalog or of orders. Pages of orders with certain numbers are late or broken."""
        if not self.path.startswith("/orders?"):
            status, kind, text = catalog_page(self.path)
            self.respond(status, text, {"Content-Type": kind})
            return
        page = int(self.path.rpartition("=")[2])
        shop.visits[self.path] += 1
        first_visit = shop.visits[self.path] == 1
        match page % 100:
            case 13:
                self.respond(404, "<p>There is no such page.</p>")
            case 7 | 57 if first_visit:
                self.respond(503, "<p>Please come again.</p>", {"Retry-After": "1"})
            case 23 | 73 if first_visit:
                # Closing a socket that lingers for 0 seconds sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            case 29:
                html = orders_page(page)
                self.respond(200, html[: html.rindex("</td><td>")])
            case 11 | 31 | 51 | 71 | 91:
                time.sleep(1)
                self.respond(200, orders_page(page))
            case _:
                self.respond(200, orders_page(page))

    def respond(self, status: int, html: str, headers: dict[str, str] | None = None) -> None:
        """Send a complete response."""
        body = html.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


CATALOG_PAGES, PRODUCTS_A_PAGE = 20, 20
"""Pages of the catalog, and products on each: a crawl of 400 products takes some seconds."""


def catalog_page(path: str) -> tuple[int, str, str]:
    """Return status, content type and text of a page of the catalog, of a product or of its picture."""
    kind, _, number = path.strip("/").partition("/")
    n = int(number) if number.isdecimal() else 1
    html = "text/html; charset=utf-8"
    if kind in ("", "catalog") and n <= CATALOG_PAGES:
        first = (n - 1) * PRODUCTS_A_PAGE
        links = [f'<a href="/product/{first + i}">Product {first + i}</a>' for i in range(PRODUCTS_A_PAGE)]
        links += [f'<a href="/catalog/{n + 1}" rel="next">next</a>'] if n < CATALOG_PAGES else []
        return 200, html, f"<title>Catalog, page {n}</title>" + "\n".join(links)
    if kind == "product" and n < CATALOG_PAGES * PRODUCTS_A_PAGE:
        price = random.Random(n).randint(100, 9_999) / 100  # noqa: S311 - these are samples, not secrets
        picture = f'<img src="/picture/{n}.svg">'
        return 200, html, f'<title>Product {n}</title><p class="price">{price:.2f}</p>{picture}<a href="/">all</a>'
    if kind == "picture":
        return 200, "image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>'
    return 404, html, "<p>There is no such page.</p>"


def orders_page(page: int) -> str:
    """Return the HTML of a page with 1,000 to 3,000 orders. The same page number always gives the same orders."""
    chance = random.Random(page)  # noqa: S311 - these are samples, not secrets
    parts = ["<html><body><h1>Orders</h1><table>", table_row("th", list(COLUMNS))]
    for number in range(chance.randint(1_000, 3_000)):
        order = [
            page * 10_000 + number,
            chance.choice(["Ada & Co", "Émile Bâtard", "Kōbō", "O'Hara <Ltd>", "Tom [bold] Smith"]),
            chance.choice(["Graz", "Lyon", "Malmö", "Porto", "Riga"]),
            chance.randint(1, 12),
            f"{chance.random() * 500:.2f}",
            date(2024, 1, 1) + timedelta(days=int(chance.random() * 700)),
        ]
        parts.append(table_row("td", order))
    parts.append("</table></body></html>")
    return "".join(parts)


def table_row(tag: str, cells: list[Any]) -> str:
    """Return a row of a table in HTML."""
    return f"<tr><{tag}>" + f"</{tag}><{tag}>".join(escape(str(cell)) for cell in cells) + f"</{tag}></tr>\n"


shop = Shop()

if __name__ == "__main__":
    shop.open()
    print(shop.url, flush=True)
    threading.Event().wait()
