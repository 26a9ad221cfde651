"""Cutting a network at a line: below it everything is frozen, above it is trained.

Works on the torch.fx graph of the real network; see `lines`, `find` and `cut`. It knows torch and
timm's list of parts that are not to be looked into, and no catalogue of networks.
"""

from frostline.frost.cut import TracedNetwork, cut, lines, trace
from frostline.frost.graph_part import GraphPart
from frostline.frost.lines import PIXELS, POOLED, Line, find, top_map

__all__ = [
    "PIXELS",
    "POOLED",
    "GraphPart",
    "Line",
    "TracedNetwork",
    "cut",
    "find",
    "lines",
    "top_map",
    "trace",
]
