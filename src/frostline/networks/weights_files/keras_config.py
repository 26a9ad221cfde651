"""A Keras model's description, of any age, as a graph of layers. Nothing is built from it."""

from collections.abc import Iterator, Mapping
from typing import Any

from frostline.networks.weights_files import order
from frostline.networks.weights_files.records import Graph, Node, Port

_MODELS = ("Sequential", "Functional", "Model")
_MOST_DEPTH = 30


def config_of(described: Any) -> Mapping[str, Any] | None:
    """Returns the table with a model's class and settings, wherever it lies in a description."""
    for _ in range(3):
        if not isinstance(described, dict):
            return None
        if "class_name" in described:
            return described
        described = described.get("model_config")
    return None


def graph_of(described: Any, depth: int = 0) -> Graph | None:
    """Returns a model's layers as nodes, models within it as functions; None where it has none.

    Args:
        described: What `config_of` understands.
        depth: How many models it lies in.

    Raises:
        ValueError: Where it is none, or its layers run in a circle.
    """
    model = config_of(described)
    if model is None or _layers(model) is None:
        return None
    if depth > _MOST_DEPTH:
        raise ValueError(f"models within models, more than {_MOST_DEPTH} deep")
    layers = [layer for layer in _layers(model) or [] if isinstance(layer, dict)]
    chain = model.get("class_name") == "Sequential"
    nodes: list[Node] = []
    functions: dict[str, Graph] = {}
    for layer in layers:
        name = name_of(layer)
        before = (nodes[-1].name,) if chain and nodes else ()
        inputs = before if chain else tuple(dict.fromkeys(_sources(layer.get("inbound_nodes"))))
        below = graph_of(layer, depth + 1)
        if below is not None:
            functions[name] = below
        settings = layer.get("config")
        attributes = settings if isinstance(settings, dict) and below is None else {}
        nodes.append(Node(name, str(layer.get("class_name")), inputs, (name,), attributes))
    graph = Graph(tuple(nodes), _inputs(nodes), _ends(nodes), functions)
    order.check(graph)
    return graph


def name_of(layer: Mapping[str, Any]) -> str:
    """Returns a layer's name: where Keras 3 and 2 write it, or where Keras 1 did."""
    settings = layer.get("config")
    inner = settings.get("name") if isinstance(settings, dict) else None
    return str(layer.get("name") or inner or layer.get("class_name"))


def walk(described: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yields the tables of all layers, those of models within it too, outer ones first."""
    model = config_of(described)
    if model is None or depth > _MOST_DEPTH:
        return
    yield model
    for layer in _layers(model) or []:
        yield from walk(layer, depth + 1)


def _layers(model: Mapping[str, Any]) -> list[Any] | None:
    settings = model.get("config")
    # Sequential models of Keras 1 and early 2 are a plain list.
    if isinstance(settings, list) and model.get("class_name") in _MODELS:
        return settings
    layers = settings.get("layers") if isinstance(settings, dict) else None
    return layers if isinstance(layers, list) else None


def _sources(inbound: Any, depth: int = 0) -> Iterator[str]:
    """Yields the layers that a call takes from, in order; both forms nest at will.

    Keras 1 and 2: `["name", 0, 0, {}]`. Keras 3: `{"keras_history": ["name", 0, 0]}`.
    """
    if depth > _MOST_DEPTH:
        raise ValueError("the inputs of a layer nest without end")
    if isinstance(inbound, dict):
        history = inbound.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])
            return
        for value in inbound.values():
            yield from _sources(value, depth + 1)
    elif isinstance(inbound, list):
        if len(inbound) >= 3 and isinstance(inbound[0], str) and isinstance(inbound[1], int):
            yield inbound[0]
            inbound = inbound[3:]
        for value in inbound:
            if isinstance(value, (list, dict)):
                yield from _sources(value, depth + 1)


def _inputs(nodes: list[Node]) -> tuple[Port, ...]:
    # A Sequential model may begin without an input layer; its first layer knows the shape then.
    named = [node for node in nodes if node.op == "InputLayer"] or nodes[:1]
    return tuple(
        Port(node.name, input_shape(node.attributes), str(node.attributes.get("dtype") or ""))
        for node in named
    )


def input_shape(settings: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """Returns the shape that a layer's settings declare for its input, batch included."""
    for key in ("batch_shape", "batch_input_shape"):
        shape = settings.get(key)
        if isinstance(shape, list) and all(one is None or type(one) is int for one in shape):
            return tuple(shape)
    return None


def _ends(nodes: list[Node]) -> tuple[Port, ...]:
    used = {name for node in nodes for name in node.inputs}
    return tuple(Port(node.name, None, "") for node in nodes if node.name not in used)
