"""The table from ONNX's operations to ours; settings are those of opsets 7 and later."""

from collections.abc import Mapping, Sequence

import numpy as np

from frostline.base.errors import BackboneError
from frostline.networks.graphs import common
from frostline.networks.graphs.calls import Call, Translate
from frostline.networks.graphs.onnx_further import FURTHER
from frostline.networks.graphs.onnx_windows import average_pool, conv, max_pool
from frostline.networks.translate import constants, tensor_layers, tensors
from frostline.networks.translate.draft import Operand, Value
from frostline.networks.weights_files.records import Tensor

# As ONNX numbers them, those that shapes and masks are turned into.
_CAST = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float32", 11: "float64"}


def _axes(call: Call, index: int, key: str = "axes") -> list[int] | None:
    """Returns axes, which are an input in newer opsets and a setting in older ones."""
    if call.optional(index) is not None:
        return call.integers(index)
    told = call.get(key)
    return None if told is None else [int(axis) for axis in told]


def _gemm(call: Call) -> Operand:
    kernel = call.array(1) if call.get("transB", 0) else call.array(1).T
    if call.get("transA", 0):
        raise BackboneError("it turns what depends on the picture before a product.")
    bias = call.optional(2)
    if bias is not None:
        bias = np.broadcast_to(call.array(2).reshape(-1) * call.get("beta", 1.0), kernel.shape[:1])
    kernel = kernel * np.float32(call.get("alpha", 1.0))
    return tensor_layers.dense(call.draft, call.name, call[0], kernel, bias)


def _batch_norm(call: Call) -> Operand:
    if call.get("training_mode", 0):
        return _normalised(call)
    arrays = {"gamma": call[1], "beta": call[2], "mean": call[3], "variance": call[4]}
    eps = float(call.get("epsilon", 1e-5))
    return tensor_layers.batch_norm(call.draft, call.name, call[0], arrays, eps, 1)


def _normalised(call: Call) -> Operand:
    """Normalises a constant, such as a kernel, by its own mean and variance in each channel."""
    x = call[0]
    if isinstance(x, Value):
        raise BackboneError("it takes its mean from the batch: the graph is one for training.")
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    mean, variance = x.mean(others, keepdims=True), x.var(others, keepdims=True)
    along = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    scale = call.array(1).reshape(along) / np.sqrt(variance + float(call.get("epsilon", 1e-5)))
    return np.asarray((x - mean) * scale + call.array(2).reshape(along), x.dtype)


def _layer_norm(call: Call) -> Operand:
    x, axis = common.value(call[0]), int(call.get("axis", -1))
    rank = len(x.shape)
    arrays = {"gamma": call.array(1)}
    if call.optional(2) is not None:
        arrays["beta"] = call.array(2)
    settings = {
        "axes": list(range(axis % rank, rank)),
        "eps": float(call.get("epsilon", 1e-5)),
        "scale": True,
        "center": "beta" in arrays,
    }
    return call.draft.add(call.name, "layer_norm", [x], settings, arrays)


def _clip(call: Call) -> Operand:
    low = common.number(call, 1, float(call.get("min", float("-inf"))))
    high = common.number(call, 2, float(call.get("max", float("inf"))))
    if low == 0 and high in (6, float("inf")):
        which = "relu6" if high == 6 else "relu"
        return tensors.function(call.draft, call.name, call[0], which)
    x = call[0]
    if not isinstance(x, Value):
        return np.clip(x, low, high).astype(x.dtype)
    # Numbers without end are not JSON.
    bounds = {"low": low, "high": high}
    held = {key: number for key, number in bounds.items() if np.isfinite(number)}
    return tensors.function(call.draft, call.name, x, "clamp", **held)


def _slope(which: str, setting: str, key: str, default: float) -> Translate:
    def translate(call: Call) -> Operand:
        number = float(call.get(key, default))
        return tensors.function(call.draft, call.name, call[0], which, **{setting: number})

    return translate


def _softmax(which: str) -> Translate:
    def translate(call: Call) -> Operand:
        x, old = call[0], int(call.get("_opset", 13)) < 13
        rank = len(x.shape)
        axis = int(call.get("axis", 1 if old else -1)) % rank
        if old and any(size != 1 for size in x.shape[axis + 1 :]):
            raise BackboneError("it runs over several axes at once, as before opset 13.")
        return tensors.function(call.draft, call.name, x, which, axis=axis - rank)

    return translate


