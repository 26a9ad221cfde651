"""What each of PyTorch's operators does to what its outputs see of the picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from frostline.frost.fields import BOTH, OTHER, Factor, Seen, Span, joined, plain, reshaped

Pads = tuple[tuple[int, int], tuple[int, int]]
NO_PADS: Pads = ((0, 0), (0, 0))
CONV, POOL = "conv", "pool"


@dataclass(frozen=True)
class Window:
    """The window of a convolution or a pooling; height comes before width.

    Attributes:
        what: `conv` or `pool`.
        kernel: Its size.
        stride: How far it moves.
        padding: Of the input: top and bottom, left and right.
        dilation: The distance between the kernel's points.
        groups: In how many groups of channels a convolution works.
    """

    what: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Pads = NO_PADS
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Call:
    """A call of an operator.

    Attributes:
        name: The operator's, without its variant.
        args: What it was given.
        seen: What is known of a tensor; None for weights and other things.
        shape: Of its first output.
        is_pointwise: Whether it works number by number.
    """

    name: str
    args: Sequence[Any]
    seen: Callable[[Any], Seen | None]
    shape: tuple[int, ...]
    is_pointwise: bool

    @property
    def given(self) -> list[tuple[tuple[int, ...], Seen]]:
        """The tensors that follow the picture, each with its shape."""
        flat = [one for arg in self.args for one in (arg if isinstance(arg, list) else [arg])]
        found = [(one, self.seen(one)) for one in flat if isinstance(one, torch.Tensor)]
        return [(tuple(one.shape), seen) for one, seen in found if seen is not None]

    @property
    def first(self) -> Seen:
        """What is known of the first of them."""
        return self.given[0][1]

    def arg(self, index: int, default: Any = None) -> Any:
        """Returns an argument that may lack."""
        return self.args[index] if index < len(self.args) else default


def window_of(call: Call) -> Window | None:
    """Returns the window of a convolution or a pooling over maps; None for others."""
    if call.name == "convolution" and len(call.args[1].shape) == 4 and not call.args[6]:
        kernel, (stride, padding, dilation) = call.args[1].shape[2:], call.args[3:6]
        return Window(
            CONV, _two(kernel), _two(stride), _pads(padding), _two(dilation), int(call.args[8])
        )
    if call.name in ("max_pool2d_with_indices", "avg_pool2d"):
        kernel, stride = _two(call.args[1]), call.arg(2) or call.args[1]
        dilation = call.arg(4, 1) if call.name.startswith("max") else 1
        return Window(POOL, kernel, _two(stride), _pads(call.arg(3, 0)), _two(dilation))
    return None


def seen_after(call: Call, window: Window | None) -> Seen:
    """Returns what is known of the output of a call."""
    if window is not None:
        return _through(call, window)
    if call.is_pointwise:
        return _pointwise(call)
    if call.name in _SAME:
        return call.first
    rule = _RULES.get(call.name)
    if rule is not None:
        return rule(call)
    seen = call.first
    spans = None if any(one.has_place for _, one in call.given) else joined(_all(call))
    return replace(seen, dims=plain(call.shape), spans=spans)


def pads_of(call: Call) -> Pads:
    """Returns what `constant_pad_nd` puts around a map; nothing for other calls."""
    if call.name != "constant_pad_nd" or len(call.shape) != 4:
        return NO_PADS
    left, right, top, bottom = (*call.args[1], 0, 0, 0, 0)[:4]
    return (top, bottom), (left, right)


def _through(call: Call, window: Window) -> Seen:
    seen = call.first
    if seen.spans is None or _axes(seen)[2:] != ["h", "w"]:
        # A map whose last axes are not the picture's, and which nobody can follow here.
        spans = None if seen.has_place else seen.spans
        return Seen(plain(call.shape), spans)
    high, wide = (
        span.windowed(kernel, stride, pads[0], dilation)
        for span, kernel, stride, pads, dilation in zip(
            seen.spans, window.kernel, window.stride, window.padding, window.dilation, strict=True
        )
    )
    return Seen(_like(seen.dims, call.shape), (high, wide))


def _pad(call: Call) -> Seen:
    seen, pads = call.first, pads_of(call)
    dims = _like(seen.dims, call.shape)
    if seen.spans is None or _axes(seen)[2:] != ["h", "w"]:
        return replace(seen, dims=dims)
    high, wide = (
        span.windowed(1, 1, before) for span, (before, _) in zip(seen.spans, pads, strict=True)
    )
    return Seen(dims, (high, wide))


def _adaptive(call: Call) -> Seen:
    """An adaptive pooling, as a pooling of even windows where it is one."""
    seen, shape = call.first, call.given[0][0]
    windows = [-(-size // out) for size, out in zip(shape[2:], call.shape[2:], strict=True)]
    if tuple(call.shape[2:]) == (1, 1):
        return replace(seen.mixed(seen.axes_in((2, 3))), dims=_like(seen.dims, call.shape))
    return _through(call, Window(POOL, _two(windows), _two(windows)))


def _pointwise(call: Call) -> Seen:
    given = call.given
    _, widest = max(given, key=lambda one: (one[0] == call.shape, len(one[1].axes)))
    dims = (*plain(call.shape[: len(call.shape) - len(widest.dims)]), *widest.dims)
    return Seen(_like(dims, call.shape), joined(_all(call)))


def _reduction(call: Call) -> Seen:
    """A sum, mean or maximum over some dimensions, which are kept with size 1 or dropped."""
    seen = call.first
    wanted = call.arg(1)
    rank = len(seen.dims)
    every = list(range(rank))
    dims = every if wanted in (None, []) else [d % rank for d in _listed(wanted)]
    mixed = seen.mixed(seen.axes_in(dims))
    if len(call.shape) == rank:
        return replace(mixed, dims=_like(seen.dims, call.shape))
    kept = tuple(seen.dims[d] for d in every if d not in dims)
    return replace(mixed, dims=kept)


def _softmax(call: Call) -> Seen:
    seen = call.first
    return seen.mixed(seen.axes_in([call.args[1] % len(seen.dims)]))


def _layer_norm(call: Call) -> Seen:
    seen = call.first
    count = len(call.args[1])
    return seen.mixed(seen.axes_in(range(len(seen.dims) - count, len(seen.dims))))


def _group_norm(call: Call) -> Seen:
    seen = call.first
    return seen.mixed(seen.axes_in(range(len(seen.dims))))


def _product(call: Call) -> Seen:
    """A product of matrices: the last dimension of the first meets the one before of the second."""
    a, b = call.args[-2:] if call.name in ("mm", "bmm") else call.args[1:3]
    one, other = call.seen(a), call.seen(b)
    spans = joined(_all(call))
    rows = one.dims[:-1] if one else plain(call.shape[:-1])
    columns = other.dims[-1:] if other else plain(call.shape[-1:])
    met = (*(one.dims[-1] if one else ()), *(other.dims[-2] if other else ()))
    # A product of two parts of the picture mixes all places that either of them stands for.
    dims = [*rows, *columns] if one and other else []
    factors = [f for f in (*met, *(f for dim in dims for f in dim)) if f.axis and f.size > 1]
    return Seen((*rows, *columns), spans).mixed(factors)


def _permuted(call: Call) -> Seen:
    seen, rank = call.first, len(call.first.dims)
    if call.name == "permute":
        order = [d % rank for d in call.args[1]]
    else:
        one, other = (0, 1) if call.name == "t" else (call.args[1] % rank, call.args[2] % rank)
        order = list(range(rank))
        order[one], order[other] = other, one
    return replace(seen, dims=tuple(seen.dims[d] for d in order))


def _viewed(call: Call) -> Seen:
    return reshaped(call.first, call.shape)


def _sliced(call: Call) -> Seen:
    seen, rank = call.first, len(call.first.dims)
    dim, start, step = call.arg(1, 0) % rank, call.arg(2) or 0, call.arg(4) or 1
    size = _length(seen.dims[dim])
    start = max(start + size, 0) if start < 0 else start
    dims = _like(seen.dims, call.shape)
    axes = _axes(seen)
    if seen.spans is None or axes[dim] not in ("h", "w"):
        return replace(seen, dims=dims)
    spans = list(seen.spans)
    at = "hw".index(axes[dim])
    old = spans[at]
    spans[at] = Span(old.start + start * old.jump, old.size, old.jump * step)
    return Seen(dims, (spans[0], spans[1]))


def _selected(call: Call) -> Seen:
    seen = call.first
    dim = call.arg(1, 0) % len(seen.dims)
    return replace(seen, dims=(*seen.dims[:dim], *seen.dims[dim + 1 :]))


def _parted(call: Call) -> Seen:
    """A split into parts of equal rank, or along a dimension that is dropped."""
    seen = call.first
    if len(call.shape) < len(seen.dims):
        return _selected(call)
    return replace(seen, dims=_like(seen.dims, call.shape))


def _unsqueezed(call: Call) -> Seen:
    seen = call.first
    dim = call.args[1] % (len(seen.dims) + 1)
    return replace(seen, dims=(*seen.dims[:dim], *plain((1,)), *seen.dims[dim:]))


def _stacked(call: Call) -> Seen:
    seen = call.first
    dim = call.arg(1, 0) % len(call.shape)
    dims = (*seen.dims[:dim], *plain(call.shape[dim : dim + 1]), *seen.dims[dim:])
    return Seen(dims, joined(_all(call)))


def _concatenated(call: Call) -> Seen:
    return Seen(_like(call.first.dims, call.shape), joined(_all(call)))


def _rolled(call: Call) -> Seen:
    seen = call.first
    return replace(seen, spans=None) if seen.has_place else seen


def _expanded(call: Call) -> Seen:
    seen = call.first
    dims = (*plain(call.shape[: len(call.shape) - len(seen.dims)]), *seen.dims)
    return replace(seen, dims=_like(dims, call.shape))


def _all(call: Call) -> list[Seen]:
    return [seen for _, seen in call.given]


def _like(dims: Sequence[tuple[Factor, ...]], shape: Sequence[int]) -> tuple[Any, ...]:
    """Returns dimensions of other sizes; where one changes, what lies in it becomes one piece."""
    return tuple(
        dim if _length(dim) == size else (Factor(_axis(dim), size),)
        for dim, size in zip(dims, shape, strict=True)
    )


def _axis(dim: Sequence[Factor]) -> str:
    axes = "".join(dict.fromkeys(factor.axis for factor in dim))
    return BOTH if "h" in axes and "w" in axes else axes or OTHER


def _axes(seen: Seen) -> list[str]:
    return [_axis(dim) for dim in seen.dims]


def _length(dim: Sequence[Factor]) -> int:
    size = 1
    for factor in dim:
        size *= factor.size
    return size


def _two(value: Any) -> tuple[int, int]:
    sides = _listed(value)
    return (int(sides[0]), int(sides[-1]))


def _pads(value: Any) -> Pads:
    high, wide = _two(value)
    return (high, high), (wide, wide)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple | torch.Size) else [value]


_SAME = frozenset(
    (
        *("alias", "clone", "contiguous", "detach", "_to_copy", "native_dropout", "lift_fresh"),
        *("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
        *("_native_batch_norm_legit", "_batch_norm_no_update", "batch_norm", "copy", "copy_"),
        # Number by number as well, though PyTorch does not mark them so.
        *("hardswish", "hardswish_", "hardtanh", "hardtanh_", "hardsigmoid", "hardsigmoid_"),
        *("relu6", "mish", "mish_", "silu", "silu_", "_prelu_kernel", "celu", "softplus"),
    )
)
_REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "var", "var_mean", "std", "argmax")
_RULES: Mapping[str, Callable[[Call], Seen]] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("linalg_vector_norm", "norm", "logsumexp"), _group_norm),
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _product),
    **dict.fromkeys(("permute", "transpose", "t"), _permuted),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _viewed),
    **dict.fromkeys(("squeeze",), _viewed),
    **dict.fromkeys(("split", "split_with_sizes", "unbind", "chunk"), _parted),
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "cat": _concatenated,
    "constant_pad_nd": _pad,
    "expand": _expanded,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "roll": _rolled,
    "select": _selected,
    "slice": _sliced,
    "stack": _stacked,
    "unsqueeze": _unsqueezed,
}
