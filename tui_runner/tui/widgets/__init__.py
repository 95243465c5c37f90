"""The widgets of the screens. Every widget is given values of a snapshot and paints lines."""
