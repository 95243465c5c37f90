"""Runs statements of people: pages, cancellation, catalog, write mode."""
