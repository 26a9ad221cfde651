"""The table from TensorFlow's operations to ours."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.graphs.slices import Masks, strided_slice
from frostline.networks.graphs.tf_flat import constant
from frostline.networks.graphs.tf_further import FURTHER
from frostline.networks.translate import constants, tensor_layers, tensors
from frostline.networks.translate.draft import Operand, Value
from frostline.networks.translate.tensor_layers import Padding, Window


def _text(call: Call, key: str, default: str) -> str:
    found = call.get(key, default)
    return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)


def _sides(call: Call, numbers: Sequence[int], what: str) -> tuple[int, int]:
    """Returns height and width of four numbers, of which the others must be 1."""
    first = _text(call, "data_format", "NHWC") == "NCHW"
    if len(numbers) != 4:
        raise BackboneError(f"its {what} must be four numbers, not {list(numbers)}.")
    n, a, b, c = (int(number) for number in numbers)
    rest, sides = ((n, a), (b, c)) if first else ((n, c), (a, b))
    if rest != (1, 1):
        raise BackboneError(f"its {what} {list(numbers)} runs over pictures or channels.")
    return sides


def _window(call: Call) -> Window:
    padding: Padding = _text(call, "padding", "VALID").lower()
    if padding == "explicit":
        told = [int(number) for number in call.get("explicit_paddings", ())]
        at = 4 if _text(call, "data_format", "NHWC") == "NCHW" else 2
        padding = [told[at : at + 2], told[at + 2 : at + 4]]
    elif padding not in ("same", "valid"):
        raise BackboneError(f"its padding {padding!r} is not known.")
    return Window(
        _sides(call, call.get("strides", ()), "strides"),
        padding,
        _sides(call, call.get("dilations", (1, 1, 1, 1)), "dilations"),
    )


_FUSED = {"Relu": "relu", "Relu6": "relu6", "Elu": "elu", "Tanh": "tanh", "Sigmoid": "sigmoid"}


def _behind(call: Call) -> tuple[Operand | None, str]:
    """Returns the bias and the activation that an operation has fused into it."""
    told = call.get("fused_ops", ())
    steps = [step.decode() if isinstance(step, bytes) else str(step) for step in told]
    bias = call[2] if steps[:1] == ["BiasAdd"] else None
    rest = steps[1:] if bias is not None else steps
    if len(rest) > 1 or any(step not in _FUSED for step in rest):
        raise BackboneError(f"{' and '.join(steps)} fused into it are not known.")
    return bias, _FUSED[rest[0]] if rest else ""


def _conv2d(call: Call) -> Operand:
    kernel = call.array(1)
    if kernel.ndim != 4:
        raise BackboneError(f"its kernel has {kernel.ndim} axes, not 4.")
    bias, activation = _behind(call)
    return tensor_layers.conv2d(
        call.draft,
        call.name,
        call[0],
        kernel.transpose(3, 2, 0, 1),
        bias,
        _window(call),
        activation,
    )


def _depthwise(call: Call) -> Operand:
    kernel = call.array(1)
    if kernel.ndim != 4:
        raise BackboneError(f"its kernel has {kernel.ndim} axes, not 4.")
    h, w, c, m = kernel.shape
    by_channel = kernel.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)
    bias, activation = _behind(call)
    return tensor_layers.conv2d(
        call.draft, call.name, call[0], by_channel, bias, _window(call), activation
    )


def _bias(call: Call) -> Operand:
    x, bias = call[0], call.array(1)
    if len(x.shape) == 4 and call.draft.layout == "channels_first":
        bias = bias.reshape(-1, 1, 1)
    return tensors.elementwise(call.draft, call.name, "add", x, bias)


def _batch_norm(call: Call) -> tuple[Operand, ...]:
    if call.get("is_training", True):
        raise BackboneError("it takes its mean from the batch: the graph is one for training.")
    arrays = {"gamma": call[1], "beta": call[2], "mean": call[3], "variance": call[4]}
    axis = 1 if call.draft.layout == "channels_first" else -1
    eps = float(call.get("epsilon", 1e-4))
    found = tensor_layers.batch_norm(call.draft, call.name, call[0], arrays, eps, axis)
    return found, call[3], call[4]


def _product(first: str, second: str) -> Translate:
    return lambda call: common.product(
        call, (bool(call.get(first, False)), bool(call.get(second, False)))
    )


def _fused_matmul(call: Call) -> Operand:
    if call.get("transpose_a", False):
        raise BackboneError("it turns what depends on the picture before a product.")
    bias, activation = _behind(call)
    kernel = call.array(1) if call.get("transpose_b", False) else call.array(1).T
    return tensor_layers.dense(call.draft, call.name, call[0], kernel, bias, activation)


def _pool(how: str) -> Translate:
    def translate(call: Call) -> Operand:
        kernel = _sides(call, call.get("ksize", ()), "window")
        return tensor_layers.pool(call.draft, call.name, call[0], how, kernel, _window(call))

    return translate


def _reduce(how: str) -> Translate:
    return lambda call: tensors.reduce(
        call.draft, call.name, how, call[0], call.integers(1), bool(call.get("keep_dims", False))
    )


def _concatenate(call: Call) -> Operand:
    *parts, _ = common.every(call)
    axis = call.integers(len(parts))[0]
    return tensors.concatenate(call.draft, call.name, parts, axis)


def _strided_slice(call: Call) -> Operand:
    words = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = Masks(*(int(call.get(word, 0)) for word in words))
    bounds = (call.integers(1), call.integers(2), call.integers(3))
    return strided_slice(call.draft, call.name, call[0], *bounds, masks)


def _pad(call: Call) -> Operand:
    fill = common.number(call, 2, 0.0)
    return tensors.pad(call.draft, call.name, call[0], common.pairs(call, 1), value=fill)


def _mirror_pad(call: Call) -> Operand:
    mode = _text(call, "mode", "REFLECT").lower()
    return tensors.pad(call.draft, call.name, call[0], common.pairs(call, 1), mode)


def _gather(call: Call) -> Operand:
    if call.get("batch_dims", 0):
        raise BackboneError("it takes other places of each picture.")
    axis = call.integers(2)[0] if call.optional(2) is not None else 0
    return tensors.take(call.draft, call.name, call[0], call.array(1), axis)


def _squeeze(call: Call) -> Operand:
    return tensors.squeeze(call.draft, call.name, call[0], call.get("squeeze_dims", ()))


def _fill(call: Call) -> Operand:
    return common.full(call, call.integers(0), call.array(1))


def _range(call: Call) -> Operand:
    start, stop, step = (call.array(i).reshape(-1)[0] for i in range(3))
    constants.bounded(int(abs((stop - start) / step)) + 1)
    return np.arange(start, stop, step)


def _cast(call: Call) -> Operand:
    x = call[0]
    if isinstance(x, Value):
        return tensors.identity(call.draft, call.name, x)
    to = str(call.get("DstT", ""))
    return x.astype(to) if to in ("bool", "int32", "int64", "float32", "float64") else x


def _lrn(call: Call) -> Operand:
    radius = int(call.get("depth_radius", 5))
    settings = {
        "size": 2 * radius + 1,
        # PyTorch takes the mean over the window, TensorFlow the sum.
        "alpha": float(call.get("alpha", 1.0)) * (2 * radius + 1),
        "beta": float(call.get("beta", 0.5)),
        "k": float(call.get("bias", 1.0)),
    }
    return call.draft.add(call.name, "local_response_norm", [common.value(call[0])], settings)


def _leaky(call: Call) -> Operand:
    slope = float(call.get("alpha", 0.2))
    return tensors.function(call.draft, call.name, call[0], "leaky_relu", negative_slope=slope)


def _names(found: Translate, *names: str) -> dict[str, Translate]:
    return dict.fromkeys(names, found)


def _plain(how: str) -> Translate:
    return common.binary(how, trained=False)


OPERATIONS: Mapping[str, Translate] = {
    "Const": lambda call: constant(call.node),
    **_names(common.identity, "Identity", "ReadVariableOp", "StopGradient", "PreventGradient"),
    **_names(common.identity, "CheckNumerics", "PlaceholderWithDefault", "Snapshot"),
    **_names(_conv2d, "Conv2D", "_FusedConv2D"),
    **_names(_depthwise, "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"),
    "_FusedMatMul": _fused_matmul,
    "MatMul": _product("transpose_a", "transpose_b"),
    **_names(_product("adj_x", "adj_y"), "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
    "BiasAdd": _bias,
    **_names(_batch_norm, "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
    "LRN": _lrn,
    "MaxPool": _pool("max"),
    "AvgPool": _pool("average"),
    "Relu": common.function("relu"),
    "Relu6": common.function("relu6"),
    "Elu": common.function("elu"),
    "Selu": common.function("selu"),
    "LeakyRelu": _leaky,
    "Sigmoid": common.function("sigmoid"),
    "Tanh": common.function("tanh"),
    "Softplus": common.function("softplus"),
    "Softsign": common.function("softsign"),
    "Softmax": common.over_last_axis("softmax"),
    "LogSoftmax": common.over_last_axis("log_softmax"),
    "Abs": common.function("absolute"),
    "Ceil": common.function("ceil"),
    "Exp": common.function("exponential"),
    "Floor": common.function("floor"),
    "Log": common.function("log"),
    "Neg": common.function("negative"),
    **_names(common.function("reciprocal"), "Reciprocal", "Inv"),
    "Rsqrt": common.function("rsqrt"),
    "Sqrt": common.function("sqrt"),
    "Square": common.function("square"),
    "LogicalNot": common.function("logical_not"),
    **_names(common.binary("add"), "Add", "AddV2"),
    "AddN": common.fold("add"),
    "Sub": common.binary("subtract"),
    "Mul": common.binary("multiply"),
    **_names(common.binary("divide"), "RealDiv", "Div"),
    "DivNoNan": _plain("divide_no_nan"),
    "FloorDiv": _plain("floor_divide"),
    "Maximum": _plain("maximum"),
    "Minimum": _plain("minimum"),
    "Pow": _plain("power"),
    "SquaredDifference": _plain("squared_difference"),
    "Equal": _plain("equal"),
    "NotEqual": _plain("not_equal"),
    "Greater": _plain("greater"),
    "GreaterEqual": _plain("greater_equal"),
    "Less": _plain("less"),
    "LessEqual": _plain("less_equal"),
    "LogicalAnd": _plain("logical_and"),
    "LogicalOr": _plain("logical_or"),
    **_names(common.select, "Select", "SelectV2"),
    "Mean": _reduce("mean"),
    "Sum": _reduce("sum"),
    "Max": _reduce("max"),
    "Min": _reduce("min"),
    "Prod": _reduce("prod"),
    "ConcatV2": _concatenate,
    "Pack": lambda call: common.joined(call, common.every(call), int(call.get("axis", 0))),
    "Unpack": lambda call: common.singles(call, call[0], int(call.get("axis", 0))),
    "Split": lambda call: common.equal_parts(
        call, call[1], call.integers(0)[0], int(call.get("num_split", 1))
    ),
    "SplitV": lambda call: common.split(call, call[0], call.integers(2)[0], call.integers(1)),
    "Slice": lambda call: common.part(call, call.integers(1), call.integers(2)),
    "StridedSlice": _strided_slice,
    **_names(_pad, "Pad", "PadV2"),
    "MirrorPad": _mirror_pad,
    **_names(_gather, "Gather", "GatherV2"),
    "BroadcastTo": common.broadcast,
    "ZerosLike": common.function("zeros"),
    "OnesLike": common.function("ones"),
    "Shape": common.shape,
    "Rank": lambda call: np.array(len(call[0].shape)),
    "Size": lambda call: np.array(math.prod(call[0].shape)),
    "Fill": _fill,
    "Range": _range,
    "Cast": _cast,
    "Reshape": lambda call: tensors.reshape(call.draft, call.name, call[0], call.integers(1)),
    "ExpandDims": lambda call: tensors.expand(call.draft, call.name, call[0], call.integers(1)),
    "Squeeze": _squeeze,
    "Transpose": lambda call: tensors.transpose(call.draft, call.name, call[0], call.integers(1)),
    **FURTHER,
}
