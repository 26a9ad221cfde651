"""Activations kept on disk: keyed by everything that changes them, in immutable chunks."""
