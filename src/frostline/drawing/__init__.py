"""Pictures of networks: the graph with the frost line in it, feature maps, and kernels."""
