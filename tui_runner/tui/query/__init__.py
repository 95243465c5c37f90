"""The query screen."""
