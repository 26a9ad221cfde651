"""What graphs do with tensors of any rank, as small modules without children.

Orders and axes are those of the tensors held here; `tensor_operators.py` finds them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    # Nought where the divisor is.
    "divide_no_nan": lambda a, b: torch.where(b == 0, torch.zeros_like(a * b), a / b),
    "floor_divide": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "power": torch.pow,
    "squared_difference": lambda a, b: torch.square(a - b),
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "select": torch.where,
}
REDUCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "l1": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 1, axes, keepdim),
    "l2": lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim),
}


class Elementwise(nn.Module):
    """A function of tensors and constants, element by element.

    Args:
        how: A key of `FUNCTIONS`.
        ranks: How each tensor that comes in gets the rank of the result: its axes in order with
            None for a new one, or None where it has the rank already.
        constants: By their place among the function's arguments: the shapes of arrays of weights.
        numbers: Likewise, single numbers.
        trained: Whether arrays are parameters.
    """

    def __init__(
        self,
        how: str,
        ranks: Sequence[Sequence[int | None] | None],
        constants: Mapping[int, Sequence[int]],
        numbers: Mapping[int, float],
        trained: bool,
    ) -> None:
        super().__init__()
        self.how, self.numbers, self.trained = how, dict(numbers), trained
        self.ranks = [None if order is None else tuple(order) for order in ranks]
        for place, shape in constants.items():
            blank = torch.zeros(*shape)
            if trained:
                self.register_parameter(f"operand_{place}", nn.Parameter(blank))
            else:
                self.register_buffer(f"operand_{place}", blank)
        for place, number in numbers.items():
            self.register_buffer(f"number_{place}", torch.tensor(number), persistent=False)
        self.places = len(self.ranks) + len(constants) + len(numbers)

    def forward(self, *given: Tensor) -> Tensor:
        """Returns a tensor of the shape they have together."""
        tensors = iter(
            x if order is None else _spread(x, order)
            for x, order in zip(given, self.ranks, strict=True)
        )
        operands = [self._own(place) for place in range(self.places)]
        return FUNCTIONS[self.how](*(next(tensors) if x is None else x for x in operands))

    def _own(self, place: int) -> Tensor | None:
        found = getattr(self, f"operand_{place}", None)
        return getattr(self, f"number_{place}", None) if found is None else found

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.how}, {self.ranks}, {self.numbers}, trained={self.trained}"


def _spread(x: Tensor, order: Sequence[int | None]) -> Tensor:
    kept = [axis for axis in order if axis is not None]
    x = x.permute(kept)
    for at, axis in enumerate(order):
        if axis is None:
            x = x.unsqueeze(at)
    return x


class Reduce(nn.Module):
    """The mean, sum, largest or smallest value over some axes."""

    def __init__(self, how: str, axes: Sequence[int], keep_axes: bool) -> None:
        super().__init__()
        self.how, self.axes, self.keep_axes = how, tuple(axes), keep_axes

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor without these axes, or with one place in each."""
        return REDUCTIONS[self.how](x, self.axes, keepdim=self.keep_axes)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.how}, {self.axes}, keep_axes={self.keep_axes}"


class Slice(nn.Module):
    """Every so manyth place from one to before another, along some axes.

    Args:
        index: For each axis, a slice whose step is positive.
    """

    def __init__(self, index: Sequence[slice]) -> None:
        super().__init__()
        self.index = tuple(index)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a view."""
        return x[self.index]

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.index)


class Take(nn.Module):
    """The places of given numbers along an axis, in their order."""

    numbers: Tensor

    def __init__(self, axis: int, numbers: Sequence[int]) -> None:
        super().__init__()
        self.axis, self.told = axis, list(numbers)
        self.register_buffer("numbers", torch.tensor(self.told), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor with as many places along the axis as there are numbers."""
        return torch.index_select(x, self.axis, self.numbers)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.axis}, {self.told}"


class PadAxes(nn.Module):
    """Puts a number before and after the places of any axes."""

    def __init__(self, sides: Sequence[Sequence[int]], value: float) -> None:
        super().__init__()
        self.sides, self.value = tuple(tuple(pair) for pair in sides), value
        self._flat = [side for pair in reversed(self.sides) for side in pair]

    def forward(self, x: Tensor) -> Tensor:
        """Returns a larger tensor."""
        return nn.functional.pad(x, self._flat, value=self.value)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.sides}, value={self.value}"


class View(nn.Module):
    """Gives a tensor another shape, across pictures too; one size may be −1."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of that shape."""
        return x.reshape(self.shape)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.shape)


class MatMul(nn.Module):
    """The matrix product of two tensors over their last axes, each turned first where asked."""

    def __init__(self, turned: Sequence[bool]) -> None:
        super().__init__()
        self.turned = tuple(turned)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Returns [..., rows of the first, columns of the second]."""
        left, right = self.turned
        return torch.matmul(a.mT if left else a, b.mT if right else b)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return str(self.turned)


class Einsum(nn.Module):
    """A sum of products over axes that letters name.

    Args:
        equation: As of `torch.einsum`.
        constants: By their place among the operands: the shapes of arrays of weights.
        count: How many operands there are.
    """

    def __init__(self, equation: str, constants: Mapping[int, Sequence[int]], count: int) -> None:
        super().__init__()
        self.equation, self.count = equation, count
        for place, shape in constants.items():
            self.register_parameter(f"operand_{place}", nn.Parameter(torch.zeros(*shape)))

    def forward(self, *given: Tensor) -> Tensor:
        """Returns what the equation says."""
        values = iter(given)
        own = [getattr(self, f"operand_{place}", None) for place in range(self.count)]
        operands = [next(values) if one is None else one for one in own]
        return torch.einsum(self.equation, *operands)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return repr(self.equation)


class Join(nn.Module):
    """Puts tensors and constants of one row after the other along an axis.

    Args:
        axis: Which, the batch being the first.
        constants: By their place among what is joined: shapes, one picture in front.
        count: How many are joined.
    """

    def __init__(self, axis: int, constants: Mapping[int, Sequence[int]], count: int) -> None:
        super().__init__()
        self.axis, self.count = axis, count
        for place, shape in constants.items():
            self.register_parameter(f"operand_{place}", nn.Parameter(torch.zeros(*shape)))

    def forward(self, *given: Tensor) -> Tensor:
        """Returns what they are together."""
        values, rows = iter(given), given[0].shape[0]
        own = [getattr(self, f"operand_{place}", None) for place in range(self.count)]
        parts = [next(values) if one is None else one.expand(rows, *one.shape[1:]) for one in own]
        return torch.cat(parts, self.axis)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{self.axis}, {self.count}"


class InstanceNorm(nn.Module):
    """Normalises each channel of each picture by itself, over all its places."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the same shape, [n, c, …]."""
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """Returns what stands between the brackets when it is printed."""
        return f"{len(self.weight)}, eps={self.eps}"
