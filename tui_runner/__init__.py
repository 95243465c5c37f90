"""Run a function over a very long list of inputs: flat memory, live dashboard, results in DuckDB."""

__version__ = "0.1.0"
