"""Inputs: the sources of a run's items.

`SOURCE` on the command line is one of

* a file `.csv .tsv .parquet .json .jsonl .ndjson .txt`, all but Parquet also compressed (`compressed_files`);
* a glob of files of one of these kinds, read one after the other in the order of their names;
* `-`, standard input, one item a line;
* `range:START:STOP[:STEP]`, integers as in Python's `range`;
* `sql:SELECT …`, over the run's database as it is before the run, or over files.

A table with several columns gives a dict a row; one with a single column gives its bare values. Nothing is ever
held whole: items are read as they are wanted.
"""

from __future__ import annotations

from tui_runner.inputs.open_source import open_source
from tui_runner.inputs.source import InputChunk, Source, items_source, made_items, total_items

__all__ = ["InputChunk", "Source", "items_source", "made_items", "open_source", "total_items"]
