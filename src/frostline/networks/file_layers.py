"""Any weights file as layers, whose arrays have the roles and the axes of PyTorch's.

Layers come in the order of the file, or in that of its graph, where it has one: a checkpoint of
TensorFlow is sorted by name, and what a converter wrote may stand in any order.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from frostline.networks.keras import weights as keras_files
from frostline.networks.weights_files.order import node_behind
from frostline.networks.weights_files.records import Array, Graph, Node, Tensor, WeightsFile

# What formats and programs call a role.
_WORDS = {
    "weight": "weight",
    "weights": "weight",
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "depthwise_weights": "weight",
    "W": "weight",
    "w": "weight",
    "gamma": "weight",
    "bias": "bias",
    "biases": "bias",
    "b": "bias",
    "beta": "bias",
    "running_mean": "running_mean",
    "moving_mean": "running_mean",
    "mean": "running_mean",
    "running_var": "running_var",
    "moving_variance": "running_var",
    "variance": "running_var",
    "running_std": "running_var",  # Of Keras 1, which calls the variance so.
}
# What is not the network's: slots of optimisers, counters, and the averages beside the weights.
_OTHERS = re.compile(
    r"(^|/)(Adam(_\d)?|Momentum|RMSProp(_\d)?|Adagrad|ExponentialMovingAverage|global_step"
    r"|beta\d_power|save_counter)$|\.OPTIMIZER_SLOT|^optimizer(/|$)|_CHECKPOINTABLE_OBJECT_GRAPH"
    r"|num_batches_tracked$"
)
_OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"
_NUMBERS = re.compile(r"(\d+)")
# Formats by how they hold a kernel and a dense weight.
FIRST, LAST, TFLITE = "channels first", "channels last", "tflite"
_HELD = {"safetensors": FIRST, "torch": FIRST, "onnx": FIRST, "tflite": TFLITE}
# ONNX's and TFLite's operations with weights: the role of each input, the first being the data.
_INPUTS = {
    "Conv": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "CONV_2D": ("weight", "bias"),
    "DEPTHWISE_CONV_2D": ("weight", "bias"),
    "FULLY_CONNECTED": ("weight", "bias"),
    "Conv2D": ("weight",),
    "DepthwiseConv2dNative": ("weight",),
    "FusedBatchNorm": ("weight", "bias", "running_mean", "running_var"),
    "FusedBatchNormV2": ("weight", "bias", "running_mean", "running_var"),
    "FusedBatchNormV3": ("weight", "bias", "running_mean", "running_var"),
}
_ADDING = ("BiasAdd", "Add", "AddV2")
_PASSING = ("Identity", "ReadVariableOp", "Cast")


@dataclass(frozen=True)
class FileLayer:
    """A layer of a weights file.

    Attributes:
        name: In the file.
        arrays: By role: `weight`, `bias`, `running_mean`, `running_var`, or the file's own word.
        sources: The names of these arrays in the file.
        held: How kernels lie: `FIRST` [o, i, h, w], `LAST` [h, w, i, o] or `TFLITE` [o, h, w, i].
        is_turned: Whether kernels were trained by Theano, which turns them by 180°.
        is_transposed: Whether a dense weight lies as [in, out].
    """

    name: str
    arrays: Mapping[str, Callable[[], Array]]
    shapes: Mapping[str, tuple[int, ...]]
    sources: tuple[str, ...]
    held: str
    is_turned: bool = False
    is_transposed: bool = False

    @property
    def kind(self) -> str:
        """`conv`, `dense`, `norm` or `other`."""
        axes = len(self.shapes.get("weight", ()))
        if "running_mean" in self.shapes or axes == 1:
            return "norm"
        return {4: "conv", 2: "dense"}.get(axes, "other")


def in_file_order(file: WeightsFile) -> list[FileLayer]:
    """Returns the layers of a file in its own order; where it is sorted by name, numbers count."""
    if file.format in ("keras", "keras_h5") or file.metadata.get("kind") == "layers-model":
        return list(_of_keras(keras_files.read(file.path)))
    tensors = [one for one in file.tensors.values() if _is_weight(one)]
    if file.format in ("tf_checkpoint", "saved_model", "meta_graph"):
        tensors.sort(key=lambda one: [_natural(part) for part in _NUMBERS.split(one.name)])
    groups: dict[str, dict[str, Tensor]] = {}
    for one in tensors:
        layer, role = _split(str(one.attributes.get("full_name") or one.name))
        group = groups.setdefault(layer, {})
        group[role if role not in group else one.name] = one
    held = _HELD.get(file.format, LAST)
    return [_layer(name, arrays, held, held == LAST) for name, arrays in groups.items()]


def in_graph_order(file: WeightsFile) -> list[FileLayer]:
    """Returns the layers in the order in which the file's graph uses them; nothing without one."""
    if file.graph is None:
        return []
    behind = _constants(file.graph, file.tensors)
    found: list[tuple[Node, dict[str, Tensor]]] = []
    for node in file.graph.nodes:
        fed = [behind(name) for name in node.inputs]
        if node.op in _INPUTS:
            roles = zip(_INPUTS[node.op], fed[1:], strict=False)
            arrays = {role: one for role, one in roles if one is not None}
            if "weight" in arrays:
                found.append((node, arrays))
        elif node.op in _ADDING and found and "bias" not in found[-1][1]:
            given = [one for one in fed if one is not None and len(one.shape) == 1]
            weight = found[-1][1]["weight"]
            if len(given) == 1 and given[0].shape[0] in weight.shape and len(weight.shape) > 1:
                found[-1][1]["bias"] = given[0]
    return [_of_node(node, arrays, _HELD.get(file.format, LAST)) for node, arrays in found]


