"""The widgets of the screens. Every widget gets values of a snapshot and paints lines."""
