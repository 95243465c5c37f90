"""The commands, runs without a screen, and all output to a plain terminal."""
