"""Text that is safe, short and readable; depends on nothing but the errors."""
