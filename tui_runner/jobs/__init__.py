"""The user's function: finding, loading, parameters, settings, HTTP."""
