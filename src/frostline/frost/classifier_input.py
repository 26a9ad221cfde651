"""Where a network's own classifier begins: what a new head is put on instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from frostline.frost.liveness import GraphStep
from frostline.frost.traced_graph import TracedGraph
from frostline.frost.tracer import is_leaf

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class ClassifierInput:
    """Where a network's features end.

    Attributes:
        index: The position of what the classifier is fed, before its dropout; the last position
            of a network without a classifier.
        feeds: The position just before the classifier, where several parts of it are fed.
        problem: Why there is no such place; empty where there is one.
    """

    index: int
    feeds: int | None = None
    problem: str = ""


def classifier_input(
    net: nn.Module,
    traced_graph: TracedGraph,
    steps: Mapping[str, GraphStep],
    classifiers: Sequence[str] = (),
) -> ClassifierInput:
    """Finds what the network's classifier is fed.

    The classifier is what `get_classifier()` names, as timm's networks do; else the last linear
    layer; else, where the output is a vector, the last layer if that is a 1 × 1 convolution. A
    network with none of these gives features: they are what lies at its end.

    Args:
        net: The network.
        traced_graph: What it does.
        steps: The same, step by step.
        classifiers: Paths of the classifier's last layers, where they are known.
    """
    paths = list(classifiers) or _classifiers(net, traced_graph, steps)
    called = [path for path in paths if path in traced_graph.inputs]
    if not paths:
        return ClassifierInput(len(steps))
    if not called:
        whole = next((name for name in _opaque(net, steps) if _lies_in(paths[0], name)), "")
        if whole:
            return ClassifierInput(
                len(steps),
                problem=f"its classifier {paths[0]!r} is a part of {whole!r}, which is one piece",
            )
        return ClassifierInput(len(steps))
    feeds = {path: steps[traced_graph.inputs[path]] for path in called}
    # A network with two classifiers ends where neither is fed yet.
    step = min(feeds.values(), key=lambda step: step.index)
    while _is_dropout(net, step):
        step = steps[step.node.all_input_nodes[0].name]
    calls = [step.index for step in steps.values() if step.node.target in called]
    several = len({feed.node.name for feed in feeds.values()}) > 1
    return ClassifierInput(step.index, min(calls) - 1 if several and calls else None)


def _classifiers(
    net: nn.Module, traced_graph: TracedGraph, steps: Mapping[str, GraphStep]
) -> list[str]:
    """Paths of the network's classifiers, as it tells them or as they are guessed."""
    getter = getattr(net, "get_classifier", None)
    if getter is not None:
        wanted = list(_flat(getter()))
        named = net.named_modules()
        return [path for path, module in named if any(module is one for one in wanted)]
    linear = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)]
    called = [path for path in linear if path in traced_graph.inputs]
    return (called or linear)[-1:] or _convolution(net, steps)


def _flat(told: object) -> list[object]:
    if isinstance(told, tuple | list | nn.ModuleList):
        return [one for part in told for one in _flat(part)]
    return [told]


def _convolution(net: nn.Module, steps: Mapping[str, GraphStep]) -> list[str]:
    """The last layer with parameters, where it is a 1 × 1 convolution and a vector comes out."""
    *_, end = steps.values()
    outputs = [steps[source.name] for source in end.node.all_input_nodes]
    if [len(step.shape or ()) for step in outputs] != [1]:
        return []
    last = [step for step in steps.values() if step.parameters][-1:]
    for step in last:
        path = str(step.node.target)
        if step.node.op == "call_module":
            module = net.get_submodule(path)
            if isinstance(module, _LAYERS) and set(getattr(module, "kernel_size", ())) == {1}:
                return [path]
    return []


def _opaque(net: nn.Module, steps: Mapping[str, GraphStep]) -> list[str]:
    targets = [str(s.node.target) for s in steps.values() if s.node.op == "call_module"]
    return [path for path in targets if not is_leaf(net.get_submodule(path))]


def _lies_in(path: str, whole: str) -> bool:
    return path == whole or path.startswith(f"{whole}.")


def _is_dropout(net: nn.Module, step: GraphStep) -> bool:
    node = step.node
    if node.op == "call_module":
        module = net.get_submodule(str(node.target))
        return isinstance(module, (*_DROPOUTS, nn.Identity)) and bool(node.all_input_nodes)
    return node.op == "call_function" and node.target is torch.nn.functional.dropout
