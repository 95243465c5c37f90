"""The engine: decides what runs where (scheduler), runs it (pool, worker, backends) and reports (snapshot)."""
