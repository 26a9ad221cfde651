"""A graph of TensorFlow Lite, run by its interpreter; imported in the process apart alone."""

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from frostline.networks.runtimes.frames import Array
from frostline.networks.runtimes.names import RUNTIMES, TFLITE
from frostline.networks.runtimes.session import Program, as_numbers, in_turn


def prepare() -> None:
    """Imports what takes memory that is no part of running a graph."""
    _interpreter()


class TFLiteSession:
    """A graph of TensorFlow Lite. Its tensors are asked for by number.

    Numbers of 8 bits come and go as what they stand for.
    """

    def __init__(self, program: Program, threads: int) -> None:
        """Makes an interpreter that keeps what lies between input and output."""
        self._interpreter = _interpreter()(
            model_content=program.data,
            num_threads=threads,
            experimental_preserve_all_tensors=True,
        )
        self._program = program
        self._count = 0
        self._input = int(program.input)
        self._outputs = [int(one) for one in program.outputs]

    def run(self, pictures: Array) -> Sequence[Array | None]:
        """Returns what the outputs are."""
        return in_turn(self._run, pictures, self._program.one_by_one)

    def _run(self, pictures: Array) -> list[Array | None]:
        if len(pictures) != self._count:
            self._interpreter.resize_tensor_input(self._input, list(pictures.shape))
            self._interpreter.allocate_tensors()
            self._count = len(pictures)
        known = {one["index"]: one for one in self._interpreter.get_tensor_details()}
        self._interpreter.set_tensor(self._input, _stored(pictures, known[self._input]))
        self._interpreter.invoke()
        return [self._read(known[number]) for number in self._outputs]

    def _read(self, told: Mapping[str, Any]) -> Array | None:
        try:
            found = as_numbers(self._interpreter.get_tensor(told["index"]))
        except ValueError:
            # Of some constants and of what a delegate computes there is nothing to read.
            return None
        scales, zeros = _scales(told)
        if found is None or not len(scales):
            return found
        if len(scales) > 1:
            along = [1] * found.ndim
            along[int(told["quantization_parameters"]["quantized_dimension"])] = -1
            scales, zeros = scales.reshape(along), zeros.reshape(along)
        return np.asarray((found - zeros) * scales, np.float32)


def load(program: Program, threads: int) -> TFLiteSession:
    """Returns a graph that is ready to run."""
    return TFLiteSession(program, threads)


def _interpreter() -> Any:
    places = {
        "ai_edge_litert": "ai_edge_litert.interpreter",
        "tensorflow": "tensorflow.lite.python.interpreter",
    }
    found: Any = importlib.import_module(places[RUNTIMES[TFLITE].module()])
    # Without delegates, which compute several operations at once and keep nothing between.
    plain = found.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return partial(found.Interpreter, experimental_op_resolver_type=plain)


def _stored(pictures: Array, told: Mapping[str, Any]) -> Array:
    """Returns pictures as the input's own type of numbers."""
    scales, zeros = _scales(told)
    dtype = np.dtype(told["dtype"])
    if not len(scales) or dtype.kind == "f":
        return np.ascontiguousarray(pictures, dtype)
    bounds = np.iinfo(dtype)
    rounded = np.round(pictures / scales[0] + zeros[0])
    return np.ascontiguousarray(rounded.clip(bounds.min, bounds.max), dtype)


def _scales(told: Mapping[str, Any]) -> tuple[Array, Array]:
    how = told["quantization_parameters"]
    return np.asarray(how["scales"]), np.asarray(how["zero_points"])
