"""The scheduler of a run, which turns events into actions. It does no I/O and imports no part that does."""
