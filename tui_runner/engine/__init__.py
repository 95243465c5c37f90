"""The engine, which executes the plan of a run: scheduling, workers, guards, recording and snapshots."""
