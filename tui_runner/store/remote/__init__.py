"""The same console through a socket of the process that has the database open."""
