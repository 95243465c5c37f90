"""Turns a request into an opened run, which is new, resumed or retried."""
