"""What the screens are made of. Every widget is given values of a snapshot and paints lines."""
