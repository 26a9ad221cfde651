"""Activations (features) at a line: computing them, caching them, handing them to training."""
