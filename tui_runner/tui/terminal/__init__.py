"""Code between Textual and a real terminal: driver, captured output, notifications, workarounds."""
