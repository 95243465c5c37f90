"""Makes text safe, short and readable; imports nothing of tui-runner except `errors`."""
