"""The DuckDB file: the results, the ledger of every item, and the only thread that writes to both."""
