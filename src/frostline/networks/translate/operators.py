"""The table from operator to module."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from frostline.base.errors import BackboneError
from frostline.networks.translate import geometry, recurrent
from frostline.networks.translate.activations import activation
from frostline.networks.translate.modules import (
    SMALLEST,
    Affine,
    AxisBatchNorm,
    ChannelLayerNorm,
    ChannelScale,
    Concatenate,
    DropExamples,
    GlobalPool,
    Merge,
    Noise,
    NormalizeChannels,
    Permute,
    Reshape,
)
from frostline.networks.translate.operator import Operator, Settings, Shape, chain
from frostline.networks.translate.padding import (
    KernelPaddedConv2d,
    Pad,
    SameAveragePool,
    SamePad,
)
from frostline.networks.translate.runtime_part import RUNTIME_OPERATORS
from frostline.networks.translate.tensor_operators import TENSOR_OPERATORS


def _conv2d(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    channels = _maps(shapes)[1]
    conv = _padded_conv(settings, channels, settings["filters"], settings["groups"])
    return chain(**conv, activation=_last(settings, shapes, layout))


def _depthwise(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    channels = _maps(shapes)[1]
    filters = channels * settings["multiplier"]
    return _conv2d({**settings, "filters": filters, "groups": channels}, shapes, layout)


def _separable(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    channels = _maps(shapes)[1]
    inner = channels * settings["multiplier"]
    how = {**settings, "bias": False}
    parts = _padded_conv(how, channels, inner, channels, name="depthwise")
    pointwise = nn.Conv2d(inner, settings["filters"], 1, bias=settings["bias"])
    last = _last(settings, shapes, layout)
    return chain(**parts, pointwise=pointwise, activation=last)


def _transposed(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    channels = _maps(shapes)[1]
    sides = list(zip(settings["kernel"], settings["stride"], strict=True))
    same = settings["padding"] == "same"
    over = [max(kernel - stride, 0) if same else 0 for kernel, stride in sides]
    lacking = [max(stride - kernel, 0) for kernel, stride in sides]
    conv = nn.ConvTranspose2d(
        channels,
        settings["filters"],
        tuple(settings["kernel"]),
        stride=tuple(settings["stride"]),
        output_padding=(lacking[0], lacking[1]),
        bias=settings["bias"],
    )
    crops = [(-(total // 2), -(total - total // 2)) for total in over]
    crop = Pad(*crops) if any(over) else None
    return chain(conv=conv, crop=crop, activation=_last(settings, shapes, layout))


def _dense(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    shape = shapes[0]
    last = _last(settings, shapes, layout)
    if len(shape) == 4 and layout == "channels_last":
        conv = nn.Conv2d(shape[1], settings["units"], 1, bias=settings["bias"])
        return chain(linear=conv, activation=last)
    linear = nn.Linear(shape[-1], settings["units"], bias=settings["bias"])
    return chain(linear=linear, activation=last)


def _batch_norm(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    shape = shapes[0]
    axis = geometry.axis_here(settings["axis"], len(shape), layout)
    how = {"eps": settings["eps"], "momentum": settings["momentum"]}
    norm: nn.Module
    if axis != 1:
        norm = AxisBatchNorm(shape[axis], axis, **how)
    else:
        norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1], **how)
    return _without(norm, settings)


def _layer_norm(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    shape = shapes[0]
    axes = sorted(geometry.axis_here(axis, len(shape), layout) for axis in settings["axes"])
    if len(shape) == 4 and axes == [1]:
        return _without(ChannelLayerNorm(shape[1], eps=settings["eps"]), settings)
    if axes == list(range(len(shape) - len(axes), len(shape))):
        sizes = [shape[axis] for axis in axes]
        return _without(nn.LayerNorm(sizes, eps=settings["eps"]), settings)
    raise BackboneError(f"a layer norm must be over the last axes; its are {settings['axes']}.")


def _activation(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    rank = len(shapes[0])
    rest = {key: value for key, value in settings.items() if key != "axis"}
    return activation(rest, geometry.axis_here(settings.get("axis", -1), rank, layout))


def _prelu(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.PReLU(_maps(shapes)[1])


def _max_pool(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    pad, padding = _padding(settings, value=float("-inf"))
    kernel, stride = tuple(settings["kernel"]), tuple(settings["stride"])
    return chain(pad=pad, pool=nn.MaxPool2d(kernel, stride, padding))


def _average_pool(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    kernel, stride = tuple(settings["kernel"]), tuple(settings["stride"])
    pad, padding = _padding(settings)
    if pad is not None:
        return SameAveragePool(kernel, stride)
    return nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)


def _global_pool(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    return GlobalPool(settings["reduce"], settings["keep_axes"])


def _pad(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    if settings["sides"] == "same":
        return SamePad(settings["kernel"], settings["stride"])
    return Pad(*settings["sides"])


def _crop(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    rows, columns = settings["sides"]
    return Pad([-side for side in rows], [-side for side in columns])


def _upsample(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    mode = settings["interpolation"]
    factor = tuple(float(size) for size in settings["factor"])
    if mode == "nearest":
        return nn.Upsample(scale_factor=factor, mode="nearest")
    return nn.Upsample(scale_factor=factor, mode=mode, align_corners=False)


def _flatten(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    order = geometry.to_source(len(shapes[0]), layout)
    if order is None or settings.get("as_held"):
        return nn.Flatten(1)
    return chain(order=Permute(order), flatten=nn.Flatten(1))


def _reshape(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    target = list(settings["shape"])
    rank = len(target) + 1
    before = geometry.to_source(len(shapes[0]), layout)
    after = geometry.from_source(rank, layout)
    if _is_point(shapes[0]):
        before = None
        if len(target) == 1:
            # However many channels there are.
            return nn.Flatten(1)
    if after is not None and target[:2] == [1, 1]:
        target, after = [target[2], 1, 1], None
    return chain(
        order=None if before is None else Permute(before),
        shape=Reshape(target),
        back=None if after is None else Permute(after),
    )


def _permute(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    rank = len(shapes[0])
    here = geometry.to_source(rank, layout) or tuple(range(rank))
    there = geometry.from_source(rank, layout) or tuple(range(rank))
    wanted = (0, *settings["axes"])
    return Permute([here[wanted[axis]] for axis in there])


def _dropout(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.Dropout(settings["rate"])


def _drop_channels(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    _maps(shapes)
    return nn.Dropout2d(settings["rate"])


def _drop_examples(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return DropExamples(settings["rate"], len(shapes[0]))


def _alpha_dropout(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.AlphaDropout(settings["rate"])


def _noise(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return Noise(settings["deviation"], settings["multiply"])


def _merge(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    ranks = [len(shape) for shape in shapes]
    if len(set(ranks)) > 1 and (set(ranks) != {2, 4} or layout != "channels_last"):
        raise BackboneError(f"it joins values of ranks {', '.join(map(str, ranks))}.")
    spread = [rank < max(ranks) for rank in ranks]
    return Merge(settings["how"], spread, settings.get("scale", 1.0))


def _concatenate(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return Concatenate(geometry.axis_here(settings["axis"], len(shapes[0]), layout))


def _affine(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    like = _broadcast(shapes[0], layout)
    scale, offset = (_numbers(settings[key], like) for key in ("scale", "offset"))
    return Affine(scale, offset)


def _normalize(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    like = _broadcast(shapes[0], layout)
    if settings.get("mean") is None:
        return NormalizeChannels(like)
    mean, variance = (_numbers(settings[key], like) for key in ("mean", "variance"))
    scale = 1 / variance.sqrt().clamp_min(SMALLEST)
    return Affine(scale, -mean * scale)


def _channel_scale(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return ChannelScale(_maps(shapes)[1], settings["value"])


def _gru(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    if len(shapes[0]) != 3:
        raise BackboneError(f"a GRU takes [n, steps, features], not {list(shapes[0])}.")
    return recurrent.GRU(shapes[0][2], settings)


def _identity(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module:
    return nn.Identity()


# A kernel with zeros in front costs less than a padded map where an output reads so few.
_FEW_CHANNELS = 4
_CONV = {"kernel": ("conv", "weight"), "bias": ("conv", "bias")}
_AFFINE = {"gamma": ("", "weight"), "beta": ("", "bias")}

OPERATORS: Mapping[str, Operator] = {
    "conv2d": Operator(_conv2d, _CONV),
    "depthwise_conv2d": Operator(_depthwise, _CONV),
    "separable_conv2d": Operator(
        _separable,
        {
            "depthwise_kernel": ("depthwise", "weight"),
            "pointwise_kernel": ("pointwise", "weight"),
            "bias": ("pointwise", "bias"),
        },
    ),
    "conv2d_transpose": Operator(_transposed, _CONV),
    "dense": Operator(_dense, {"kernel": ("linear", "weight"), "bias": ("linear", "bias")}),
    "batch_norm": Operator(
        _batch_norm,
        {**_AFFINE, "mean": ("", "running_mean"), "variance": ("", "running_var")},
    ),
    "layer_norm": Operator(_layer_norm, _AFFINE),
    "activation": Operator(_activation, {}, by_feature=True),
    "prelu": Operator(_prelu, {"alpha": ("", "weight")}),
    "max_pool": Operator(_max_pool, {}),
    "average_pool": Operator(_average_pool, {}),
    "global_pool": Operator(_global_pool, {}),
    "pad": Operator(_pad, {}),
    "crop": Operator(_crop, {}),
    "upsample": Operator(_upsample, {}),
    "flatten": Operator(_flatten, {}),
    "reshape": Operator(_reshape, {}),
    "permute": Operator(_permute, {}),
    "dropout": Operator(_dropout, {}, by_feature=True),
    "drop_channels": Operator(_drop_channels, {}),
    "drop_examples": Operator(_drop_examples, {}, by_feature=True),
    "alpha_dropout": Operator(_alpha_dropout, {}, by_feature=True),
    "noise": Operator(_noise, {}, by_feature=True),
    "merge": Operator(_merge, {}),
    "concatenate": Operator(_concatenate, {}),
    "affine": Operator(_affine, {}),
    "normalize": Operator(_normalize, {"mean": ("", "mean"), "variance": ("", "variance")}),
    "channel_scale": Operator(_channel_scale, {"gamma": ("", "weight")}),
    "gru": Operator(
        _gru,
        {
            "kernel": ("", "kernel"),
            "recurrent_kernel": ("", "recurrent_kernel"),
            "bias": ("", "bias"),
        },
    ),
    "identity": Operator(_identity, {}, by_feature=True),
    **TENSOR_OPERATORS,
    **RUNTIME_OPERATORS,
}


def _last(settings: Settings, shapes: Sequence[Shape], layout: str) -> nn.Module | None:
    what = settings.get("activation")
    return _activation(what, shapes, layout) if what else None


def _padded_conv(
    settings: Settings, channels: int, filters: int, groups: int, name: str = "conv"
) -> dict[str, nn.Module | None]:
    """Makes a convolution of any padding: with what must pad before it, where it cannot itself."""
    how = {
        "kernel_size": tuple(settings["kernel"]),
        "stride": tuple(settings["stride"]),
        "dilation": tuple(settings["dilation"]),
        "groups": groups,
        "bias": settings["bias"],
    }
    pad, padding = _padding(settings)
    few = channels // groups <= _FEW_CHANNELS and how["dilation"] == (1, 1)
    if pad is not None and few and _by_kernel(settings):
        sides = None if settings["padding"] == "same" else settings["padding"]
        return {name: KernelPaddedConv2d(sides, channels, filters, **how)}
    return {"pad": pad, name: nn.Conv2d(channels, filters, padding=padding, **how)}


def _by_kernel(settings: Settings) -> bool:
    """Whether zeros in front of a kernel can pad: one more place behind than in front at most."""
    if settings["padding"] != "same":
        return all(after - before in (0, 1) for before, after in settings["padding"])
    sides = zip(settings["kernel"], settings["stride"], strict=True)
    return all(kernel >= stride for kernel, stride in sides)


def _padding(settings: Settings, value: float = 0.0) -> tuple[nn.Module | None, tuple[int, int]]:
    """Returns what must pad before a window slides, and what the window itself can pad."""
    if settings["padding"] == "valid":
        return None, (0, 0)
    if settings["padding"] != "same":
        (top, bottom), (left, right) = settings["padding"]
        even = top == bottom and left == right
        rows, columns = settings["padding"]
        return (None, (top, left)) if even else (Pad(rows, columns), (0, 0))
    kernel, stride = settings["kernel"], settings["stride"]
    dilation = settings.get("dilation", (1, 1))
    sides = list(zip(kernel, stride, dilation, strict=True))
    fixed = [geometry.fixed_padding(*side) for side in sides]
    if fixed[0] is not None and fixed[1] is not None:
        (top, bottom), (left, right) = fixed[0], fixed[1]
        if top == bottom and left == right:
            return None, (top, left)
    return SamePad(kernel, stride, dilation, value), (0, 0)


def _without(norm: nn.Module, settings: Settings) -> nn.Module:
    """Takes off the factor or the offset that the source's norm does not have."""
    if not settings["scale"]:
        norm.register_parameter("weight", None)
    if not settings["center"]:
        norm.register_parameter("bias", None)
    return norm


def _maps(shapes: Sequence[Shape]) -> Shape:
    if len(shapes[0]) != 4:
        raise BackboneError(f"it takes maps [n, c, h, w], not {list(shapes[0])}.")
    return shapes[0]


def _is_point(shape: Shape) -> bool:
    return len(shape) == 4 and shape[2:] == (1, 1)


def _broadcast(shape: Shape, layout: str) -> Shape:
    """The shape that one number a channel has beside one example of `shape`."""
    axis = geometry.axis_here(-1 if layout == "channels_last" else 1, len(shape), layout)
    return tuple(size if at == axis else 1 for at, size in enumerate(shape))[1:]


def _numbers(value: Any, like: Shape) -> torch.Tensor:
    numbers = torch.tensor(value, dtype=torch.float32).reshape(-1)
    return numbers.reshape(()) if len(numbers) == 1 else numbers.reshape(like)
