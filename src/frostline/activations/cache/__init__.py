"""The cache of activations: immutable chunks under a key of everything that changes the bytes."""
