"""From a graph of operators to a plain PyTorch module: one way for all sources."""
