"""The clocks of a worker, which a job cannot change.

A job may patch `time.monotonic`, as test libraries do that freeze time. The worker's deadlines, retries and reports
must still work. Such libraries replace these functions in the namespaces of all modules, but not in classes, so here
they are attributes of a class.
"""

from __future__ import annotations

import time as standard


class time:
    """Functions of the standard `time` module, as they were when this module was imported."""

    monotonic = staticmethod(standard.monotonic)
    perf_counter = staticmethod(standard.perf_counter)
    process_time = staticmethod(standard.process_time)
    sleep = staticmethod(standard.sleep)
    thread_time = staticmethod(standard.thread_time)
    time = staticmethod(standard.time)
