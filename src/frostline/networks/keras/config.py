"""From a Keras model's configuration, of any age, to the translator's graph.

Nested models are put in line. Layers keep their names, and where one name occurs in several models
all get their paths: `sequential_1.model1.Conv1`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from frostline.base.errors import BackboneError, raise_all
from frostline.networks.keras import ages, calls
from frostline.networks.keras.layers import AUGMENTATION, LAYERS, operation, with_numbers
from frostline.networks.translate import simplify
from frostline.networks.translate.graph import Graph, Node, check
from frostline.networks.translate.names import safe_name

MODELS = ("Sequential", "Functional", "Model")
# Beyond this no honest model is nested.
_DEEPEST = 16


@dataclass(frozen=True)
class Layer:
    """A layer that is no model, as Keras lists it.

    Attributes:
        path: The name of its node.
        class_name: Its class in Keras.
        store: Where Keras 3 keeps its weights: `layers/functional/layers/conv2d_1`.
        op: Its operator.
        settings: The operator's settings.
        trainable: Whether the configuration has it trained.
        group: The layer of the outermost model that it lies in, or is.
    """

    path: str
    class_name: str
    store: str
    op: str
    settings: Mapping[str, Any]
    trainable: bool
    group: str

    @property
    def name(self) -> str:
        """Its own name, without the models around it."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Reading:
    """What a configuration says.

    Attributes:
        graph: The network, whose last softmax or sigmoid is told and not computed.
        layers: All layers in Keras's order, which is that of its weights.
        groups: The layers of the outermost model, in order.
        age: Keras's major version.
        left_out: Augmentation layers, by class and name.
    """

    graph: Graph
    layers: tuple[Layer, ...]
    groups: tuple[str, ...]
    age: int
    left_out: tuple[str, ...]


def read(
    config: Mapping[str, Any],
    where: str,
    version: str = "",
    input_px: tuple[int, int] | None = None,
) -> Reading:
    """Reads a model's configuration.

    Args:
        config: `{"class_name": …, "config": …}`, as `to_json` gives it and files hold it.
        where: The name or file, for messages.
        version: Keras's version, where the source tells it.
        input_px: Height and width, where the model leaves them open.

    Raises:
        BackboneError: Where it takes or gives more than one thing, or has layers that are not
            known; all are named at once. A Lambda is code and is never built.
    """
    age = ages.age_of(config, version)
    plain = ages.modern(config, age, where)
    _refuse_unknown(plain, where)
    inner = [one for one in _walk(plain) if one["class_name"] != "InputLayer"]
    names = [_input_name(plain), *(_safe(layer["config"]["name"]) for layer in inner)]
    reader = _Reader(age=age, where=where, short=len(set(names)) == len(names))
    shape = _input_shape(plain, where)
    layout = _layout(plain, where)
    first = Node("input", "input", (), {})
    reader.nodes.append(replace(first, name=_input_name(plain)))
    output = reader.model(plain, "", reader.nodes[0].name, "")
    graph = Graph(
        nodes=tuple(reader.nodes),
        output=output,
        input_shape=_sized(shape, layout, input_px, where),
        layout=layout,
    )
    graph = simplify.without_scores(graph)
    check(graph, where)
    groups = tuple(_safe(one["config"]["name"]) for one in _layers(plain))
    return Reading(graph, tuple(reader.layers), groups, age, tuple(reader.left_out))


@dataclass
class _Reader:
    """Gathers nodes and layers while it walks through models within models."""

    age: int
    where: str
    short: bool
    nodes: list[Node] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)

    def model(self, model: Mapping[str, Any], path: str, fed: str, store: str) -> str:
        """Puts a model in line behind the node `fed`; returns the name of its last node."""
        if path.count(".") > _DEEPEST:
            raise BackboneError(f"{self.where}: models nested more than {_DEEPEST} deep.")
        stores = _stores(model, store)
        if model["class_name"] == "Sequential":
            for layer in _layers(model):
                fed = self._layer(layer, path, [fed], stores)
            return fed
        return self._functional(model, path, fed, stores)

    def _functional(
        self, model: Mapping[str, Any], path: str, fed: str, stores: Mapping[str, str]
    ) -> str:
        config = model["config"]
        what = f"{self.where}: model {config.get('name', '')!r}"
        start = calls.only(config.get("input_layers"), f"{what}, inputs")
        end = calls.only(config.get("output_layers"), f"{what}, outputs")
        values: dict[calls.Value, str] = {}
        waiting = []
        for layer in _layers(model):
            name = str(layer["config"]["name"])
            if layer["class_name"] == "InputLayer":
                values[(name, 0)] = self._layer(layer, path, [fed], stores)
                continue
            uses = calls.uses(layer, f"{what}, layer {name!r}")
            waiting += [(layer, (name, number), call) for number, call in enumerate(uses)]
        if start not in values:
            raise BackboneError(f"{what}: its input {start[0]!r} is no layer.")
        while end not in values:
            late = []
            for layer, value, call in waiting:
                if all(read in values for read in call.reads):
                    fed_by = [values[read] for read in call.reads]
                    values[value] = self._layer(layer, path, fed_by, stores, call.numbers)
                else:
                    late.append((layer, value, call))
            if len(late) == len(waiting):
                raise BackboneError(f"{what}: its output {end[0]!r} is not to be reached.")
            waiting = late
        return values[end]

    def _layer(
        self,
        layer: Mapping[str, Any],
        path: str,
        fed: Sequence[str],
        stores: Mapping[str, str],
        numbers: Sequence[tuple[int, Any]] = (),
    ) -> str:
        name, kind, config = str(layer["config"]["name"]), layer["class_name"], layer["config"]
        own = f"{path}.{_safe(name)}" if path else _safe(name)
        called = _safe(name) if self.short else own
        if kind in MODELS:
            if len(fed) != 1:
                raise BackboneError(f"{self.where}: the model {own!r} takes {len(fed)} inputs.")
            return self.model(layer, own, fed[0], stores[name])
        if kind == "InputLayer":
            return fed[0]
        if kind in AUGMENTATION:
            self.left_out.append(f"{kind} {own}")
            return fed[0]
        try:
            op, settings = (
                with_numbers(kind, len(fed), numbers)
                if numbers
                else operation(kind, config, self.age)
            )
        except BackboneError as error:
            raise BackboneError(f"{self.where}: layer {own!r} ({kind}): {error}") from error
        count = self.used[own] = self.used.get(own, 0) + 1
        if count == 1:
            trainable = bool(config.get("trainable", True))
            group = own.partition(".")[0]
            self.layers.append(Layer(called, kind, stores[name], op, settings, trainable, group))
            node = Node(called, op, tuple(fed), settings)
        else:
            node = Node(f"{called}#{count}", op, tuple(fed), settings, module=called)
        self.nodes.append(node)
        return node.name


