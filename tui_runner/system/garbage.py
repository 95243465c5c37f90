"""Makes Python look for cyclic garbage less often than by default. Each search stops all threads of the process.

By default, a search of the young objects follows every 700 new objects, and a full one every 70,000: the latter visits
all objects of all modules, which takes 10 to 140 ms. Loading the modules of a command takes an eighth longer for it,
and a key that is pressed meanwhile has no effect for so long.
"""

from __future__ import annotations

import gc

WORKER_THRESHOLD = 100_000
"""Number of new objects after which a worker looks for cyclic garbage: more than the objects of a worker's unreported
items. With 700, the default of Python 3.11, the collector ran every few hundred items, which took a quarter of the time
of an empty function; with 10,000 an eighth of the time of a small one. `memory_limit` also collects garbage when a
worker's memory has grown."""
PROGRAM_THRESHOLD = 10_000
"""The same number for the program itself. It stops a screen for about 4 ms, every other second in a busy run; with
100,000, it was 43 ms, so that keys pressed meanwhile had no effect for more than 50 ms."""
_YOUNG_OBJECTS = 500_000
"""Number of new objects per collection of the middle generation, which visits what is left of them and stops all
threads meanwhile: for 90 ms at 200,000 objects, and for 10 to 80 ms in a process with a screen and a busy run."""
_OLD_GENERATIONS = 80
"""Collections of the middle generation per full collection, which visits all objects: one per 40 million new objects;
with Python's defaults, one per 70,000."""


def collect_seldom(threshold: int) -> None:
    """Set the thresholds of the garbage collection of this process.

    Args:
        threshold: number of new objects after which Python looks for cyclic garbage.
    """
    gc.set_threshold(threshold, _YOUNG_OBJECTS // threshold, _OLD_GENERATIONS)


def collect_and_keep() -> None:
    """Collect all garbage, and exclude what is left from further collections: it is in use as long as the process."""
    gc.collect()
    gc.freeze()
