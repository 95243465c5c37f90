"""Converts Python results to typed Arrow columns; executed in workers."""
