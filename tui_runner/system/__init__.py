"""Access to the machine on which this process runs: files, processes, memory and the terminal."""
