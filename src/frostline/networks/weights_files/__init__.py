"""Weights files of every usual format, read without the framework that wrote them.

`formats.open_file` returns a `records.WeightsFile`: arrays by name, each read when it is asked for,
the graph where the file holds one, and what the file says of itself. Nothing in a file is run.
"""