def _layers(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(model["config"]["layers"])


def _walk(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All layers that are no models, of models within models too."""
    found: list[Mapping[str, Any]] = []
    waiting = [model]
    while waiting:
        for layer in _layers(waiting.pop()):
            (waiting if layer["class_name"] in MODELS else found).append(layer)
    return found


def _refuse_unknown(model: Mapping[str, Any], where: str) -> None:
    known = {*LAYERS, *AUGMENTATION, "InputLayer"}
    problems = []
    for layer in _walk(model):
        kind, name = layer["class_name"], layer["config"].get("name", "")
        if kind == "Lambda":
            problems.append(f"layer {name!r} is a {kind}: code in a model, which is never run.")
        elif kind not in known:
            problems.append(f"layer {name!r} is a {kind}, which is not known.")
    raise_all(BackboneError, where, problems, most=20)


def _stores(model: Mapping[str, Any], store: str) -> dict[str, str]:
    """Returns where Keras 3 keeps each layer's weights: by class, counted."""
    counts: dict[str, int] = {}
    found = {}
    for layer in _layers(model):
        kind = ages.snake_case(str(layer["class_name"]))
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        own = f"{kind}_{number}" if number else kind
        found[str(layer["config"]["name"])] = f"{store}/layers/{own}".lstrip("/")
    return found


def _input_name(model: Mapping[str, Any]) -> str:
    """The name of the outermost input layer."""
    for layer in _layers(model):
        if layer["class_name"] == "InputLayer":
            return _safe(layer["config"]["name"])
    return "input"


def _input_shape(model: Mapping[str, Any], where: str) -> tuple[int | None, ...]:
    """Finds the first shape that is told, batch and all: at the input, or at the first layer."""
    waiting = [model]
    while waiting:
        config = waiting.pop(0)["config"]
        for key in ("batch_shape", "batch_input_shape", "build_input_shape"):
            if isinstance(config.get(key), list | tuple):
                return tuple(None if size is None else int(size) for size in config[key])
        waiting += list(config.get("layers", []))[:1]
    raise BackboneError(f"{where}: the shape of its input is told nowhere.")


def _layout(model: Mapping[str, Any], where: str) -> str:
    told = {layer["config"].get("data_format") for layer in _walk(model)}
    found = {str(one) for one in told if one is not None}
    if len(found) > 1:
        raise BackboneError(f"{where}: its layers hold channels both first and last.")
    return found.pop() if found else "channels_last"


def _sized(
    shape: tuple[int | None, ...], layout: str, input_px: tuple[int, int] | None, where: str
) -> tuple[int, int, int]:
    if len(shape) != 4:
        raise BackboneError(f"{where}: takes inputs of shape {list(shape[1:])}, and no pictures.")
    h, w, c = shape[1:] if layout == "channels_last" else (shape[2], shape[3], shape[1])
    if input_px is not None:
        told = (h, w)
        if any(side is not None and side != px for side, px in zip(told, input_px, strict=True)):
            raise BackboneError(f"{where}: takes {h} × {w} px, not {input_px[0]} × {input_px[1]}.")
        h, w = input_px
    if c is None or h is None or w is None:
        raise BackboneError(
            f"{where}: leaves the size of its input open ({list(shape[1:])}). "
            "Name it with input_px."
        )
    return c, h, w


def _safe(name: str) -> str:
    """A name that a module can have."""
    return safe_name(str(name))
