"""All about the user's function: finding and loading it, its parameters and settings, and HTTP for it."""
