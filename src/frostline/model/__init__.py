"""Prefix, suffix and head as one classifier: putting it together, saving it, using it."""
