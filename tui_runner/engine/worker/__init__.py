"""The inside of a worker: task queue, threads or event loop, attempts, retries, reporting."""
