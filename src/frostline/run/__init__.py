"""The run folder: what lies where in it."""
