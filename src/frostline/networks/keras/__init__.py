"""Keras: configurations, files and weights of every age, read as data."""
