"""Queries a database through the process that has it open, over a socket."""
