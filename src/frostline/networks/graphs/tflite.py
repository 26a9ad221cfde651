"""The table from TensorFlow Lite's operations to ours; numbers are dequantised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common, dilations
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.graphs.dilations import DilationNames, Sides
from frostline.networks.graphs.slices import Masks, strided_slice
from frostline.networks.translate import tensor_layers, tensors
from frostline.networks.translate.draft import Array, Operand
from frostline.networks.translate.tensor_layers import Window
from frostline.networks.weights_files.records import Node, Tensor

_ACTIVATIONS = {
    "none": "",
    "relu": "relu",
    "relu6": "relu6",
    "relu_n1_to_1": "hard_tanh",
    "tanh": "tanh",
}
_PAD_MODES = ("reflect", "symmetric")


def _activation(call: Call) -> str:
    word = call.get("activation", "none")
    if word not in _ACTIVATIONS:
        raise BackboneError(f"its activation {word!r} is not known.")
    return _ACTIVATIONS[word]


def _then(call: Call, make: Callable[[str], Operand]) -> Operand:
    """Makes a node and the activation that the operation applies to what it gives."""
    word = _activation(call)
    if not word:
        return make(call.name)
    return tensors.function(call.draft, call.name, make(f"{call.name}/{call.node.op}"), word)


def _window(call: Call) -> Window:
    return Window(
        (call.get("stride_h", 1), call.get("stride_w", 1)),
        call.get("padding", "same"),
        (call.get("dilation_h", 1), call.get("dilation_w", 1)),
    )


def _conv2d(call: Call) -> Operand:
    kernel = call.array(1)
    if kernel.ndim != 4:
        raise BackboneError(f"its kernel has {kernel.ndim} axes, not 4.")
    kernel = kernel.transpose(0, 3, 1, 2)
    return _kernel(call, kernel)


def _depthwise(call: Call) -> Operand:
    kernel = call.array(1)
    if kernel.ndim != 4 or kernel.shape[0] != 1:
        raise BackboneError(f"its kernel has the shape {list(kernel.shape)}, not [1, h, w, c].")
    return _kernel(call, kernel.transpose(3, 0, 1, 2))


def _kernel(call: Call, kernel: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> Operand:
    return tensor_layers.conv2d(
        call.draft,
        call.name,
        call[0],
        kernel,
        call.optional(2),
        _window(call),
        _activation(call),
    )


def _dense(call: Call) -> Operand:
    x, kernel = call[0], call.array(1)
    if not call.get("keep_num_dims", False) and len(x.shape) != 2:
        x = tensors.reshape(call.draft, f"{call.name}/flat", x, (x.shape[0], -1))
    return tensor_layers.dense(
        call.draft, call.name, x, kernel, call.optional(2), _activation(call)
    )


def _pool(how: str) -> Translate:
    def translate(call: Call) -> Operand:
        kernel = [call.get("filter_h", 1), call.get("filter_w", 1)]
        return _then(
            call,
            lambda name: tensor_layers.pool(call.draft, name, call[0], how, kernel, _window(call)),
        )

    return translate


def _binary(how: str) -> Translate:
    def translate(call: Call) -> Operand:
        pair = (call[0], call[1])
        return _then(call, lambda name: tensors.elementwise(call.draft, name, how, *pair))

    return translate


def _reshape(call: Call) -> Operand:
    shape = call.integers(1) if call.optional(1) is not None else list(call.get("new_shape", ()))
    return tensors.reshape(call.draft, call.name, call[0], shape)


def _softmax(call: Call) -> Operand:
    x, beta = call[0], float(call.get("beta", 1.0))
    if beta != 1.0:
        x = tensors.elementwise(
            call.draft, f"{call.name}/beta", "multiply", x, np.array(beta, np.float32)
        )
    return tensors.function(call.draft, call.name, x, "softmax", axis=-1)


def _reduce(how: str) -> Translate:
    return lambda call: tensors.reduce(
        call.draft, call.name, how, call[0], call.integers(1), bool(call.get("keep_dims", False))
    )


def _concatenate(call: Call) -> Operand:
    parts, axis = common.every(call), int(call.get("axis", 0))
    return _then(call, lambda name: tensors.concatenate(call.draft, name, parts, axis))


def _pad(call: Call) -> Operand:
    sides, fill = common.pairs(call, 1), common.number(call, 2, 0.0)
    return tensors.pad(call.draft, call.name, call[0], sides, value=fill)


def _mirror_pad(call: Call) -> Operand:
    mode = _PAD_MODES[int(call.get("mode", 0)) & 1]
    return tensors.pad(call.draft, call.name, call[0], common.pairs(call, 1), mode)


def _strided_slice(call: Call) -> Operand:
    words = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = Masks(*(int(call.get(word, 0)) for word in words))
    bounds = (call.integers(1), call.integers(2), call.integers(3))
    return strided_slice(call.draft, call.name, call[0], *bounds, masks)


def _gather(call: Call) -> Operand:
    if call.get("batch_dims", 0):
        raise BackboneError("it takes other places of each picture.")
    return tensors.take(call.draft, call.name, call[0], call.array(1), int(call.get("axis", 0)))


def _expand(call: Call) -> Operand:
    return tensors.expand(call.draft, call.name, call[0], call.integers(1))


def _squeeze(call: Call) -> Operand:
    return tensors.squeeze(call.draft, call.name, call[0], list(call.get("squeeze_dims", ())))


def _transpose(call: Call) -> Operand:
    return tensors.transpose(call.draft, call.name, call[0], call.integers(1))


def _leaky(call: Call) -> Operand:
    alpha = float(call.get("alpha", 0.0))
    return tensors.function(call.draft, call.name, call[0], "leaky_relu", negative_slope=alpha)


def _gelu(call: Call) -> Operand:
    which = "gelu_tanh" if call.get("approximate", False) else "gelu"
    return tensors.function(call.draft, call.name, call[0], which)


def _prelu(call: Call) -> Operand:
    alpha = call.array(1)
    if alpha.size != alpha.shape[-1]:
        raise BackboneError(f"its slopes have the shape {list(alpha.shape)}, not one a channel.")
    return call.draft.add(
        call.name, "prelu", [common.value(call[0])], {}, {"alpha": alpha.reshape(-1)}
    )


def _resize(linear: bool) -> Translate:
    def translate(call: Call) -> Operand:
        corners, centred = call.get("align_corners", False), call.get("half_pixel_centers", False)
        return common.resized(call, linear, bool(corners), bool(centred))

    return translate


def _unit_length(call: Call) -> Operand:
    x = common.value(call[0])
    length = tensors.reduce(call.draft, f"{call.name}/length", "l2", x, [-1], True)
    # As its reference does, so that nought stays nought.
    least = tensors.function(call.draft, f"{call.name}/least", length, "clamp", low=1e-6)
    return _then(
        call, lambda name: tensors.elementwise(call.draft, name, "divide", x, least, trained=False)
    )


def with_dilations(nodes: Sequence[Node], tensors_of: Mapping[str, Tensor]) -> list[Node]:
    """Returns the operations with convolutions over a spread batch as such with gaps."""

    def fixed(name: str) -> Array | None:
        return tensors_of[name].values() if name in tensors_of else None

    return dilations.joined(nodes, _DILATED, fixed, _with_gaps)


def _with_gaps(conv: Node, gaps: tuple[int, int], sides: Sides) -> Node | None:
    told = conv.attributes
    steps = {told.get(key, 1) for key in ("stride_h", "stride_w", "dilation_h", "dilation_w")}
    if steps != {1} or told.get("padding") != "valid":
        return None
    wide = {"dilation_h": gaps[0], "dilation_w": gaps[1], "padding": sides}
    return replace(conv, attributes={**told, **wide})


_DILATED = DilationNames(
    "SPACE_TO_BATCH_ND",
    "BATCH_TO_SPACE_ND",
    ("CONV_2D", "DEPTHWISE_CONV_2D"),
    ("ADD", "RELU", "RELU6"),
    "QUANTIZE",
)


def _plain(how: str) -> Translate:
    return common.binary(how, trained=False)


OPERATIONS: Mapping[str, Translate] = {
    "ADD": _binary("add"),
    "SUB": _binary("subtract"),
    "MUL": _binary("multiply"),
    "DIV": _binary("divide"),
    "POW": _binary("power"),
    "MAXIMUM": _plain("maximum"),
    "MINIMUM": _plain("minimum"),
    "FLOOR_DIV": _plain("floor_divide"),
    "SQUARED_DIFFERENCE": _plain("squared_difference"),
    "EQUAL": _plain("equal"),
    "NOT_EQUAL": _plain("not_equal"),
    "GREATER": _plain("greater"),
    "GREATER_EQUAL": _plain("greater_equal"),
    "LESS": _plain("less"),
    "LESS_EQUAL": _plain("less_equal"),
    "LOGICAL_AND": _plain("logical_and"),
    "LOGICAL_OR": _plain("logical_or"),
    "SELECT": common.select,
    "SELECT_V2": common.select,
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pool("average"),
    "MAX_POOL_2D": _pool("max"),
    "RELU": common.function("relu"),
    "RELU6": common.function("relu6"),
    "RELU_N1_TO_1": common.function("hard_tanh"),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "HARD_SWISH": common.function("hard_silu"),
    "ELU": common.function("elu"),
    "GELU": _gelu,
    "LOGISTIC": common.function("sigmoid"),
    "TANH": common.function("tanh"),
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": common.over_last_axis("log_softmax"),
    "ABS": common.function("absolute"),
    "NEG": common.function("negative"),
    "EXP": common.function("exponential"),
    "LOG": common.function("log"),
    "SQRT": common.function("sqrt"),
    "RSQRT": common.function("rsqrt"),
    "SQUARE": common.function("square"),
    "FLOOR": common.function("floor"),
    "CEIL": common.function("ceil"),
    "MEAN": _reduce("mean"),
    "SUM": _reduce("sum"),
    "REDUCE_MAX": _reduce("max"),
    "REDUCE_MIN": _reduce("min"),
    "REDUCE_PROD": _reduce("prod"),
    "CONCATENATION": _concatenate,
    "PACK": lambda call: common.joined(call, common.every(call), int(call.get("axis", 0))),
    "SPLIT": lambda call: common.equal_parts(
        call, call[1], call.integers(0)[0], int(call.get("num_splits", 1))
    ),
    "SPLIT_V": lambda call: common.split(call, call[0], call.integers(2)[0], call.integers(1)),
    "UNPACK": lambda call: common.singles(call, call[0], int(call.get("axis", 0))),
    "ADD_N": common.fold("add"),
    "BATCH_MATMUL": lambda call: common.product(
        call, (bool(call.get("adj_x", False)), bool(call.get("adj_y", False)))
    ),
    "FILL": lambda call: common.full(call, call.integers(0), call.array(1)),
    "BROADCAST_TO": common.broadcast,
    "ZEROS_LIKE": common.function("zeros"),
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _mirror_pad,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": lambda call: common.part(call, call.integers(1), call.integers(2)),
    "GATHER": _gather,
    "SHAPE": common.shape,
    "RESHAPE": _reshape,
    "EXPAND_DIMS": _expand,
    "SQUEEZE": _squeeze,
    "TRANSPOSE": _transpose,
    "CAST": common.identity,
    "QUANTIZE": common.identity,
    "DEQUANTIZE": common.identity,
    "RESIZE_BILINEAR": _resize(True),
    "RESIZE_NEAREST_NEIGHBOR": _resize(False),
    "DEPTH_TO_SPACE": lambda call: common.blocks(
        call, "depth_to_space", int(call.get("block_size", 1))
    ),
    "SPACE_TO_DEPTH": lambda call: common.blocks(
        call, "space_to_depth", int(call.get("block_size", 1))
    ),
    "L2_NORMALIZATION": _unit_length,
    "TILE": lambda call: tensors.tile(call.draft, call.name, call[0], call.integers(1)),
    "SIN": common.function("sine"),
    "COS": common.function("cosine"),
    "ROUND": common.function("round"),
    "SIGN": common.function("sign"),
}
