"""The clocks of a worker, which a job cannot change.

A function may patch `time.monotonic`, as libraries for tests do that freeze the time; deadlines, retries and reports of
the worker that executes it must go on. Such libraries also look for the functions in the names of all modules, so here
they are attributes of a class.
"""

from __future__ import annotations

import time as standard


class time:
    """Functions of the standard library's `time`, as they are when this is imported."""

    monotonic = staticmethod(standard.monotonic)
    perf_counter = staticmethod(standard.perf_counter)
    process_time = staticmethod(standard.process_time)
    sleep = staticmethod(standard.sleep)
    thread_time = staticmethod(standard.thread_time)
    time = staticmethod(standard.time)
