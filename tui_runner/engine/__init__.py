"""The engine: sends items to workers (scheduler), executes them (worker, backends), shows the run (snapshot)."""
