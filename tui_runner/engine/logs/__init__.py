"""The log of a run: writing, rotating, reading windows of it."""
