"""Decisions about a run: converts events to actions. Imports only the standard library and the engine's vocabulary."""
