"""What everything else may use: errors, files, the console, signals, paths."""