def _gelu(call: Call) -> Operand:
    which = "gelu_tanh" if call.get("approximate", "none") == "tanh" else "gelu"
    return tensors.function(call.draft, call.name, call[0], which)


def _prelu(call: Call) -> Operand:
    x, alpha = common.value(call[0]), call.array(1)
    if alpha.size not in (1, x.shape[1]):
        raise BackboneError(f"its slopes have the shape {list(alpha.shape)}, not one a channel.")
    slopes = np.broadcast_to(alpha.reshape(-1), (x.shape[1],))
    return call.draft.add(call.name, "prelu", [x], {}, {"alpha": slopes})


def _lrn(call: Call) -> Operand:
    settings = {
        "size": int(call.get("size", 1)),
        "alpha": float(call.get("alpha", 1e-4)),
        "beta": float(call.get("beta", 0.75)),
        "k": float(call.get("bias", 1.0)),
    }
    return call.draft.add(call.name, "local_response_norm", [common.value(call[0])], settings)


def _global(how: str) -> Translate:
    def translate(call: Call) -> Operand:
        x = call[0]
        axes = list(range(2, len(x.shape)))
        return tensors.reduce(call.draft, call.name, how, x, axes, True)

    return translate


def _reduce(how: str) -> Translate:
    def translate(call: Call) -> Operand:
        axes = _axes(call, 1) or []
        if not axes and call.get("noop_with_empty_axes", 0):
            return common.identity(call)
        return tensors.reduce(
            call.draft, call.name, how, call[0], axes, bool(call.get("keepdims", 1))
        )

    return translate


def _reshape(call: Call) -> Operand:
    x = call[0]
    target = _axes(call, 1, "shape") or []
    keep = not call.get("allowzero", 0)
    shape = [x.shape[i] if n == 0 and keep else n for i, n in enumerate(target)]
    return tensors.reshape(call.draft, call.name, x, shape)


def _flatten(call: Call) -> Operand:
    x = call[0]
    axis = int(call.get("axis", 1)) % (len(x.shape) + 1)
    first = int(np.prod(x.shape[:axis], dtype=object))
    return tensors.reshape(call.draft, call.name, x, (first, -1))


def _transpose(call: Call) -> Operand:
    order = call.get("perm") or list(range(len(call[0].shape)))[::-1]
    return tensors.transpose(call.draft, call.name, call[0], order)


def _slice(call: Call) -> Operand:
    x = call[0]
    starts, ends = _axes(call, 1, "starts") or [], _axes(call, 2, "ends") or []
    axes = _axes(call, 3, "axes") or list(range(len(starts)))
    steps = call.integers(4) if call.optional(4) is not None else [1] * len(starts)
    slices = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis % len(x.shape)
        slices[at] = slice(start, end, step).indices(x.shape[at])
    return tensors.take_slices(call.draft, call.name, x, slices)


def _split(call: Call) -> tuple[Operand, ...]:
    axis, sizes = int(call.get("axis", 0)), _axes(call, 1, "split")
    if sizes is None:
        return common.equal_parts(call, call[0], axis, len(call.node.outputs))
    return common.split(call, call[0], axis, sizes)


def _pad(call: Call) -> Operand:
    x, mode = call[0], call.get("mode", "constant")
    told = _axes(call, 1, "pads") or []
    axes = _axes(call, 3) or list(range(len(x.shape)))
    sides = [[0, 0] for _ in x.shape]
    for i, axis in enumerate(axes):
        sides[axis] = [told[i], told[i + len(axes)]]
    fill = common.number(call, 2, float(call.get("value", 0.0)))
    if mode not in ("constant", "reflect", "edge"):
        raise BackboneError(f"its mode {mode!r} is not known.")
    return tensors.pad(call.draft, call.name, x, sides, mode, fill)


def _gather(call: Call) -> Operand:
    return tensors.take(call.draft, call.name, call[0], call.array(1), int(call.get("axis", 0)))


def _cast(call: Call) -> Operand:
    x = call[0]
    if isinstance(x, Value):
        return tensors.identity(call.draft, call.name, x)
    to = _CAST.get(int(call.get("to", 1)))
    return x if to is None else x.astype(to)


