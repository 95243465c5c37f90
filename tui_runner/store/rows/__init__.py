"""Python results become typed Arrow columns; runs in workers."""
