"""The Textual application. It reads snapshots of a run and sends commands to its runner."""
