"""Inputs: the sources of a run's items.

`SOURCE` on the command line is one of

* a file `.csv .tsv .parquet .json .jsonl .ndjson .txt`; except for Parquet, it may be compressed (`compressed_files`);
* a glob of files of one of these kinds, read one after the other in the order of their names;
* `-`, standard input, with one item per line;
* `range:START:STOP[:STEP]`, integers as in Python's `range`;
* `sql:SELECT …`, a query over files, or over the run's database as it was before the run.

Each row of a table with several columns becomes a dict. If a table has only one column, the items are its values. No
input is held in memory as a whole: items are read when they are needed.
"""

from __future__ import annotations

from tui_runner.inputs.open_source import open_source
from tui_runner.inputs.source import InputChunk, Source, items_source, made_items, total_items

__all__ = ["InputChunk", "Source", "items_source", "made_items", "open_source", "total_items"]
