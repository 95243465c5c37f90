"""Builds the frozen snapshot that every interface reads."""