def _of_node(node: Node, arrays: Mapping[str, Tensor], held: str) -> FileLayer:
    if node.op == "Gemm":
        transposed = not node.attributes.get("transB", 0)
    else:
        transposed = node.op == "MatMul" and not node.attributes.get("transpose_b", False)
    return _layer(node.name, arrays, held, transposed)


def _layer(name: str, arrays: Mapping[str, Tensor], held: str, transposed: bool) -> FileLayer:
    return FileLayer(
        name=name,
        arrays={role: one.values for role, one in arrays.items()},
        shapes={role: one.shape for role, one in arrays.items()},
        sources=tuple(one.name for one in arrays.values()),
        held=held,
        is_transposed=transposed,
    )


def _of_keras(file: keras_files.KerasFile) -> Iterator[FileLayer]:
    """Reads a file of Keras, whose own reader knows the names of all its ages."""
    is_theano = file.backend == "theano" or file.numbered
    for one in file.layers:
        name = one.name or one.store or one.group
        named = [
            (_WORDS.get(role, role) or ("weight", "bias")[min(index, 1)], array)
            for index, (role, array) in enumerate(one.arrays)
        ]
        yield FileLayer(
            name=name,
            arrays={role: _given(array) for role, array in named},
            shapes={role: array.shape for role, array in named},
            sources=tuple(f"{name}/{role}" for role, _ in named),
            held=FIRST if is_theano else LAST,
            is_turned=is_theano,
            is_transposed=True,
        )


def _given(array: Array) -> Callable[[], Array]:
    return lambda: array


def _constants(graph: Graph, tensors: Mapping[str, Tensor]) -> Callable[[str], Tensor | None]:
    """Returns what finds the array behind a graph's input, through nodes that hand it on."""
    nodes = {node.name: node for node in graph.nodes}

    def behind(name: str) -> Tensor | None:
        for _ in range(len(nodes) + 1):
            if name in tensors:
                return tensors[name]
            node = nodes.get(node_behind(name))
            if node is None:
                return None
            if node.name in tensors:
                return tensors[node.name]
            held = node.attributes.get("value")
            if isinstance(held, Tensor):
                return held
            if node.op not in _PASSING or not node.inputs:
                return None
            name = node.inputs[0]
        return None

    return behind


def _is_weight(one: Tensor) -> bool:
    is_number = "float" in one.dtype or one.quantisation is not None
    own = one.attributes.get("kind") not in ("optimizer", "constant")
    return is_number and own and not _OTHERS.search(one.name)


def _split(name: str) -> tuple[str, str]:
    """Splits `conv/BatchNorm/gamma:0` or `layer1.0.conv1.weight` into layer and role."""
    plain = name.removesuffix(_OBJECT)
    plain = plain.rpartition(":")[0] if re.search(r":\d+$", plain) else plain
    layer, _, word = plain.replace("/", ".").rpartition(".")
    return layer, _WORDS.get(word, word)


def _natural(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (-1, part)


def first_axes(array: Array, layer: FileLayer, wanted: tuple[int, ...]) -> list[Array]:
    """Returns the ways to put a layer's weight into PyTorch's order of axes, the likely one first.

    Args:
        array: The weight, as the file has it.
        layer: The layer it belongs to.
        wanted: The shape that the network has: a depthwise kernel is [c · m, 1, h, w].
    """
    if array.ndim == 2:
        ways = [array.T, array] if layer.is_transposed else [array]
        return [ways[0]] if array.shape[0] != array.shape[1] and layer.held != LAST else ways
    if array.ndim != 4:
        return [array]
    h, w, c, m = array.shape
    orders = {
        FIRST: [array],
        LAST: [array.transpose(3, 2, 0, 1), array.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)],
        TFLITE: [array.transpose(0, 3, 1, 2), array.transpose(3, 0, 1, 2)],
    }
    found = [np.ascontiguousarray(one) for one in orders[layer.held]]
    found = [one[:, :, ::-1, ::-1].copy() for one in found] if layer.is_turned else found
    return sorted(found, key=lambda one: one.shape != wanted)
