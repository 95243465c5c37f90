"""Runs users' statements: pages of results, cancelling, catalog, write mode."""
