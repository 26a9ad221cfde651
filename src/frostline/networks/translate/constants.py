"""What graphs compute from constants and shapes: with NumPy, while they are translated."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frostline.base.errors import BackboneError

Array = NDArray[Any]
# Shapes are small, and weights are read, not computed.
MOST_NUMBERS = 1 << 26


def _divide(a: Array, b: Array) -> Array:
    # Whole numbers are divided as C does it.
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b


def _divide_no_nan(a: Array, b: Array) -> Array:
    return np.where(b == 0, 0, a / np.where(b == 0, 1, b)).astype(a.dtype)


FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "divide_no_nan": _divide_no_nan,
    "floor_divide": np.floor_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "power": np.power,
    "squared_difference": lambda a, b: np.square(a - b),
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "select": np.where,
    # Of one argument.
    "absolute": np.abs,
    "ceil": np.ceil,
    "exponential": np.exp,
    "floor": np.floor,
    "is_nan": np.isnan,
    "log": np.log,
    "logical_not": np.logical_not,
    "negative": np.negative,
    "reciprocal": np.reciprocal,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "sqrt": np.sqrt,
    "square": np.square,
    "round": np.round,
    "sign": np.sign,
    "sine": np.sin,
    "cosine": np.cos,
    "tanh": np.tanh,
    "linear": lambda a: a,
    "ones": np.ones_like,
    "zeros": np.zeros_like,
}
REDUCTIONS: Mapping[str, Callable[..., Array]] = {
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "l1": lambda a, **how: np.sum(np.abs(a), **how),
    "l2": lambda a, **how: np.sqrt(np.sum(np.square(a), **how)),
}


def bounded(size: int) -> None:
    """Checks that so many numbers may be computed.

    Raises:
        BackboneError: Where they are far more than shapes have.
    """
    if size > MOST_NUMBERS:
        raise BackboneError(f"a constant of {size:,} numbers; at most {MOST_NUMBERS:,} are made.")


def computed(how: str, operands: tuple[Array, ...]) -> Array:
    """Returns a function of constants, element by element.

    Raises:
        BackboneError: Where there is no such function, or shapes do not meet.
    """
    if how not in FUNCTIONS:
        raise BackboneError(f"{how!r} of constants is not known.")
    try:
        bounded(int(np.prod(np.broadcast_shapes(*(one.shape for one in operands)), dtype=object)))
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[how](*operands))
    except (ValueError, TypeError) as error:
        raise BackboneError(str(error)) from error
