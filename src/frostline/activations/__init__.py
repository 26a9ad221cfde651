"""Activations at a line: how they are computed, kept on disk, and handed to training."""
