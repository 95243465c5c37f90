"""Commands, headless mode, and everything that is printed to a plain terminal."""
