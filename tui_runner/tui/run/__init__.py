"""The dashboard, and every other screen about a run."""
