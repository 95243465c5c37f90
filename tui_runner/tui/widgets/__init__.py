"""Widgets that several screens use: painted lines, lists, footer and graphs."""
