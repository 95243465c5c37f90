"""Executes statements of users: pages of results, cancelling, the catalog of tables, and write mode."""
