"""This machine: files, processes, memory and the terminal."""
