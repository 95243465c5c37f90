"""From a request to an opened run: new, resumed or retried."""
