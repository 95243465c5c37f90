"""Decisions about a run, from events to actions; imports the standard library and the engine's words alone."""
