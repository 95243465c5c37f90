"""The DuckDB file: results, the ledger of every item, and the one thread that writes both."""
