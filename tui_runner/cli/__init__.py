"""Commands, headless mode, and all output to a plain terminal."""
