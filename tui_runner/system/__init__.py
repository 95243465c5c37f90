"""Access to this machine: files, processes, memory and the terminal."""
