"""Training the head and the suffix."""
