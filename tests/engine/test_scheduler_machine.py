"""The scheduler in every order of events that Hypothesis can think of."""

from __future__ import annotations

import os

from hypothesis import settings
from support.scheduler_machine import SchedulerMachine

TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=int(os.environ.get("EXAMPLES", "60")), stateful_step_count=40)