def _constant(call: Call) -> Operand:
    for key, value in call.node.attributes.items():
        if key == "value" and isinstance(value, Tensor):
            return np.asarray(value.values())
        if key in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise BackboneError("it has no value.")


def _constant_of_shape(call: Call) -> Operand:
    value = call.get("value")
    fill = value.values() if isinstance(value, Tensor) else np.zeros(1, np.float32)
    return common.full(call, call.integers(0), fill)


def _range(call: Call) -> Operand:
    start, stop, step = (call.array(i).reshape(-1)[0] for i in range(3))
    constants.bounded(int(abs((stop - start) / step)) + 1)
    return np.arange(start, stop, step)


def _dequantise(call: Call) -> Operand:
    x = call[0]
    if isinstance(x, Value):
        return tensors.identity(call.draft, call.name, x)
    scale, axis = call.array(1), int(call.get("axis", 1))
    zero = call.array(2) if call.optional(2) is not None else np.zeros_like(scale)
    along: Sequence[int] = [-1 if i == axis % max(x.ndim, 1) else 1 for i in range(x.ndim)]
    if scale.size > 1:
        scale, zero = scale.reshape(along), zero.reshape(along)
    return ((x.astype(np.float32) - zero.astype(np.float32)) * scale).astype(np.float32)


def _quantise(call: Call) -> Operand:
    if not isinstance(call[0], Value):
        raise BackboneError("it quantises a constant.")
    return common.identity(call)


def _plain(how: str) -> Translate:
    return common.binary(how, trained=False)


OPERATIONS: Mapping[str, Translate] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    **dict.fromkeys(("Identity", "Dropout"), common.identity),
    "Conv": conv,
    "Gemm": _gemm,
    "MatMul": lambda call: common.product(call, (False, False)),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "LRN": _lrn,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    "Relu": common.function("relu"),
    "Clip": _clip,
    "LeakyRelu": _slope("leaky_relu", "negative_slope", "alpha", 0.01),
    "Elu": _slope("elu", "alpha", "alpha", 1.0),
    "PRelu": _prelu,
    "Selu": common.function("selu"),
    "Sigmoid": common.function("sigmoid"),
    "HardSwish": common.function("hard_silu"),
    "Tanh": common.function("tanh"),
    "Softplus": common.function("softplus"),
    "Softsign": common.function("softsign"),
    "Mish": common.function("mish"),
    "Gelu": _gelu,
    "Erf": common.function("erf"),
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Abs": common.function("absolute"),
    "Ceil": common.function("ceil"),
    "Exp": common.function("exponential"),
    "Floor": common.function("floor"),
    "Log": common.function("log"),
    "Neg": common.function("negative"),
    "Reciprocal": common.function("reciprocal"),
    "Sqrt": common.function("sqrt"),
    "Not": common.function("logical_not"),
    "Add": common.binary("add"),
    "Sub": common.binary("subtract"),
    "Mul": common.binary("multiply"),
    "Div": common.binary("divide"),
    "Pow": _plain("power"),
    "Sum": common.fold("add"),
    "Max": common.fold("maximum"),
    "Min": common.fold("minimum"),
    "Equal": _plain("equal"),
    "Greater": _plain("greater"),
    "GreaterOrEqual": _plain("greater_equal"),
    "Less": _plain("less"),
    "LessOrEqual": _plain("less_equal"),
    "And": _plain("logical_and"),
    "Or": _plain("logical_or"),
    "Where": common.select,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _reduce("prod"),
    "ReduceL1": _reduce("l1"),
    "ReduceL2": _reduce("l2"),
    "Concat": lambda call: tensors.concatenate(
        call.draft,
        call.name,
        common.every(call),
        int(call.get("axis", 0)),
    ),
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    "Shape": lambda call: common.shape(call)[call.get("start", 0) : call.get("end")],
    "Size": lambda call: np.array(np.prod(call[0].shape)),
    "Range": _range,
    "Expand": common.broadcast,
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Unsqueeze": lambda call: tensors.expand(call.draft, call.name, call[0], _axes(call, 1) or []),
    "Squeeze": lambda call: tensors.squeeze(call.draft, call.name, call[0], _axes(call, 1) or []),
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    **FURTHER,
}
