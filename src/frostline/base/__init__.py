"""The foundation that every other folder may import: errors, files, console, signals, paths."""
