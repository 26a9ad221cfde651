"""From a graph to a module: names, sharing, orders, what is refused, and the graph as JSON."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import fx, nn

from frostline.base.errors import BackboneError
from frostline.networks.translate.arrays import slots_of, to_state
from frostline.networks.translate.build import build
from frostline.networks.translate.graph import Graph, Node, from_dict, to_dict
from frostline.networks.translate.names import safe_name

CONV = {
    "filters": 4,
    "kernel": [3, 3],
    "stride": [1, 1],
    "dilation": [1, 1],
    "groups": 1,
    "padding": "same",
    "bias": True,
    "activation": {"function": "relu"},
}
NORM = {"axis": -1, "eps": 1e-3, "momentum": 0.01, "scale": True, "center": True}


def graph_of(*layers: tuple[str, str, Mapping[str, Any]], shape=(3, 6, 5), **more: Any) -> Graph:
    """A chain: each layer reads the one before it."""
    nodes = [Node("input", "input", (), {})]
    for name, op, settings in layers:
        nodes.append(Node(name, op, (nodes[-1].name,), settings))
    return Graph(tuple(nodes), nodes[-1].name, shape, **more)


def dense(units: int) -> dict[str, Any]:
    return {"units": units, "bias": True, "activation": None}


def test_a_layer_with_an_activation_keeps_its_name_for_both() -> None:
    built = build(graph_of(("block1.conv1", "conv2d", CONV), ("norm", "batch_norm", NORM)), "test")
    paths = dict(built.module.named_modules())
    assert isinstance(paths["block1.conv1.conv"], nn.Conv2d)
    assert isinstance(paths["block1.conv1.activation"], nn.ReLU)
    assert type(paths["norm"]) is nn.BatchNorm2d
    assert paths["norm"].momentum == 0.01
    assert built.shapes["block1.conv1"] == (4, 6, 5)
    images = torch.rand(2, 3, 6, 5) - 0.5
    traced = fx.symbolic_trace(built.module)
    torch.testing.assert_close(traced(images), built.module(images), rtol=0, atol=0)
    twin = copy.deepcopy(built.module)
    torch.testing.assert_close(twin(images), built.module(images), rtol=0, atol=0)


def test_a_network_is_built_again_from_json_and_its_state_alone() -> None:
    graph = graph_of(
        ("conv", "conv2d", CONV),
        ("pool", "max_pool", {"kernel": [2, 2], "stride": [2, 2], "padding": "same"}),
        ("flat", "flatten", {}),
        ("top", "dense", dense(5)),
        scores="softmax",
    )
    first = build(graph, "test")
    text = json.dumps(to_dict(graph))
    again = from_dict(json.loads(text), "graph.json")
    assert again == graph
    assert again.digest == graph.digest
    second = build(again, "graph.json")
    second.module.load_state_dict(first.module.state_dict(), strict=True)
    images = torch.rand(3, 3, 6, 5)
    torch.testing.assert_close(second.module(images), first.module(images), rtol=0, atol=0)


@pytest.mark.parametrize("between", ["nothing", "dropout", "norm"])
def test_a_dense_layer_behind_a_flatten_is_put_into_the_order_held_here(between: str) -> None:
    middle = {
        "nothing": (),
        "dropout": (("middle", "dropout", {"rate": 0.5}),),
        "norm": (("middle", "batch_norm", NORM),),
    }[between]
    graph = graph_of(("flat", "flatten", {}), *middle, ("top", "dense", dense(4)))
    built = build(graph, "test")
    kernel = torch.randn(4, 3 * 6 * 5)
    arrays = {("top", "kernel"): kernel, ("top", "bias"): torch.zeros(4)}
    scale = torch.rand(90) + 0.5
    if between == "norm":
        arrays |= {("middle", "gamma"): scale, ("middle", "beta"): torch.zeros(90)}
        arrays |= {("middle", "mean"): torch.zeros(90), ("middle", "variance"): torch.ones(90)}
        kernel = kernel * scale / (1 + 1e-3) ** 0.5
    built.module.load_state_dict(to_state(graph, built, arrays), strict=False)
    images = torch.randn(2, 3, 6, 5)
    expected = images.permute(0, 2, 3, 1).flatten(1) @ kernel.T
    torch.testing.assert_close(built.module(images), expected, rtol=1e-4, atol=1e-4)
    assert type(built.module.get_submodule("flat")) is nn.Flatten, "nothing is moved at run time"


def test_a_flattened_map_that_others_read_has_the_order_of_its_source() -> None:
    graph = graph_of(("flat", "flatten", {}))
    images = torch.randn(2, 3, 6, 5)
    given = build(graph, "test").module(images)
    torch.testing.assert_close(given, images.permute(0, 2, 3, 1).flatten(1))
    first = build(replace(graph, layout="channels_first"), "test").module(images)
    torch.testing.assert_close(first, images.flatten(1))


def test_a_layer_that_is_used_again_has_one_set_of_weights() -> None:
    nodes = (
        Node("input", "input", (), {}),
        Node("conv", "conv2d", ("input",), {**CONV, "filters": 3}),
        Node("conv#2", "conv2d", ("conv",), {**CONV, "filters": 3}, module="conv"),
    )
    built = build(Graph(nodes, "conv#2", (3, 6, 5)), "test")
    assert len(list(built.module.parameters())) == 2
    conv = built.module.get_submodule("conv")
    images = torch.rand(1, 3, 6, 5)
    torch.testing.assert_close(built.module(images), conv(conv(images)))
    nodes = (*nodes[:1], Node("conv", "conv2d", ("input",), CONV), *nodes[2:])
    with pytest.raises(BackboneError, match="input of another shape"):
        build(Graph(nodes, "conv#2", (3, 6, 5)), "test")


def test_an_activation_overwrites_only_what_nobody_else_needs() -> None:
    relu = {"function": "relu"}
    nodes = (
        Node("input", "input", (), {}),
        Node("first", "activation", ("input",), relu),
        Node("norm", "batch_norm", ("first",), NORM),
        Node("second", "activation", ("norm",), relu),
        Node("sum", "merge", ("second", "first"), {"how": "add"}),
    )
    module = build(Graph(nodes, "sum", (3, 6, 5)), "test").module
    images = torch.randn(2, 3, 6, 5)
    before = images.clone()
    given = module(images)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    norm = module.get_submodule("norm")
    torch.testing.assert_close(given, norm(images.relu()).relu() + images.relu())
    assert [module.get_submodule(name).inplace for name in ("first", "second")] == [False, True]


def test_a_norm_without_factor_or_offset_has_no_such_weight() -> None:
    graph = graph_of(("norm", "batch_norm", {**NORM, "scale": False}))
    built = build(graph, "test")
    assert [name for name, _ in built.module.named_parameters()] == ["norm.bias"]
    assert ("norm", "gamma") not in slots_of(graph, built)
    built.module.train()(torch.randn(4, 3, 6, 5)).sum().backward()
    assert built.module.get_submodule("norm").bias.grad is not None


def test_dropped_examples_are_scaled_up_and_only_in_training() -> None:
    module = build(graph_of(("drop", "drop_examples", {"rate": 0.25})), "test").module
    images = torch.ones(4000, 3, 6, 5)
    torch.testing.assert_close(module(images), images)
    torch.manual_seed(0)
    dropped = module.train()(images)
    kept = dropped.flatten(1).amax(1)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((kept == 0).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_initial_weights_are_drawn_as_the_source_says() -> None:
    how = {"kind": "scaled", "scale": 2.0, "mode": "output", "shape": "cut_normal"}
    settings = {
        **CONV,
        "filters": 64,
        "initial": {"kernel": how, "bias": {"kind": "constant", "value": 0.5}},
    }
    conv = build(graph_of(("conv", "conv2d", settings), shape=(32, 6, 5)), "test").module.conv.conv
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert conv.bias.tolist() == [0.5] * 64


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([("a", "convv2d", CONV)], "layer 'a' asks for operator 'convv2d'.*Did you mean conv2d"),
        ([("a", "conv2d", {**CONV, "padding": "valid", "kernel": [9, 9]})], "too small"),
        ([("a", "dense", {})], "its setting 'units' is missing"),
        ([("a", "activation", {"function": "gelo"})], "activation 'gelo'.*Did you mean gelu"),
        ([("a", "layer_norm", {**NORM, "axes": [1]})], "over the last axes"),
    ],
)
def test_what_cannot_be_built_is_told_by_layer(layers: Any, said: str) -> None:
    with pytest.raises(BackboneError, match=f"(?s)^net: .*{said}"):
        build(graph_of(*layers), "net")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "must hold a network's graph"),
        ({"version": 99}, "must hold a network's graph"),
        ({"layout": "sideways"}, "layout 'sideways'"),
        ({"output": "nowhere"}, "the output 'nowhere' is no layer"),
        ({"input_shape": [3, 6]}, "the graph is not whole"),
        ({"nodes": [{"name": "a", "op": "input", "inputs": ["b"], "settings": {}}]}, "layer 'a'"),
    ],
)
def test_a_graph_that_does_not_hold_is_refused(change: dict[str, Any], said: str) -> None:
    whole = to_dict(graph_of(("conv", "conv2d", CONV)))
    with pytest.raises(BackboneError, match=f"^graph.json: {said}"):
        from_dict({**whole, **change}, "graph.json")


OTHER_SETTINGS: dict[str, tuple[tuple[int, int, int], Mapping[str, Any], Mapping[str, Any]]] = {
    "conv2d": ((3, 8, 8), CONV, {"padding": [[0, 1], [0, 1]], "stride": [2, 2]}),
    "pad": ((3, 8, 8), {"sides": [[0, 1], [0, 1]]}, {"sides": [[1, 0], [0, 1]]}),
    "crop": ((3, 8, 8), {"sides": [[0, 1], [0, 1]]}, {"sides": [[1, 0], [0, 1]]}),
    "permute": ((3, 8, 8), {"axes": [1, 2, 3]}, {"axes": [2, 1, 3]}),
    "reshape": ((3, 8, 8), {"shape": [8, 24]}, {"shape": [24, 8]}),
    "global_pool": ((3, 8, 8), {"reduce": "mean", "keep_axes": True}, {"reduce": "max"}),
    "affine": ((3, 8, 8), {"scale": 1.0, "offset": 0.0}, {"offset": 0.5}),
    "activation": ((3, 8, 8), {"function": "bent_relu"}, {"max_value": 6.0}),
    "drop_examples": ((3, 8, 8), {"rate": 0.1}, {"rate": 0.2}),
    "noise": ((3, 8, 8), {"deviation": 0.1, "multiply": False}, {"multiply": True}),
    "average_pool": (
        (3, 8, 8),
        {"kernel": [3, 3], "stride": [2, 2], "padding": "same"},
        {"stride": [3, 3]},
    ),
    "max_pool": (
        (3, 8, 8),
        {"kernel": [3, 3], "stride": [2, 2], "padding": "same"},
        {"kernel": [4, 4]},
    ),
}


@pytest.mark.parametrize("op", OTHER_SETTINGS)
def test_settings_show_in_what_is_printed_which_cache_keys_are_made_of(op: str) -> None:
    shape, settings, change = OTHER_SETTINGS[op]
    printed = [
        repr(build(graph_of(("layer", op, told), shape=shape), "net").module)
        for told in (settings, {**settings, **change})
    ]
    assert printed[0] != printed[1]


def test_a_name_never_becomes_code(capsys: pytest.CaptureFixture[str]) -> None:
    """torch.fx writes names into code between quotes, as they are."""
    evil = 'a", print("run")) or getattr(self,"b'
    with pytest.raises(BackboneError, match="has a name that no module can have"):
        build(graph_of((evil, "activation", {"function": "relu"})), "test")
    built = build(graph_of((safe_name(evil), "activation", {"function": "relu"})), "test")
    built.module(torch.zeros(1, 3, 2, 2))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["training", "forward", "code", "class", "a/b c", "", "x" * 300, "\\", "a\nb", "1.0"]
)
def test_any_name_has_one_near_it_that_a_module_can_have(name: str) -> None:
    safe = safe_name(name)
    assert safe_name(safe) == safe
    graph = graph_of((safe, "activation", {"function": "relu"}))
    module = build(graph, "test").module
    assert type(module.get_submodule(safe)) is nn.ReLU
    assert module(-torch.ones(1, 3, 2, 2)).max() == 0
    assert module.training is False
