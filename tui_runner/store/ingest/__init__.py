"""The one writing thread and its transactions."""
