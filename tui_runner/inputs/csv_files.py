"""CSV and TSV files as inputs.

The first line names the columns. DuckDB's parser reads the file, but its guessing is not used: it skips what it
takes for a preamble (a broken row makes it drop all rows before), takes the first of several addresses for a
heading, and a `;` in a single column for the delimiter. Instead:

* the delimiter is a tab for `.tsv`; else the one of `,` `;` tab `|` that is most frequent in the first line;
  a first line with none of them means a single column, whose values may hold any of them;
* a first line that can't be names (numbers, addresses) is the first item of a single column, and an error of several;
* a column is of a type if every value has its usual form and loses nothing by it: `00123` stays text, so does
  a decimal number with more digits than a float has, and integers may be of any length.

Empty fields are None; `""` is an empty text. In a single column, blank lines are left out.
"""

from __future__ import annotations

import copy
import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tui_runner.errors import UserError
from tui_runner.inputs import duck
from tui_runner.inputs.source import Source
from tui_runner.inputs.table_files import duck_counts
from tui_runner.wording import listed, one_line, plain, quoted

_DELIMITERS = ",;\t|"
_NONE = "\x1f"
"""Delimiter of a single column: the unit separator, which does not occur in text."""
_LONGEST_LINE = 32 << 20
"""Bytes a row may have."""
_FIRST_LOOK = 10_000
"""Rows from which the possible types of the columns are taken."""
_LARGE_LOOK = 100_000
"""Rows of a large file that have to agree on a type; a later row that does not is an error with its line."""

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_TYPES = {
    "BOOLEAN": "lower({0}) IN ('true', 'false')",
    "BIGINT": "regexp_full_match({0}, '-?(0|[1-9][0-9]{{0,17}})')",
    "HUGEINT": "regexp_full_match({0}, '-?(0|[1-9][0-9]{{0,36}})')",
    # 15 digits before the point and 17 after are what a float keeps; an exponent without sign may be a name, 12E4.
    "DOUBLE": "regexp_full_match({0}, '-?(0|[1-9][0-9]{{0,14}})([.][0-9]{{1,17}})?([eE][+-][0-9]{{1,3}})?')",
    "DATE": f"regexp_full_match({{0}}, '{_DAY}') AND TRY_CAST({{0}} AS DATE) IS NOT NULL".replace("{4}", "{{4}}").replace("{2}", "{{2}}"),
}
