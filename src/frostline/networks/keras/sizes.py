"""Networks of keras.applications at another size than they were configured for.

Some of them pad by hand what TensorFlow's `same` would, and write the result for one size down:
(0, 1) for an even one, (1, 1) for an odd one. Said as `same` again, it holds for every size.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from frostline.networks.translate.graph import Graph, Node

# Families that work out such a padding in Python (`imagenet_utils.correct_pad`). MobileNet v1
# pads (0, 1) whatever the size is.
SIZE_DEPENDENT = ("mobilenet_v2", "mobilenet_v3", "efficientnet", "nasnet")
_WINDOWS = ("conv2d", "depthwise_conv2d", "separable_conv2d", "max_pool", "average_pool")


def make_size_independent(graph: Graph) -> Graph:
    """Returns the graph with paddings that were worked out for one size as `same`."""
    users = graph.users()
    nodes = tuple(_as_same(node, users) if node.op == "pad" else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _as_same(pad: Node, users: Mapping[str, list[Node]]) -> Node:
    readers = users[pad.name]
    if not readers or any(not _is_padded_window(pad.settings["sides"], one) for one in readers):
        return pad
    kernel, stride = readers[0].settings["kernel"], readers[0].settings["stride"]
    return replace(pad, settings={"sides": "same", "kernel": kernel, "stride": stride})


def _is_padded_window(sides: Any, node: Node) -> bool:
    if node.op not in _WINDOWS or node.settings.get("padding") != "valid":
        return False
    halves = [size // 2 for size in node.settings["kernel"]]
    even = [[half - 1, half] for half in halves]
    odd = [[half, half] for half in halves]
    return node.settings["stride"] == [2, 2] and all(
        side in (one, other) for side, one, other in zip(sides, even, odd, strict=True)
    )
